"""Cutting a batch into segments that can be folded as a whole and give what one reading at a time would give.

Forecasts of a segment are made at its end, from everything it brought. That equals making them one reading at a time
and keeping the last one, as long as (1) the ring still holds the windows of all as-of hours the segment touched, and
(2) no reading changes an hour after a forecast that looks back on it became final. A new one begins where one fails.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.core.intake.readings import Longs, Mask
from shared.core.task.calendar import NO_HOUR


@dataclass(frozen=True, slots=True)
class Rules:
    """Hours that decide on cuts: `horizon` of a forecast, `reach` from the oldest touched as-of hour to the head."""

    horizon: int
    reach: int


def running_heads(device: Longs, hour: Longs, head: Longs) -> tuple[Longs, Longs]:
    """A device's newest hour before and after each of its readings.

    Args:
        device: Device of each reading, grouped (equal devices stand together, in order of arrival), shape (n,).
        hour: Hour of each reading, shape (n,).
        head: Newest hour per device before the batch, shape (devices,).

    Returns:
        Heads before and heads after, each of shape (n,).
    """
    if not len(device):
        return hour.copy(), hour.copy()
    span = int(max(hour.max(), head.max())) + 2
    # One running maximum serves all devices: each starts above all hours of the one before it.
    lift = np.cumsum(np.r_[0, device[1:] != device[:-1]]) * span
    after = np.maximum.accumulate(np.maximum(hour, head[device]) + 1 + lift) - lift - 1
    starts = np.r_[True, device[1:] != device[:-1]]
    before = np.where(starts, head[device], np.r_[NO_HOUR, after[:-1]])
    return before, after


@dataclass(frozen=True, slots=True)
class Groups:
    """Readings of a batch by device: where each device's rows start and end, and the hours they touch.

    Args:
        starts: First row of each device.
        ends: Row after its last.
        oldest: Oldest as-of hour its readings may touch.
        changed: Oldest hour they may change: its head before the batch, or the hour of an older reading.
        newest: Its head after the batch.
    """

    starts: Longs
    ends: Longs
    oldest: Longs
    changed: Longs
    newest: Longs

    @property
    def span(self) -> int:
        """Hours from the oldest touched as-of hour to the head, the largest of all devices."""
        return int((self.newest - self.oldest).max(initial=0))

    @property
    def hours(self) -> int:
        """Hours from the oldest changed one to the head, both counted, the largest of all devices."""
        return int((self.newest - self.changed).max(initial=-1)) + 1


def groups(device: Longs, hour: Longs, before: Longs, after: Longs, horizon: int) -> Groups:
    """Find the devices' rows; arguments as for `cut`."""
    if not len(device):
        return Groups(*(np.empty(0, np.int64) for _ in range(5)))
    starts = np.flatnonzero(np.r_[True, device[1:] != device[:-1]])
    ends = np.r_[starts[1:], len(device)]
    lowest = np.minimum.reduceat(hour, starts)
    oldest = np.minimum(_oldest(hour[starts], before[starts], horizon), lowest)
    return Groups(starts, ends, oldest, np.minimum(before[starts], lowest), after[ends - 1])


def cut(grouped: Groups, hour: Longs, before: Longs, after: Longs, rules: Rules) -> Longs:
    """Number of the segment each reading belongs to, from 0 for each device; they are folded in this order.

    Args:
        grouped: Devices' rows, from `groups`.
        hour: Hour of each reading, within the lateness of the head, shape (n,).
        before: The device's head before the reading, shape (n,).
        after: The device's head after the reading, shape (n,).
        rules: Horizon and reach.
    """
    segment = np.zeros(len(hour), np.int64)
    forced = (hour < before) & (hour <= before - rules.horizon)
    forced_until = np.r_[0, np.cumsum(forced)]
    plain = grouped.newest - grouped.oldest <= rules.reach
    plain &= forced_until[grouped.ends] == forced_until[grouped.starts]
    for start, end in zip(grouped.starts[~plain], grouped.ends[~plain], strict=True):
        _cut_one(segment[start:end], hour[start:end], before[start:end], after[start:end], forced[start:end], rules)
    return segment


def _oldest(hour: Longs, before: Longs, horizon: int) -> Longs:
    """Oldest as-of hour that a segment beginning with these readings may touch."""
    late = hour < before
    open_head = (before != NO_HOUR) & (before > hour - horizon)
    return np.where(late | ~open_head, hour, before)


def _cut_one(segment: Longs, hour: Longs, before: Longs, after: Longs, forced: Mask, rules: Rules) -> None:
    start, number = 0, 0
    breaks = np.flatnonzero(forced)
    while start < len(hour):
        oldest = int(_oldest(hour[start], before[start], rules.horizon))
        end = int(np.searchsorted(after, oldest + rules.reach, side="right"))
        late = int(hour[start : max(end, start + 1)].min())
        if late < oldest:  # count from the oldest hour that a late reading in here touches
            end = int(np.searchsorted(after, late + rules.reach, side="right"))
        place = int(np.searchsorted(breaks, start, side="right"))
        if place < len(breaks):
            end = min(end, int(breaks[place]))
        end = max(end, start + 1)
        segment[start:end] = number
        start, number = end, number + 1
