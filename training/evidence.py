"""What the gate will judge: the challenger's out-of-fold forecasts beside the champion's on the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.core.gate_evidence import Evidence
from shared.core.readings import Floats
from shared.core.scenario import Scenario
from training.champion import Champion
from training.data import TrainingSet
from training.fit import Trained


def gather(scenario: Scenario, rows: TrainingSet, trained: Trained, champion: Champion | None) -> Evidence:
    """Out-of-fold rows in the order of time, so rising within a device.

    Args:
        scenario: Limits of the target.
        rows: The training rows; they have a time.
        trained: The challenger.
        champion: The deployed model; without one its column is NaN.
    """
    judged, chosen = trained.judged, trained.unseen.rows
    said: Floats = np.full(len(rows), np.nan, np.float32) if champion is None else champion.forecast(scenario, rows)
    return Evidence(
        devices=rows.devices,
        device=judged.device.astype(np.int32),
        as_of=judged.as_of,
        trained_until=trained.unseen.trained_until[chosen],
        truth=judged.truth,
        witness=np.full(len(judged.truth), np.nan, np.float32),  # the gate reads the truth for itself
        challenger=judged.forecasts[""],
        champion=said[chosen],
        persistence=judged.forecasts["_persistence"],
        damped=judged.forecasts["_damped"],
        lower=trained.lower,
        upper=trained.upper,
    )


def path_of(out: Path) -> Path:
    """Where the evidence lies: beside the package."""
    return out.with_name(f"{out.name}.evidence.npz")
