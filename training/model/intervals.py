"""Offsets of the interval's ends by band of the forecast, from errors of forecasts that never saw their truth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shared.core.intake.readings import Floats, Longs
from shared.core.model.manifest import Interval
from shared.core.model.scoring import bounds, clip
from shared.core.scenario import Scenario
from shared.errors import ContractBroken
from training.data.folds import Fold

BANDS = 8
BAND_ROWS = 200
"""Fewest errors behind a band: with fewer the outermost of them would decide alone."""


def fit(nominal: float, forecast: Floats, truth: Floats) -> Interval:
    """Calibrate the ends so that lower..upper covers the nominal share of truths in each band of the forecast.

    Split-conformal in each band: an end is the order statistic of the errors that also covers the next one with the
    wanted probability, so few errors give a wider interval. The interval always holds its forecast.

    Args:
        nominal: Share to be covered, half of the rest outside each end.
        forecast: Out-of-fold forecasts, shape (n,), n at least 1.
        truth: What came, shape (n,).

    Source:
        Lei et al. (2018), Distribution-Free Predictive Inference for Regression, algorithm 2; bands as in Bostroem et
        al. (2020), Mondrian conformal regressors.
    """
    bands = max(1, min(BANDS, len(forecast) // BAND_ROWS))
    edges = np.unique(np.quantile(forecast, np.arange(1, bands) / bands, method="higher").astype(np.float32))
    edges = edges[edges > forecast.min()]  # edges are forecasts, and none is the smallest: no band is without rows
    band = np.searchsorted(edges, forecast, side="right")
    ends = [_ends(nominal, np.sort((truth - forecast)[band == b])) for b in range(len(edges) + 1)]
    return Interval(
        nominal=nominal,
        edges=[float(edge) for edge in edges],
        lower=[lower for lower, _ in ends],
        upper=[upper for _, upper in ends],
    )


def _ends(nominal: float, error: Floats) -> tuple[float, float]:
    """Lower and upper offset from sorted errors."""
    outside = math.floor((len(error) + 1) * (1 - nominal) / 2 + 1e-9)  # the ranks beyond each end
    low, high = max(outside, 1), min(len(error) + 1 - outside, len(error))
    return min(float(error[low - 1]), 0.0), max(float(error[high - 1]), 0.0)


def check(interval: Interval) -> None:
    """Refuse offsets that serving could not use.

    Raises:
        ContractBroken: Edges do not rise, an offset is no number, or an interval would not hold its forecast.
    """
    ends = list(zip(interval.lower, interval.upper, strict=True))
    if not all(low < high for low, high in zip(interval.edges[:-1], interval.edges[1:], strict=True)):
        raise ContractBroken(f"interval: edges {interval.edges} do not rise")
    if not all(math.isfinite(low) and math.isfinite(high) and low <= 0 <= high for low, high in ends):
        raise ContractBroken(f"interval: offsets {ends} do not hold the forecast")


def honest_bounds(scenario: Scenario, folds: Sequence[Fold], forecast: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Ends of intervals where each fold's are calibrated on the other folds alone; on itself where it is the only one.

    Args:
        scenario: Nominal share and limits.
        folds: Folds whose `valid` rows have forecasts, no row in two of them.
        forecast: Out-of-fold model outputs by row number, NaN elsewhere, shape (n,).
        truth: What came, shape (n,).

    Returns:
        Lower and upper ends by row number, NaN where no fold validates, shape (n,) each.
    """
    ends = np.full((2, len(truth)), np.nan, np.float32)
    for fold in folds:
        others: Longs = np.concatenate([other.valid for other in folds if other is not fold] or [fold.valid])
        interval = fit(scenario.interval, clip(scenario, forecast[others]), truth[others])
        ends[:, fold.valid] = bounds(scenario, interval, clip(scenario, forecast[fold.valid]))
    return ends[0], ends[1]
