"""Realised quality of the champion: what its matured forecasts were worth, overall and per device."""

from __future__ import annotations

import numpy as np

from shared.core.drift.baseline import QUALITY, Baseline
from shared.core.drift.verdict import DeviceQuality, Quality, number
from shared.core.forecast.state import CHAMPION, ERRORS, ROLES
from shared.core.intake.readings import Longs
from shared.core.profile.merged import Merged

_AT = {name: place for place, name in enumerate(ERRORS)}


def realised(baseline: Baseline, merged: Merged, model: str, days: range, minimum_rows: int) -> Quality:
    """Judge the champion's matured forecasts of some days.

    Args:
        baseline: Limits, calibrated on out-of-fold weeks.
        merged: Error sums.
        model: Version of the champion.
        days: As-of days.
        minimum_rows: Forecasts with known truth below which nothing is concluded.
    """
    keys = [(day, ROLES[CHAMPION], model) for day in days]
    total = sum((merged.errors[key] for key in keys if key in merged.errors), np.zeros(len(ERRORS), np.int64))
    values = _values(total, float(baseline.quantum[0]))
    limits = dict(zip(QUALITY, map(float, baseline.quality), strict=True))
    rows = int(total[_AT["matured"]])
    reasons = tuple(_reasons(values, limits)) if rows >= minimum_rows else ()
    judged = rows >= minimum_rows and any(np.isfinite(limit) for limit in limits.values())
    return Quality(
        rows=rows,
        paired=int(total[_AT["paired"]]),
        limits={name: number(limit) for name, limit in limits.items()},
        outside=bool(reasons) if judged else None,
        reasons=reasons,
        devices=_devices(merged),
        **{name: number(value) for name, value in values.items()},
    )


def _values(total: Longs, quantum: float) -> dict[str, float]:
    def part(top: str, bottom: str) -> float:
        return float(total[_AT[top]] / total[_AT[bottom]]) if total[_AT[bottom]] else float("nan")

    return {
        "mae": part("absolute", "matured") * quantum,
        "rmse": float(np.sqrt(part("squared", "matured"))) * quantum,
        "coverage": part("covered", "matured"),
        "ratio": part("absolute_paired", "absolute_persistence"),
        "rmse_ratio": float(np.sqrt(part("squared_paired", "squared_persistence"))),
    }


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


def _devices(merged: Merged) -> tuple[DeviceQuality, ...]:
    table = merged.devices
    found = zip(table.device, table.matured.tolist(), table.absolute.tolist(), table.covered.tolist(), strict=True)
    return tuple(
        DeviceQuality(device=name, rows=rows, mae=absolute / rows, coverage=covered / rows)
        for name, rows, absolute, covered in found
        if rows
    )
