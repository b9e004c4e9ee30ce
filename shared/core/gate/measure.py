"""Everything that the gate's rules look at, measured once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shared.core.gate.bootstrap import Draws, Interval, Timeline, bootstrap
from shared.core.gate.evidence import Answers, Evidence, Facts
from shared.core.gate.groups import Losses, Table, tabulate
from shared.core.gate.verdict import Scores, known
from shared.core.intake.readings import Doubles, Floats, Ints, Longs, Mask
from shared.core.scenario import GateRules, Scenario
from shared.core.task.calendar import DAY_HOURS

_SAME = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaws:
    """Numbers or rows that make evidence worthless; all have to be 0.

    Args:
        not_finite: Numbers that are NaN or infinite where they may not be.
        misaligned: Rows whose truth is not the truth of their device and hour.
        disordered: Rows of a device that are not later than the one before.
        seen: Rows whose truth may have been in the challenger's training.
        champion_seen: The same of the champion.
    """

    not_finite: int
    misaligned: int
    disordered: int
    seen: int
    champion_seen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known whatever is forecast.

    Args:
        gate: Limits.
        facts: Of both models.
        flaws: Of the evidence.
        axis: Time axis of the rows that are compared.
        as_of: Their as-of hours, shape (n,).
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
    gate = scenario.gate
    truth, challenger, floor = (_doubles(a, rows) for a in (evidence.truth, evidence.challenger, evidence.damped))
    lost = loss(gate, challenger - truth)
    axis = Timeline.of(evidence.as_of[rows], scenario.horizon)
    referred = loss(gate, _doubles(reference, rows) - truth)
    interval = _improvement(axis, lost, referred, scenario)
    losses = Losses(challenger=lost, reference=referred, axis=axis, block=interval.block)
    device = evidence.device[rows].astype(np.int64)
    names, band = bands(scenario, evidence.persistence[rows])
    covered = (evidence.lower[rows] <= evidence.truth[rows]) & (evidence.truth[rows] <= evidence.upper[rows])
    there = ~np.isnan(floor)
    # After a change of the world no interval holds until a model has seen it: then the newest days tell what to expect.
    lately = evidence.as_of[rows] > evidence.as_of[rows].max(initial=0) - DAY_HOURS * gate.coverage_days
    coverage = _nearer(scenario.interval, _mean(covered), _mean(covered[lately]))
    return Numbers(
        gate=gate, facts=facts, flaws=_flaws(evidence, facts), axis=axis, as_of=evidence.as_of[rows], losses=losses,
        devices=tabulate(evidence.devices, device, losses, gate), bands=tabulate(names, band, losses, gate),
        intervals={"rmse" if gate.loss == "squared" else "mae": interval},
        scores=_scores(evidence, rows), nominal=scenario.interval, coverage=coverage,
        floor=_ratio(gate, lost[there].sum(), loss(gate, floor - truth)[there].sum()),
        correlation=_correlation(challenger, truth, device, gate.minimum_group_rows),
    )  # fmt: skip


def _nearer(nominal: float, one: float, other: float) -> float:
    return other if abs(other - nominal) < abs(one - nominal) else one


def loss(gate: GateRules, error: Doubles) -> Doubles:
    """What errors cost, shape (n,)."""
    return error * error if gate.loss == "squared" else np.abs(error)


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
    power = 0.5 if scenario.gate.loss == "squared" else 1.0
    influence = sums[:, 0] - total[0] / total[1] * sums[:, 1]
    return bootstrap(sums, lambda drawn: 1 - (drawn[:, 0] / drawn[:, 1]) ** power, influence, draws(scenario))


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


def _flaws(evidence: Evidence, facts: Facts) -> Flaws:
    needed = (evidence.truth, evidence.challenger, evidence.lower, evidence.upper)
    optional = (evidence.champion, evidence.persistence, evidence.damped)
    apart = np.abs(evidence.truth.astype(np.float64) - evidence.witness)
    answered = ~np.isnan(evidence.champion)
    return Flaws(
        not_finite=sum(int((~np.isfinite(a)).sum()) for a in needed) + sum(int(np.isinf(a).sum()) for a in optional),
        misaligned=int((~(apart <= _SAME * (1 + np.abs(evidence.truth)))).sum()),
        disordered=disordered(evidence.device, evidence.as_of),
        seen=int((evidence.trained_until > evidence.as_of).sum()),
        champion_seen=champion_seen(evidence, answered, facts),
    )


def disordered(device: Ints, as_of: Longs) -> int:
    """Rows that do not come after the row before of the same device."""
    order = np.argsort(device, kind="stable")
    same = np.diff(device[order]) == 0
    return int((same & (np.diff(as_of[order]) <= 0)).sum())


def champion_seen(evidence: Answers, answered: Mask, facts: Facts) -> int:
    """Rows answered by the champion whose truth may have been in its training."""
    if facts.champion is None:
        return 0
    return int((answered & (evidence.as_of < facts.champion.trained_until)).sum())


def _scores(evidence: Evidence, rows: Mask) -> dict[str, Scores]:
    truth = _doubles(evidence.truth, rows)
    found = {}
    for name in ("challenger", "champion", "damped", "persistence"):
        error = _doubles(getattr(evidence, name), rows) - truth
        error = error if name == "challenger" else error[~np.isnan(error)]
        ends = (evidence.lower[rows], evidence.upper[rows]) if name == "challenger" else None
        if len(error):
            found[name] = Scores(
                rows=len(error), mae=known(_mean(np.abs(error))), rmse=known(math.sqrt(_mean(error * error))),
                bias=known(_mean(error)),
                coverage=known(_mean((ends[0] <= truth) & (truth <= ends[1]))) if ends else None,
                width=known(_mean(ends[1].astype(np.float64) - ends[0])) if ends else None,
            )  # fmt: skip
    return found


def _correlation(forecast: Doubles, truth: Doubles, device: Longs, least: int) -> float:
    """The highest correlation of all rows together and of each device with enough rows; 0 where one does not move."""
    everything = np.zeros(len(device), np.int64)
    alone = np.bincount(device)[device] >= least if len(device) else np.empty(0, bool)
    overall = _correlations(forecast, truth, everything)
    each = _correlations(forecast[alone], truth[alone], device[alone])
    return float(np.concatenate((overall, each)).max(initial=-1.0))


def _correlations(forecast: Doubles, truth: Doubles, group: Longs) -> Doubles:
    if not len(group):
        return np.empty(0)
    x, y = forecast - forecast.mean(), truth - truth.mean()
    n, a, b, aa, bb, ab = (np.bincount(group, column) for column in (np.ones(len(x)), x, y, x * x, y * y, x * y))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread_x, spread_y = aa - a * a / n, bb - b * b / n
        still = (spread_x <= _SAME * aa) | (spread_y <= _SAME * bb)
        found = np.where(still, 0.0, (ab - a * b / n) / np.sqrt(spread_x * spread_y))
    return np.asarray(found[n > 0])


def _ratio(gate: GateRules, challenger: float, reference: float) -> float:
    if not reference > 0:
        return math.nan
    ratio = challenger / reference
    return float(math.sqrt(ratio) if gate.loss == "squared" else ratio)


def _doubles(values: Floats, rows: Mask) -> Doubles:
    return values[rows].astype(np.float64)


def _mean(values: Doubles | Mask) -> float:
    return float(np.mean(values)) if len(values) else math.nan
