"""Rows of one value each into readings: those of one device and time together, as far as they stand near each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shared.core.intake.acceptance import Sheet
from shared.core.intake.columns import FIRST_CHANNEL
from shared.core.intake.readings import Array, Codes, Floats, Longs, Parsed, Rejection
from shared.core.intake.times.timestamps import Stamps
from shared.core.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that hold one channel's values in one unit: the channel's index, their places in the stretch, the sheet."""

    channel: int
    rows: Longs
    sheet: Sheet


@dataclass(frozen=True, slots=True)
class Joined:
    """Readings that were made of several rows each.

    Args:
        sheet: The readings; a reading's position is that of its first row.
        rows: Places of all rows, by reading, shape (n,).
        bounds: Where each reading's rows begin in `rows`, and the last one's end, shape (readings + 1,).
        position: Of all rows of the stretch.
        raw: Original bytes of a row of the stretch.
    """

    sheet: Sheet
    rows: Longs
    bounds: Longs
    position: Longs
    raw: Callable[[int], bytes]

    def by_row(self, parsed: Parsed) -> Parsed:
        """What was judged, each rejected reading as the rows that it was made of."""
        if not parsed.rejected:
            return parsed
        place = {int(position): g for g, position in enumerate(self.sheet.position)}
        rejected = [row for each in parsed.rejected for row in self._rows(each, place.get(each.position))]
        rejected.sort(key=lambda rejection: rejection.position)
        return replace(parsed, rejected=rejected)

    def _rows(self, rejection: Rejection, g: int | None) -> list[Rejection]:
        if g is None:
            return [rejection]
        rows = self.rows[self.bounds[g] : self.bounds[g + 1]].tolist()
        return [replace(rejection, position=int(self.position[row]), raw=self.raw(row)) for row in rows]


def joined(parts: Sequence[Part], scenario: Scenario, position: Longs, raw: Callable[[int], bytes]) -> Joined:
    """Rows of one device and time as one reading; a second value of its channel begins another reading.

    Args:
        parts: At least one.
        scenario: Its channels, and how far apart two times must lie.
        position: Of all rows of the stretch.
        raw: Original bytes of a row of the stretch.
    """
    places: dict[str, int] = {}
    numbers = [_numbers(part.sheet, places) for part in parts]
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")

    def all_of(columns: Sequence[Array]) -> Array:
        return np.concatenate(columns)[order]

    rows = rows[order]
    channel = all_of([np.full(len(part.rows), part.channel) for part in parts])
    device = all_of(numbers)
    local, offset, fault, second = (
        all_of([getattr(part.sheet.stamps, name) for part in parts]) for name in ("local", "offset", "fault", "second")
    )
    when = (device, scenario.cadence.tick_of(local, second), offset, fault)
    group = _groups(*when, _rank(_groups(*when, channel)))
    by = np.argsort(group, kind="stable")
    first = by[np.flatnonzero(np.diff(group[by], prepend=-1))]
    rising = np.argsort(first, kind="stable")
    number = np.empty(len(first), np.int64)
    number[rising] = np.arange(len(first))
    group, first = number[group], first[rising]
    by = np.argsort(group, kind="stable")
    # row, among all parts', that holds a reading's channel
    held = np.full((len(first), len(scenario.channels)), -1, np.int64)
    held[group, channel] = np.arange(len(rows))
    source, at = _sources(parts, order)

    def cell(g: int, slot: int) -> object:
        row = int(first[g] if slot < FIRST_CHANNEL else held[g, slot - FIRST_CHANNEL])
        return None if row < 0 else parts[int(source[row])].sheet.cell(int(at[row]), slot)

    sheet = Sheet(
        position=position[rows[first]],
        names=list(places),
        device=device[first].astype(np.int32),
        stamps=Stamps(local[first], offset[first], fault[first], second[first]),
        values=_spread(all_of([part.sheet.values[:, part.channel] for part in parts]), held, np.float32(np.nan)),
        faults=_faults(parts, all_of, held),
        cell=cell,
        raw=lambda g: raw(int(rows[first[g]])),
        written=lambda c, found: ((cell(g, FIRST_CHANNEL + c), 1) for g in found.tolist()),
        lag=parts[0].sheet.lag,
    )
    bounds = np.searchsorted(group[by], np.arange(len(first) + 1))
    return Joined(sheet, rows[by], bounds, position, raw)


def _numbers(sheet: Sheet, places: dict[str, int]) -> Longs:
    """Each record's device among all parts', -1 where it has none."""
    numbers = np.array([*(places.setdefault(name.strip(), len(places)) for name in sheet.names), -1], np.int64)
    return numbers[sheet.device]


def _groups(*keys: Array) -> Longs:
    """A number for each distinct combination of keys, shape (n,)."""
    order = np.lexsort(keys)
    new = np.zeros(len(order), np.bool_)
    for key in keys:
        new[1:] |= np.diff(key[order].astype(np.int64)) != 0
    found = np.empty(len(order), np.int64)
    found[order] = np.cumsum(new)
    return found


def _rank(group: Longs) -> Longs:
    """How many of its group stand before each, shape (n,)."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], group[order])
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - starts
    return rank


def _sources(parts: Sequence[Part], order: Longs) -> tuple[Longs, Longs]:
    """Part of each row, and its place there."""
    sizes = [len(part.rows) for part in parts]
    which = np.repeat(np.arange(len(parts)), sizes)
    place = np.concatenate([np.arange(size) for size in sizes])
    return which[order], place[order]


def _spread(values: Floats, held: Longs, empty: np.float32) -> Floats:
    return np.append(values, empty)[held]


def _faults(parts: Sequence[Part], all_of: Callable[[Sequence[Array]], Array], held: Longs) -> Codes | None:
    if all(part.sheet.faults is None for part in parts):
        return None
    nothing = [np.zeros(len(part.rows), np.uint8) for part in parts]
    found = [
        none if part.sheet.faults is None else part.sheet.faults[:, part.channel]
        for part, none in zip(parts, nothing, strict=True)
    ]
    faults: Codes = np.append(all_of(found), np.uint8(0))[held]
    return faults
