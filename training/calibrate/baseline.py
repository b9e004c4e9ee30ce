"""What the training data looked like, kept with the model: drift is measured against it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Floats
from training.model.evaluate import Evaluation
from training.model.hourly.rows import TrainingSet

QUANTILES = 101


def arrays(rows: TrainingSet, evaluation: Evaluation) -> dict[str, npt.NDArray[Any]]:
    """Arrays of `baseline.npz`.

    Args:
        rows: All training rows.
        evaluation: Out-of-fold forecasts.

    Returns:
        feature_names (F,), feature_quantiles (F, 101; 0 to 100 %, NaN for a feature that is always missing),
        feature_missing (F,) shares, target_quantiles (101,), forecast_quantiles (101,), devices (D,), and per
        out-of-fold row oof_device, oof_as_of (hours, -1 unknown), oof_truth, oof_forecast, oof_persistence, oof_damped.
    """
    columns = [rows.matrix[:, index] for index in range(rows.matrix.shape[1])]
    return {
        "feature_names": np.array([feature.name for feature in rows.features]),
        "feature_quantiles": np.stack([quantiles(column) for column in columns]),
        "feature_missing": np.array([np.isnan(column).mean() for column in columns], dtype=np.float32),
        "target_quantiles": quantiles(rows.target),
        "forecast_quantiles": quantiles(evaluation.forecasts[""]),
        "devices": np.array(rows.devices),
        "oof_device": evaluation.device,
        "oof_as_of": evaluation.as_of,
        "oof_truth": evaluation.truth,
        "oof_forecast": evaluation.forecasts[""],
        "oof_persistence": evaluation.forecasts["_persistence"],
        "oof_damped": evaluation.forecasts["_damped"],
    }


def quantiles(values: Floats) -> Floats:
    """The 0th to 100th percentile of what is there, linear between order statistics, NaN when nothing is.

    >>> quantiles(np.array([3.0, np.nan, 1.0], dtype=np.float32))[[0, 50, 100]].tolist()
    [1.0, 2.0, 3.0]
    """
    there = np.sort(values[np.isfinite(values)])
    if not len(there):
        return np.full(QUANTILES, np.nan, dtype=np.float32)
    place = np.linspace(0, len(there) - 1, QUANTILES)
    return np.interp(place, np.arange(len(there)), there).astype(np.float32)
