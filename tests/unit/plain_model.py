"""A plain dictionary model of a partition: one reading at a time, no arrays; the oracle of the step tests."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from shared.core.scenario import Scenario
from shared.core.state import quantum


@dataclass
class Reading:
    """One reading as a person would write it down; `values` are the channels, None where missing."""

    source: str
    position: int
    device: str
    minute: int
    values: tuple[float | None, ...]


@dataclass
class Device:
    """What the oracle remembers of a device, for ever."""

    head: int = -1
    samples: dict[int, dict[int, tuple[float | None, ...]]] = field(default_factory=dict)
    forecasts: dict[int, tuple[float, float | None, int]] = field(default_factory=dict)


class Plain:
    """Folds readings one at a time; `forecast(window)` plays the model."""

    def __init__(self, scenario: Scenario, forecast, quarantine: frozenset[str] = frozenset()) -> None:  # type: ignore[no-untyped-def]
        self.scenario, self.forecast, self.quarantine = scenario, forecast, quarantine
        self.devices: dict[str, Device] = {}
        self.positions: dict[str, int] = {}
        self.counts = dict.fromkeys(("applied", "stored_late", "duplicates", "conflicts", "redelivered"), 0)
        self.errors: dict[int, list[int]] = {}

    def read(self, reading: Reading) -> None:
        """Fold one reading."""
        if reading.position <= self.positions.get(reading.source, -1):
            self.counts["redelivered"] += 1
            return
        self.positions[reading.source] = reading.position
        device = self.devices.setdefault(reading.device, Device())
        hour = reading.minute // 60
        if hour < device.head - self.scenario.lateness:
            self.counts["stored_late"] += 1
            return
        samples = device.samples.setdefault(hour, {})
        if reading.minute in samples:
            same = samples[reading.minute] == reading.values
            whole = len(samples) <= self.scenario.samples_per_hour
            self.counts["conflicts" if whole and not same else "duplicates"] += 1
            return
        self.counts["applied"] += 1
        self._apply(reading.device, device, hour, reading)

    def _apply(self, name: str, device: Device, hour: int, reading: Reading) -> None:
        before = device.head
        device.head = max(before, hour)
        if device.head > before >= 0:
            self._label(device, before, device.head)
        device.samples[hour][reading.minute] = reading.values
        touched = range(hour, device.head + 1) if hour <= before else [before, hour]
        for as_of in touched:
            if as_of < 0 or not device.samples.get(as_of):
                continue
            closing = as_of == before < hour
            if closing and as_of in device.forecasts:
                continue  # it was complete, and forecast, before this hour began
            complete = as_of < device.head or len(device.samples[as_of]) >= self.scenario.samples_per_hour
            if complete and as_of + self.scenario.horizon > device.head and name not in self.quarantine:
                revision = device.forecasts[as_of][2] + 1 if as_of in device.forecasts else 0
                window = [self.hour(device, as_of + k) for k in range(1 - self.scenario.history, 1)]
                device.forecasts[as_of] = (self.forecast(window), None, revision)

    def _label(self, device: Device, old: int, new: int) -> None:
        wait = self.scenario.horizon + self.scenario.lateness + 1
        for as_of, (value, _, _) in device.forecasts.items():
            if old - wait < as_of <= new - wait:
                truth = self.hour(device, as_of + self.scenario.horizon)[self.scenario.target_column]
                if not math.isnan(truth):
                    unit = quantum(self.scenario)
                    error = int(np.rint(value / unit)) - int(np.rint(truth / unit))
                    sums = self.errors.setdefault(as_of // 24, [0, 0, 0])
                    sums[0] += 1
                    sums[1] += abs(error)
                    sums[2] += error * error

    def hour(self, device: Device, hour: int) -> list[float]:
        """Values of an hour's stored columns, NaN where missing."""
        samples = list(device.samples.get(hour, {}).values())
        out: list[float] = []
        for place, channel in enumerate(self.scenario.channels):
            given = [s[place] for s in samples if s[place] is not None]
            if channel.aggregate == "circular":
                for turn in (math.sin, math.cos):
                    out.append(_mean([turn(math.radians(x)) for x in given]))
            elif channel.aggregate == "sum":
                out.append(sum(given) if len(given) >= self.scenario.samples_per_hour else math.nan)
            else:
                out.append(_mean(given))
        return out


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
