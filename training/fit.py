"""From rows and folds to one model: the search, what it did on unseen rows, intervals, the refit and its graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from catboost import CatBoostRegressor

from shared.adapters.onnx_model import Graph
from shared.core.package import Damped, Interval
from shared.core.readings import Floats, Longs
from shared.core.scenario import Scenario
from shared.core.scoring import bounds, clip
from training import boosting, export, floor, intervals
from training.boosting import Fitted
from training.data import TrainingSet
from training.evaluate import Judged
from training.folds import Fold
from training.progress import Screen
from training.search import search
from training.tracking import Tracker

PARITY_ROWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The model refitted on all rows, and how its recipe did on rows it had not seen.

    Args:
        fitted: The recipe on the folds.
        judged: Its out-of-fold forecasts.
        coverage: Share of truths covered by intervals that were calibrated on the other folds.
        interval: Offsets calibrated on all folds.
        damped: The floor, fitted on all rows.
        booster: The model.
        onnx: Its graph.
        parity: Largest difference between the two.
    """

    fitted: Fitted
    judged: Judged
    coverage: float
    interval: Interval
    damped: Damped
    booster: CatBoostRegressor
    onnx: bytes
    parity: float


def train(scenario: Scenario, rows: TrainingSet, folds: Sequence[Fold], tracker: Tracker, screen: Screen) -> Trained:
    """Search, calibrate, refit on all rows, export.

    Raises:
        ContractBroken: The graph does not say what the model says, or the interval cannot be used.
    """
    with screen.step("search") as step:
        fitted = search(rows, folds, scenario.search, tracker, step)
        step.note = f"best RMSE on folds {fitted.score:.3f} with {fitted.trees} trees"
    unseen = np.concatenate([fold.valid for fold in folds])
    forecast = clip(scenario, fitted.forecast[unseen])
    interval = intervals.fit(scenario.interval, forecast, rows.target[unseen])
    intervals.check(interval)
    covered = intervals.honest_coverage(scenario, folds, fitted.forecast, rows.target)
    floors = [floor.forecast(floor.fit(rows, fold.train), rows, fold.valid) for fold in folds]
    judged = judge(scenario, rows, unseen, forecast, np.concatenate(floors), interval)
    with screen.step("refit") as step:
        booster = boosting.refit(rows, folds, fitted, seed=scenario.search.seed)
        step.note = f"{booster.tree_count_} trees on all {len(rows):,} rows"
    with screen.step("export") as step:
        onnx = export.to_onnx(booster, rows.matrix.shape[1])
        parity = export.check_parity(booster, onnx, rows.matrix[spread(len(rows), PARITY_ROWS)])
        step.note = f"{len(onnx):,} bytes of ONNX, at most {parity:.1e} from CatBoost"
    return Trained(
        fitted=fitted, judged=judged, coverage=covered, interval=interval, damped=floor.fit(rows), booster=booster,
        onnx=onnx, parity=parity,
    )  # fmt: skip


def judge(
    scenario: Scenario, rows: TrainingSet, index: Longs, forecast: Floats, damped: Floats, interval: Interval
) -> Judged:
    """Forecasts of some rows beside their truth and the floors.

    Args:
        scenario: Limits of the target.
        rows: The set that `index` points into.
        index: Row numbers, shape (n,).
        forecast: The model's forecasts within the limits, shape (n,).
        damped: The damped floor's forecasts, shape (n,).
        interval: Offsets of the interval's ends.
    """
    lower, upper = bounds(scenario, interval, forecast)
    return Judged(
        as_of=rows.as_of[index],
        device=rows.device[index],
        devices=rows.devices,
        truth=rows.target[index],
        forecasts={"": forecast, "_damped": damped, "_persistence": rows.latest[index]},
        lower=lower,
        upper=upper,
    )


def judge_unseen(scenario: Scenario, trained: Trained, rows: TrainingSet) -> Judged:
    """What the graph and the floor say of a set that no choice has looked at.

    Raises:
        ContractBroken: A forecast is not a finite number.
    """
    every = np.arange(len(rows))
    forecast = clip(scenario, Graph(trained.onnx, threads=boosting.THREADS).run(rows.matrix))
    return judge(scenario, rows, every, forecast, floor.forecast(trained.damped, rows), trained.interval)


def spread(rows: int, wanted: int) -> Longs:
    """Row numbers, evenly spread, at most the wanted number."""
    return np.unique(np.linspace(0, rows - 1, min(rows, wanted)).astype(np.int64))
