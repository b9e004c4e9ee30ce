"""The scenario: everything that makes the machinery forecast one thing rather than another."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.core.checked import read
from shared.errors import ConfigError

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
Problem: TypeAlias = tuple[tuple[str, ...], str]  # the fields that a rule rests on, and what is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Another unit in which a channel is found: canonical value = raw * factor + offset.

    A raw value inside `detect` (a range that no canonical value can have) is converted without being asked; without
    `detect` the unit must be named, in the column's header or its alias.
    """

    factor: float
    offset: float = 0.0
    detect: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One measured quantity: its unit, what is physically possible, how samples make an hour, how it is found named."""

    name: str
    unit: str
    minimum: float
    maximum: float
    aggregate: Literal["mean", "sum", "circular"] = "mean"
    aliases: tuple[str, ...] = ()
    units: dict[str, Unit] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A named band of the forecast: values up to and including `upper`."""

    name: str
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """What is known of a station beforehand: its zone for timestamps without one, and where it stands."""

    zone: str = "UTC"
    latitude: float | None = None
    longitude: float | None = None
    altitude_m: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Column and key names that carry the device, the time, the row id, and what is known but not used."""

    device: tuple[str, ...] = ("device_id",)
    time: tuple[str, ...] = ("timestamp",)
    row: tuple[str, ...] = ("ID", "id")
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Candidates and budget of a training run."""

    candidates: tuple[Literal["catboost"], ...] = ("catboost",)
    trials: int = 6
    folds: int = 3
    max_trees: int = 600
    seed: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """When a challenger may replace the champion.

    Args:
        loss: What an error costs; errors are compared as RMSE (squared) or MAE (absolute).
        minimum_improvement: Least share by which the challenger's error has to be below the champion's.
        confidence: Probability that the improvement is above the lower end of its interval.
        minimum_rows: Fewest forecasts that both models answered.
        minimum_days: Fewest days (UTC) these fall into.
        minimum_blocks: Fewest independent stretches of time in them.
        worst_group_ratio: Most that a device's or band's error may grow to, as a share of the champion's.
        minimum_group_rows: Rows from which a device or band is judged alone; smaller ones are judged together.
        coverage_tolerance: Most that the interval's coverage may differ from the nominal.
        coverage_days: Newest days of the evidence in which it may be instead of in all.
        maximum_parity: Largest difference between the exported and the trained model, in the target's unit.
        maximum_mb: Largest package.
        maximum_latency_ms: Slowest answer.
        suspicious_ratio: Error as a share of damped persistence's from which on it is too good to be true.
        suspicious_correlation: Correlation of forecast and truth, overall or of a device, that is too good to be true.
        resamples: Draws of the bootstrap.
        seed: Of the draws.
    """

    loss: Literal["squared", "absolute"] = "squared"
    minimum_improvement: float = 0.01
    confidence: float = 0.95
    minimum_rows: int = 500
    minimum_days: int = 14
    minimum_blocks: int = 8
    worst_group_ratio: float = 1.1
    minimum_group_rows: int = 200
    coverage_tolerance: float = 0.05
    coverage_days: int = 14
    maximum_parity: float = 0.001
    maximum_mb: float = 50.0
    maximum_latency_ms: float = 50.0
    suspicious_ratio: float = 0.3
    suspicious_correlation: float = 0.995
    resamples: int = 2000
    seed: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRules:
    """When recent data count as drifted."""

    window_days: int = 7
    minimum_rows: int = 300
    false_alarm_rate: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRules:
    """When a training job is worth its money.

    Args:
        cooldown_h: Hours between two jobs, whatever became of the first.
        maximum_runs_per_month: Most jobs in a calendar month (UTC).
        maximum_cost_per_month: Most money for jobs in a calendar month, in the unit of `cost_per_run`.
        cost_per_run: What a job costs.
        minimum_first_rows: Labelled rows that the first training needs.
        minimum_new_rows: Labelled rows since the last training that are worth another.
        schedule_days: Days after the last training at which another is due anyway.
        backoff_h: Hours to wait after a challenger that lost; further losses in a row multiply them.
        backoff_factor: By how much.
        maximum_backoff_h: Longest such wait.
        challenger_wait_days: Days that a challenger on the ladder is given before another is trained.
        timeout_h: Hours after its decision at which a job is ended as failed.
    """

    cooldown_h: float = 24.0
    maximum_runs_per_month: int = 10
    maximum_cost_per_month: float = 20.0
    cost_per_run: float = 2.0
    minimum_first_rows: int = 5000
    minimum_new_rows: int = 5000
    schedule_days: int = 30
    backoff_h: float = 48.0
    backoff_factor: float = 2.0
    maximum_backoff_h: float = 720.0
    challenger_wait_days: int = 30
    timeout_h: float = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRules:
    """The ladder a challenger climbs, and when it falls: by matured paired labels, whatever the share it answers.

    Args:
        ladder: Shares of devices, from shadow (0) to champion (1).
        minimum_labels: Pairs needed on each rung.
        block_days: Days that are judged as one, because errors of neighbouring days are alike.
        minimum_blocks: Blocks below which nothing is concluded.
        error_rate: Chance that a challenger which is no better becomes champion, whatever the number of looks.
        tolerance: How much worse it may still be on the way up; a champion has to be better.
        maximum_days: Days after which a challenger without a decision is given up.
        guard_days: Days that the model before stays beside a new champion, ready to come back.
        emergency_ratio: Error relative to the other's above which a model falls without waiting for blocks.
        maximum_unanswered: Share of forecasts that a challenger may fail to answer.
        maximum_latency_ms: Most time for one forecast.
        maximum_forecast_shift: Distance of its forecasts from the champion's, in standard deviations.
        approval: Whether a person has to approve the way from shadow to canary.
    """

    ladder: tuple[float, ...] = (0.0, 0.1, 0.5, 1.0)
    minimum_labels: int = 500
    block_days: int = 2
    minimum_blocks: int = 5
    error_rate: float = 0.05
    tolerance: float = 0.05
    maximum_days: int = 150
    guard_days: int = 30
    emergency_ratio: float = 1.5
    maximum_unanswered: float = 0.02
    maximum_latency_ms: float = 50.0
    maximum_forecast_shift: float = 3.0
    approval: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    name: str
    title: str
    task: Literal["regression"]
    key: str
    target: str
    featurizer: str
    channels: tuple[Channel, ...]
    cadence_s: int = 3600
    samples_per_hour: int = 1
    history: int = 121
    horizon: int = 24
    lateness: int = 24
    interval: float = 0.9
    zone: str = "UTC"
    unlisted_stations: Literal["accept", "reject"] = "accept"
    names: Names = field(default_factory=Names)
    categories: tuple[Category, ...] = ()
    stations: dict[str, Station] = field(default_factory=dict)
    search: Search = field(default_factory=Search)
    gate: GateRules = field(default_factory=GateRules)
    drift: DriftRules = field(default_factory=DriftRules)
    retrain: RetrainRules = field(default_factory=RetrainRules)
    rollout: RolloutRules = field(default_factory=RolloutRules)


