"""What each forecast scores, and how far the challenger follows the truth."""

from __future__ import annotations

import math

import numpy as np

from shared.core.gate.evidence import Evidence
from shared.core.gate.verdict import Scores
from shared.core.intake.readings import Doubles, Floats, Longs, Mask
from shared.validation import number

_STILL = 1e-6


def scores_of(evidence: Evidence, rows: Mask) -> dict[str, Scores]:
    """Scores of both models and both naive forecasts, where they answered."""
    truth = doubles(evidence.truth, rows)
    found = {}
    for name in ("challenger", "champion", "damped", "persistence"):
        error = doubles(getattr(evidence, name), rows) - truth
        error = error if name == "challenger" else error[~np.isnan(error)]
        ends = (evidence.lower[rows], evidence.upper[rows]) if name == "challenger" else None
        if len(error):
            found[name] = Scores(
                rows=len(error), mae=number(mean(np.abs(error))), rmse=number(math.sqrt(mean(error * error))),
                bias=number(mean(error)),
                coverage=number(mean((ends[0] <= truth) & (truth <= ends[1]))) if ends else None,
                width=number(mean(ends[1].astype(np.float64) - ends[0])) if ends else None,
            )  # fmt: skip
    return found


def correlation(forecast: Doubles, truth: Doubles, device: Longs, least: int) -> float:
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
        still = (spread_x <= _STILL * aa) | (spread_y <= _STILL * bb)
        found = np.where(still, 0.0, (ab - a * b / n) / np.sqrt(spread_x * spread_y))
    return np.asarray(found[n > 0])


def doubles(values: Floats, rows: Mask) -> Doubles:
    """Some values in double precision."""
    return values[rows].astype(np.float64)


def mean(values: Doubles | Mask) -> float:
    """Mean, NaN of nothing."""
    return float(np.mean(values)) if len(values) else math.nan
