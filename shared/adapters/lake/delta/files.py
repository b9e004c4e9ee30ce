"""Reading a Delta table: its files are Parquet named by checksum, so damage is seen before anything parses it.

deltalake's own writer and `optimize.compact` do not suffice, see docs/decisions/0012-lake-files.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.adapters.lake.delta.errors import translated
from shared.errors import ContractBroken

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

DIGEST = re.compile(r"/([0-9a-f]{32})-[0-9a-f]{8}\.parquet$")
AT_ONCE = 4
DAY_ZERO = date(1970, 1, 1).toordinal()
Bounds = Mapping[str, tuple[int, int]]  # column -> lowest and highest value wanted


@dataclass(frozen=True, slots=True)
class File:
    """A file as the table's log describes it.

    Args:
        path: Within the table.
        size: Bytes.
        rows: Rows.
        day: Its partition, days since 1970.
        ranges: Lowest and highest value of whole-number columns.
    """

    path: str
    size: int
    rows: int
    day: int
    ranges: Mapping[str, tuple[int, int]]

    def may_hold(self, bounds: Bounds) -> bool:
        """Whether a row within bounds may be in it."""
        known = ((self.ranges[name], wanted) for name, wanted in bounds.items() if name in self.ranges)
        return all(held[0] <= high and low <= held[1] for held, (low, high) in known)


@dataclass(frozen=True, slots=True)
class View:
    """A table at one version.

    Args:
        table: Its name, for messages.
        version: The version.
        files: What it consists of.
        store: How the files are read.
    """

    table: str
    version: int
    files: Sequence[File]
    store: Any

    @classmethod
    def of(cls, table: str, opened: DeltaTable) -> View:
        """The version that is opened."""
        return cls(table, int(opened.version()), _files(opened), store_of(opened))

    def read(self, bounds: Bounds | None = None, days: tuple[int, int] | None = None) -> Iterator[pa.Table]:
        """Rows file by file, each file checked.

        Args:
            bounds: Lowest and highest value wanted of whole-number columns.
            days: First day and day after the last.

        Raises:
            ContractBroken: A file is gone or damaged; the message names it.
        """
        low, high = days or (-(2**31), 2**31)
        wanted = [file for file in self.files if low <= file.day < high and file.may_hold(bounds or {})]
        for rows in self.contents(wanted):
            yield _filtered(rows, bounds or {})

    def contents(self, files: Sequence[File]) -> Iterator[pa.Table]:
        """All rows of some files, a few files ahead of who reads them."""
        with ThreadPoolExecutor(AT_ONCE, "lake") as pool:
            for start in range(0, len(files), AT_ONCE):
                group = files[start : start + AT_ONCE]
                for file, raw in zip(group, pool.map(self._bytes, group), strict=True):
                    yield self._rows(file, raw)

    def _bytes(self, file: File) -> bytes:
        with translated(self.table, self.version):
            source = self.store.open_input_file(file.path)
            return bytes(source.read(source.size()))

    def _rows(self, file: File, raw: bytes) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        where = f"lake {self.table}@{self.version}: {file.path}"
        match = DIGEST.search(f"/{file.path}")
        if len(raw) != file.size or (match and digest(raw) != match[1]):
            raise ContractBroken(f"{where} is damaged: its {len(raw)} bytes are not what was written")
        with translated(self.table, self.version):
            found = _plain(pq.read_table(pa.BufferReader(raw), use_threads=False, pre_buffer=False))
        if len(found) != file.rows:
            raise ContractBroken(f"{where} holds {len(found)} rows, {file.rows} expected")
        return found.add_column(0, "date", pa.array(np.full(len(found), file.day, np.int32)).cast(pa.date32()))


def store_of(opened: DeltaTable) -> Any:
    """What reads and writes a table's files, as deltalake itself reaches them."""
    from deltalake._internal import DeltaFileSystemHandler

    return DeltaFileSystemHandler.from_table(opened._table)  # noqa: SLF001 - its public face cannot write


def _files(opened: DeltaTable) -> list[File]:
    import pyarrow as pa

    found = pa.table(opened.get_add_actions(flatten=True))
    names = [field.name[4:] for field in found.schema if field.name[:4] == "min." and pa.types.is_integer(field.type)]
    return [_file(row, names) for row in found.to_pylist()]


def _file(row: Mapping[str, Any], names: Sequence[str]) -> File:
    ends = {name: (row[f"min.{name}"], row[f"max.{name}"]) for name in names}
    ranges = {name: pair for name, pair in ends.items() if None not in pair}
    day = row["partition.date"].toordinal() - DAY_ZERO
    return File(row["path"], row["size_bytes"], row["num_records"], day, ranges)


def _plain(rows: pa.Table) -> pa.Table:
    """Texts in one form: other writers leave a hint that makes them views."""
    import pyarrow as pa

    fields = [field.with_type(pa.string()) if pa.types.is_string_view(field.type) else field for field in rows.schema]
    return rows.cast(pa.schema(fields))


def _filtered(rows: pa.Table, bounds: Bounds) -> pa.Table:
    keep = np.ones(len(rows), bool)
    for name, (low, high) in bounds.items():
        values = rows[name].cast("int64").to_numpy()
        keep &= (values >= low) & (values <= high)
    return rows if keep.all() else rows.filter(keep)


def digest(raw: bytes) -> str:
    """What names a file: the beginning of its SHA-256."""
    return hashlib.sha256(raw).hexdigest()[:32]