@dataclass(frozen=True, kw_only=True)
class Scenario(_Fields):
    """A checked use case; hours are the unit of history, horizon and lateness."""

    @property
    def slots(self) -> int:
        """Hours a device's ring holds: the window of the oldest hour that a late reading may still change."""
        return self.history + self.lateness

    @cached_property
    def stored(self) -> tuple[str, ...]:
        """Names of the ring's columns: a channel each, two (`_u` east, `_v` north) for a circular one."""
        names: list[str] = []
        for channel in self.channels:
            names += [f"{channel.name}_u", f"{channel.name}_v"] if channel.aggregate == "circular" else [channel.name]
        return tuple(names)

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, in the order of every reading's values."""
        return tuple(channel.name for channel in self.channels)

    @property
    def target_channel(self) -> Channel:
        """The channel that is forecast."""
        return self.channels[self.channel_names.index(self.target)]

    @property
    def target_column(self) -> int:
        """Index of the target among the ring's columns."""
        return self.stored.index(self.target)


# What the rules see in place of a field without a default that cannot be read; no rule that rests on it is reported.
_STAND_IN: dict[str, Any] = {
    "name": "", "title": "", "task": "regression", "key": "", "target": "", "featurizer": "", "channels": (),
}  # fmt: skip


def parse(raw: Mapping[str, object]) -> Scenario:
    """Check a scenario file's content.

    Raises:
        ConfigError: Something is wrong; the message lists every problem, one a line.
    """
    problems: list[str] = []
    values, wrong = read(Scenario, raw, "", problems)
    scenario = Scenario(**{**_STAND_IN, **values})
    problems.extend(line for fields, line in _problems(scenario) if wrong.isdisjoint(fields))
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(f"scenario {raw.get('name', '')!r} has {len(problems)} problem(s):\n{lines}")
    return scenario


