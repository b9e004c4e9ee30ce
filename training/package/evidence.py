"""What the gate will judge: the challenger's out-of-fold forecasts beside the champion's on the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.core.gate.evidence import Evidence
from shared.core.intake.readings import Floats
from training.model.fit import Trained
from training.model.hourly.rows import TrainingSet
from training.model.search import stride_for

ROWS = 2_000_000
"""Beyond, every k-th as-of hour is taken: what the gate reads has to fit into the memory of a function."""


def gather(rows: TrainingSet, trained: Trained, champion: Floats | None, limit: int = ROWS) -> Evidence:
    """Out-of-fold rows in the order of time, so rising within a device.

    Args:
        rows: The training rows; they have a time.
        trained: The challenger.
        champion: The deployed model's forecasts by row, NaN where it is not judged, shape (n,); None without one.
        limit: Rows at most.
    """
    evaluation, chosen = trained.evaluation, trained.out_of_fold.rows
    compared = np.full(len(rows), np.nan, np.float32) if champion is None else champion
    kept = evaluation.as_of % stride_for(len(chosen), limit) == 0
    return Evidence(
        devices=rows.devices,
        device=evaluation.device[kept].astype(np.int32),
        as_of=evaluation.as_of[kept],
        trained_until=trained.out_of_fold.trained_until[chosen[kept]],
        truth=evaluation.truth[kept],
        witness=np.full(int(kept.sum()), np.nan, np.float32),  # the gate reads the truth for itself
        challenger=evaluation.forecasts[""][kept],
        champion=compared[chosen[kept]],
        persistence=evaluation.forecasts["_persistence"][kept],
        damped=evaluation.forecasts["_damped"][kept],
        lower=trained.lower[kept],
        upper=trained.upper[kept],
    )


def path_of(out: Path) -> Path:
    """Where the evidence lies: beside the package."""
    return out.with_name(f"{out.name}.evidence.npz")
