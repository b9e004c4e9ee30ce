"""The hourly forecast as a task: a target, a fixed number of hours ahead, from windows of hourly values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from shared.core.forecast import snapshot, step
from shared.core.forecast.carrying import carry
from shared.core.forecast.features import watched
from shared.core.forecast.features.featurizer import Featurizer, featurizer_of
from shared.core.forecast.losses import FORECAST, TRUTH, ForecastLosses, quantum
from shared.core.forecast.outcome import Outcome
from shared.core.forecast.state import State, own
from shared.core.forecast.window.history import hourly
from shared.core.forecast.window.recent import RecentDevices
from shared.core.intake.readings import Array, Floats, Ints, Longs, Mask, Readings
from shared.core.model import scoring
from shared.core.model.feature import Feature
from shared.core.model.manifest import Manifest
from shared.core.model.scoring import Control, Scorer
from shared.core.profile.bins import Edges, Watched
from shared.core.profile.device_table import DeviceTable
from shared.core.scenario import Scenario
from shared.core.stream.events import Batch
from shared.core.task.calendar import NO_HOUR
from shared.core.task.state import State as AnyState
from shared.core.task.task import Column, Task, Words
from shared.core.task.versions import at, versions


class HourlyForecast:
    """Forecasts of one scenario; see `Task` for what its parts mean.

    Args:
        scenario: Channels, target, horizon and lateness.
        featurizer: Another than the scenario's own, for tests.
        before: The task under the version of the scenario before.
    """

    label = tuple(Column(name, "number") for name in TRUTH)
    answer = (
        Column("as_of", "hour"),
        Column("target_time", "hour"),
        *(Column(name, "number") for name in FORECAST),
        Column("category", "text"),
    )

    def __init__(self, scenario: Scenario, featurizer: Featurizer | None = None, before: Task | None = None) -> None:
        self.scenario, self.before = scenario, before
        self.version: int = 0 if before is None else before.version + 1
        self.row = tuple(Column(name, "number") for name in scenario.channel_names)
        self.delay_h = scenario.horizon + scenario.lateness
        self.losses = ForecastLosses(quantum(scenario), scenario.loss)
        self.device_columns = scenario.stored
        self.words = Words(scenario.title, scenario.target_channel.unit)
        self._given = featurizer

    def under(self, scenario: Scenario, before: Task | None) -> HourlyForecast:
        """The forecast under a version of its scenario."""
        return HourlyForecast(scenario, self._given, before)

    def carry(self, state: AnyState, before: Task) -> None:
        """Keep hours, waiting forecasts and sums as far as they mean the same."""
        carry(own(state), before, self)

    @cached_property
    def featurizer(self) -> Featurizer:
        """Windows into features."""
        return self._given or featurizer_of(self.scenario)

    @property
    def features(self) -> tuple[Feature, ...]:
        """All features."""
        return self.featurizer.features

    @cached_property
    def watched(self) -> Watched:
        """Newest values, means over a day, and what is derived from them."""
        return watched.watched_of(self.scenario, self.features)

    @cached_property
    def answer_edges(self) -> Edges:
        """Bins of forecasts."""
        return watched.forecast_edges(self.scenario)

    @cached_property
    def rules(self) -> list[str]:
        """Channels, hours, and bins: the scenario's own, whoever computes the features."""
        own_features = self.watched if self._given is None else HourlyForecast(self.scenario).watched
        return snapshot.rules_of(self.scenario, own_features)

    def empty(self, partition: int) -> State:
        """The state before the first event."""
        first = versions(self)[0]
        return State.empty(first.scenario, partition, len(first.watched))

    def step(self, state: AnyState, batch: Batch, control: Control, scorer: Scorer) -> Outcome:
        """Fold one batch and forecast what becomes due."""
        return step.step(self, own(state), batch, control, scorer)

    def snapshot(self, state: AnyState) -> Callable[[], bytes]:
        """A copy of a state."""
        copy = snapshot.copied(at(self, state.version), own(state))
        return lambda: snapshot.pack(copy)

    def restore(self, raw: bytes) -> State:
        """The state that a snapshot holds.

        Raises:
            ContractBroken: It cannot be used.
        """
        return snapshot.decode(self, raw)

    def newest_hour(self, state: AnyState) -> int:
        """The newest head."""
        head = own(state).columns.ring.head[: len(state.devices)]
        return int(head.max(initial=NO_HOUR)) // self.scenario.cadence.hour

    def device_table(self, state: AnyState) -> Callable[[], DeviceTable]:
        """The devices' newest hours."""
        return RecentDevices.of(self.scenario, own(state)).table

    def matrix(self, window: Floats, as_of: Longs) -> Floats:
        """Features of windows, shape (history, stored columns, n)."""
        return self.featurizer.matrix(window, as_of)

    def behind(self, minute: Longs, as_of: int) -> Mask:
        """Readings of the window, and of the hour that closed its last one."""
        hour = minute // self.scenario.cadence.ticks
        later = hour[(hour > as_of) & (hour < as_of + self.scenario.horizon_steps)]
        last = int(later.min()) if len(later) else as_of
        near: Mask = (hour > as_of - self.scenario.history_steps) & (hour <= last)
        return near

    def answers(self, manifest: Manifest, raw: Floats) -> dict[str, Floats]:
        """Forecasts within the target's limits, and their intervals.

        Raises:
            ContractBroken: An output is not a finite number.
        """
        value = scoring.clip(self.scenario, raw)
        lower, upper = scoring.bounds(self.scenario, manifest.interval, value)
        return {"value": value, "lower": lower, "upper": upper}

    def answered(self, as_of: Longs, numbers: Mapping[str, Floats]) -> dict[str, Array | list[str]]:
        """Forecasts with their target hours and categories."""
        known = {name: numbers[name] for name in FORECAST}
        categories = scoring.categories(self.scenario, numbers["value"])
        return {"as_of": as_of, "target_time": self.target_hour(as_of), **known, "category": categories}

    def target_hour(self, as_of: Longs) -> Longs:
        """The hours that are forecast."""
        return as_of + self.scenario.horizon_steps

    def truths(self, readings: Readings, devices: Sequence[str], device: Ints, as_of: Longs) -> Floats:
        """The target at the target hours."""
        hours, target = hourly(self.scenario, readings), self.target_hour(as_of)
        out = np.full(len(as_of), np.nan, np.float32)
        for place, name in enumerate(devices):
            mine = np.flatnonzero(device == place)
            if name in hours and len(mine):
                values = hours[name].values[:, self.scenario.target_column]
                at = target[mine] - hours[name].first_hour
                there = (at >= 0) & (at < len(values))
                out[mine[there]] = values[at[there]]
        return out
