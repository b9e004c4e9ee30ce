"""Devices' hours without gaps, folded as serving folds them: what is learned from, and what truths are read from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.core.forecast.window.columns import Counts, Layout, spread
from shared.core.forecast.window.ring import Ring
from shared.core.intake.readings import Floats, Longs, Readings
from shared.core.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Hourly:
    """One device's history for training.

    Args:
        first_hour: Hour of the first row, hours since 1970-01-01 UTC.
        values: Hourly values, NaN where missing, float32, shape (hours, columns).
        samples: Distinct ticks in each hour, `count_type` of the layout, shape (hours,).
    """

    first_hour: int
    values: Floats
    samples: Counts


def hourly(scenario: Scenario, readings: Readings) -> dict[str, Hourly]:
    """Every device's hours without gaps, folded as serving folds them; the first reading of a tick wins.

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
    hour = minute // layout.ticks
    first, last = int(hour.min()), int(hour.max())
    ring = Ring.empty(layout, 1, slots=last - first + 1)
    ring.head[0] = last
    ring.fold(np.zeros_like(minute), minute, columns, np.ones(len(minute), np.uint32))
    turn = (first + np.arange(ring.slots)) % ring.slots
    samples = ring.samples(np.zeros_like(turn), turn).astype(layout.count_type)
    return Hourly(first, np.ascontiguousarray(ring.values()[turn, :, 0]), samples)
