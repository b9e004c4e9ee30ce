"""A small scenario with every kind of aggregation and short windows, and readings for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.core.forecast.features.featurizer import Featurizer
from shared.core.forecast.task import HourlyForecast
from shared.core.intake.readings import Floats, Longs, Readings
from shared.core.model.feature import Feature
from shared.core.scenario import Scenario, parse

HOUR = 420_000  # an hour of 2017
CHANNELS = [
    {"name": "pm", "unit": "ug/m3", "minimum": 0, "maximum": 1000},
    {"name": "rain", "unit": "mm", "minimum": 0, "maximum": 300, "aggregate": "sum"},
    {"name": "wind", "unit": "deg", "minimum": 0, "maximum": 360, "aggregate": "circular"},
]
HEAD: dict[str, Any] = {"name": "small", "title": "small", "task": "regression", "key": "device_id", "target": "pm"}
SIZES: dict[str, Any] = {
    "featurizer": "hourly", "horizon": 3, "lateness": 3, "history": 7, "cold_start": {"hours": 0},
}  # fmt: skip
CSV = "device_id,timestamp,pm,rain,wind"
Row = tuple[int, str, int, Sequence[float]]  # position, device, minute, values of the channels


def small(**sizes: int) -> Scenario:
    """The scenario, perhaps with other sizes."""
    return parse({**HEAD, **SIZES, "channels": CHANNELS, **sizes})


def fixed(**pm: Any) -> Scenario:
    """The scenario after somebody mended what it says of its channel pm."""
    return parse({**HEAD, **SIZES, "channels": [{**CHANNELS[0], **pm}, *CHANNELS[1:]]})


def window_features(scenario: Scenario) -> tuple[Feature, ...]:
    """Features that are a window itself, oldest hour first; those of the newest hour are watched."""
    limits = {feature.name: feature for feature in Featurizer(scenario).features}
    latest = [limits[f"{name}.latest"] for name in scenario.stored]
    older = range((scenario.history_steps - 1) * len(scenario.stored))
    return (*(Feature(f"f{place}", 1) for place in older), *latest)


@dataclass(frozen=True)
class WholeWindow:
    """A featurizer whose features are the window itself, so that a misplaced hour shows."""

    features: tuple[Feature, ...] = ()

    def matrix(self, window: Floats, as_of: Longs) -> Floats:
        return window.reshape(-1, len(as_of)).T.copy()


SCENARIO = small()
TASK = HourlyForecast(SCENARIO, WholeWindow(window_features(SCENARIO)))  # type: ignore[arg-type]


def message(device: str | None = "a", hour: int = 0, pm: Any = 5.0, **more: Any) -> bytes:
    """A device's message, a cell that is None left out."""
    found = {"device_id": device, "timestamp": (HOUR + hour) * 3600, "pm": pm, **more}
    return json.dumps({name: value for name, value in found.items() if value is not None}).encode()


def row(device: str = "a", hour: int = 0, pm: Any = 5.0) -> str:
    """A row of a CSV file under `CSV`."""
    return f"{device},{np.datetime64(HOUR + hour, 'h')}:00Z,{pm},0,90"


def table(*rows: str) -> str:
    """A CSV file."""
    return "\n".join([CSV, *rows, ""])


def readings(rows: Sequence[Row]) -> Readings:
    devices = sorted({device for _, device, _, _ in rows})
    return Readings(
        tuple(devices),
        np.array([devices.index(device) for _, device, _, _ in rows], np.int32),
        np.array([minute for _, _, minute, _ in rows], np.int32),
        np.array([position for position, _, _, _ in rows], np.int64),
        np.array([values for _, _, _, values in rows], np.float32).reshape(len(rows), len(CHANNELS)),
    )


def hourly(devices: str = "ab", hours: int = 12, start: int = HOUR) -> list[Row]:
    """One reading per device and hour."""
    pairs = [(hour, device) for hour in range(hours) for device in devices]
    return [
        (place + 1, device, (start + hour) * 60, (float((place * 7) % 50), 1.0, 90.0))
        for place, (hour, device) in enumerate(pairs)
    ]
