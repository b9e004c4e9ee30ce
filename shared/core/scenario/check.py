"""A scenario file's content into a scenario: its types and limits, and the rules between its keys."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.core.scenario import layouts
from shared.core.scenario.cadence import HOUR_S
from shared.core.scenario.channels import Channel
from shared.core.scenario.scenario import Scenario
from shared.errors import ConfigError
from shared.validation import read

Problem: TypeAlias = tuple[tuple[str, ...], str]  # the fields that a rule rests on, and what is wrong
ROLE_UNITS = {"temperature": "degC", "relative_humidity": "%"}  # of the roles that enter a formula

# What the rules see in place of a field without a default that cannot be read; no rule that rests on it is reported.
_STAND_IN: dict[str, Any] = {
    "name": "", "title": "", "task": "regression", "key": "", "target": "", "featurizer": "hourly", "channels": (),
}  # fmt: skip


def parse(raw: Mapping[str, object]) -> Scenario:
    """Check a scenario file's content.

    Raises:
        ConfigError: Something is wrong; the message lists every problem, one a line.
    """
    problems: list[str] = []
    gate = raw.get("gate")
    if isinstance(gate, Mapping) and "loss" in gate:
        problems.append("gate.loss: is now the scenario's own key loss, by which gate, floor and rollout go alike")
        raw = {**raw, "gate": {key: value for key, value in gate.items() if key != "loss"}}
    values, wrong = read(Scenario, raw, "", problems)
    scenario = Scenario(**{**_STAND_IN, **values})
    problems.extend(line for fields, line in _problems(scenario) if wrong.isdisjoint(fields))
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(f"scenario {raw.get('name', '')!r} has {len(problems)} problem(s):\n{lines}")
    return scenario


def with_overrides(scenario: Scenario, **changes: object) -> Scenario:
    """Copy of a scenario with fields replaced, checked like a file.

    Raises:
        ConfigError: The result breaks a rule.
    """
    return parse(dataclasses.asdict(dataclasses.replace(scenario, **changes)))  # type: ignore[arg-type]


def _problems(scenario: Scenario) -> Iterable[Problem]:
    yield from _hours(scenario)
    yield from _target(scenario)
    yield from _names(scenario)
    for channel in scenario.channels:
        yield from (((), f"channels.{channel.name}.{line}") for line in _channel(channel))
    yield from ((("layouts", "channels"), line) for line in layouts.problems(scenario.layouts, scenario.channels))
    yield from _zones(scenario)
    yield from _categories(scenario)
    if not scenario.search.candidates:
        yield ("search",), "search.candidates: is empty"


def _hours(scenario: Scenario) -> Iterable[Problem]:
    step_s = scenario.cadence_s
    if step_s % 60 or HOUR_S % step_s:
        yield ("cadence_s",), f"cadence_s: {step_s} is not a number of whole minutes of which some make an hour"
    yield from _samples(scenario)
    horizon, lateness = scenario.horizon, scenario.lateness
    if not 0 <= lateness <= horizon:
        yield ("lateness", "horizon"), f"lateness: {lateness} is outside 0 to horizon {horizon}"
    if not scenario.history > horizon + lateness:
        line = f"history: {scenario.history} is not above horizon + lateness {horizon + lateness}"
        yield ("history", "horizon", "lateness"), line


def _samples(scenario: Scenario) -> Iterable[Problem]:
    step_s, tick_s, samples = scenario.cadence_s, scenario.resolution_s, scenario.samples_per_hour
    if step_s % tick_s:
        known = ", ".join(str(each) for each in range(1, step_s + 1) if step_s % each == 0)
        line = f"resolution_s: {tick_s} does not divide cadence_s = {step_s}, as {known} do"
        yield ("resolution_s", "cadence_s"), line
    if samples > HOUR_S // tick_s:
        line = f"samples_per_hour: {samples} is outside 1 to {HOUR_S // tick_s}, which an hour has"
        yield ("samples_per_hour", "resolution_s"), f"{line} at resolution_s = {tick_s}"


def _target(scenario: Scenario) -> Iterable[Problem]:
    known, fields = ", ".join(scenario.channel_names), ("target", "channels")
    if scenario.target not in scenario.channel_names:
        yield fields, f"target: {scenario.target!r} is not a channel; channels are {known}"
    elif scenario.target_channel.aggregate == "circular":
        yield fields, f"target: {scenario.target!r} is circular; a forecast needs a mean or a sum"


def _names(scenario: Scenario) -> Iterable[Problem]:
    if not scenario.names.time:
        yield ("names",), "names.time: is empty"
    found = [name.casefold() for c in scenario.channels for name in {c.name, *c.aliases}]
    found += [name.casefold() for name in {*scenario.device_names, *scenario.names.time}]
    for name, count in Counter(found).items():
        if count > 1:
            yield (), f"channels: the name {name!r} stands for {count} things"
    for role, count in Counter(channel.role for channel in scenario.channels if channel.role).items():
        if count > 1:
            yield (), f"channels: {count} have the role {role!r}"


def _channel(channel: Channel) -> Iterable[str]:
    if not channel.minimum < channel.maximum:
        yield f"minimum: {channel.minimum} is not below the maximum {channel.maximum}"
    for name, unit in channel.units.items():
        if unit.factor == 0:
            yield f"units.{name}.factor: must not be 0"
        if unit.detect is not None and not _apart(channel, unit.detect):
            yield f"units.{name}.detect: {list(unit.detect)} overlaps {channel.minimum} to {channel.maximum}"
    if channel.role is not None:
        wanted = {
            "unit": ROLE_UNITS.get(channel.role, channel.unit),
            "aggregate": "circular" if channel.role == "wind_direction" else "mean",
        }
        for key, value in wanted.items():
            if getattr(channel, key) != value:
                yield f"{key}: {getattr(channel, key)!r} is not {value!r}, which the role {channel.role!r} needs"


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
        line = f"categories: the last upper bound {uppers[-1]} is not the target's maximum {maximum}"
        yield ("categories", "target", "channels"), line
