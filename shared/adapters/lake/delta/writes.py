"""Rows written as the files of a Delta table, with what the log says of each."""

from __future__ import annotations

import io
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.adapters.lake.delta.files import AT_ONCE, File, digest, store_of

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

MERGED_ROWS, MERGED_FILES = 1_000_000, 1000


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
    path = f"date={when}/{digest(raw)}-{secrets.token_hex(4)}.parquet"  # two runs must not write the same blob at once
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


def together(groups: Iterable[list[File]]) -> Iterator[list[File]]:
    """Groups of files joined as far as one entry of the log may replace them: a long history has thousands of days."""
    held: list[File] = []
    for group in groups:
        if held and (sum(file.rows for file in held + group) > MERGED_ROWS or len(held) + len(group) > MERGED_FILES):
            yield held
            held = []
        held = held + group
    if held:
        yield held


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


def _date(day: int) -> str:
    return str(np.datetime64(day, "D"))
