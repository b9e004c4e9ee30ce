"""A plain dictionary model of a partition: one reading at a time, no arrays; the oracle of the step tests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from shared.core.scenario import Scenario, parse
from shared.core.state import quantum

Values: TypeAlias = tuple[float | None, ...]
Guess: TypeAlias = Callable[[Sequence[float]], float]
HALF_WIDTH = 5.0
START = 420_000  # an hour of 2017

CHANNELS = [
    {"name": "pm", "unit": "ug/m3", "minimum": 0, "maximum": 1000},
    {"name": "rain", "unit": "mm", "minimum": 0, "maximum": 300, "aggregate": "sum"},
    {"name": "wind", "unit": "deg", "minimum": 0, "maximum": 360, "aggregate": "circular"},
]


def small(samples_per_hour: int = 1, horizon: int = 3, lateness: int = 3, history: int = 7) -> Scenario:
    """A scenario with every kind of aggregation and short windows."""
    return parse(
        {
            "name": "small",
            "title": "small",
            "task": "regression",
            "key": "device_id",
            "target": "pm",
            "featurizer": "hourly",
            "channels": CHANNELS,
            "samples_per_hour": samples_per_hour,
            "horizon": horizon,
            "lateness": lateness,
            "history": history,
        }
    )


@dataclass(frozen=True)
class Reading:
    """One reading as a person would write it down; `values` are the channels, None where missing."""

    source: str
    position: int
    device: str
    minute: int
    values: Values


@dataclass(frozen=True)
class Ended:
    """An end marker: `position` is beyond everything its source sent before."""

    source: str
    position: int


@dataclass(frozen=True)
class Models:
    """Who answers from here on: version and model by role (0 champion, 1 challenger), and who is not asked."""

    versions: tuple[tuple[str, Guess], ...] = ()
    quarantine: frozenset[str] = frozenset()


@dataclass
class Held:
    """Forecasts of one as-of hour: their revision, and by role the model's version and value."""

    revision: int = -1
    answers: dict[int, tuple[str, float]] = field(default_factory=dict)


@dataclass
class Device:
    """What the oracle remembers of a device, for ever."""

    head: int = -1
    samples: dict[int, dict[int, Values]] = field(default_factory=dict)
    forecasts: dict[int, Held] = field(default_factory=dict)


