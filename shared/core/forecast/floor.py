"""The first forecast of a use case, before there is a model: damped persistence whose numbers come from the window.

The gate's floor is fitted by training; here nothing is fitted, so that a device is forecast once it has spoken twice.
"""

from __future__ import annotations

import numpy as np

from shared.core.intake.readings import Doubles, Floats, Longs
from shared.core.scenario import Scenario

MADE_OF = ("latest", "usual", "reach")
DAMPING = 0.5  # share of the distance between the value as of now and the usual one that is kept


def forecasts(scenario: Scenario, target: Floats) -> dict[str, Floats]:
    """Half way between the value as of now and the usual one, and how far values of the window went in as long.

    Usual is the mean of the window's values at the target's hour of day, or of all while there is none. The interval
    reaches as far as the nominal share of the changes over a horizon did; in a window too short for these those over
    half of it, and so on, as if a change went on at that pace.

    Args:
        scenario: Horizon, nominal coverage, limits of the target.
        target: The target's steps, oldest first, the as-of step last, NaN where missing, shape (history, n).

    Returns:
        `value`, `lower` and `upper`, and `MADE_OF`, float32, shape (n,) each; NaN where the value as of now is missing
        or no two values of the window can be compared. A column's bits do not depend on the others.
    """
    hours = target.astype(np.float64)
    same = np.arange(len(hours) - 1 + scenario.horizon_steps, -1, -scenario.cadence.day)
    usual = _mean(hours[same[same < len(hours)]])
    usual = np.where(np.isnan(usual), _mean(hours), usual)
    value = usual + DAMPING * (hours[-1] - usual)
    reach = _reach(scenario, hours)
    known = ~np.isnan(value) & ~np.isnan(reach)
    channel = scenario.target_channel
    ends = {"value": value, "lower": value - reach, "upper": value + reach}
    limited = {name: np.clip(end, channel.minimum, channel.maximum) for name, end in ends.items()}
    found = {**limited, **dict(zip(MADE_OF, (hours[-1], usual, reach), strict=True))}
    return {name: np.where(known, column, np.nan).astype(np.float32) for name, column in found.items()}


def _mean(hours: Doubles) -> Doubles:
    """Mean of the values of each column, NaN without any; summed one after the other whatever the number of columns."""
    there = ~np.isnan(hours)
    total = np.zeros(hours.shape[1])
    for row in np.where(there, hours, 0.0):
        total += row
    count = there.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _reach(scenario: Scenario, hours: Doubles) -> Doubles:
    """Half the width of the intervals, shape (n,), NaN where no two values are a lag apart.

    A lag is taken when it has as many changes as hours; where none has, the longest with any.
    """
    lags = _lags(scenario.horizon_steps)
    reach = np.full(hours.shape[1], np.nan)
    for lag, least in [*((lag, lag) for lag in lags), *((lag, 1) for lag in lags)]:
        open_ = np.flatnonzero(np.isnan(reach))
        if len(open_):
            changes, count = _changes(hours[:, open_], lag)
            rank = np.minimum(np.ceil((count + 1) * scenario.interval).astype(np.int64), count) - 1
            found = np.take_along_axis(changes, np.maximum(rank, 0)[None], axis=0)[0] * (scenario.horizon_steps / lag)
            reach[open_] = np.where(count >= least, found, np.nan)
    return reach


def _lags(horizon: int) -> list[int]:
    """The horizon, half of it, and so on down to one step."""
    lags = [horizon]
    while lags[-1] > 1:
        lags.append(lags[-1] // 2)
    return lags


def _changes(hours: Doubles, lag: int) -> tuple[Doubles, Longs]:
    """Sizes of the changes over a lag, rising, missing ones last, and how many there are in each column."""
    changes = np.sort(np.abs(hours[lag:] - hours[:-lag]), axis=0)
    return changes, np.count_nonzero(~np.isnan(changes), axis=0)
