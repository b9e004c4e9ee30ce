"""The files of a Delta table: Parquet named by its checksum, so that damage is seen before anything parses it.

deltalake's own writer and `optimize.compact` do not suffice, see docs/decisions/0012-lake-files.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.errors import ContractBroken, StateConflict, TransientFailure

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

DIGEST = re.compile(r"/([0-9a-f]{32})-[0-9a-f]{8}\.parquet$")
QUERY = re.compile(r"\?\S*")  # an address may carry a signature
AT_ONCE = 4
MERGED_ROWS = 1_000_000
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
        named = DIGEST.search(f"/{file.path}")
        if len(raw) != file.size or (named and _digest(raw) != named[1]):
            raise ContractBroken(f"{where} is damaged: its {len(raw)} bytes are not what was written")
        with translated(self.table, self.version):
            found = _plain(pq.read_table(io.BytesIO(raw)))
        if len(found) != file.rows:
            raise ContractBroken(f"{where} holds {len(found)} rows, {file.rows} expected")
        return found.add_column(0, "date", pa.array(np.full(len(found), file.day, np.int32)).cast(pa.date32()))


def store_of(opened: DeltaTable) -> Any:
    """What reads and writes a table's files, as deltalake itself reaches them."""
    from deltalake._internal import DeltaFileSystemHandler

    return DeltaFileSystemHandler.from_table(opened._table)  # noqa: SLF001 - its public face cannot write


def write(opened: DeltaTable, rows: pa.Table, *, data_change: bool = True) -> list[Any]:
    """Write rows as one file for each day; returns the additions to the log.

    Args:
        opened: The table.
        rows: Its rows, with all columns.
        data_change: Whether these rows are new, rather than moved from other files.
    """
    rows = rows.sort_by("date")
    found, starts = np.unique(rows["date"].cast("int32").to_numpy(), return_index=True)
    plain, edges = rows.drop_columns(["date"]), [*starts.tolist(), len(rows)]
    pieces = [plain.slice(start, end - start) for start, end in pairwise(edges)]
    store = store_of(opened)
    with ThreadPoolExecutor(AT_ONCE, "lake") as pool:
        return list(pool.map(partial(_write_day, store, data_change), found.tolist(), pieces))


def _write_day(store: Any, data_change: bool, day: int, rows: pa.Table) -> Any:
    import pyarrow.parquet as pq
    from deltalake.transaction import AddAction

    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd", version="2.6")
    raw, when = sink.getvalue(), _date(day)
    path = f"date={when}/{_digest(raw)}-{secrets.token_hex(4)}.parquet"  # two runs must not write the same blob at once
    stream = store.open_output_stream(path)
    stream.write(raw)
    stream.close()
    return AddAction(path, len(raw), {"date": when}, 0, data_change, _statistics(rows))


def removed(files: Sequence[File]) -> list[Any]:
    """Removals from the log of files whose rows stand in others now."""
    from deltalake.transaction import RemoveAction

    now = time.time_ns() // 1_000_000  # from here the files' retention counts; storage has no other clock for it
    return [RemoveAction(file.path, False, now, partition_values={"date": _date(file.day)}) for file in files]


def small(files: Sequence[File], before_day: int) -> Iterator[list[File]]:
    """Files of one day each, before a day, that are more than one and together not too large."""
    days: dict[int, list[File]] = {}
    for file in files:
        if file.day < before_day and file.rows < MERGED_ROWS:
            days.setdefault(file.day, []).append(file)
    for day in sorted(days):
        group: list[File] = []
        for file in sorted(days[day], key=lambda file: file.rows):
            if sum(held.rows for held in group) + file.rows <= MERGED_ROWS:
                group.append(file)
        if len(group) > 1:
            yield group


def _statistics(rows: pa.Table) -> str:
    """What the log says of a file; complete, for readers take a range that is not there for an empty one."""
    known = {name: ends for name in rows.column_names if (ends := _ends(rows[name]))}
    low, high = ({name: ends[side] for name, ends in known.items()} for side in (0, 1))
    empty = {name: rows[name].null_count for name in rows.column_names}
    return json.dumps({"numRecords": len(rows), "minValues": low, "maxValues": high, "nullCount": empty})


def _ends(column: pa.ChunkedArray) -> tuple[Any, Any] | None:
    """Lowest and highest value as JSON, None when all are missing; times are whole milliseconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
    found = pc.min_max(plain).as_py()
    if found["min"] is None:
        return None
    if plain is not column:
        return tuple(f"{np.datetime64(found[end] // 1000, 'ms')}Z" for end in ("min", "max"))  # type: ignore[return-value]
    return found["min"], found["max"]


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


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]


def _date(day: int) -> str:
    return str(np.datetime64(day, "D"))


@contextmanager
def translated(table: str, version: int | None) -> Iterator[None]:
    """Errors of deltalake and pyarrow as ours, naming table and version."""
    import pyarrow as pa
    from deltalake.exceptions import CommitFailedError, DeltaError

    where = f"lake {table}" if version is None else f"lake {table}@{version}"
    try:
        yield
    except CommitFailedError as error:
        raise StateConflict(f"{where}: {_said(error)}") from error
    except (FileNotFoundError, pa.ArrowInvalid, DeltaError) as error:
        raise ContractBroken(f"{where}: {_said(error)}") from error
    except (OSError, pa.ArrowException) as error:
        raise TransientFailure(f"{where}: {_said(error)}") from error


def _said(error: Exception) -> str:
    """The beginning of a message in one line, without colours and query strings."""
    text = re.sub(r"\x1b\[\d+m|\s+", " ", QUERY.sub("", str(error)))
    return f"{type(error).__name__}: {text[:300]}"
