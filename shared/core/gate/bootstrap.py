"""Paired moving-block bootstrap: what an improvement is worth when errors of neighbouring hours and devices are alike.

Rows are first summed by hour over all devices. Stretches of hours are drawn with everything in them, so whatever
correlates the two models, the devices, and hours nearer than a stretch stays together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from shared.core.intake.readings import Doubles, Longs
from shared.core.task.calendar import DAY_HOURS

LONGEST_MEMORY = 168
LEAST_TIMES = 12  # a lag that the evidence does not hold this often cannot be told from chance
QUIET = 5
_CHUNK = 4_000_000

Statistic = Callable[[Doubles], Doubles]
"""From sums, shape (draws, columns), to what is estimated, shape (draws,)."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Places of rows on an axis of hours.

    Args:
        place: Place of each row, shape (n,).
        hours: Length of the axis, 0 without rows.
    """

    place: Longs
    hours: int

    @classmethod
    def of(cls, as_of: Longs, longest_gap: int) -> Timeline:
        """An axis on which gaps much longer than `longest_gap` hours are some days shorter; the hour of day stays."""
        hours, row = np.unique(as_of, return_inverse=True)
        if not len(hours):
            return cls(np.empty(0, np.int64), 0)
        gaps = np.diff(hours)
        gaps -= np.maximum(gaps - longest_gap, 0) // DAY_HOURS * DAY_HOURS
        at = np.concatenate(([0], np.cumsum(gaps)))
        return cls(at[row], int(at[-1]) + 1)

    def sums(self, *columns: Doubles) -> Doubles:
        """Sums of the rows' columns by hour, shape (hours, columns)."""
        return np.stack([np.bincount(self.place, column, self.hours) for column in columns], axis=1)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with a one-sided bound on either side, NaN where unknown, and how it came about."""

    value: float
    lower: float
    upper: float
    block: int
    memory: int
    blocks: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How stretches are drawn.

    Args:
        horizon: Hours from a forecast to its truth: forecasts nearer than that share part of their errors.
        confidence: Of either bound.
        resamples: Draws.
        seed: Of the draws; the same gives the same.
    """

    horizon: int
    confidence: float
    resamples: int
    seed: int


def memory(series: Doubles) -> int:
    """Hours after which a series no longer correlates with itself, at most a week or a twelfth of the series.

    It is the first lag from which five in a row lie within what chance allows. What is the same every day is taken out
    before: it is no chance. A lasting change (a model that is better since the season turned) reaches the limit.

    Args:
        series: A value each hour, shape (hours,), hours at least 1.

    Source:
        Politis and White (2004), Automatic block-length selection for the dependent bootstrap, section 3.2.
    """
    hours = len(series)
    longest = min(LONGEST_MEMORY, hours // LEAST_TIMES)
    time_of_day = np.arange(hours) % DAY_HOURS
    daily = np.bincount(time_of_day, series) / np.bincount(time_of_day)
    centred = series - daily[time_of_day]
    padded = 1 << (2 * (hours + QUIET)).bit_length()
    power = np.abs(np.fft.rfft(centred, padded)) ** 2
    covariance = np.fft.irfft(power, padded)[: longest + QUIET + 1]
    if not covariance[0] > 0:
        return 0 if covariance[0] == 0 else longest
    within = np.abs(covariance / covariance[0]) <= 2 * math.sqrt(math.log10(max(hours, 10)) / hours)
    quiet = np.lib.stride_tricks.sliding_window_view(within[1:], QUIET).all(axis=1)
    return min(int(np.argmax(quiet)), longest) if quiet.any() else longest


def bootstrap(sums: Doubles, statistic: Statistic, influence: Doubles, draws: Draws) -> Interval:
    """Estimate with its bounds, by drawing stretches of hours (on a circle, so that all hours weigh the same).

    A stretch is as long as the horizon and the memory of the influence together. The bounds are percentiles moved
    outwards for few blocks (expanded percentiles).

    Args:
        sums: Sums by hour, shape (hours, columns), hours at least 1.
        statistic: What is estimated.
        influence: What each hour adds to the estimate's error, up to a factor, shape (hours,).
        draws: How to draw.

    Source:
        Kuensch (1989) and Politis and Romano (1992) for the blocks; Hesterberg (2015), What Teachers Should Know About
        the Bootstrap, section 5.3, for the expansion.
    """
    hours = len(sums)
    value = float(statistic(sums.sum(axis=0)[None])[0])
    remembered = memory(influence)
    block = draws.horizon + remembered
    count = hours // block
    if count < 2 or not np.isfinite(sums).all():
        return Interval(value, math.nan, math.nan, block, remembered, hours / block)
    found = statistic(_draw(sums, block, count, draws))
    tail = expanded(1 - draws.confidence, count)
    lower, upper = np.quantile(found, [tail, 1 - tail])
    return Interval(value, float(lower), float(upper), block, remembered, hours / block)


def _draw(sums: Doubles, block: int, count: int, draws: Draws) -> Doubles:
    """Sums over `count` stretches for each draw, shape (resamples, columns)."""
    around = np.concatenate((sums, sums[: block - 1]))
    total = np.concatenate((np.zeros((1, sums.shape[1])), np.cumsum(around, axis=0)))
    stretch = total[block:] - total[:-block]
    random = np.random.Generator(np.random.PCG64(draws.seed))
    starts = random.integers(0, len(sums), (draws.resamples, count))
    size = max(1, _CHUNK // (count * sums.shape[1]))
    parts = [stretch[starts[low : low + size]].sum(axis=1) for low in range(0, draws.resamples, size)]
    return np.concatenate(parts)


def expanded(tail: float, count: int) -> float:
    """Share of draws to leave outside, so that `tail` of the truth is: smaller than `tail` for few blocks.

    >>> round(expanded(0.05, 8), 4), round(expanded(0.05, 1000), 3)
    (0.0216, 0.05)
    """
    normal = NormalDist()
    return normal.cdf(student(normal.inv_cdf(tail), count - 1) * math.sqrt(count / (count - 1)))


def student(z: float, freedom: int) -> float:
    """Quantile of Student's distribution from the normal one at the same probability.

    Source:
        Abramowitz and Stegun, 26.7.5, the first three terms.
    """
    first = (z**3 + z) / (4 * freedom)
    return z + first + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
