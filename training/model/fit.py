"""From rows and folds to one model: the search, its out-of-fold forecasts, intervals, the refit and its graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from catboost import CatBoostRegressor

from shared.adapters.models.onnx_graph import Graph
from shared.core.intake.readings import Floats, Longs
from shared.core.model.manifest import Damped, Interval
from shared.core.model.scoring import bounds, clip
from shared.core.scenario import Scenario
from training.data.folds import Fold
from training.model import boosting, damped_persistence, export, intervals, out_of_fold
from training.model.boosting import Fitted
from training.model.evaluate import Evaluation, coverage
from training.model.hourly.rows import TrainingSet
from training.model.out_of_fold import OutOfFold
from training.model.search import search
from training.report.console import Screen
from training.report.tracking import Tracker

PARITY_ROWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The model refitted on all rows, and how its recipe did on rows it had not seen.

    Args:
        fitted: The recipe on the folds of the search.
        out_of_fold: Out-of-fold forecasts.
        evaluation: The same beside what came; intervals are those that the package has.
        lower: Lower ends of intervals that were calibrated on the other folds, on the rows of `evaluation`.
        upper: Upper ends.
        coverage: Share of truths that these cover.
        interval: Offsets calibrated on all folds.
        damped: Damped persistence, fitted on all rows.
        booster: The model.
        onnx: Its graph.
        parity: Largest difference between the two.
    """

    fitted: Fitted
    out_of_fold: OutOfFold
    evaluation: Evaluation
    lower: Floats
    upper: Floats
    coverage: float
    interval: Interval
    damped: Damped
    booster: CatBoostRegressor
    onnx: bytes
    parity: float


def train(
    scenario: Scenario,
    rows: TrainingSet,
    folds: Sequence[Fold],
    tracker: Tracker,
    screen: Screen,
    since: int | None = None,
) -> Trained:
    """Search, calibrate, refit on all rows, export.

    Args:
        scenario: Budget, limits and seed.
        rows: The rows.
        folds: To search on.
        tracker: Receives the trials.
        screen: Where the run reports to.
        since: Hour from which out-of-fold forecasts are to be as new as can be: the end of the champion's training.

    Raises:
        ContractBroken: The graph does not say what the model says, or the interval cannot be used.
    """
    with screen.step("search") as step:
        fitted = search(rows, folds, scenario.search, tracker, step)
        step.note = f"best RMSE on folds {fitted.score:.3f} with {fitted.trees} trees"
    found = _out_of_fold(scenario, rows, folds, fitted, since, screen)
    forecast, truth = found.forecast[found.rows], rows.target[found.rows]
    interval = intervals.fit(scenario.interval, forecast, truth)
    intervals.check(interval)
    lower, upper = (
        ends[found.rows] for ends in intervals.honest_bounds(scenario, found.folds, found.forecast, rows.target)
    )
    evaluation = evaluate(scenario, rows, found.rows, forecast, found.damped[found.rows], interval)
    with screen.step("refit") as step:
        booster = boosting.refit(rows, folds, fitted, seed=scenario.search.seed)
        found.recalibration.into(booster)
        step.note = f"{booster.tree_count_} trees on all {len(rows):,} rows"
    with screen.step("export") as step:
        onnx = export.to_onnx(booster, rows.matrix.shape[1])
        parity = export.check_parity(booster, onnx, rows.matrix[spread(len(rows), PARITY_ROWS)])
        step.note = f"{len(onnx):,} bytes of ONNX, at most {parity:.1e} from CatBoost"
    return Trained(
        fitted=fitted, out_of_fold=found, evaluation=evaluation,
        lower=lower, upper=upper, coverage=coverage(lower, upper, truth),
        interval=interval, damped=damped_persistence.fit(rows), booster=booster, onnx=onnx, parity=parity,
    )  # fmt: skip


def _out_of_fold(
    scenario: Scenario, rows: TrainingSet, folds: Sequence[Fold], fitted: Fitted, since: int | None, screen: Screen
) -> OutOfFold:
    if since is None:
        return out_of_fold.gather(scenario, rows, folds, fitted, None)
    with screen.step("newest folds") as step:
        found = out_of_fold.gather(scenario, rows, folds, fitted, since, step.advance)
        step.note = f"{len(found.folds) - len(folds)} more; level {found.recalibration}"
    return found


def evaluate(
    scenario: Scenario, rows: TrainingSet, index: Longs, forecast: Floats, damped: Floats, interval: Interval
) -> Evaluation:
    """Forecasts of some rows beside their truth and what they have to beat.

    Args:
        scenario: Limits of the target.
        rows: The set that `index` points into.
        index: Row numbers, shape (n,).
        forecast: The model's forecasts within the limits, shape (n,).
        damped: Forecasts of damped persistence, shape (n,).
        interval: Offsets of the interval's ends.
    """
    lower, upper = bounds(scenario, interval, forecast)
    return Evaluation(
        as_of=rows.as_of[index],
        device=rows.device[index],
        devices=rows.devices,
        truth=rows.target[index],
        forecasts={"": forecast, "_damped": damped, "_persistence": rows.latest[index]},
        lower=lower,
        upper=upper,
    )


def evaluate_held_out(scenario: Scenario, trained: Trained, rows: TrainingSet) -> Evaluation:
    """Forecasts of the graph and of damped persistence on a set that no choice has looked at.

    Raises:
        ContractBroken: A forecast is not a finite number.
    """
    every = np.arange(len(rows))
    forecast = clip(scenario, Graph(trained.onnx, threads=boosting.THREADS).run(rows.matrix))
    return evaluate(
        scenario, rows, every, forecast, damped_persistence.forecast(trained.damped, rows), trained.interval
    )


def spread(rows: int, wanted: int) -> Longs:
    """Row numbers, evenly spread, at most the wanted number."""
    return np.unique(np.linspace(0, rows - 1, min(rows, wanted)).astype(np.int64))
