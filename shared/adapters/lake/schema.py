"""The lake's tables: their columns, and a check in every row that tells whether it still says what was written."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shared.core.scenario import Scenario

if TYPE_CHECKING:
    import pyarrow as pa

Words = npt.NDArray[np.uint32]
CHECK = "check"
READINGS, PREDICTIONS, OUTCOMES, COMMITS = TABLES = ("readings", "predictions", "outcomes", "commits")


def schemas(scenario: Scenario) -> dict[str, pa.Schema]:
    """Columns of the tables; those that are looked up stand first, because Delta keeps statistics of 32 columns."""
    import pyarrow as pa

    when, keys = pa.timestamp("us", tz="UTC"), [("partition", pa.int32()), ("epoch", pa.int32())]
    place = [("date", pa.date32()), *keys, ("sequence_number", pa.int64())]
    forecast = [
        ("device_id", pa.string()),
        ("as_of", when),
        ("target_time", when),
        ("model_version", pa.string()),
        ("role", pa.string()),
        ("revision", pa.int32()),
        ("value", pa.float32()),
        ("lower", pa.float32()),
        ("upper", pa.float32()),
    ]
    columns: dict[str, list[tuple[str, Any]]] = {
        READINGS: [
            *place,
            ("device_id", pa.string()),
            ("timestamp", when),
            ("disposition", pa.string()),
            ("source", pa.string()),
            ("position", pa.int64()),
            *((name, pa.float32()) for name in scenario.channel_names),
        ],
        PREDICTIONS: [
            *place,
            *forecast,
            ("category", pa.string()),
            ("served", pa.bool_()),
            ("scored_at", when),
        ],
        OUTCOMES: [*place, *forecast, ("truth", pa.float32()), ("latest", pa.float32())],
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
    return {table: pa.schema([*found, (CHECK, pa.int32())]) for table, found in columns.items()}


def sealed(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    """Columns as rows of a table, NaN as missing, each row with its check."""
    import pyarrow as pa

    arrays = [_cast(columns[name], schema.field(name).type) for name in schema.names if name != CHECK]
    rows = pa.table(arrays, names=[name for name in schema.names if name != CHECK])
    return rows.append_column(CHECK, pa.array(checks(rows))).cast(schema)


def _cast(column: Any, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    found = column if isinstance(column, (pa.Array, pa.ChunkedArray)) else pa.array(column, from_pandas=True)
    return found.cast(kind)


def broken(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Places of the rows that are not what was written."""
    stored = rows[CHECK].fill_null(0).to_numpy()
    return np.flatnonzero(stored != checks(rows.drop_columns([CHECK])))


def checks(rows: pa.Table) -> npt.NDArray[np.int32]:
    """A hash of each row, int32, shape (n,): a sum over its cells, so that a column added later changes nothing.

    Each cell is mixed with its column's name by a bijection: one changed cell always shows, more with 1 - 2**-32.
    Missing cells add nothing.

    Source: the bijection is "lowbias32" of C. Wellons' hash prospector.
    """
    total = np.zeros(len(rows), np.uint32)
    for name in rows.column_names:
        column = rows[name].combine_chunks()
        there = column.is_valid().to_numpy(zero_copy_only=False)
        for place, word in enumerate(_words(column)):
            key = np.uint32(zlib.crc32(f"{name}/{place}".encode()))
            total += np.where(there, _mixed(word ^ key), np.uint32(0))
    return total.view(np.int32)


def _words(column: Any) -> list[Words]:
    """Cells as 32-bit words; a text as its CRC."""
    import pyarrow as pa

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        coded = column.dictionary_encode()
        texts = [zlib.crc32(text.encode()) for text in coded.dictionary.to_pylist()]
        codes = coded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        return [np.array([*texts, 0], np.uint32)[codes]]
    if pa.types.is_boolean(column.type):
        return [column.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint32)]
    if pa.types.is_floating(column.type):
        return [column.fill_null(0.0).to_numpy(zero_copy_only=False).astype(np.float32).view(np.uint32)]
    whole = column.cast(pa.int32() if pa.types.is_date32(column.type) else pa.int64()).cast(pa.int64())
    bits = whole.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return [(bits & 0xFFFFFFFF).astype(np.uint32), (bits >> 32 & 0xFFFFFFFF).astype(np.uint32)]


def _mixed(x: Words) -> Words:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    mixed: Words = x ^ (x >> np.uint32(16))
    return mixed
