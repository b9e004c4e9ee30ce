"""Timestamps into minutes since 1970 UTC: ISO 8601 and epoch, with their own, a declared or no zone.

A local time that the clocks show twice is its first occurrence, unless the order of a file's rows says otherwise
(`clock_turns`); one that does not exist (clocks set forward) is moved forward by the gap. Seconds are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.core.intake.readings import Codes, Ints, Longs
from shared.core.intake.zones import ANCIENT_MINUTE, Zone

FUTURE_MINUTES = 5
UNZONED = -100_000
OK, ABSENT, BAD, NO_ZONE, FUTURE, ANCIENT = range(6)
REASON = ("", "missing_time", "bad_time", "no_zone", "future", "ancient")

_MILLISECONDS_FROM = 1e11


@dataclass(frozen=True, slots=True)
class Stamps:
    """Timestamps as written: minutes on their own clock, what that clock is ahead of UTC, and what is wrong.

    Args:
        local: Minutes since 1970 on the written clock, int64, shape (n,).
        offset: Minutes ahead of UTC, UNZONED where none was written, int64, shape (n,).
        fault: OK, ABSENT or BAD, uint8, shape (n,).
    """

    local: Longs
    offset: Longs
    fault: Codes

    @classmethod
    def blank(cls, n: int) -> Stamps:
        """`n` timestamps that are absent."""
        return cls(np.zeros(n, np.int64), np.zeros(n, np.int64), np.full(n, ABSENT, np.uint8))

    def put(self, rows: Longs, other: Stamps) -> None:
        """Copy `other` into the given rows."""
        self.local[rows], self.offset[rows], self.fault[rows] = other.local, other.offset, other.fault


def utc(
    stamps: Stamps,
    zones: Sequence[Zone | None],
    which: Ints,
    not_after: int | Longs,
    later: Callable[[Zone, Longs, Longs], Longs] | None = None,
) -> tuple[Longs, Codes]:
    """Minutes since 1970 UTC, and the faults OK, ABSENT, BAD, NO_ZONE, FUTURE, ANCIENT.

    Args:
        stamps: Timestamps as written, n of them.
        zones: Zones for those written without one; None refuses.
        which: Index into `zones` per timestamp, shape (n,).
        not_after: Minute that brought the timestamp; more than FUTURE_MINUTES later is the future. One, or shape (n,).
        later: Minutes by which (zone, rows, local minutes) are later than the first occurrence of their local time.
    """
    bare = stamps.offset == UNZONED
    fault = stamps.fault.copy()
    minute = stamps.local - np.where(bare, 0, stamps.offset)
    for k, known in enumerate(zones):
        rows = np.flatnonzero(bare & (which == k))
        if known is None:
            fault[rows] = NO_ZONE
        else:
            minute[rows] -= known.offsets(stamps.local[rows])
            if later is not None and known.changes:
                rows = rows[stamps.fault[rows] == OK]
                minute[rows] += later(known, rows, stamps.local[rows])
    fine = fault == OK
    fault[fine & (minute > np.asarray(not_after) + FUTURE_MINUTES)] = FUTURE
    fault[fine & (minute < ANCIENT_MINUTE)] = ANCIENT
    return minute, fault


def from_epoch(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Stamps:
    """Epoch seconds, or milliseconds from 1e11 on (a second of the year 5138, a millisecond of 1973).

    >>> from_epoch(np.array([3600.0, 1.7e12])).local.tolist()
    [60, 28333333]
    """
    with np.errstate(invalid="ignore"):
        seconds = np.where(np.abs(values) >= _MILLISECONDS_FROM, values / 1000.0, values)
        minutes = np.floor_divide(np.clip(seconds, -1e14, 1e14), 60.0)
    fault = np.where(np.isnan(values), ABSENT, np.where(np.isinf(values), BAD, OK)).astype(np.uint8)
    local = np.where(fault == OK, minutes, 0.0).astype(np.int64)
    return Stamps(local, np.zeros(len(values), np.int64), fault)
