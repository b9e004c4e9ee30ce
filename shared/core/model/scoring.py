"""Which model answers, what it is asked, and its answers: from raw outputs to limits, intervals and categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Floats, Longs, Mask
from shared.core.model.feature import Feature
from shared.core.model.manifest import Interval
from shared.core.scenario import Scenario
from shared.errors import ContractBroken

ROLES = ("champion", "challenger", "baseline")
CHAMPION, CHALLENGER, BASELINE = 0, 1, 2
PLACES = (0, 1, 0)  # where each role's forecast waits for its truth: the baseline answers only in a champion's stead
FLOOR = "floor"  # version under which the baseline answers


@dataclass(frozen=True, slots=True)
class Control:
    """Who answers, and for whom, at the time of a batch; part of every commit.

    Args:
        champion: Version that serves, None before the first deployment.
        challenger: Version scored beside it, None without one.
        quarantine: Devices that are stored but not scored.
        devices: Most devices that the partition may know, None for any number.
        minimum_hours: Hours of the window in which a device must have spoken, or it is not forecast.
    """

    champion: str | None = None
    challenger: str | None = None
    quarantine: frozenset[str] = frozenset()
    devices: int | None = None
    minimum_hours: int = 0


class Inputs(NamedTuple):
    """What one answer's features are computed from.

    Args:
        columns: Names of the columns.
        hours: Hour of each row since 1970, oldest first, int64, shape (rows,).
        values: NaN where missing, float32, shape (rows, columns).
    """

    columns: tuple[str, ...]
    hours: Longs
    values: Floats


class First(NamedTuple):
    """Answers of the baseline, which no model is needed for.

    Args:
        rows: Rows of the request that it can answer, rising, int64, shape (n,).
        numbers: The answers by the names of the task's number columns, float32, shape (n,) each.
        made_of: What they were made of, likewise, for whoever explains an answer.
    """

    rows: Longs
    numbers: Mapping[str, Floats]
    made_of: Mapping[str, Floats]


def no_baseline() -> First:
    """What a task answers without a model when it has no baseline."""
    return First(np.empty(0, np.int64), {}, {})


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Answers that a batch makes due.

    Args:
        device: Device ids, one a row.
        as_of: As-of hours since 1970, int64, shape (n,).
        matrix: Computes the features of all rows, float32, shape (n, features); not called when answers are replayed.
        inputs: What the features of one row are computed from, for whoever explains an answer.
        spoken: In how many hours of its window each row's device spoke, int64, shape (n,); not called either.
        baseline: Answers what is due without a model; not called when one answers or answers are replayed.
    """

    device: Sequence[str]
    as_of: Longs
    matrix: Callable[[], Floats]
    inputs: Callable[[int], Inputs]
    spoken: Callable[[], Longs] | None = None
    baseline: Callable[[], First] = no_baseline


@dataclass(frozen=True, slots=True)
class Scored:
    """One model's answers to a request, row by row.

    Args:
        role: Index into `ROLES`.
        model: Version of the model.
        numbers: The answers by the names of the task's number columns, float32, shape (n,) each; more may be there.
        served: Whether this row is the one shown to users, bool, shape (n,).
        rows: Rows of the request that are answered, rising, int64, shape (n,); None means all.
        revision: Revisions under which these answers were issued before, int64, shape (n,); None gives them new ones.
        cold: Whether the device had too little history, bool, shape (n,); None means that none had.
    """

    role: int
    model: str
    numbers: Mapping[str, Floats]
    served: npt.NDArray[np.bool_]
    rows: Longs | None = None
    revision: Longs | None = None
    cold: Mask | None = None


class Scorer(Protocol):
    """Answers what is due: a model, or the stored predictions of a batch that is replayed."""

    def __call__(self, request: ScoreRequest, /) -> Sequence[Scored]:
        """Answers of every model that scores, before the first deployment of the baseline."""


def unfitting(known: Sequence[Feature], wanted: Sequence[tuple[str, int]]) -> list[str]:
    """What of the features that a model wants this application cannot give, in words."""
    versions = {feature.name: feature.version for feature in known}
    problems = []
    for name, version in wanted:
        if name not in versions:
            problems.append(f"{name} is unknown")
        elif versions[name] != version:
            problems.append(f"{name} is version {versions[name]} here, the model wants {version}")
    return problems


def clip(scenario: Scenario, raw: Floats) -> Floats:
    """Model outputs within the target's limits, shape (n,).

    Raises:
        ContractBroken: An output is not a finite number.
    """
    bad = int(np.count_nonzero(~np.isfinite(raw)))
    if bad:
        raise ContractBroken(f"the model gave {bad} outputs of {len(raw)} that are not finite numbers")
    channel = scenario.target_channel
    return np.clip(raw, np.float32(channel.minimum), np.float32(channel.maximum)).astype(np.float32)


def bounds(scenario: Scenario, interval: Interval, value: Floats) -> tuple[Floats, Floats]:
    """Lower and upper ends of the intervals around forecasts, within the target's limits, each of shape (n,)."""
    channel = scenario.target_channel
    band = np.searchsorted(np.asarray(interval.edges, np.float32), value, side="right")
    low = value + np.asarray(interval.lower, np.float32)[band]
    high = value + np.asarray(interval.upper, np.float32)[band]
    limits = np.float32(channel.minimum), np.float32(channel.maximum)
    return np.clip(low, *limits), np.clip(high, *limits)


def widened(scenario: Scenario, numbers: Mapping[str, Floats], cold: Mask | None) -> Mapping[str, Floats]:
    """Answers whose intervals, if they have any, are `cold_start.bounds` times as wide for some rows.

    Args:
        scenario: Its rule, and limits of the target.
        numbers: Number columns of answers, shape (n,) each.
        cold: Rows whose device had too little history, shape (n,).
    """
    if cold is None or "lower" not in numbers or not cold.any():
        return numbers
    limits = np.float32(scenario.target_channel.minimum), np.float32(scenario.target_channel.maximum)
    value, factor = numbers["value"], np.float32(scenario.cold_start.bounds)
    ends = {name: np.clip(value + factor * (numbers[name] - value), *limits) for name in ("lower", "upper")}
    return {**numbers, **{name: np.where(cold, end, numbers[name]) for name, end in ends.items()}}


def categories(scenario: Scenario, value: Floats) -> list[str]:
    """Name of the band each forecast falls into, "" when the scenario has none and for NaN."""
    if not scenario.categories:
        return [""] * len(value)
    uppers = np.array([category.upper for category in scenario.categories[:-1]], np.float32)
    names = [*(category.name for category in scenario.categories), ""]
    band = np.where(np.isnan(value), len(uppers) + 1, np.searchsorted(uppers, value, side="left"))
    return [names[place] for place in band.tolist()]
