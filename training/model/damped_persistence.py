"""What a model has to beat: the value as of now, and the same damped towards the mean."""

from __future__ import annotations

import numpy as np

from shared.core.intake.readings import Floats, Longs
from shared.core.model.manifest import Damped, damped
from training.model.hourly.rows import TrainingSet


def fit(rows: TrainingSet, index: Longs | None = None) -> Damped:
    """Fit damped persistence by least squares on rows whose value as of now is there.

    Without any such row (wide files without the target's history) it is the mean of the target.

    Args:
        rows: The rows.
        index: Those to fit on, all when not given.
    """
    chosen = np.arange(len(rows)) if index is None else index
    target = rows.target[chosen].astype(np.float64)
    inputs = np.stack([np.ones(len(chosen)), rows.latest[chosen], rows.mean_24[chosen]], axis=1)
    there = np.isfinite(inputs).all(axis=1)
    if not there.any():
        return Damped(intercept=float(target.mean()), latest=0.0, mean_24=0.0)
    solution, *_ = np.linalg.lstsq(inputs[there], target[there], rcond=None)
    intercept, latest, mean_24 = map(float, solution)
    return Damped(intercept=intercept, latest=latest, mean_24=mean_24)


def forecast(fitted: Damped, rows: TrainingSet, index: Longs | None = None) -> Floats:
    """Forecasts of damped persistence, NaN where the value as of now is missing, shape (n,)."""
    chosen = np.arange(len(rows)) if index is None else index
    if fitted.latest == 0 and fitted.mean_24 == 0:
        return np.full(len(chosen), fitted.intercept, dtype=np.float32)
    return damped(fitted, rows.latest[chosen], rows.mean_24[chosen])
