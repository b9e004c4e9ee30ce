"""Timestamps into minutes since 1970 UTC, and seconds: ISO 8601, epoch and compact dates, with their own or no zone.

A local time that the clocks show twice is its first occurrence, unless the order of a file's rows says otherwise
(`clock_turns`); one that does not exist (clocks set forward) is moved forward by the gap, and told (`skipped`).
Fractions of a second are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.core.intake.readings import Codes, Doubles, Ints, Longs, Mask
from shared.core.intake.times.zones import ANCIENT_MINUTE, Zone

FUTURE_MINUTES = 5
UNZONED = -100_000
OK, ABSENT, BAD, FUTURE, ANCIENT = range(5)
REASON = ("", "missing_time", "bad_time", "future", "ancient")

_UNITS = ((1e11, 1e3), (1e14, 1e6), (1e17, 1e9))  # from which number on epochs count so many in a second
_COMPACT = ((1e11, 1.0), (1e13, 1e2), (1e16, 1e5))  # from which number on dates count so many in a minute
_CENTURIES = (1.9, 2.1)  # such a number begins with 19 or 20


@dataclass(frozen=True, slots=True)
class Stamps:
    """Timestamps as written: minutes on their own clock, what that clock is ahead of UTC, and what is wrong.

    Args:
        local: Minutes since 1970 on the written clock, int64, shape (n,).
        offset: Minutes ahead of UTC, UNZONED where none was written, int64, shape (n,).
        fault: OK, ABSENT or BAD, uint8, shape (n,).
        second: Seconds behind the minute, 0 to 59, int64, shape (n,).
    """

    local: Longs
    offset: Longs
    fault: Codes
    second: Longs

    @classmethod
    def blank(cls, n: int) -> Stamps:
        """`n` timestamps that are absent."""
        return cls(np.zeros(n, np.int64), np.zeros(n, np.int64), np.full(n, ABSENT, np.uint8), np.zeros(n, np.int64))

    def at(self, rows: Longs) -> Stamps:
        """Some of them."""
        return Stamps(self.local[rows], self.offset[rows], self.fault[rows], self.second[rows])

    def put(self, rows: Longs, other: Stamps) -> None:
        """Copy `other` into the given rows."""
        self.local[rows], self.offset[rows], self.fault[rows] = other.local, other.offset, other.fault
        self.second[rows] = other.second


def utc(
    stamps: Stamps,
    zones: Sequence[Zone],
    which: Ints,
    not_after: int | Longs,
    later: Callable[[Zone, Longs, Longs], Longs] | None = None,
) -> tuple[Longs, Codes]:
    """Minutes since 1970 UTC, and the faults OK, ABSENT, BAD, FUTURE, ANCIENT.

    Args:
        stamps: Timestamps as written, n of them.
        zones: Zones for those written without one.
        which: Index into `zones` per timestamp, shape (n,).
        not_after: Minute that brought the timestamp; more than FUTURE_MINUTES later is the future. One, or shape (n,).
        later: Minutes by which (zone, rows, local minutes) are later than the first occurrence of their local time.
    """
    bare = stamps.offset == UNZONED
    fault = stamps.fault.copy()
    minute = stamps.local - np.where(bare, 0, stamps.offset)
    for k, known in enumerate(zones):
        rows = np.flatnonzero(bare & (which == k))
        minute[rows] -= known.offsets(stamps.local[rows])
        if later is not None and known.changes:
            rows = rows[stamps.fault[rows] == OK]
            minute[rows] += later(known, rows, stamps.local[rows])
    fine = fault == OK
    fault[fine & (minute > np.asarray(not_after) + FUTURE_MINUTES)] = FUTURE
    fault[fine & (minute < ANCIENT_MINUTE)] = ANCIENT
    return minute, fault


def never_were(stamps: Stamps, zones: Sequence[Zone], which: Ints) -> tuple[Longs, Longs]:
    """Rows whose local time clocks skipped, and the minutes ahead of UTC by which they are read; as `utc` is given."""
    rows, offsets = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for k, known in enumerate(zones):
        if known.changes:
            own = np.flatnonzero((stamps.offset == UNZONED) & (stamps.fault == OK) & (which == k))
            first = known.offsets(stamps.local[own])
            gone = first < known.offsets(stamps.local[own], second=True)
            rows.append(own[gone])
            offsets.append(first[gone])
    return np.concatenate(rows), np.concatenate(offsets)


def from_number(values: Doubles) -> Stamps:
    """Epoch in seconds, milliseconds, microseconds or nanoseconds, or a date with nothing between its digits.

    They are told apart by their size, between 1973 and the year 5138: 1e11 is a second of the latter and a millisecond
    of the former. A number such as 20260425050000 or 202604250500 (year, month, day, hour, minute; seconds,
    milliseconds) would be an epoch of 1976 or the year 2612: it is a date, on a clock without a zone.

    Args:
        values: NaN where absent, float64, shape (n,).

    >>> from_number(np.array([3600.0, 1.7e12, 1.7e15, 1.7e18, 197001010100, 19700101010059])).local.tolist()
    [60, 28333333, 28333333, 28333333, 60, 60]
    """
    with np.errstate(invalid="ignore"):
        size = np.abs(values)
        scale = np.select([size >= start for start, _ in reversed(_UNITS)], [each for _, each in reversed(_UNITS)], 1.0)
        seconds = np.floor(np.clip(values / scale, -1e14, 1e14))
    fault = np.where(np.isnan(values), ABSENT, np.where(np.isinf(values), BAD, OK)).astype(np.uint8)
    minute, second = np.divmod(np.where(fault == OK, seconds, 0.0).astype(np.int64), 60)
    stamps = Stamps(minute, np.zeros(len(values), np.int64), fault, second)
    for start, each in _COMPACT:
        dates = (values >= _CENTURIES[0] * start) & (values < _CENTURIES[1] * start)
        if dates.any():
            minute, rest = np.divmod(values[dates], each)
            second = (rest * 100 // each).astype(np.int64) if each > 1 else np.zeros(len(rest), np.int64)
            stamps.put(np.flatnonzero(dates), _from_digits(minute.astype(np.int64), second))
    return stamps


def _from_digits(value: Longs, second: Longs) -> Stamps:
    """Dates such as 202604250500, and the seconds behind them."""
    date, clock = value // 10_000, value % 10_000
    hour, minute = clock // 100, clock % 100
    day, fine = days(date // 10_000, date // 100 % 100, date % 100)
    fine &= (hour < 24) & (minute < 60)
    local = np.where(fine, (day * 24 + hour) * 60 + minute, 0)
    fault = np.where(fine, OK, BAD).astype(np.uint8)
    return Stamps(local, np.full(len(value), UNZONED, np.int64), fault, np.minimum(second, 59))


def days(year: Longs, month: Longs, day: Longs) -> tuple[Longs, Mask]:
    """Days since 1970 of dates, and whether there is such a one, shape (n,)."""
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first, following = ((months + k).astype("M8[M]").astype("M8[D]").astype(np.int64) for k in (0, 1))
    return first + day - 1, (year > 0) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= following - first)