@dataclass
class Told:
    """What one source brought: position, counts and error sums in all and by day, oldest and newest hour."""

    position: int = -1
    totals: Counter[str] = field(default_factory=Counter)
    daily: dict[int, Counter[str]] = field(default_factory=dict)
    first_hour: int = -1
    last_hour: int = -1

    def add(self, hour: int, daily: Sequence[str], **amounts: int) -> None:
        """Add to the totals, and what is also counted by day to the day of the hour."""
        self.totals.update(amounts)
        self.daily.setdefault(hour // 24, Counter()).update({name: amounts[name] for name in daily})


class Plain:
    """Folds readings one at a time."""

    def __init__(self, scenario: Scenario, models: Models) -> None:
        self.scenario, self.models = scenario, models
        self.devices: dict[str, Device] = {}
        self.sources: dict[str, Told] = {}
        self.errors: dict[tuple[int, int, str], Counter[str]] = {}

    def read(self, item: Reading | Ended | Models) -> None:
        """Fold one reading, an end marker, or the news that others answer from now on."""
        if isinstance(item, Models):
            self.models = item
            return
        source = self.sources.setdefault(item.source, Told())
        if isinstance(item, Ended):
            source.position = max(source.position, item.position)
        elif item.position <= source.position:
            source.totals["redelivered"] += 1
        else:
            source.position = item.position
            self._arrived(source, item)

    def _arrived(self, source: Told, reading: Reading) -> None:
        hour = reading.minute // 60
        source.first_hour = hour if source.first_hour < 0 else min(source.first_hour, hour)
        source.last_hour = max(source.last_hour, hour)
        source.add(hour, ["rows"], **{self._fold(source, hour, reading): 1}, arrived=1, rows=1)

    def _fold(self, source: Told, hour: int, reading: Reading) -> str:
        """What becomes of a reading, by name."""
        device = self.devices.setdefault(reading.device, Device())
        if hour < device.head - self.scenario.lateness:
            return "stored_late"
        samples = device.samples.setdefault(hour, {})
        if reading.minute in samples:
            same = samples[reading.minute] == reading.values
            whole = len(samples) <= self.scenario.samples_per_hour
            return "conflicts" if whole and not same else "duplicates"
        before, device.head = device.head, max(device.head, hour)
        if device.head > before >= 0:
            self._label(source, device, before)
        closes = before >= 0 and before < hour and not self._full(device, before)
        samples[reading.minute] = reading.values
        touched = range(hour, device.head + 1) if hour <= before else [before] * closes + [hour]
        for as_of in touched:
            self._forecast(source, reading.device, as_of)
        return "applied"

    def _full(self, device: Device, hour: int) -> bool:
        return len(device.samples.get(hour, {})) >= self.scenario.samples_per_hour

    def _forecast(self, source: Told, name: str, as_of: int) -> None:
        device = self.devices[name]
        complete = device.samples.get(as_of) and (as_of < device.head or self._full(device, as_of))
        ahead = as_of + self.scenario.horizon > device.head
        if not (complete and ahead and self.models.versions) or name in self.models.quarantine:
            return
        window = [value for k in range(1 - self.scenario.history, 1) for value in self.hour(device, as_of + k)]
        held = device.forecasts.setdefault(as_of, Held())
        held.revision += 1
        for role, (version, guess) in enumerate(self.models.versions):
            held.answers[role] = version, guess(np.array(window, np.float32).tolist())
        source.add(as_of, ["forecasts"], forecasts=1)

    def _label(self, source: Told, device: Device, old: int) -> None:
        """Count the forecasts whose truth becomes final with the device's new head; `source` brought it."""
        wait, target = self.scenario.horizon + self.scenario.lateness + 1, self.scenario.target_column
        for as_of, held in device.forecasts.items():
            truth = self.hour(device, as_of + self.scenario.horizon)[target]
            if old - wait < as_of <= device.head - wait and not math.isnan(truth):
                for role, (version, value) in held.answers.items():
                    self._error(as_of, role, version, value, truth)
                if 0 in held.answers:
                    self._paired(source, as_of, held.answers[0][1], truth, self.hour(device, as_of)[target])

    def _quanta(self, value: float) -> int:
        return int(np.rint(value / quantum(self.scenario)))

    def _error(self, as_of: int, role: int, version: str, value: float, truth: float) -> None:
        error = self._quanta(value) - self._quanta(truth)
        covered = value - HALF_WIDTH <= truth <= value + HALF_WIDTH
        sums = self.errors.setdefault((as_of // 24, role, version), Counter())
        sums.update(matured=1, covered=covered, signed=error, absolute=abs(error), squared=error * error)

    def _paired(self, source: Told, as_of: int, value: float, truth: float, latest: float) -> None:
        paired = not math.isnan(latest)
        error = self._quanta(value) - self._quanta(truth)
        naive = self._quanta(latest if paired else truth) - self._quanta(truth)
        source.add(
            as_of,
            ["matured", "forecast", "truth", "paired", "absolute", "absolute_persistence"],
            matured=1,
            forecast=self._quanta(value),
            truth=self._quanta(truth),
            paired=paired,
            absolute=abs(error) * paired,
            squared=error * error * paired,
            absolute_persistence=abs(naive),
            squared_persistence=naive * naive,
        )

    def hour(self, device: Device, hour: int) -> list[float]:
        """Values of an hour's stored columns, NaN where missing."""
        samples = list(device.samples.get(hour, {}).values())
        out: list[float] = []
        for place, channel in enumerate(self.scenario.channels):
            given = [value for sample in samples if (value := sample[place]) is not None]
            if channel.aggregate == "circular":
                out += [_mean([turn(math.radians(x)) for x in given]) for turn in (math.sin, math.cos)]
            elif channel.aggregate == "sum":
                out.append(sum(given) if len(given) >= self.scenario.samples_per_hour else math.nan)
            else:
                out.append(_mean(given))
        return out


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
