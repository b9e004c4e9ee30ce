"""Realised quality of the champion: what its matured forecasts were worth, overall and per device."""

from __future__ import annotations

import numpy as np

from shared.core.drift.baseline import QUALITY, Baseline
from shared.core.drift.verdict import DeviceQuality, Quality
from shared.core.model.scoring import CHAMPION, ROLES
from shared.core.profile.merged import MergedProfile
from shared.validation import number


def realised(baseline: Baseline, merged: MergedProfile, model: str, days: range, minimum_rows: int) -> Quality:
    """Judge the champion's matured forecasts of some days.

    Args:
        baseline: Limits, calibrated on out-of-fold weeks.
        merged: Error sums.
        model: Version of the champion.
        days: As-of days.
        minimum_rows: Forecasts with known truth below which nothing is concluded.
    """
    losses = merged.task.losses
    keys = [(day, ROLES[CHAMPION], model) for day in days]
    total = sum((merged.errors[key] for key in keys if key in merged.errors), np.zeros(len(losses.errors), np.int64))
    values, counted = (
        losses.scores(total, losses.unit),
        dict(zip(losses.errors, total.tolist(), strict=True)),
    )
    limits = dict(zip(QUALITY, map(float, baseline.quality), strict=True))
    rows = counted["matured"]
    reasons = tuple(_reasons(values, limits)) if rows >= minimum_rows else ()
    judged = rows >= minimum_rows and any(np.isfinite(limit) for limit in limits.values())
    return Quality(
        rows=rows,
        paired=counted["paired"],
        limits={name: number(limit) for name, limit in limits.items()},
        outside=bool(reasons) if judged else None,
        reasons=reasons,
        devices=_devices(merged),
        **{name: number(value) for name, value in values.items()},
    )


def _reasons(values: dict[str, float], limits: dict[str, float]) -> list[str]:
    """The error beside that of persistence decides where it is known: a polluted month is hard for everybody."""
    error = "ratio" if np.isfinite(values["ratio"]) and np.isfinite(limits["ratio"]) else "mae"
    text = {"ratio": "error relative to persistence", "mae": "mean absolute error"}[error]
    reasons = []
    if np.isfinite(limits[error]) and not values[error] <= limits[error]:
        reasons.append(f"{text} {values[error]:.3g} is above {limits[error]:.3g}")
    if np.isfinite(limits["coverage"]) and not values["coverage"] >= limits["coverage"]:
        reasons.append(f"coverage {values['coverage']:.3g} is below {limits['coverage']:.3g}")
    return reasons


def _devices(merged: MergedProfile) -> tuple[DeviceQuality, ...]:
    table = merged.devices
    found = zip(table.device, table.matured.tolist(), table.absolute.tolist(), table.covered.tolist(), strict=True)
    return tuple(
        DeviceQuality(device=name, rows=rows, mae=absolute / rows, coverage=covered / rows)
        for name, rows, absolute, covered in found
        if rows
    )
