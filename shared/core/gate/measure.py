"""Everything that the gate's rules look at, measured once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shared.core.gate.bootstrap import Draws, Interval, Timeline, bootstrap
from shared.core.gate.evidence import Evidence, Facts
from shared.core.gate.flaws import Flaws, flaws_of
from shared.core.gate.groups import Losses, Table, tabulate
from shared.core.gate.scores import correlation, doubles, mean, scores_of
from shared.core.gate.verdict import Scores
from shared.core.intake.readings import Doubles, Floats, Longs
from shared.core.scenario import GateRules, Loss, Scenario
from shared.core.task.calendar import DAY_HOURS
from shared.core.task.losses import MEASURES, cost, power


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known whatever is forecast.

    Args:
        gate: Limits.
        facts: Of both models.
        flaws: Of the evidence.
        axis: Time axis of the rows that are compared.
        as_of: Their as-of hours, whatever the cadence, shape (n,).
        devices: Errors by device.
        intervals: Improvements by measure.
        scores: By forecast.
    """

    gate: GateRules
    facts: Facts
    flaws: Flaws
    axis: Timeline
    as_of: Longs
    losses: Losses
    devices: Table
    intervals: dict[str, Interval]
    scores: dict[str, Scores]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers(Case):
    """What is known of forecasts of numbers besides.

    Args:
        nominal: Share of truths that the intervals should cover.
        coverage: Share that they cover, on all rows or in the newest days, whichever is nearer to `nominal`.
        floor: Error as a share of damped persistence's, on the rows that have it.
        correlation: Of forecast and truth; the highest of all rows together and of each device.
        bands: Errors by band of the value as of now.
    """

    nominal: float
    coverage: float
    floor: float
    correlation: float
    bands: Table


def measure(scenario: Scenario, evidence: Evidence, facts: Facts) -> Numbers:
    """Measure forecasts of numbers on the rows that the champion answered, without a champion those of the floor."""
    reference = evidence.damped if facts.champion is None else evidence.champion
    rows = ~np.isnan(reference)
    gate, kind = scenario.gate, scenario.loss
    truth, challenger, floor = (doubles(a, rows) for a in (evidence.truth, evidence.challenger, evidence.damped))
    lost = cost(kind, challenger - truth)
    hours = evidence.as_of[rows] // scenario.cadence.hour
    axis = Timeline.of(hours, scenario.horizon)
    referred = cost(kind, doubles(reference, rows) - truth)
    interval = _improvement(axis, lost, referred, scenario)
    losses = Losses(challenger=lost, reference=referred, axis=axis, block=interval.block, loss=kind)
    device = evidence.device[rows].astype(np.int64)
    names, band = bands(scenario, evidence.persistence[rows])
    covered = (evidence.lower[rows] <= evidence.truth[rows]) & (evidence.truth[rows] <= evidence.upper[rows])
    there = ~np.isnan(floor)
    # After a change of the world no interval holds until a model has seen it: then the newest days tell what to expect.
    lately = hours > hours.max(initial=0) - DAY_HOURS * gate.coverage_days
    coverage = _nearer(scenario.interval, mean(covered), mean(covered[lately]))
    return Numbers(
        gate=gate, facts=facts, flaws=flaws_of(evidence, facts), axis=axis, as_of=hours, losses=losses,
        devices=tabulate(evidence.devices, device, losses, gate), bands=tabulate(names, band, losses, gate),
        intervals={MEASURES[kind]: interval},
        scores=scores_of(evidence, rows), nominal=scenario.interval, coverage=coverage,
        floor=_ratio(kind, lost[there].sum(), cost(kind, floor - truth)[there].sum()),
        correlation=correlation(challenger, truth, device, gate.minimum_group_rows),
    )  # fmt: skip


def _nearer(nominal: float, one: float, other: float) -> float:
    return other if abs(other - nominal) < abs(one - nominal) else one


def draws(scenario: Scenario) -> Draws:
    """How the scenario wants its bootstrap."""
    gate = scenario.gate
    return Draws(horizon=scenario.horizon, confidence=gate.confidence, resamples=gate.resamples, seed=gate.seed)


def nothing(scenario: Scenario) -> Interval:
    """The improvement on no rows at all."""
    return Interval(math.nan, math.nan, math.nan, scenario.horizon, 0, 0.0)


def _improvement(axis: Timeline, challenger: Doubles, reference: Doubles, scenario: Scenario) -> Interval:
    """Share by which the challenger's RMSE or MAE is lower."""
    if not axis.hours:
        return nothing(scenario)
    sums = axis.sums(challenger, reference)
    total = sums.sum(axis=0)
    exponent = power(scenario.loss)
    influence = sums[:, 0] - total[0] / total[1] * sums[:, 1]
    return bootstrap(sums, lambda drawn: 1 - (drawn[:, 0] / drawn[:, 1]) ** exponent, influence, draws(scenario))


def bands(scenario: Scenario, now: Floats) -> tuple[tuple[str, ...], Longs]:
    """Names of bands and each row's band, by what is known when the forecast is made: the value as of now.

    Bands of what came later would punish whoever forecasts a rise: among low truths the lower forecast always wins.

    Args:
        scenario: Its categories; quarters of the values where it has none.
        now: Values as of now, NaN where missing, shape (n,).

    Source:
        Lerch et al. (2017), Forecaster's Dilemma: Extreme Events and Forecast Evaluation.
    """
    there = np.isfinite(now)
    if scenario.categories:
        names = [category.name for category in scenario.categories]
        uppers = np.array([category.upper for category in scenario.categories[:-1]], np.float32)
    else:
        names = [f"{which} quarter" for which in ("lowest", "second", "third", "highest")]
        uppers = (
            np.quantile(now[there], [0.25, 0.5, 0.75]).astype(np.float32) if there.any() else np.zeros(3, np.float32)
        )
    found = np.searchsorted(uppers, now, side="left")
    return (*names, "no value as of now"), np.where(there, found, len(names)).astype(np.int64)


def _ratio(loss: Loss, challenger: float, reference: float) -> float:
    if not reference > 0:
        return math.nan
    ratio = float(challenger / reference)  # not numpy's: what is found of it stands in the verdict's JSON
    return math.sqrt(ratio) if loss == "squared" else ratio
