"""Errors of forecasts against the truth, overall and by group, every forecast on the very same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from shared.core.readings import Floats, Longs

Bools: TypeAlias = npt.NDArray[np.bool_]
Forecasts: TypeAlias = Mapping[str, Floats]
"""Forecasts by name; "" is the model's own, others have a suffix such as "_damped"."""
Row: TypeAlias = dict[str, str | int | float]


def comparable(truth: Floats, forecasts: Forecasts) -> Bools:
    """Rows on which the truth and every forecast that exists at all are there, shape (n,)."""
    defined = [values for values in forecasts.values() if np.isfinite(values).any()]
    return np.isfinite(np.stack([truth, *defined])).all(axis=0)


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


def by_group(names: Sequence[str], group: Longs, truth: Floats, forecasts: Forecasts) -> list[Row]:
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
