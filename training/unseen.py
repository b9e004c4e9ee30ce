"""Forecasts of rows by models that had not seen their truth, as new as can be: what a recipe is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.core.readings import Floats, Longs
from shared.core.scenario import Scenario
from shared.core.scoring import clip
from training import boosting, floor, folds, level
from training.boosting import Fitted
from training.data import UNKNOWN_HOUR, TrainingSet
from training.folds import Fold
from training.level import Level

LEAST_GAIN = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Out-of-fold forecasts.

    Args:
        folds: The folds they come from, no row in two of them.
        rows: Row numbers that have one, rising, shape (m,).
        forecast: Within the target's limits by row number, NaN elsewhere, shape (n,).
        damped: The damped floor, fitted on the fold's training rows, by row number, NaN elsewhere, shape (n,).
        trained_until: Hour of the last truth behind the forecast by row number, -1 where there is none, shape (n,).
        level: Correction that the shipped model gets.
    """

    folds: tuple[Fold, ...]
    rows: Longs
    forecast: Floats
    damped: Floats
    trained_until: Longs
    level: Level

    def rmse(self, truth: Floats) -> tuple[float, ...]:
        """Of each fold."""
        errors = [self.forecast[fold.valid].astype(np.float64) - truth[fold.valid] for fold in self.folds]
        return tuple(float(np.sqrt(np.mean(error**2))) for error in errors)


def gather(
    scenario: Scenario,
    rows: TrainingSet,
    searched: Sequence[Fold],
    fitted: Fitted,
    since: int | None,
    done: Callable[[int, int], None] = lambda _done, _all: None,
) -> Unseen:
    """The search's forecasts, and from an hour on those of models trained anew shortly before.

    Args:
        scenario: Horizon, limits and seed.
        rows: The training rows.
        searched: Folds of the search.
        fitted: Its winner on these folds.
        since: First hour that newer models forecast, None for none.
        done: Called after each of these models with their number so far and in all.
    """
    extra = () if since is None else folds.recent(rows.as_of, scenario.horizon, since)
    raw, whole = fitted.forecast.copy(), folds.owned([*searched, *extra])
    fresh = [fold for fold in whole if not any(fold.train is other.train for other in searched)]
    for number, fold in enumerate(fresh, 1):
        model = boosting.fit(rows, fold.train, fitted.params, fitted.trees, seed=scenario.search.seed)
        raw[fold.valid] = model.predict(rows.matrix[fold.valid])
        done(number, len(fresh))
    until, damped = np.full(len(rows), -1, np.int64), np.full(len(rows), np.nan, np.float32)
    for fold in whole:
        damped[fold.valid] = floor.forecast(floor.fit(rows, fold.train), rows, fold.valid)
        if rows.dated:
            until[fold.valid] = rows.as_of[fold.train[-1]] + scenario.horizon
    found = Unseen(
        folds=whole, rows=np.flatnonzero(np.isfinite(raw)), forecast=clip(scenario, raw), damped=damped,
        trained_until=until, level=Level(),
    )  # fmt: skip
    return found if since is None else corrected(scenario, rows, found, since)
