"""A baseline made by hand and device tables that are healthy until a test spoils them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from shared.core.drift.baseline import Baseline
from shared.core.drift.measures import MONTHS
from shared.core.forecast.task import HourlyForecast
from shared.core.profile.bins import count, place
from shared.core.profile.device_table import DeviceTable
from tests.kit.data.sensor_history import air_quality

SCENARIO = air_quality()
TASK = HourlyForecast(SCENARIO)
WATCHED = TASK.watched
COLUMNS = SCENARIO.stored
NOW = 480_000
TYPICAL = {"temp": 15.0, "rel_humidity": 55.0, "wind_spd": 3.0, "atmos_press": 1010.0, "pm25": 40.0}


def baseline(*devices: str) -> Baseline:
    width, columns = len(WATCHED), len(COLUMNS)
    names = [f.name for f in WATCHED.features]
    random = np.random.default_rng(3)
    middle = np.array([TYPICAL.get(name.split(".")[0], 0.5) for name in names])
    values = (middle * random.uniform(0.5, 1.5, (2000, width))).astype(np.float32)
    counts = np.repeat(count(place(values, WATCHED.edges))[None], MONTHS, 0)
    limits = np.full((3, width), 0.8)
    limits[:, [name.endswith("mean_24") or name.startswith("precip") for name in names]] = np.inf
    return Baseline(
        names=np.array(names), versions=np.array([f.version for f in WATCHED.features]), edges=WATCHED.edges,
        counts=counts, weights=np.zeros((width, width)), low=np.full(width, -3.0), high=np.full(width, 3.0),
        limits=limits, forecast_edges=TASK.answer_edges, forecast_counts=counts[:, names.index("pm25.latest")],
        forecast_limit=np.array([0.8]), history=np.array([7.0, 48.0, 2.0, 700.0]), columns=np.array(COLUMNS),
        latest=np.array([names.index(f"{column}.latest") for column in COLUMNS]),
        common=np.array([0.0] * columns), runs=np.array([[12.0] * columns, [200.0] * columns]),
        jumps=np.full((2, columns), 40.0), lonely=np.full(columns, 90.0), absent=np.zeros(columns),
        devices=np.array(devices, dtype=str), offsets=np.zeros((len(devices), columns)),
        quality=np.array([0.95, 40.0, 0.8]), quantum=np.array([0.5]),
    )  # fmt: skip


def table(*devices: str) -> DeviceTable:
    """Devices that report ordinary values."""
    n, c = len(devices), len(COLUMNS)
    level = np.array([[TYPICAL.get(column, 0.5) for column in COLUMNS]] * n, np.float32).reshape(n, c)
    return DeviceTable(
        list(devices), np.full(n, NOW), np.full((n, c), 120), level, level * 0 + 1, level.copy(), np.ones((n, c), int),
        np.zeros((n, c), int), np.repeat(level[:, None], 2, 1), np.zeros(n, int), np.zeros(n), np.zeros(n, int),
    )  # fmt: skip


def spoilt(healthy: DeviceTable, device: int, column: str, **cells: float) -> DeviceTable:
    """The table with cells of one device and column replaced; `newest` and `older` are the two halves."""
    at = COLUMNS.index(column)
    changed: dict[str, Any] = {}
    for name, value in cells.items():
        field = "half" if name in ("newest", "older") else name
        array = changed.get(field, getattr(healthy, field)).copy()
        array[(device, {"older": 0, "newest": 1}[name], at) if field == "half" else (device, at)] = value
        changed[field] = array
    return replace(healthy, **changed)
