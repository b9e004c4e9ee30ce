"""What the newest hours of each device tell, copied while the state goes on and counted when there is time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.core.forecast.losses import QUALITY, quantum
from shared.core.forecast.state import State
from shared.core.forecast.window.columns import Counts, Layout, Sums, hour_values
from shared.core.forecast.window.windows import windows
from shared.core.intake.readings import Floats, Longs, Mask
from shared.core.profile.device_table import HOURS, NEWEST, DeviceTable, joined
from shared.core.scenario import Scenario

AT_ONCE = 512  # devices: their hours fit into the processor's cache


@dataclass(frozen=True, slots=True)
class RecentDevices:
    """A copy of what a device table is made from, so that it can be made while the state goes on.

    Args:
        layout: Of the ring.
        unit: Quantum of errors.
        hour: Steps in an hour.
        device: Device ids.
        head: Their newest hours.
        sums: The ring's sums, shape (slots, C, n).
        counts: The ring's counts, same shape.
        quality: Sums over the newest days, named by `QUALITY`, shape (3, n).
    """

    layout: Layout
    unit: float
    hour: int
    device: list[str]
    head: Longs
    sums: Sums
    counts: Counts
    quality: Longs

    @classmethod
    def of(cls, scenario: Scenario, state: State) -> RecentDevices:
        """A copy."""
        count, ring = len(state.devices), state.columns.ring
        return cls(
            ring.layout,
            quantum(scenario),
            scenario.cadence.hour,
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
        hours = min(HOURS * self.hour, len(values))
        # One matrix row a series, so that each sum runs over the hours alone, in the same order for every device.
        series = windows(values, np.arange(len(head)), head, hours)
        own = dict(zip(QUALITY, self.quality[:, part], strict=True))
        return DeviceTable(
            self.device[part],
            head // self.hour,
            **{name: np.ascontiguousarray(array.T) for name, array in _numbers(series, self.hour).items()},
            half=np.ascontiguousarray(np.stack(_halves(series, NEWEST * self.hour)).transpose(2, 0, 1)),
            matured=own["matured"],
            absolute=own["absolute"] * self.unit,
            covered=own["covered"],
        )


def _numbers(series: Floats, hour: int) -> dict[str, npt.NDArray[Any]]:
    """Numbers of each series (steps, C, n), oldest first, `hour` of them an hour, shape (C, n) each."""
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
    return {"samples": samples, "mean": mean, "std": std, "last": last, "run": run, "silent": silent // hour}


def _moments(series: Floats, there: Mask, samples: Longs) -> tuple[Floats, Floats]:
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, series, np.float32(0)).sum(axis=0, dtype=np.float64) / samples
        apart = np.where(there, series - mean, 0.0)
        std = np.sqrt(np.einsum("hcn,hcn->cn", apart, apart) / samples)
    return mean.astype(np.float32), std.astype(np.float32)


def _halves(series: Floats, newest: int) -> list[Floats]:
    """Means before and within the newest steps, each of shape (C, n)."""
    halves = []
    for part in (series[:-newest], series[-newest:]):
        there = ~np.isnan(part)
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = np.where(there, part, np.float32(0)).sum(axis=0, dtype=np.float64)
            halves.append((sums / there.sum(axis=0)).astype(np.float32))
    return halves
