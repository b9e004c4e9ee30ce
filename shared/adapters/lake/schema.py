"""The lake's tables and their columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.core.task.task import Column, Task, names_of
from shared.core.task.versions import all_rows, versions

if TYPE_CHECKING:
    import pyarrow as pa

READINGS, PREDICTIONS, OUTCOMES, COMMITS = TABLES = ("readings", "predictions", "outcomes", "commits")


def schemas(task: Task) -> dict[str, pa.Schema]:
    """Columns of the tables; those that are looked up stand first, because Delta keeps statistics of 32 columns."""
    import pyarrow as pa

    when, keys = pa.timestamp("us", tz="UTC"), [("partition", pa.int32()), ("epoch", pa.int32())]
    place = [("date", pa.date32()), *keys, ("sequence_number", pa.int64())]
    kinds = {"hour": when, "number": pa.float32(), "text": pa.string()}
    answered = [
        ("device_id", pa.string()),
        *((name, when) for name in names_of(task.answer, "hour")),
        ("model_version", pa.string()),
        ("role", pa.string()),
        ("revision", pa.int32()),
        *((name, pa.float32()) for name in names_of(task.answer, "number")),
    ]
    columns: dict[str, list[tuple[str, Any]]] = {
        READINGS: [
            *place,
            ("device_id", pa.string()),
            ("timestamp", when),
            ("disposition", pa.string()),
            ("source", pa.string()),
            ("position", pa.int64()),
            *((name, kinds[kind]) for name, kind in _row(task)),
        ],
        PREDICTIONS: [
            *place,
            *answered,
            *((name, pa.string()) for name in names_of(task.answer, "text")),
            ("served", pa.bool_()),
            ("scored_at", when),
            ("cold_start", pa.bool_()),
        ],
        OUTCOMES: [*place, *answered, *((name, kinds[kind]) for name, kind in task.label)],
        COMMITS: [
            ("date", pa.date32()),
            *keys,
            ("first", pa.int64()),
            ("next", pa.int64()),
            ("enqueued_at", when),
            ("name", pa.string()),
            ("readings", pa.int64()),
            ("predictions", pa.int64()),
            ("outcomes", pa.int64()),
            ("metadata", pa.string()),
        ],
    }
    return {table: pa.schema(found) for table, found in columns.items()}


def _row(task: Task) -> list[Column]:
    """Columns that rows have had under any version of the scenario: what it no longer has stays in the lake."""
    known = {column.name: column for each in versions(task) for column in each.row}
    return [known[name] for name in all_rows(task)]


def table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Columns as rows of a table, NaN as missing."""
    import pyarrow as pa

    return pa.table([_cast(columns[field.name], field.type) for field in schema], schema=schema)


def _cast(column: Any, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    found = column if isinstance(column, (pa.Array, pa.ChunkedArray)) else pa.array(column, from_pandas=True)
    return found.cast(kind)
