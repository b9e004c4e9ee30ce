"""Which of two a local time is in the hour that clocks show twice: told by the order of a device's rows in a file.

When clocks are set back, 02:00 comes twice, an hour apart. Of the two instants a row is the one that lies nearest to
the device's step behind the row before: 01:00, 02:00, 02:00, 03:00 are four hours, newest first as well. Where one of
the two is not there, or nothing stands before, it is the first. A row that is replayed alone is the first, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.core.intake.readings import Ints, Longs
from shared.core.intake.times.zones import Zone

_DAY = 24 * 60
_KEPT = 3  # rows of a device that tell its step and where it stands
_MOST_DEVICES = 100_000


class ClockTurns:
    """Follows the devices of one file; keeps a few rows of each, and those of the days on which clocks are set only."""

    def __init__(self, step: int) -> None:
        """Begin a file.

        Args:
            step: Minutes between two rows of a device, as long as the rows themselves do not say less.
        """
        self._step = step
        self._ids: dict[str, int] = {}
        self._device = np.zeros(0, np.int64)
        self._minute = np.zeros(0, np.int64)

    def later(self, names: Sequence[str], device: Ints, zone: Zone, rows: Longs, local: Longs) -> Longs:
        """Minutes by which the given rows are later than the first occurrence of their local time, shape (n,).

        Args:
            names: Of the devices.
            device: Index into `names` of every row of the stretch, -1 = none.
            zone: Of the given rows.
            rows: Their places in the stretch, in its order, shape (n,).
            local: Minutes since 1970 on the zone's clocks, shape (n,).
        """
        gain = np.zeros(len(rows), np.int64)
        near = (zone.offsets(local - _DAY) != zone.offsets(local + _DAY)) & (device[rows] >= 0)
        if near.any():
            local = local[near]
            first = zone.offsets(local)
            twice = np.maximum(first - zone.offsets(local, second=True), 0)
            gain[near] = self._follow(self._numbers(names, device[rows[near]]), local - first, twice)
        return gain

    def _numbers(self, names: Sequence[str], device: Ints) -> Longs:
        """Numbers that stand for the devices throughout the file."""
        if len(self._ids) > _MOST_DEVICES:
            self._ids.clear()
            self._device = self._minute = np.zeros(0, np.int64)
        numbers = np.zeros(len(names), np.int64)
        for i in np.unique(device).tolist():
            numbers[i] = self._ids.setdefault(names[i], len(self._ids))
        return numbers[device]

    def _follow(self, device: Longs, minute: Longs, twice: Longs) -> Longs:
        """Minutes to add to each row's first instant.

        Args:
            device: Number of each row's device, shape (n,).
            minute: First instant, minutes since 1970 UTC, shape (n,).
            twice: Minutes until the second instant of the same local time, 0 where there is none, shape (n,).
        """
        kept = len(self._device)
        device, minute = np.concatenate((self._device, device)), np.concatenate((self._minute, minute))
        order = np.argsort(device, kind="stable")
        device, minute = device[order], minute[order]
        gain = np.concatenate((np.zeros(kept, np.int64), twice))[order]
        for i in np.flatnonzero(gain).tolist():
            low = i - min(_KEPT, i - int(np.searchsorted(device, device[i])))
            gain[i] = gain[i] if self._is_second(minute[low:i].tolist(), int(minute[i]), int(gain[i])) else 0
            minute[i] += gain[i]
        newest = np.append(device[_KEPT:] != device[:-_KEPT], np.ones(min(_KEPT, len(device)), np.bool_))
        self._device, self._minute = device[newest], minute[newest]
        found = np.empty_like(gain)
        found[order] = gain
        return found[kept:]

    def _is_second(self, before: list[int], minute: int, twice: int) -> bool:
        """Whether the second instant lies nearer to the device's step behind the newest of the rows before."""
        if not before:
            return False
        steps = np.diff(before).tolist()
        forward = not steps or steps[-1] >= 0
        if forward and minute > before[-1]:
            return False
        step = min([*steps, self._step if forward else -self._step], key=abs)
        ahead = minute - before[-1] - step
        return bool(abs(ahead + twice) < abs(ahead))
