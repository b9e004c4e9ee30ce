"""How each device has been lately: what its hours and its matured forecasts tell of it, one row a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.core.forecast.ring import Layout, hour_values, windows
from shared.core.forecast.state import QUALITY, State, quantum
from shared.core.intake.readings import Floats, Longs
from shared.core.scenario import Scenario

HOURS = 120
NEWEST = 24  # hours that are compared with the ones before them
AT_ONCE = 512  # devices: their hours fit into the processor's cache

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """One row a device, n devices; C are the scenario's stored columns, hours the newest 120 up to its own head.

    Where the ring holds less than 120 hours, "120" below stands for what it holds.

    Args:
        device: Device ids.
        head: Its newest hour, hours since 1970, int64, shape (n,).
        samples: Hours with a value, int64, shape (n, C).
        mean: Mean of the hourly values, NaN when there is none, float32, shape (n, C).
        std: Their standard deviation (divided by the count), NaN when there is none, float32, shape (n, C).
        last: The newest value, NaN when there is none, float32, shape (n, C).
        run: How many of the newest values in a row, missing hours skipped, equal the newest, int64, shape (n, C).
        silent: Hours from the newest value to the head, 120 when there is none, int64, shape (n, C).
        half: Means of the older 96 hours and of the newest 24, NaN when there is none, float32, shape (n, 2, C).
        matured: Matured forecasts of the champion with a known truth, as-of in its newest `QUALITY_DAYS` days, int64,
            shape (n,).
        absolute: Sum of their absolute errors in the target's unit, float64, shape (n,).
        covered: How many truths lay in the interval, int64, shape (n,).
    """

    device: list[str]
    head: Longs
    samples: Longs
    mean: Floats
    std: Floats
    last: Floats
    run: Longs
    silent: Longs
    half: Floats
    matured: Longs
    absolute: Doubles
    covered: Longs

    def __len__(self) -> int:
        return len(self.device)

    @classmethod
    def empty(cls, columns: int) -> DeviceTable:
        """No devices."""
        longs, floats = np.zeros((0, columns), np.int64), np.zeros((0, columns), np.float32)
        one, halves = np.zeros(0, np.int64), np.zeros((0, 2, columns), np.float32)
        return cls([], one, longs, floats, floats, floats, longs, longs, halves, one, np.zeros(0), one)


NAMES = tuple(name for name in DeviceTable.__slots__ if name != "device")


def joined(tables: Sequence[DeviceTable], columns: int) -> DeviceTable:
    """The rows of all tables, in order.

    Args:
        tables: Any number of tables.
        columns: Stored columns of the scenario.
    """
    every = [DeviceTable.empty(columns), *tables]
    device = [name for table in every for name in table.device]
    return DeviceTable(device, *(np.concatenate([getattr(table, name) for table in every]) for name in NAMES))


@dataclass(frozen=True, slots=True)
class Lately:
    """A copy of what a device table is made from, so that it can be made while the state goes on.

    Args:
        layout: Of the ring.
        unit: Quantum of errors.
        device: Device ids.
        head: Their newest hours.
        sums: The ring's sums, shape (slots, C, n).
        counts: The ring's counts, same shape.
        quality: Sums over the newest days, named by `QUALITY`, shape (3, n).
    """

    layout: Layout
    unit: float
    device: list[str]
    head: Longs
    sums: Floats
    counts: npt.NDArray[np.uint8]
    quality: Longs

    @classmethod
    def of(cls, scenario: Scenario, state: State) -> Lately:
        """A copy."""
        count, ring = len(state.devices), state.columns.ring
        return cls(
            ring.layout,
            quantum(scenario),
            list(state.devices),
            ring.head[:count].copy(),
            ring.sums[:, :, :count].copy(),
            ring.counts[:, :, :count].copy(),
            state.columns.quality[:, :, :count].sum(axis=0),
        )

    def table(self) -> DeviceTable:
        """The device table."""
        parts = [self._part(slice(start, start + AT_ONCE)) for start in range(0, len(self.device), AT_ONCE)]
        return joined(parts, self.layout.columns)

    def _part(self, part: slice) -> DeviceTable:
        values = hour_values(self.layout, self.sums[:, :, part], self.counts[:, :, part])
        head = self.head[part]
        hours = min(HOURS, len(values))
        # One matrix row a series, so that each sum runs over the hours alone, in the same order for every device.
        series = windows(values, np.arange(len(head)), head, hours)
        own = dict(zip(QUALITY, self.quality[:, part], strict=True))
        return DeviceTable(
            self.device[part],
            head,
            **{name: np.ascontiguousarray(array.T) for name, array in _numbers(series).items()},
            half=np.ascontiguousarray(np.stack(_halves(series)).transpose(2, 0, 1)),
            matured=own["matured"],
            absolute=own["absolute"] * self.unit,
            covered=own["covered"],
        )


def _numbers(series: Floats) -> dict[str, npt.NDArray[Any]]:
    """Numbers of each series (hours, C, n), oldest hour first, shape (C, n) each."""
    hours = len(series)
    there = ~np.isnan(series)
    samples = there.sum(axis=0)
    mean, std = _moments(series, there, samples)
    newest_first = there[::-1]
    silent = np.where(samples > 0, newest_first.argmax(axis=0), hours)
    last = np.take_along_axis(series, np.maximum(hours - 1 - silent, 0)[None], axis=0)[0]
    differs = (series != last) & there
    changed = np.where(differs.any(axis=0), differs[::-1].argmax(axis=0), hours)  # hours back to another value
    run = (there & (np.arange(hours)[::-1, None, None] < changed)).sum(axis=0)
    return {"samples": samples, "mean": mean, "std": std, "last": last, "run": run, "silent": silent}


def _moments(series: Floats, there: npt.NDArray[np.bool_], samples: Longs) -> tuple[Floats, Floats]:
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, series, np.float32(0)).sum(axis=0, dtype=np.float64) / samples
        apart = np.where(there, series - mean, 0.0)
        std = np.sqrt(np.einsum("hcn,hcn->cn", apart, apart) / samples)
    return mean.astype(np.float32), std.astype(np.float32)


def _halves(series: Floats) -> list[Floats]:
    """Means before and within the newest hours, each of shape (C, n)."""
    halves = []
    for part in (series[:-NEWEST], series[-NEWEST:]):
        there = ~np.isnan(part)
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = np.where(there, part, np.float32(0)).sum(axis=0, dtype=np.float64)
            halves.append((sums / there.sum(axis=0)).astype(np.float32))
    return halves