def _problems(scenario: Scenario) -> Iterable[Problem]:
    yield from _limits(scenario)
    yield from _names(scenario)
    for channel in scenario.channels:
        yield from (((), line) for line in _channel(channel))
    yield from _zones(scenario)
    yield from _categories(scenario)


def _limits(scenario: Scenario) -> Iterable[Problem]:
    bounds = {
        "cadence_s": (scenario.cadence_s, 3600, 3600),
        "samples_per_hour": (scenario.samples_per_hour, 1, 60),
        "history": (scenario.history, 2, 2000),
        "horizon": (scenario.horizon, 1, 168),
        "interval": (scenario.interval, 0.5, 0.99),
        "search.trials": (scenario.search.trials, 1, 200),
        "search.folds": (scenario.search.folds, 2, 10),
        "search.max_trees": (scenario.search.max_trees, 1, 5000),
        **_gate_limits(scenario.gate),
        **_retrain_bounds(scenario.retrain),
    }
    for key, (value, low, high) in bounds.items():
        if not low <= value <= high:
            yield (key.partition(".")[0],), f"{key}: {value!r} is outside {low} to {high}"
    if not 0 <= scenario.lateness <= scenario.horizon:
        yield ("lateness", "horizon"), f"lateness: {scenario.lateness} is outside 0 to horizon {scenario.horizon}"
    if not scenario.history > scenario.horizon + scenario.lateness:
        needed = scenario.horizon + scenario.lateness
        yield (
            ("history", "horizon", "lateness"),
            f"history: {scenario.history} is not above horizon + lateness {needed}",
        )


def _retrain_bounds(rules: RetrainRules) -> dict[str, tuple[float, float, float]]:
    return {
        "retrain.cooldown_h": (rules.cooldown_h, 0, 8760),
        "retrain.maximum_runs_per_month": (rules.maximum_runs_per_month, 0, 1000),
        "retrain.maximum_cost_per_month": (rules.maximum_cost_per_month, 0, 1e9),
        "retrain.cost_per_run": (rules.cost_per_run, 0, 1e9),
        "retrain.minimum_first_rows": (rules.minimum_first_rows, 1, 1_000_000_000),
        "retrain.minimum_new_rows": (rules.minimum_new_rows, 1, 1_000_000_000),
        "retrain.schedule_days": (rules.schedule_days, 1, 3650),
        "retrain.backoff_h": (rules.backoff_h, 0, 8760),
        "retrain.backoff_factor": (rules.backoff_factor, 1, 10),
        "retrain.maximum_backoff_h": (rules.maximum_backoff_h, 0, 8760),
        "retrain.challenger_wait_days": (rules.challenger_wait_days, 0, 3650),
        "retrain.timeout_h": (rules.timeout_h, 0.1, 168),
    }


