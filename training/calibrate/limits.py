"""Limits of the drift check, from windows of the training history that are left out of their own reference."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.core.drift.baseline import Baseline
from shared.core.drift.measures import MONTHS, filled, month_of
from shared.core.drift.statistic import KINDS, Others, Shift, scale_of, shift, statistics
from shared.core.intake.readings import Doubles, Floats, Longs
from shared.core.profile import bins
from shared.core.profile.bins import BINS, CELLS, Watched
from shared.core.scenario import Scenario
from shared.core.task.task import Task
from training.calibrate import devices as calibrate_devices
from training.calibrate import quality
from training.calibrate.tail import Tails, quantile
from training.model.evaluate import Evaluation
from training.model.hourly.rows import TrainingSet

MINIMUM_DAYS = 120  # less history says nothing of how weeks differ from each other
WINDOWS = 750  # at most; they overlap, more add time and no knowledge
LEFT_OUT_DAYS = 30  # on both sides of a window: its own month never stands in its reference
BLOCKS = 10
RIDGE = 0.1
CLIP = 0.01
RARE = 0.5  # a feature with more than this share in one bin, an amount that is mostly 0, is reported, not decided on


def calibrate(task: Task, rows: TrainingSet, evaluation: Evaluation) -> dict[str, npt.NDArray[Any]]:
    """Arrays for `baseline.npz`, names beginning with `drift_`; read them with `Baseline.from_arrays`.

    Args:
        task: What is watched; its scenario's drift rules: window and accepted rate of false alarms.
        rows: All training rows. Without times nothing is calibrated and every check says "not enough data".
        evaluation: Out-of-fold forecasts.
    """
    scenario, seen = task.scenario, task.watched
    day = scenario.cadence.day
    days, counts = _by_day(rows, seen, day)
    months = np.zeros((MONTHS, len(seen), CELLS), np.int64)
    np.add.at(months, month_of(days), counts)
    window = scenario.drift.window_days
    forecast_edges = task.answer_edges
    forecast_days, forecasts = _forecasts(evaluation, forecast_edges, day)
    forecast_months = np.zeros((MONTHS, 1, CELLS), np.int64)
    np.add.at(forecast_months, month_of(forecast_days), forecasts)
    others, limits, windows = _limits(scenario, seen, days, counts, months)
    devices = calibrate_devices.of(task, rows)
    return Baseline(
        names=np.array([f.name for f in seen.features]),
        versions=np.array([f.version for f in seen.features], np.int64),
        edges=seen.edges,
        counts=months,
        weights=others.weights,
        low=others.low,
        high=others.high,
        limits=limits,
        forecast_edges=forecast_edges,
        forecast_counts=forecast_months[:, 0],
        forecast_limit=np.array([_forecast_limit(scenario, forecast_days, forecasts, forecast_months)]),
        history=np.array([window, task.delay_h, years(days), windows], np.float64),
        devices=np.array(rows.devices),
        quality=quality.of(scenario, evaluation),
        quantum=np.array([task.losses.unit]),
        **devices,
    ).arrays()


def years(days: Longs) -> float:
    """Years of history, days without rows not counted."""
    return len(days) / 365.25


def margin(history_years: float) -> float:
    """What limits are multiplied by, because few years do not show how much years differ.

    Found on Beijing and the generator: with limits of two years alone 15 % of the next two years' checks raise drift,
    with those of three years none. With one year a window's own month is not in its reference at all, but for what
    its neighbours tell, and that has widened the limits already.
    """
    return 1.2 if history_years < 1.25 else min(1.5, 1.0 + 1.6 / history_years**2)


def _by_day(rows: TrainingSet, seen: Watched, day: int) -> tuple[Longs, Longs]:
    if not rows.dated:
        return np.zeros(0, np.int64), np.zeros((0, len(seen), CELLS), np.int64)
    return _counted(rows.as_of, rows.matrix[:, seen.columns], seen.edges, day)


def _counted(as_of: Longs, values: Floats, edges: Doubles, steps: int) -> tuple[Longs, Longs]:
    known, day = np.unique(as_of // steps, return_inverse=True)
    width = len(edges)
    counts = np.zeros((len(known), width, CELLS), np.int64)
    for column in range(width):
        cell = day * CELLS + bins.place(values[:, column : column + 1], edges[column : column + 1])[:, 0]
        counts[:, column] = np.bincount(cell, minlength=len(known) * CELLS).reshape(-1, CELLS)
    return known, counts


def _forecasts(evaluation: Evaluation, edges: Doubles, day: int) -> tuple[Longs, Longs]:
    chosen = (evaluation.as_of >= 0) & np.isfinite(evaluation.forecasts[""])
    return _counted(
        evaluation.as_of[chosen], evaluation.forecasts[""][chosen, None].astype(np.float32), edges[None], day
    )


def _limits(
    scenario: Scenario, seen: Watched, days: Longs, counts: Longs, months: Longs
) -> tuple[Others, Doubles, int]:
    width = len(seen)
    none = Others(np.zeros((width, width)), np.zeros(width), np.zeros(width)), np.full((len(KINDS), width), np.nan), 0
    if len(days) < MINIMUM_DAYS:
        return none
    now, before = _left_out(scenario.drift.window_days, days, counts, months)
    deciding = _deciding(seen, months)
    whole = np.isfinite(now.mean[:, deciding]).all(1) & np.isfinite(before.mean[:, deciding]).all(1)
    if whole.sum() < MINIMUM_DAYS // 2:
        return none
    now, before = (Shift(one.mean[whole], one.distance[whole]) for one in (now, before))
    found = np.nan_to_num(np.abs(_cross_fitted(seen, now, before)))
    tails = Tails.of(found)
    reach = tails.reach(found)[:, :, deciding].max((0, 2))
    # half the accepted rate: the rest is room for what a history cannot show
    at = max(quantile(reach, scenario.drift.false_alarm_rate / 2), 0.0)
    limits = tails.limit(at) * margin(years(days))
    limits[:, ~deciding] = np.inf
    return _fit(seen, now.mean, before.mean), limits, len(found[0])


def _left_out(window: int, days: Longs, counts: Longs, months: Longs) -> tuple[Shift, Shift]:
    """Shifts of windows, one a day, and of the windows before them, each against what lies a month away from both."""
    total = np.concatenate([np.zeros((1, *counts.shape[1:]), np.int64), np.cumsum(counts, axis=0)])
    month, scale = month_of(days), scale_of(months)
    first, last = int(days[0]) + 2 * window, int(days[-1]) + 1
    pairs = []
    for end in range(first, last + 1, -(-(last - first + 1) // WINDOWS)):
        cut = [int(np.searchsorted(days, day)) for day in (end - 2 * window, end - window, end)]
        out = np.searchsorted(days, [end - 2 * window - LEFT_OUT_DAYS, end + LEFT_OUT_DAYS])
        reference = months.copy()
        for one in np.unique(month[out[0] : out[1]]):
            inside = out[0] + np.flatnonzero(month[out[0] : out[1]] == one)
            reference[one] -= total[inside[-1] + 1] - total[inside[0]]
        reference_filled = filled(reference)
        pairs.append(
            [
                shift(reference_filled, total[stop] - total[start], end - back * window, scale)
                for start, stop, back in ((cut[1], cut[2], 0.5), (cut[0], cut[1], 1.5))
            ]
        )
    return tuple(Shift(np.array([p[k].mean for p in pairs]), np.array([p[k].distance for p in pairs])) for k in (0, 1))  # type: ignore[return-value]


def _deciding(seen: Watched, months: Longs) -> npt.NDArray[np.bool_]:
    whole = months.sum(0)[:, :BINS]
    share = whole.max(1) / np.maximum(whole.sum(1), 1)
    return np.asarray(seen.deciding & (share <= RARE) & (whole.sum(1) > 0))


def _cross_fitted(seen: Watched, now: Shift, before: Shift) -> Doubles:
    """Statistics of each window with the regression of the others, shape (3, windows, W)."""
    count = len(now.mean)
    found = np.empty((len(KINDS), *now.mean.shape))
    bounds = np.linspace(0, count, BLOCKS + 1).astype(int)
    for low, high in pairwise(bounds):
        keep = np.r_[0 : max(0, low - 14), min(count, high + 14) : count]
        others = _fit(seen, now.mean[keep], before.mean[keep])
        part = [Shift(one.mean[low:high], one.distance[low:high]) for one in (now, before)]
        found[:, low:high] = statistics(others, *part)
    return found


def _fit(seen: Watched, now: Doubles, before: Doubles) -> Others:
    mean = np.concatenate([now, before])
    known = np.isfinite(mean).all(0)
    mean = np.where(known, mean, 0.0)
    low, high = np.quantile(mean, [CLIP, 1 - CLIP], axis=0)
    clipped = np.clip(mean, low, high)
    weights = np.zeros((len(seen), len(seen)))
    for place in range(len(seen)):
        used = [other for other in _others(seen, place) if known[other]]
        if known[place] and used:
            x = clipped[:, used]
            ridge = RIDGE * len(x) * np.diag((x**2).mean(0) + 1e-9)
            weights[used, place] = np.linalg.solve(x.T @ x + ridge, x.T @ mean[:, place])
    return Others(weights, low, high)


def _others(seen: Watched, place: int) -> list[int]:
    """Newest values of other channels; what is derived from a channel never explains it."""
    own = seen.rests_on(seen.features[place].name)
    return [k for column, k in seen.newest.items() if column not in own]


def _forecast_limit(scenario: Scenario, days: Longs, counts: Longs, months: Longs) -> float:
    if len(days) < MINIMUM_DAYS:
        return float("nan")
    now, _ = _left_out(scenario.drift.window_days, days, counts, months)
    there = now.distance[np.isfinite(now.distance[:, 0]), 0]
    rate = scenario.drift.false_alarm_rate
    return quantile(there, rate) * margin(years(days)) if len(there) else float("nan")
