"""Errors of forecasts against the truth, overall and by group, every forecast on the very same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Floats, Ints, Longs

Bools: TypeAlias = npt.NDArray[np.bool_]
Forecasts: TypeAlias = Mapping[str, Floats]
"""Forecasts by name; "" is the model's own, others have a suffix such as "_damped"."""
NAMES = {"": "model", "_damped": "damped persistence", "_persistence": "persistence"}
Row: TypeAlias = dict[str, str | int | float]


def comparable(truth: Floats, forecasts: Forecasts) -> Bools:
    """Rows on which the truth and every forecast that exists at all are there, shape (n,)."""
    defined = [values for values in forecasts.values() if np.isfinite(values).any()]
    return np.asarray(np.isfinite(np.stack([truth, *defined])).all(axis=0))


def scores(truth: Floats, forecasts: Forecasts) -> dict[str, float]:
    """RMSE, MAE and bias (forecast minus truth) of each forecast; one that is undefined somewhere has none.

    Args:
        truth: What came, shape (n,).
        forecasts: By suffix, each of shape (n,).
    """
    found = {}
    for suffix, values in forecasts.items():
        error = values.astype(np.float64) - truth
        if len(error) and np.isfinite(error).all():
            found[f"rmse{suffix}"] = float(np.sqrt(np.mean(error**2)))
            found[f"mae{suffix}"] = float(np.mean(np.abs(error)))
            found[f"bias{suffix}"] = float(np.mean(error))
    return found


def compare(truth: Floats, forecasts: Forecasts) -> dict[str, float]:
    """Scores on the rows where all forecasts exist, with the rows counted and those left out."""
    same = comparable(truth, forecasts)
    chosen = {suffix: values[same] for suffix, values in forecasts.items()}
    counts = {"rows_scored": float(same.sum()), "rows_without_floor": float((~same).sum())}
    return {**scores(truth[same], chosen), **counts}


def by_group(names: Sequence[str], group: Longs | Ints, truth: Floats, forecasts: Forecasts) -> list[Row]:
    """A row of scores for each group, in the order of the names; groups without rows are left out.

    Args:
        names: Names of the groups.
        group: Group of each row, shape (n,).
        truth: What came, shape (n,).
        forecasts: By suffix, each of shape (n,).
    """
    same = comparable(truth, forecasts)
    table: list[Row] = []
    for index, name in enumerate(names):
        rows = same & (group == index)
        if rows.any():
            found = scores(truth[rows], {suffix: values[rows] for suffix, values in forecasts.items()})
            table.append({"group": name, "rows": int(rows.sum()), **found})
    return table


def months(as_of: Longs) -> tuple[tuple[str, ...], Longs]:
    """Names of the months (UTC) that the hours fall into, and each hour's index among them."""
    month = as_of.astype("datetime64[h]").astype("datetime64[M]")
    names, index = np.unique(month, return_inverse=True)
    return tuple(map(str, names)), index.astype(np.int64)


def coverage(lower: Floats, upper: Floats, truth: Floats) -> float:
    """Share of truths between the ends of their interval, NaN without rows."""
    if not len(truth):
        return float("nan")
    return float(np.mean((lower <= truth) & (truth <= upper)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Forecasts beside what came, row by row.

    Args:
        as_of: As-of hours, or -1 where rows have no time, shape (n,).
        device: Index into `devices`, shape (n,).
        devices: Device ids.
        truth: What came, shape (n,).
        forecasts: By suffix: "" the model, "_persistence", "_damped", each of shape (n,).
        lower: Lower ends of the model's intervals, shape (n,).
        upper: Upper ends, shape (n,).
    """

    as_of: Longs
    device: Ints
    devices: tuple[str, ...]
    truth: Floats
    forecasts: Forecasts
    lower: Floats
    upper: Floats

    def metrics(self) -> dict[str, float]:
        """Scores of all forecasts on the same rows, and the skill over damped persistence."""
        found = compare(self.truth, self.forecasts)
        if {"rmse", "rmse_damped"} <= found.keys() and found["rmse_damped"] > 0:
            found["improvement"] = 1 - found["rmse"] / found["rmse_damped"]
        found["coverage"] = coverage(self.lower, self.upper, self.truth)
        found["interval_width"] = float(np.mean(self.upper - self.lower)) if len(self.truth) else float("nan")
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def by_device(self) -> list[Row]:
        """Scores of each device."""
        return by_group(self.devices, self.device, self.truth, self.forecasts)

    def by_month(self) -> list[Row]:
        """Scores of each month of as-of hours (UTC); none where rows have no time."""
        if not len(self.as_of) or self.as_of[0] < 0:
            return []
        names, month = months(self.as_of)
        return by_group(names, month, self.truth, self.forecasts)
