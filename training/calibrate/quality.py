"""Limits on realised quality, from the weeks of the out-of-fold forecasts."""

from __future__ import annotations

import numpy as np

from shared.core.intake.readings import Doubles
from shared.core.scenario import Scenario
from training.calibrate.tail import quantile
from training.model.evaluate import Evaluation

MINIMUM_WINDOWS = 12
MINIMUM_ROWS = 48
MARGIN = 1.2
PART = 0.1  # of the accepted rate of false alarms: here each one costs a training


def of(scenario: Scenario, evaluation: Evaluation) -> Doubles:
    """Limits in the order of `drift_baseline.QUALITY`, NaN where there are too few weeks.

    Args:
        scenario: Window and accepted rate of false alarms.
        evaluation: Out-of-fold forecasts.
    """
    limits = np.full(3, np.nan)
    forecast, persistence = evaluation.forecasts[""], evaluation.forecasts["_persistence"]
    chosen = (evaluation.as_of >= 0) & np.isfinite(forecast) & np.isfinite(evaluation.truth)
    window = evaluation.as_of // (scenario.cadence.day * scenario.drift.window_days)
    error, naive = np.abs(forecast - evaluation.truth), np.abs(persistence - evaluation.truth)
    inside = (evaluation.lower <= evaluation.truth) & (evaluation.truth <= evaluation.upper)
    mae, coverage = [], []
    ratio = []
    for one in np.unique(window[chosen]):
        rows = chosen & (window == one)
        if rows.sum() < MINIMUM_ROWS:
            continue
        mae.append(float(error[rows].mean()))
        coverage.append(float(inside[rows].mean()))
        paired = rows & np.isfinite(naive)
        if paired.any() and naive[paired].sum() > 0:
            ratio.append(float(error[paired].sum() / naive[paired].sum()))
    rate = scenario.drift.false_alarm_rate * PART
    for place, (values, sign) in enumerate(((ratio, 1), (mae, 1), (coverage, -1))):
        if len(values) >= MINIMUM_WINDOWS:
            limits[place] = _limit(sign * np.array(values), rate) * sign
    return limits


def _limit(values: Doubles, rate: float) -> float:
    """A high quantile, moved away from the median by the margin: few weeks do not show all there are."""
    middle = float(np.median(values))
    return middle + (quantile(values, rate) - middle) * MARGIN
