"""Columns of a file with a layout into sheets of records: joined times, constant devices, one value a row, stations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from shared.adapters.tables.cells import as_text, sheet, times_of
from shared.adapters.tables.parquet.files import value_of
from shared.core.intake.acceptance import Sheet
from shared.core.intake.columns import DEVICE, FIRST_CHANNEL, TIME
from shared.core.intake.layouts.plans import Plan
from shared.core.intake.readings import Longs, Parsed
from shared.core.intake.times.timestamps import REASON
from shared.core.scenario import Scenario

if TYPE_CHECKING:
    import pyarrow as pa

Columns = Mapping[int, "pa.Array"]
MOST_PARAMETERS = 1000


@dataclass(frozen=True, slots=True)
class Table:
    """A stretch of a file: device, time and channels by slot, where each record stands, and its original bytes."""

    slots: list[pa.Array | None]
    position: Longs
    raw: Callable[[int], bytes]

    def cell(self, i: int, slot: int) -> object:
        """Original value of a record's slot."""
        column = self.slots[slot]
        value = None if column is None else value_of(column, i)
        return value if value is None or isinstance(value, str | int | float) else str(value)

    def sheet(self, scenario: Scenario, plan: Plan, converted: dict[str, str]) -> Sheet:
        """Its records, for the core to judge."""
        return sheet(scenario, plan.layout, self.slots, self.position, self.cell, self.raw, converted)

    def at(self, rows: Longs) -> Table:
        """Some of its records."""
        import pyarrow as pa

        chosen = pa.array(rows)
        slots = [None if column is None else column.take(chosen) for column in self.slots]
        return Table(slots, self.position[rows], lambda i: self.raw(int(rows[i])))


def table(plan: Plan, columns: Columns, position: Longs, raw: Callable[[int], bytes]) -> Table:
    """A stretch of a file with a reading a row."""
    picks = plan.layout.picks[FIRST_CHANNEL:]
    channels = [columns[pick] if pick >= 0 else None for pick in picks]
    return Table([_device(plan, columns, len(position)), _time(plan, columns), *channels], position, raw)


def stations(plan: Plan, c: int, columns: Columns, position: Longs, raw: Callable[[int], bytes]) -> Table:
    """A stretch of a file with a column a station: a record for each cell that holds something.

    Args:
        plan: Of the file.
        c: The channel of all stations.
        columns: Those that the plan reads.
        position: Row numbers, shape (n,).
        raw: Original bytes of a row.
    """
    import pyarrow as pa

    n, k = len(position), len(plan.stations)
    cells = [as_text(columns[pick]) for pick in plan.stations]
    flat = pa.concat_arrays(cells).take(pa.array(np.arange(n * k).reshape(k, n).T.ravel()))
    full = np.array([bool(text.strip()) for text in flat.to_pylist()], np.bool_)
    place = np.flatnonzero(full)
    row, which = np.divmod(place, k)
    names = pa.array([plan.names[pick].strip() for pick in plan.stations])
    slots: list[pa.Array | None] = [None] * len(plan.layout.picks)
    slots[DEVICE] = pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int32)), names)
    slots[TIME] = _time(plan, columns).take(pa.array(row))
    slots[FIRST_CHANNEL + c] = flat.take(pa.array(place))
    once = lru_cache(maxsize=1)(raw)  # the cells of a row share its bytes
    return Table(slots, position[row] * k + which, lambda i: once(int(row[i])))


def times_once(parsed: Parsed, per_row: int) -> Parsed:
    """What was found, with a row's time as one rejection, at its first cell, and not as one of each cell.

    Args:
        parsed: Of a stretch of a file with a column a station.
        per_row: Positions that each row has room for.
    """
    found = [each for each in parsed.rejected if each.reason not in REASON]
    times = {(each.position // per_row, each.reason): each for each in reversed(parsed.rejected)}
    found += [each for (_, reason), each in times.items() if reason in REASON]
    return replace(parsed, rejected=sorted(found, key=lambda each: each.position))


@dataclass(frozen=True, slots=True)
class Values:
    """A stretch of a file with one value a row: its records, and the rows of each parameter under each unit.

    Args:
        records: Device and time; the value stands in no channel's slot.
        value: The values, as they stand.
        rows: (parameter, unit) as written -> rows.
    """

    records: Table
    value: pa.Array
    rows: dict[tuple[str, str], Longs]

    def of(self, c: int, rows: Longs) -> Table:
        """The records of one channel."""
        import pyarrow as pa

        found = self.records.at(rows)
        found.slots[FIRST_CHANNEL + c] = self.value.take(pa.array(rows))
        return found


def values(plan: Plan, columns: Columns, position: Longs, raw: Callable[[int], bytes]) -> Values:
    """A stretch of a file with one value a row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parameter = as_text(columns[plan.parameter])
    unit = as_text(columns[plan.unit]) if plan.unit >= 0 else pa.array([""] * len(position), parameter.type)
    both = pc.binary_join_element_wise(parameter, unit, pa.scalar("\n", parameter.type)).dictionary_encode()
    which = both.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(len(both.dictionary) + 1))
    named = enumerate(tuple(text.split("\n", 1)) for text in both.dictionary.to_pylist())
    rows = {(name[0], name[1]): order[bounds[i] : bounds[i + 1]] for i, name in named}
    empty: list[pa.Array | None] = [None] * len(plan.layout.picks[FIRST_CHANNEL:])
    records = Table([_device(plan, columns, len(position)), _time(plan, columns), *empty], position, raw)
    return Values(records, columns[plan.value], rows)


def _device(plan: Plan, columns: Columns, n: int) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not plan.device:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([plan.told or ""]))
    if len(plan.device) == 1:
        return columns[plan.device[0]]
    texts = [pc.utf8_trim_whitespace(as_text(columns[pick])) for pick in plan.device]
    return pc.binary_join_element_wise(*texts, pa.scalar("-", pa.large_string()))


def _time(plan: Plan, columns: Columns) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = [columns[pick] for pick in plan.time]
    if not plan.source.time_parts:
        return times_of(found)
    year, month, day, *clock = (pc.utf8_trim_whitespace(as_text(column)) for column in found)
    parts = [year, *(pc.utf8_lpad(part, 2, "0") for part in (month, day, *clock))]
    kind = pa.large_string()
    nought = pa.array(["00"] * len(year), kind)
    parts += [nought] * (5 - len(parts))
    date = pc.binary_join_element_wise(*parts[:3], pa.scalar("-", kind))
    hours = pc.binary_join_element_wise(*parts[3:], pa.scalar(":", kind))
    return pc.binary_join_element_wise(date, hours, pa.scalar(" ", kind))