def _gate_limits(gate: GateRules) -> dict[str, tuple[float, float, float]]:
    return {
        "gate.minimum_improvement": (gate.minimum_improvement, 0, 0.5),
        "gate.confidence": (gate.confidence, 0.5, 0.999),
        "gate.minimum_rows": (gate.minimum_rows, 1, 10**9),
        "gate.minimum_days": (gate.minimum_days, 1, 3650),
        "gate.minimum_blocks": (gate.minimum_blocks, 2, 1000),
        "gate.worst_group_ratio": (gate.worst_group_ratio, 1, 10),
        "gate.minimum_group_rows": (gate.minimum_group_rows, 1, 10**9),
        "gate.coverage_tolerance": (gate.coverage_tolerance, 0, 0.5),
        "gate.coverage_days": (gate.coverage_days, 1, 3650),
        "gate.maximum_parity": (gate.maximum_parity, 0, 10**6),
        "gate.maximum_mb": (gate.maximum_mb, 0, 10_000),
        "gate.maximum_latency_ms": (gate.maximum_latency_ms, 0, 60_000),
        "gate.suspicious_ratio": (gate.suspicious_ratio, 0, 1),
        "gate.suspicious_correlation": (gate.suspicious_correlation, 0, 1),
        "gate.resamples": (gate.resamples, 200, 20_000),
        "gate.seed": (gate.seed, 0, 2**63 - 1),
    }


def _names(scenario: Scenario) -> Iterable[Problem]:
    if not NAME.fullmatch(scenario.name):
        yield ("name",), f"name: {scenario.name!r} is not lower-case letters, digits and underscores"
    known, fields = ", ".join(scenario.channel_names), ("target", "channels")
    if scenario.target not in scenario.channel_names:
        yield fields, f"target: {scenario.target!r} is not a channel; channels are {known}"
    elif scenario.target_channel.aggregate == "circular":
        yield fields, f"target: {scenario.target!r} is circular; a forecast needs a mean or a sum"
    found = [name.casefold() for c in scenario.channels for name in {c.name, *c.aliases}]
    found += [name.casefold() for name in {*scenario.names.device, *scenario.names.time}]
    for name, count in Counter(found).items():
        if count > 1:
            yield (), f"channels: the name {name!r} stands for {count} things"


def _channel(channel: Channel) -> Iterable[str]:
    where = f"channels.{channel.name}"
    if not NAME.fullmatch(channel.name):
        yield f"{where}: the name is not lower-case letters, digits and underscores"
    if not channel.minimum < channel.maximum:
        yield f"{where}.minimum: {channel.minimum} is not below the maximum {channel.maximum}"
    for name, unit in channel.units.items():
        if unit.factor == 0:
            yield f"{where}.units.{name}.factor: must not be 0"
        if unit.detect is not None and not _apart(channel, unit.detect):
            yield f"{where}.units.{name}.detect: {list(unit.detect)} overlaps {channel.minimum} to {channel.maximum}"


def _apart(channel: Channel, detect: tuple[float, float]) -> bool:
    return detect[0] < detect[1] and (detect[1] < channel.minimum or detect[0] > channel.maximum)


def _zones(scenario: Scenario) -> Iterable[Problem]:
    stations = {f"stations.{name}.zone": station.zone for name, station in scenario.stations.items()}
    for where, zone in {"zone": scenario.zone, **stations}.items():
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield (), f"{where}: {zone!r} is not a known time zone"


def _categories(scenario: Scenario) -> Iterable[Problem]:
    uppers = [category.upper for category in scenario.categories]
    if uppers != sorted(set(uppers)):
        yield (), f"categories: upper bounds {uppers} do not rise"
    if not uppers or scenario.target not in scenario.channel_names:
        return
    maximum = scenario.target_channel.maximum
    if not math.isclose(uppers[-1], maximum):
        yield (
            ("categories", "target", "channels"),
            f"categories: the last upper bound {uppers[-1]} is not the target's maximum {maximum}",
        )


def with_overrides(scenario: Scenario, **changes: object) -> Scenario:
    """Copy of a scenario with fields replaced and checked again.

    Raises:
        ConfigError: The result breaks a rule.
    """
    changed = dataclasses.replace(scenario, **changes)  # type: ignore[arg-type]
    problems = [line for _, line in _problems(changed)]
    if problems:
        raise ConfigError("\n".join(problems))
    return changed
