"""A plain dictionary model of a partition: one reading at a time, no arrays; the oracle of the step tests."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeAlias

import numpy as np

from shared.core.forecast.losses import quantum
from shared.core.model.feature import Feature
from shared.core.scenario import Scenario
from tests.kit import window_features

Values: TypeAlias = tuple[float | None, ...]
Guess: TypeAlias = Callable[[Sequence[float]], float]
HALF_WIDTH = 5.0
_CHOICES: dict[str, Callable[[list[float]], float]] = {"max": max, "min": min, "last": lambda values: values[-1]}
START = 420_000  # an hour of 2017


@dataclass(frozen=True)
class Reading:
    """One reading as a person would write it down; `values` are the channels, None where missing."""

    source: str
    position: int
    device: str
    minute: int
    values: Values
    second: int = 0

    def part(self, length_s: int) -> int:
        """Which part of so many seconds since 1970 it lies in."""
        return (self.minute * 60 + self.second) // length_s


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
    """Forecasts of one as-of hour: their revision; by role the version and value, and the revision; the newest hour."""

    revision: int = -1
    answers: dict[int, tuple[str, float]] = field(default_factory=dict)
    issued: dict[int, int] = field(default_factory=dict)
    seen: list[float] = field(default_factory=list)


@dataclass
class Device:
    """What the oracle remembers of a device, for ever."""

    head: int = -1
    samples: dict[int, dict[int, Values]] = field(default_factory=dict)
    forecasts: dict[int, Held] = field(default_factory=dict)
    judged: list[tuple[int, int, bool]] = field(default_factory=list)


@dataclass
class Told:
    """What one source brought: position, counts and error sums in all and by day, oldest and newest hour."""

    position: int = -1
    totals: Counter[str] = field(default_factory=Counter)
    daily: dict[int, Counter[str]] = field(default_factory=dict)
    first_hour: int = -1
    last_hour: int = -1

    def add(self, day: int, daily: Sequence[str], **amounts: int) -> None:
        """Add to the totals, and what is also counted by day to the day."""
        self.totals.update(amounts)
        self.daily.setdefault(day, Counter()).update({name: amounts[name] for name in daily})


class Plain:
    """Folds readings one at a time."""

    def __init__(self, scenario: Scenario, models: Models) -> None:
        self.scenario, self.models = scenario, models
        self.devices: dict[str, Device] = {}
        self.sources: dict[str, Told] = {}
        self.errors: dict[tuple[int, int, str], Counter[str]] = {}
        self.pairs: dict[tuple[int, str, str], Counter[str]] = {}
        self.histograms: dict[int, Counter[tuple[str, int]]] = {}
        self.bins: dict[tuple[int, int, str], Counter[int]] = {}
        self.matured: list[tuple[str, int, int, str, float, float, float]] = []
        limits = {feature.name: feature for feature in window_features(scenario)}
        self.edges = [_edges(limits[f"{name}.latest"]) for name in scenario.stored]

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
        hour, step = reading.minute // 60, reading.part(self.scenario.cadence_s)
        source.first_hour = hour if source.first_hour < 0 else min(source.first_hour, hour)
        source.last_hour = max(source.last_hour, hour)
        source.add(self._day(step), ["rows"], **{self._fold(source, step, reading): 1}, arrived=1, rows=1)

    def _day(self, step: int) -> int:
        return step * self.scenario.cadence_s // 86_400

    def _fold(self, source: Told, hour: int, reading: Reading) -> str:
        """What becomes of a reading, by name."""
        device = self.devices.setdefault(reading.device, Device())
        if hour < device.head - self.scenario.lateness_steps:
            return "stored_late"
        samples = device.samples.setdefault(hour, {})
        tick = reading.part(self.scenario.resolution_s)
        if tick in samples:
            same = samples[tick] == reading.values
            whole = len(samples) <= self.scenario.samples_per_step
            return "conflicts" if whole and not same else "duplicates"
        before, device.head = device.head, max(device.head, hour)
        if device.head > before >= 0:
            self._label(source, reading.device, before)
        closes = before >= 0 and before < hour and not self._full(device, before)
        samples[tick] = reading.values
        touched = range(hour, device.head + 1) if hour <= before else [before] * closes + [hour]
        for as_of in touched:
            self._forecast(source, reading.device, as_of)
        return "applied"

    def _full(self, device: Device, hour: int) -> bool:
        return len(device.samples.get(hour, {})) >= self.scenario.samples_per_step

    def _forecast(self, source: Told, name: str, as_of: int) -> None:
        device = self.devices[name]
        complete = device.samples.get(as_of) and (as_of < device.head or self._full(device, as_of))
        ahead = as_of + self.scenario.horizon_steps > device.head
        if not (complete and ahead and self.models.versions) or name in self.models.quarantine:
            return
        window = [value for k in range(1 - self.scenario.history_steps, 1) for value in self.hour(device, as_of + k)]
        held = device.forecasts.setdefault(as_of, Held())
        held.revision += 1
        for role, (version, guess) in enumerate(self.models.versions):
            held.answers[role] = version, guess(np.array(window, np.float32).tolist())
            held.issued[role] = held.revision
            held.seen = np.array(window[-len(self.scenario.stored) :], np.float32).tolist()
        source.add(self._day(as_of), ["forecasts"], forecasts=1)

    def _label(self, source: Told, name: str, old: int) -> None:
        """Count the forecasts whose truth becomes final with the device's new head; `source` brought it."""
        device = self.devices[name]
        wait, target = self.scenario.horizon_steps + self.scenario.lateness_steps + 1, self.scenario.target_column
        for as_of, held in device.forecasts.items():
            truth = self.hour(device, as_of + self.scenario.horizon_steps)[target]
            if not old - wait < as_of <= device.head - wait:
                continue
            latest = self.hour(device, as_of)[target]
            self._count(self._day(as_of), held)
            final = float(np.float32(truth)), float(np.float32(latest))
            self.matured += [(name, as_of, role, *answer, *final) for role, answer in held.answers.items()]
            if math.isnan(truth):
                continue
            for role, (version, value) in held.answers.items():
                self._error(as_of, role, version, value, truth, latest)
            if 0 in held.answers:
                value = held.answers[0][1]
                self._paired(source, as_of, value, truth, latest)
                error = abs(self._quanta(value) - self._quanta(truth))
                device.judged.append((self._day(as_of), error, _covers(value, truth)))
            self._pair(self._day(as_of), held, truth)

    def _count(self, day: int, held: Held) -> None:
        """Bins of what the champion saw and of what all forecast, whether or not a truth came."""
        for role, (version, value) in held.answers.items():
            channel = self.scenario.target_channel
            edges = _edges(Feature("", 1, channel.unit, channel.minimum, channel.maximum))
            self.bins.setdefault((day, role, version), Counter())[_bin(value, edges)] += 1
        if 0 in held.answers:
            seen = zip(self.scenario.stored, held.seen, self.edges, strict=True)
            self.histograms.setdefault(day, Counter()).update((f"{n}.latest", _bin(v, e)) for n, v, e in seen)

    def _pair(self, day: int, held: Held, truth: float) -> None:
        """The two roles side by side, if they forecast the same revision."""
        if held.issued.get(0) != held.issued.get(1):
            return
        (one, first), (two, second) = held.answers[0], held.answers[1]
        sums = self.pairs.setdefault((day, one, two), Counter())
        sums["rows"] += 1
        for role, value in (("champion", first), ("challenger", second)):
            error = abs(self._quanta(value) - self._quanta(truth))
            sums.update(
                {f"absolute_{role}": error, f"squared_{role}": error**2, f"covered_{role}": _covers(value, truth)}
            )

    def quality(self, device: Device) -> dict[str, int]:
        """The champion's errors over a device's newest eight as-of days."""
        newest = self._day(device.head - self.scenario.horizon_steps - self.scenario.lateness_steps - 1)
        rows = [row for row in device.judged if row[0] > newest - 8]
        sums = (len(rows), sum(row[1] for row in rows), sum(row[2] for row in rows))
        return dict(zip(("matured", "absolute", "covered"), sums, strict=True))

    def _quanta(self, value: float) -> int:
        return int(np.rint(value / quantum(self.scenario)))

    def _error(self, as_of: int, role: int, version: str, value: float, truth: float, latest: float) -> None:
        error = self._quanta(value) - self._quanta(truth)
        covered = _covers(value, truth)
        paired = not math.isnan(latest)
        naive = self._quanta(latest) - self._quanta(truth) if paired else 0
        sums = self.errors.setdefault((self._day(as_of), role, version), Counter())
        sums.update(matured=1, covered=covered, signed=error, absolute=abs(error), squared=error * error)
        sums.update(paired=paired, absolute_paired=abs(error) * paired, squared_paired=error * error * paired)
        sums.update(absolute_persistence=abs(naive), squared_persistence=naive * naive)

    def _paired(self, source: Told, as_of: int, value: float, truth: float, latest: float) -> None:
        paired = not math.isnan(latest)
        error = self._quanta(value) - self._quanta(truth)
        naive = self._quanta(latest if paired else truth) - self._quanta(truth)
        source.add(
            self._day(as_of),
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
        samples = device.samples.get(hour, {})
        out: list[float] = []
        for place, channel in enumerate(self.scenario.channels):
            given = [value for sample in samples.values() if (value := sample[place]) is not None]
            if channel.aggregate == "circular":
                out += [_mean([turn(math.radians(x)) for x in given]) for turn in (math.sin, math.cos)]
            elif channel.aggregate == "sum":
                out.append(sum(given) if len(given) >= self.scenario.samples_per_step else math.nan)
            elif channel.aggregate in _CHOICES:
                given = [value for _, sample in sorted(samples.items()) if (value := sample[place]) is not None]
                out.append(_CHOICES[channel.aggregate](given) if given else math.nan)
            else:
                out.append(_mean(given))
        return out


def _covers(value: float, truth: float) -> bool:
    return value - HALF_WIDTH <= truth <= value + HALF_WIDTH


@cache
def _edges(feature: Feature) -> list[float]:
    """Inner edges of 512 bins, finer near zero for what has a long tail."""
    tail = feature.low == 0 and feature.high >= 90 and feature.unit != "%"
    parts = [place / 512 for place in range(1, 512)]
    if tail:
        parts = [math.sinh(6 * part) / math.sinh(6) for part in parts]
    return [float(np.float32(feature.low + (feature.high - feature.low) * part)) for part in parts]


def _bin(value: float, edges: list[float]) -> int:
    return 512 if math.isnan(value) else bisect_right(edges, value)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
