"""Hourly slots per device: samples folded into sums, hours read back as values.

All arrays are time-major with the device on the last axis. The slot of an hour is `hour modulo slots`, so a device
whose newest hour (its head) is `h` holds exactly the hours h - slots + 1 .. h, and a missing hour keeps its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Floats, Ints, Longs, Readings
from shared.core.scenario import Scenario

Array: TypeAlias = npt.NDArray[Any]
Bools: TypeAlias = npt.NDArray[np.bool_]
NO_HOUR = -1
MINUTES = 60
_LANES = 16
CELLS_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True)
class Layout:
    """What the scenario says about the ring: its columns, how samples make an hour, how many hours it holds."""

    circular: tuple[int, ...]
    sources: tuple[int, ...]
    summed: npt.NDArray[np.bool_]
    samples_per_hour: int
    history: int
    slots: int

    @property
    def columns(self) -> int:
        """Number of stored columns."""
        return len(self.summed)

    @classmethod
    def of(cls, scenario: Scenario) -> Layout:
        """Layout of a scenario's ring."""
        sources = [i for i, c in enumerate(scenario.channels) for _ in range(1 + (c.aggregate == "circular"))]
        return cls(
            circular=tuple(i for i, c in enumerate(scenario.channels) if c.aggregate == "circular"),
            sources=tuple(sources),
            summed=np.array([scenario.channels[i].aggregate == "sum" for i in sources]),
            samples_per_hour=scenario.samples_per_hour,
            history=scenario.history,
            slots=scenario.slots,
        )


def spread(layout: Layout, values: Floats) -> Floats:
    """Stored columns of readings: a circular channel becomes its unit vector (sine, cosine).

    Args:
        layout: Columns of the ring.
        values: Channel values in the scenario's order, shape (n, channels).

    Returns:
        Values to be summed, NaN where missing, shape (n, columns).
    """
    out = values[:, layout.sources]
    for channel in layout.circular:
        first = layout.sources.index(channel)
        angle = np.deg2rad(values[:, channel].astype(np.float64))
        out[:, first] = _same_bits(np.sin, angle)
        out[:, first + 1] = _same_bits(np.cos, angle)
    return out


