"""Columns of a table (Arrow arrays) into a sheet of records for the core to judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from shared.core.intake.acceptance import Sheet
from shared.core.intake.columns import DEVICE, FIRST_CHANNEL, TIME, Layout
from shared.core.intake.readings import Doubles, Ints, Longs
from shared.core.intake.times.forms import TimeForm
from shared.core.intake.times.texts import from_bytes
from shared.core.intake.times.timestamps import ABSENT, OK, UNZONED, Stamps
from shared.core.intake.times.zones import zone
from shared.core.intake.values.quantities import normalise, numbers, together
from shared.core.intake.values.words import Words, understood
from shared.core.scenario import Channel, Scenario
from shared.errors import BadEvent

if TYPE_CHECKING:
    import pyarrow as pa

_PER_SECOND = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}


def sheet(
    scenario: Scenario,
    layout: Layout,
    columns: Sequence[pa.Array | None],
    position: Longs,
    cell: Callable[[int, int], object],
    raw: Callable[[int], bytes],
    converted: dict[str, str],
) -> Sheet:
    """Records of a stretch of a table.

    Args:
        scenario: Names the channels.
        layout: Of the table's columns.
        columns: Device, time and each channel of the scenario, None where the table has no such column.
        position: Row number of each record, shape (n,).
        cell: Original value of (record, slot).
        raw: Original bytes of a record.
        converted: Receives the channels that came in another unit.

    Raises:
        BadEvent: `format`, a column's type cannot hold what its name says.
    """
    names, device = _devices(columns[DEVICE])
    values = np.full((len(position), len(scenario.channels)), np.nan, np.float32)
    faults = {}
    for c, channel in enumerate(scenario.channels):
        column = columns[FIRST_CHANNEL + c]
        if column is None:
            continue
        numeric, words = doubles(column, channel, decimal=layout.decimal)
        values[:, c], wrong, found = normalise(channel, numeric, layout.units[c])
        converted.update((channel.name, name) for name in found)
        if (wrong := words.put(values[:, c], wrong)) is not None:
            faults[c] = wrong
    stamps = _stamps(columns[TIME], layout.times)
    if layout.zone is not None:
        bare = np.flatnonzero(stamps.offset == UNZONED)
        stamps.offset[bare] = zone(layout.zone).offsets(stamps.local[bare])
    whole = together(faults, values.shape)
    return Sheet(position, names, device, stamps, values, whole, cell, raw, partial(_written, columns), layout.lag)


def _written(columns: Sequence[pa.Array | None], c: int, rows: Longs) -> Iterable[tuple[object, int]]:
    column = columns[FIRST_CHANNEL + c]
    return () if column is None else distinct(column, rows)


def distinct(column: pa.Array, rows: Longs) -> list[tuple[object, int]]:
    """Distinct values in some rows of a column, and how often each stands there."""
    import pyarrow as pa

    found = column.take(pa.array(rows)).value_counts().to_pylist()
    plain = (str, int, float)
    return [(v if isinstance(v := each["values"], plain) else str(v), each["counts"]) for each in found]


def doubles(column: pa.Array, channel: Channel, name: str = "", decimal: str = ".") -> tuple[Doubles, Words]:
    """A column of a channel as numbers, NaN where missing, and its cells that are none.

    Args:
        column: Of numbers or texts, shape (n,).
        channel: Whose values they are.
        name: For what is said of it, if not the channel's.
        decimal: The sign of fractions in texts.

    Raises:
        BadEvent: `format`, the column's type holds no numbers.
    """
    import pyarrow as pa

    kind = _kind(column)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return _numeric(column, name or channel.name), understood(channel, (), ())
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    distinct, bad = numbers(texts, decimal)
    places = encoded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)
    return np.append(distinct, np.nan)[places], understood(channel, texts, bad).spread(places)


def _numeric(column: pa.Array, name: str) -> Doubles:
    import pyarrow as pa

    kind = _kind(column)
    if not (
        pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    ):
        raise BadEvent("format", f"the column of {name} holds {kind}, not numbers")
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    numeric = plain.cast(pa.float64(), safe=False)
    return np.asarray(numeric.to_numpy(zero_copy_only=False), dtype=np.float64)


def _kind(column: pa.Array) -> pa.DataType:
    import pyarrow as pa

    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def _devices(column: pa.Array) -> tuple[list[str], Ints]:
    """Distinct device ids and each record's index among them, -1 where it has none."""
    import pyarrow as pa

    kind = _kind(column)
    if not any(
        fits(kind) for fits in (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating)
    ):
        raise BadEvent("format", f"the device column holds {kind}, not texts")
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = [_name(value) for value in encoded.dictionary.to_pylist()]
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return names, indices.astype(np.int32, copy=False)


def _name(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers with gaps, as pandas writes them
    return "" if value is None else str(value)


def _stamps(column: pa.Array, form: TimeForm) -> Stamps:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _from_texts(column, form)
    if pa.types.is_timestamp(kind):
        return _from_instants(column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return form.from_numbers(_numeric(column, "the time"))
    raise BadEvent("format", f"the time column holds {kind}, neither timestamps, texts nor numbers")


def _from_texts(column: pa.Array, form: TimeForm) -> Stamps:
    import pyarrow as pa

    column = column.cast(pa.large_string()).fill_null("")
    _, bounds, data = column.buffers()
    edges = np.frombuffer(bounds, np.int64)[column.offset : column.offset + len(column) + 1]
    return from_bytes(np.frombuffer(data or b"", np.uint8), edges, form)


def _from_instants(column: pa.Array) -> Stamps:
    import pyarrow as pa

    ticks = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    absent = column.is_null().to_numpy(zero_copy_only=False)
    offset = np.full(len(ticks), UNZONED if column.type.tz is None else 0, np.int64)
    fault = np.where(absent, ABSENT, OK).astype(np.uint8)
    minute, second = np.divmod(np.floor_divide(ticks, _PER_SECOND[column.type.unit]), 60)
    return Stamps(minute, offset, fault, second)


def times_of(columns: Sequence[pa.Array]) -> pa.Array:
    """Times that stand in several columns as one, the parts of each with a blank between."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(columns) == 1:
        return columns[0]
    texts = [pc.utf8_trim_whitespace(as_text(column)) for column in columns]
    return pc.utf8_trim_whitespace(pc.binary_join_element_wise(*texts, pa.scalar(" ", pa.large_string())))


def as_text(column: pa.Array) -> pa.Array:
    """A column as texts, empty where it is null.

    Raises:
        BadEvent: `format`, its type has no texts.
    """
    import pyarrow as pa

    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    try:
        return plain.cast(pa.large_string()).fill_null("")
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise BadEvent("format", f"a column that its layout reads holds {_kind(column)}, not texts") from error
