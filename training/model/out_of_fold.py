"""Forecasts of rows by models that had not seen their truth, as new as can be: what a recipe is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.core.intake.readings import Floats, Longs
from shared.core.model.scoring import clip
from shared.core.scenario import Scenario
from training.data import folds
from training.data.folds import Fold
from training.model import boosting, damped_persistence, recalibration
from training.model.boosting import Fitted
from training.model.hourly.rows import TrainingSet
from training.model.recalibration import Recalibration

TRUST_DAYS = 28
LEAST_GAIN = 0.005
"""Of the squared error; a correction that does no better is not worth its risk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """Out-of-fold forecasts.

    Args:
        folds: The folds they come from, no row in two of them.
        rows: Row numbers that have one, rising, shape (m,).
        forecast: Within the target's limits by row number, NaN elsewhere, shape (n,).
        damped: Damped persistence, fitted on the fold's training rows, by row number, NaN elsewhere, shape (n,).
        trained_until: Hour of the last truth behind the forecast by row number, -1 where there is none, shape (n,).
        recalibration: Correction that the shipped model gets.
    """

    folds: tuple[Fold, ...]
    rows: Longs
    forecast: Floats
    damped: Floats
    trained_until: Longs
    recalibration: Recalibration

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
) -> OutOfFold:
    """The search's forecasts, and from an hour on those of models trained anew shortly before, corrected day by day.

    No model has seen the truth of a row that it forecasts here. Parameters and number of trees were chosen on these
    rows, though, one choice for all: the errors are that much too small.

    Args:
        scenario: Horizon, limits and seed.
        rows: The training rows.
        searched: Folds of the search.
        fitted: Its winner on these folds.
        since: First hour that newer models forecast, None for none.
        done: Called after each of these models with their number so far and in all.
    """
    extra = [] if since is None else folds.recent(rows.as_of, scenario, since)
    extra = [fold for fold in extra if np.ptp(rows.target[fold.train]) > 0]  # of one value nothing can be learned
    raw, whole = fitted.forecast.copy(), folds.owned([*searched, *extra])
    fresh = [fold for fold in whole if not any(fold.train is other.train for other in searched)]
    for number, fold in enumerate(fresh, 1):
        model = boosting.fit(rows, fold.train, fitted.params, fitted.trees, seed=scenario.search.seed)
        raw[fold.valid] = model.predict(rows.matrix[fold.valid])
        done(number, len(fresh))
    until, damped = np.full(len(rows), -1, np.int64), np.full(len(rows), np.nan, np.float32)
    for fold in whole:
        damped[fold.valid] = damped_persistence.forecast(damped_persistence.fit(rows, fold.train), rows, fold.valid)
        if rows.dated:
            until[fold.valid] = rows.as_of[fold.train[-1]] + scenario.horizon_steps
    line = Recalibration() if since is None else _corrected(rows, scenario, since, raw, until)
    chosen = np.flatnonzero(np.isfinite(raw))
    raw[chosen] = clip(scenario, raw[chosen])
    return OutOfFold(folds=whole, rows=chosen, forecast=raw, damped=damped, trained_until=until, recalibration=line)


def _corrected(rows: TrainingSet, scenario: Scenario, since: int, raw: Floats, until: Longs) -> Recalibration:
    """Correct the forecasts from an hour on, day by day with what was known, in place; returns the newest correction.

    A correction is used while it did well lately. The first days have to do without: nothing is known of it yet.
    """
    tried = np.full(len(rows), np.nan, np.float32)
    plain = raw.copy()
    end, day = int(rows.as_of[-1]) + 1, scenario.cadence.day
    for start in range(since, end, day):
        line, seen = recalibration.newest(rows.as_of, scenario, start, plain, rows.target)
        low, high = np.searchsorted(rows.as_of, [start, start + day])
        tried[low:high] = line(plain[low:high])
        if _helps(rows, scenario, start, plain, tried):
            raw[low:high] = tried[low:high]
        until[low:high] = np.maximum(until[low:high], seen)
    last = end + scenario.horizon_steps
    line, _ = recalibration.newest(rows.as_of, scenario, last, plain, rows.target)
    return line if _helps(rows, scenario, last, plain, tried) else Recalibration()


def _helps(rows: TrainingSet, scenario: Scenario, now: int, plain: Floats, tried: Floats) -> bool:
    """Whether the corrected forecasts of the last weeks were clearly better, by the truths known as `now` began."""
    end = now - scenario.horizon_steps + 1
    low, high = np.searchsorted(rows.as_of, [end - TRUST_DAYS * scenario.cadence.day, end])
    there = low + np.flatnonzero(np.isfinite(plain[low:high]) & np.isfinite(tried[low:high]))
    before, after = (np.square(f[there].astype(np.float64) - rows.target[there]).sum() for f in (plain, tried))
    return bool(after < (1 - LEAST_GAIN) * before)