def _same_bits(function: Callable[[Array], Array], x: Array) -> Array:
    """Apply a transcendental so that a value's bits do not depend on its neighbours: contiguous, padded lanes."""
    padded = np.zeros(-(-len(x) // _LANES) * _LANES, dtype=np.float64)
    padded[: len(x)] = x
    return function(padded)[: len(x)]


def hour_values(layout: Layout, sums: Floats, counts: npt.NDArray[np.uint8]) -> Floats:
    """Hourly values of sums and counts; an incomplete hour of a summed column counts as missing.

    Args:
        layout: Columns of the ring.
        sums: Sums of samples, shape (hours, columns, devices).
        counts: Number of samples behind each sum, same shape.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.divide(sums, counts, dtype=np.float32)
    values[counts == 0] = np.nan  # 0 / 0 gives a NaN of another sign, and bits are compared
    for column in np.flatnonzero(layout.summed):
        whole = counts[:, column] >= layout.samples_per_hour
        values[:, column] = np.where(whole, sums[:, column], np.float32(np.nan))
    return values


def fingerprint(minute: Ints, columns: Floats) -> npt.NDArray[np.uint32]:
    """A hash of each reading's minute and values, never 0, that tells a re-send from a conflicting reading.

    Args:
        minute: Minutes, shape (n,).
        columns: Values, NaN where missing (every NaN is the same), shape (n, columns).
    """
    bits = np.where(np.isnan(columns), np.float32(np.inf), columns + np.float32(0)).view(np.uint32)
    mixed = minute.astype(np.uint32) * np.uint32(2654435761)
    for column in range(bits.shape[1]):
        mixed = (mixed ^ bits[:, column]) * np.uint32(16777619)
        mixed ^= mixed >> np.uint32(15)
    return mixed | np.uint32(1)


@dataclass(slots=True)
class Ring:
    """The hours of some devices.

    Args:
        layout: Columns and rules.
        head: Newest hour per device, `NO_HOUR` before its first reading, int64, shape (devices,).
        sums: Sums of samples, float32, shape (slots, columns, devices).
        counts: Samples behind each sum, uint8, same shape.
        minutes: A bit for every minute that was folded, uint64, shape (slots, 1, devices).
        prints: Fingerprints of an hour's first samples, uint32, shape (slots, samples_per_hour, devices).
    """

    layout: Layout
    head: Longs
    sums: Floats
    counts: npt.NDArray[np.uint8]
    minutes: npt.NDArray[np.uint64]
    prints: npt.NDArray[np.uint32]

    @classmethod
    def empty(cls, layout: Layout, devices: int, slots: int | None = None) -> Ring:
        """A ring without readings."""
        hours = slots or layout.slots
        return cls(
            layout,
            np.full(devices, NO_HOUR, np.int64),
            np.zeros((hours, layout.columns, devices), np.float32),
            np.zeros((hours, layout.columns, devices), np.uint8),
            np.zeros((hours, 1, devices), np.uint64),
            np.zeros((hours, layout.samples_per_hour, devices), np.uint32),
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
        """Number of distinct minutes folded into hours that the ring holds, shape (n,)."""
        return popcount(self.minutes[hour % self.slots, 0, device])

    def seen(self, device: Longs, minute: Longs) -> Bools:
        """Whether a minute of an hour that the ring holds was folded already, shape (n,)."""
        hour = minute // MINUTES
        held = hour <= self.head[device]
        mask = self.minutes[hour % self.slots, 0, device]
        marked: Bools = held & ((mask >> (minute % MINUTES).astype(np.uint64)) & np.uint64(1)).astype(bool)
        return marked

    def conflicts(self, device: Longs, minute: Longs, prints: npt.NDArray[np.uint32]) -> Bools:
        """Whether readings of minutes already seen say something else than the first ones did.

        Only the first `samples_per_hour` samples of an hour are remembered; of an hour with more, none conflicts.
        """
        slot = (minute // MINUTES) % self.slots
        known = self.prints[slot, :, device]
        remembered = popcount(self.minutes[slot, 0, device]) <= self.layout.samples_per_hour
        differing: Bools = remembered & ~(known == prints[:, None]).any(axis=1)
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
        """Add readings of hours that the ring holds, each of a minute not yet seen, in the order of arrival.

        Args:
            device: Device of each reading, shape (n,).
            minute: Minutes since 1970, shape (n,).
            columns: Values from `spread`, NaN where missing, shape (n, columns).
            prints: Fingerprints of the readings, shape (n,).
        """
        slot = (minute // MINUTES) % self.slots
        devices, width = len(self.head), self.layout.columns
        cell = (slot * width)[:, None] + np.arange(width)
        cell = (cell * devices + device[:, None]).ravel()
        there = ~np.isnan(columns).ravel()
        np.add.at(self.sums.reshape(-1), cell[there], columns.ravel()[there])
        np.add.at(self.counts.reshape(-1), cell[there], np.uint8(1))
        self._remember(slot, device, prints)
        bit = np.left_shift(np.uint64(1), (minute % MINUTES).astype(np.uint64))
        np.bitwise_or.at(self.minutes.reshape(-1), slot * devices + device, bit)

    def _remember(self, slot: Longs, device: Longs, prints: npt.NDArray[np.uint32]) -> None:
        """Keep fingerprints in the hour's free places; called before the minutes are marked."""
        key = slot * len(self.head) + device
        place = popcount(self.minutes[slot, 0, device]) + rank_within(key)
        free = place < self.layout.samples_per_hour
        self.prints[slot[free], place[free], device[free]] = prints[free]

    def values(self) -> Floats:
        """Hourly values in slot order, NaN where missing, shape (slots, columns, devices)."""
        return hour_values(self.layout, self.sums, self.counts)


def windows(values: Floats, device: Longs, as_of: Longs, history: int) -> Floats:
    """Windows that end with the as-of hours, oldest hour first.

    Args:
        values: Hourly values in slot order, from `Ring.values`, shape (slots, columns, devices).
        device: Device of each window, shape (n,).
        as_of: Newest hour of each window, which the ring must hold with all its history, shape (n,).
        history: Hours in a window.

    Returns:
        Contiguous float32, shape (history, columns, n).
    """
    slots, width, devices = values.shape
    hour = width * devices  # cells from one hour to the next
    hours = min(history, max(1, CELLS_AT_ONCE // (width * max(len(as_of), 1))))
    cell = (as_of + 1 - history) % slots * hour + device
    index = cell + (np.arange(hours) * hour)[:, None, None] + (np.arange(width) * devices)[:, None]
    cut: Floats = np.empty((history, width, len(as_of)), np.float32)
    for start in range(0, history, hours):  # an index of all hours at once would not fit into the processor's cache
        part = cut[start : start + hours]
        values.reshape(-1).take(index[: len(part)], out=part, mode="wrap")  # the slot after the last is the first
        index += hours * hour
    return cut


def new_hours(old: Longs, new: Longs, limit: int) -> tuple[Longs, Longs]:
    """Hours that become part of a device's ring when its head moves, at most the newest `limit`.

    Returns:
        Index of the device and hour, one row each, both of shape (rows,).
    """
    span = np.minimum(new - old, limit)
    owner = np.repeat(np.arange(len(span)), span)
    return owner, new[owner] - rank_within(owner)


def rank_within(key: Longs) -> Longs:
    """How many earlier rows have the same key, shape (n,)."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]] if len(key) else np.zeros(0, bool)
    first = np.flatnonzero(starts)
    ranks = np.empty(len(key), np.int64)
    ranks[order] = np.arange(len(key)) - np.repeat(first, np.diff(np.r_[first, len(key)]))
    return ranks


def popcount(mask: npt.NDArray[np.uint64]) -> Longs:
    """Number of set bits, shape of the input."""
    x = mask - ((mask >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    ones: Longs = ((x * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.int64)
    return ones


@dataclass(frozen=True, slots=True)
class Hourly:
    """One device's history for training.

    Args:
        first_hour: Hour of the first row, hours since 1970-01-01 UTC.
        values: Hourly values, NaN where missing, float32, shape (hours, columns).
        samples: Distinct minutes in each hour, uint8, shape (hours,).
    """

    first_hour: int
    values: Floats
    samples: npt.NDArray[np.uint8]


def hourly(scenario: Scenario, readings: Readings) -> dict[str, Hourly]:
    """Every device's hours without gaps, folded as serving folds them; the first reading of a minute wins.

    Args:
        scenario: Rules of aggregation.
        readings: All readings, in the order in which first and second are told apart.
    """
    layout = Layout.of(scenario)
    key = readings.device.astype(np.int64) << 32 | readings.minute
    _, first = np.unique(key, return_index=True)
    keep = np.sort(first)
    device, minute = readings.device[keep].astype(np.int64), readings.minute[keep].astype(np.int64)
    columns = spread(layout, readings.values[keep])
    order = np.argsort(device, kind="stable")
    bounds = np.searchsorted(device[order], np.arange(len(readings.devices) + 1))
    parts = [order[bounds[i] : bounds[i + 1]] for i in range(len(readings.devices))]
    return {
        name: _one_device(layout, minute[rows], columns[rows])
        for name, rows in zip(readings.devices, parts, strict=True)
        if len(rows)
    }


def _one_device(layout: Layout, minute: Longs, columns: Floats) -> Hourly:
    hour = minute // MINUTES
    first, last = int(hour.min()), int(hour.max())
    ring = Ring.empty(layout, 1, slots=last - first + 1)
    ring.head[0] = last
    ring.fold(np.zeros_like(minute), minute, columns, np.ones(len(minute), np.uint32))
    turn = (first + np.arange(ring.slots)) % ring.slots
    samples = popcount(ring.minutes[turn, 0, 0]).astype(np.uint8)
    return Hourly(first, np.ascontiguousarray(ring.values()[turn, :, 0]), samples)
