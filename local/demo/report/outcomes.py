"""Forecasts with what came later, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.core.intake.readings import Doubles, Floats, Ints, Longs, Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Forecasts with what came later, one row each, shape (n,); sorted by device, then hour.

    Args:
        devices: Distinct device ids that `device` points into.
        device: Index into `devices`.
        hour: Target hour, hours since 1970 UTC.
        forecast: The model's forecast.
        lower: Lower end of its interval.
        upper: Upper end of its interval.
        truth: What was measured in the target hour.
        persistence: Forecast of persistence, NaN where the value as of then was missing.
        damped: Forecast of damped persistence, NaN likewise.
    """

    devices: Sequence[str]
    device: Ints
    hour: Longs
    forecast: Floats
    lower: Floats
    upper: Floats
    truth: Floats
    persistence: Floats
    damped: Floats

    def fair(self) -> Mask:
        """Rows on which all three can be compared."""
        rows = np.stack((self.forecast, self.truth, self.persistence, self.damped))
        return np.asarray(np.isfinite(rows).all(axis=0))


def rmse_by(key: Longs | Ints, size: int, outcomes: Outcomes) -> tuple[list[Doubles], Longs]:
    """RMSE of model, damped persistence and persistence by key, on the same rows, and how many rows.

    Args:
        key: Group of each row, 0 to size - 1, shape (n,).
        size: Number of groups.
        outcomes: The forecasts.
    """
    fair = outcomes.fair()
    rows = np.bincount(key[fair], minlength=size)
    errors = []
    for made in (outcomes.forecast, outcomes.damped, outcomes.persistence):
        squares = (made[fair].astype(np.float64) - outcomes.truth[fair]) ** 2
        total = np.bincount(key[fair], weights=squares, minlength=size)
        errors.append(np.sqrt(np.divide(total, rows, out=np.full(size, np.nan), where=rows > 0)))
    return errors, rows
