"""Hourly slots per device: samples folded into sums, hours read back as values.

All arrays are time-major with the device on the last axis. The slot of an hour is `hour modulo slots`, so a device
whose newest hour (its head) is `h` holds exactly the hours h - slots + 1 .. h, and a missing hour keeps its place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.core.forecast.window.columns import WORD, Counts, Layout, Sums, hour_values
from shared.core.forecast.window.counting import new_hours, popcount, rank_within
from shared.core.intake.readings import Array, Floats, Longs, Mask
from shared.core.task.calendar import NO_HOUR


@dataclass(slots=True)
class Ring:
    """The hours of some devices.

    Args:
        layout: Columns and rules.
        head: Newest hour per device, `NO_HOUR` before its first reading, int64, shape (devices,).
        sums: Sums of samples, or the chosen one, `sum_type` of the layout, shape (slots, columns, devices).
        counts: Samples behind each sum, or one more than the tick of the hour of the newest, `count_type`, same shape.
        minutes: A bit for every tick that was folded, uint64, shape (slots, words, devices).
        prints: Fingerprints of an hour's first samples, uint32, shape (slots, remembered, devices).
    """

    layout: Layout
    head: Longs
    sums: Sums
    counts: Counts
    minutes: npt.NDArray[np.uint64]
    prints: npt.NDArray[np.uint32]

    @classmethod
    def empty(cls, layout: Layout, devices: int, slots: int | None = None) -> Ring:
        """A ring without readings."""
        hours = slots or layout.slots
        return cls(
            layout,
            np.full(devices, NO_HOUR, np.int64),
            np.zeros((hours, layout.columns, devices), layout.sum_type),
            np.zeros((hours, layout.columns, devices), layout.count_type),
            np.zeros((hours, layout.words, devices), np.uint64),
            np.zeros((hours, layout.remembered, devices), np.uint32),
        )

    @property
    def slots(self) -> int:
        """Hours held per device."""
        return len(self.sums)

    def arrays(self) -> dict[str, Array]:
        """The slotted arrays by name."""
        return {"sums": self.sums, "counts": self.counts, "minutes": self.minutes, "prints": self.prints}

    def value_at(self, device: Longs, hour: Longs, column: int) -> Floats:
        """One column's value of given hours, NaN where missing or not held, shape (n,)."""
        slot = hour % self.slots
        sums, counts = self.sums[slot, :, device], self.counts[slot, :, device]
        value = hour_values(self.layout, sums, counts)[:, column]
        held = (hour <= self.head[device]) & (hour > self.head[device] - self.slots)
        return np.where(held, value, np.float32(np.nan))

    def samples(self, device: Longs, hour: Longs) -> Longs:
        """Number of distinct ticks folded into hours that the ring holds, shape (n,)."""
        return self._samples(hour % self.slots, device)

    def _samples(self, slot: Longs, device: Longs) -> Longs:
        if self.layout.words == 1:
            return popcount(self.minutes[slot, 0, device])
        found: Longs = popcount(self.minutes[slot, :, device]).sum(axis=1)
        return found

    def seen(self, device: Longs, minute: Longs) -> Mask:
        """Whether a tick of an hour that the ring holds was folded already, shape (n,)."""
        hour = minute // self.layout.ticks
        held = hour <= self.head[device]
        word, bit = self._mark(minute)
        marked: Mask = held & (self.minutes[hour % self.slots, word, device] & bit).astype(bool)
        return marked

    def _mark(self, minute: Longs) -> tuple[Longs, npt.NDArray[np.uint64]]:
        """The word of the mask, and the bit in it, that stand for ticks, shape (n,) each."""
        place = minute % self.layout.ticks
        return place // WORD, np.left_shift(np.uint64(1), (place % WORD).astype(np.uint64))

    def conflicts(self, device: Longs, minute: Longs, prints: npt.NDArray[np.uint32]) -> Mask:
        """Whether readings of ticks already seen say something else than the first ones did.

        Only the first `remembered` samples of an hour are remembered; of an hour with more, none conflicts, nor
        of one with samples from before an edit of the scenario, whose fingerprints are 0.
        """
        slot = (minute // self.layout.ticks) % self.slots
        known, samples = self.prints[slot, :, device], self._samples(slot, device)
        forgotten = (known == 0) & (np.arange(self.layout.remembered) < samples[:, None])
        remembered = samples <= self.layout.remembered
        differing: Mask = remembered & ~((known == prints[:, None]) | forgotten).any(axis=1)
        return differing

    def advance(self, device: Longs, head: Longs) -> None:
        """Move heads forward, clearing only the slots of the devices' own new hours.

        Args:
            device: Distinct devices, shape (n,).
            head: Their new heads, not below the old ones, shape (n,).
        """
        owner, hour = new_hours(self.head[device], head, self.slots)
        slot, whose = hour % self.slots, device[owner]
        for array in self.arrays().values():
            array[slot, :, whose] = 0
        self.head[device] = head

    def fold(self, device: Longs, minute: Longs, columns: Floats, prints: npt.NDArray[np.uint32]) -> None:
        """Add readings of hours that the ring holds, each of a tick not yet seen, in the order of arrival.

        Args:
            device: Device of each reading, shape (n,).
            minute: Ticks since 1970, shape (n,).
            columns: Values from `spread`, NaN where missing, shape (n, columns).
            prints: Fingerprints of the readings, shape (n,).
        """
        slot = (minute // self.layout.ticks) % self.slots
        devices, width = len(self.head), self.layout.columns
        cell = (slot * width)[:, None] + np.arange(width)
        cell = (cell * devices + device[:, None]).ravel()
        there = ~np.isnan(columns)
        if self.layout.chosen.any():
            self._choose(cell.reshape(columns.shape), minute % self.layout.ticks, columns)
            there &= ~self.layout.chosen
        there = there.ravel()
        np.add.at(self.sums.reshape(-1), cell[there], columns.ravel()[there])
        np.add.at(self.counts.reshape(-1), cell[there], self.layout.count_type(1))
        self._remember(slot, device, prints)
        word, bit = self._mark(minute)
        np.bitwise_or.at(self.minutes.reshape(-1), (slot * self.layout.words + word) * devices + device, bit)

    def _choose(self, cell: Longs, minute: Longs, columns: Floats) -> None:
        """Keep the largest, smallest or newest sample of an hour in the columns that hold one, whatever the order."""
        sums, counts = self.sums.reshape(-1), self.counts.reshape(-1)
        for column in np.flatnonzero(self.layout.chosen):
            rows = np.flatnonzero(~np.isnan(columns[:, column]))
            at, values = cell[rows, column], columns[rows, column] + np.float32(0)  # -0.0 becomes 0.0
            if self.layout.newest[column]:
                rising = np.argsort(minute[rows], kind="stable")
                rising = rising[minute[rows][rising] + 1 > counts[at[rising]]]
                sums[at[rising]], counts[at[rising]] = values[rising], minute[rows][rising] + 1
                continue
            highest = self.layout.highest[column]
            sums[at[counts[at] == 0]] = -np.inf if highest else np.inf
            (np.maximum if highest else np.minimum).at(sums, at, values)
            counts[at] = 1

    def _remember(self, slot: Longs, device: Longs, prints: npt.NDArray[np.uint32]) -> None:
        """Keep fingerprints in the hour's free places; called before the ticks are marked."""
        key = slot * len(self.head) + device
        place = self._samples(slot, device) + rank_within(key)
        free = place < self.layout.remembered
        self.prints[slot[free], place[free], device[free]] = prints[free]

    def values(self) -> Floats:
        """Hourly values in slot order, NaN where missing, shape (slots, columns, devices)."""
        return hour_values(self.layout, self.sums, self.counts)
