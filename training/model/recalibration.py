"""A quick correction of a model's level and spread from its own newest errors: what a change of the world shows first.

Trees that learn from years of rows take weeks to believe a change. A straight line through forecasts and what came
believes it within days, and being a line it goes into the model's file as its scale and bias.

Giving newer rows more weight was tried instead and is worse, changed world or not: it takes away from the rows of the
same season a year ago (generator, RMSE of three weeks after a new pollution source: 29.4 with equal weights, 31.0 with
half-lives of 90 days and 31.2 of 30; without the source 20.0, 21.4 and 22.0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from catboost import CatBoostRegressor

from shared.core.intake.readings import Floats, Longs
from shared.core.scenario import Scenario

WINDOW_DAYS = 14
PRIOR_DAYS = 21
"""The line is drawn as if this many days without any error had come too."""

SLOPES = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class Recalibration:
    """What a forecast becomes: intercept + slope * forecast."""

    intercept: float = 0.0
    slope: float = 1.0

    def __call__(self, forecast: Floats) -> Floats:
        """Corrected forecasts, float32, shape (n,)."""
        return np.asarray(np.float32(self.intercept) + np.float32(self.slope) * forecast, np.float32)

    def __str__(self) -> str:
        return "as it is" if self == Recalibration() else f"{self.intercept:+.2f} {self.slope:+.3f} x forecast"

    def into(self, model: CatBoostRegressor) -> None:
        """Make it part of a model, in place."""
        scale, bias = model.get_scale_and_bias()
        model.set_scale_and_bias(scale * self.slope, bias * self.slope + self.intercept)


def fit(forecast: Floats, truth: Floats, days: int) -> Recalibration:
    """A least-squares line, drawn towards no correction at all by the prior's weight.

    Args:
        forecast: Out-of-fold forecasts, shape (n,).
        truth: What came, shape (n,).
        days: Days that they come from.
    """
    x, y = forecast.astype(np.float64), truth.astype(np.float64)
    if not len(x):
        return Recalibration()
    trust = days / (days + PRIOR_DAYS)
    spread = float(x.var())
    slope = 1 + trust * (float(np.mean((x - x.mean()) * (y - y.mean()))) / spread - 1) if spread > 0 else 1.0
    slope = min(max(slope, SLOPES[0]), SLOPES[1])
    centre = float(x.mean()) + trust * float(y.mean() - x.mean())
    return Recalibration(centre - slope * float(x.mean()), slope)


def newest(as_of: Longs, scenario: Scenario, now: int, forecast: Floats, truth: Floats) -> tuple[Recalibration, int]:
    """The line that could be drawn as step `now` began, and the step of the last truth in it (-1 without any).

    Args:
        as_of: Steps, rising, shape (n,).
        scenario: Horizon and cadence.
        now: The step.
        forecast: Out-of-fold forecasts, NaN where there is none, shape (n,).
        truth: What came, shape (n,).
    """
    day, horizon = scenario.cadence.day, scenario.horizon_steps
    low, high = np.searchsorted(as_of, [now - horizon - WINDOW_DAYS * day + 1, now - horizon + 1])
    chosen = low + np.flatnonzero(np.isfinite(forecast[low:high]))
    if not len(chosen):
        return Recalibration(), -1
    days = len(np.unique(as_of[chosen] // day))
    return fit(forecast[chosen], truth[chosen], days), int(as_of[chosen[-1]]) + horizon
