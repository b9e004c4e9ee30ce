"""How much less a challenger errs, judged on matured paired labels.

Both models answer every device all the way up, so every day gives pairs: the same forecast, the same truth, two errors.
The days are joined into blocks, and what the blocks say is judged by a confidence sequence: a bound that holds at all
looks together, so that looking every hour does not raise the error rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import msgspec
import numpy as np

from shared.core.intake.readings import Doubles, Longs
from shared.core.scenario import RolloutRules

TYPICAL_BLOCKS = 30  # where the bound is tightest


class Improvement(msgspec.Struct, frozen=True, kw_only=True):
    """How much less the challenger errs, as shares of the champion's error, MAE or RMSE.

    Args:
        rows: Paired forecasts whose truth is known.
        blocks: Blocks of days they make.
        estimate: Improvement, negative when the challenger is worse; NaN without rows.
        lower: Lower end of the confidence sequence, -inf while there are too few blocks.
        upper: Upper end, +inf likewise.
    """

    rows: int
    blocks: int
    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Paired losses by as-of day, rising, shape (n,) each; of matured forecasts only.

    Args:
        day: Days since 1970.
        rows: Pairs.
        champion: Sum of the champion's losses, any unit.
        challenger: Sum of the challenger's, same unit.
        power: The power of a mean loss that is an error: 0.5 of squared ones.
    """

    day: Longs
    rows: Longs
    champion: Doubles
    challenger: Doubles
    power: float = 1.0

    @classmethod
    def of(cls, sums: Mapping[int, tuple[int, float, float]], power: float = 1.0) -> Days:
        """From rows and the two sums by day."""
        days = sorted(sums)
        table = np.array([sums[day] for day in days], np.float64).reshape(len(days), 3)
        return cls(
            day=np.array(days, np.int64),
            rows=table[:, 0].astype(np.int64),
            champion=table[:, 1],
            challenger=table[:, 2],
            power=power,
        )

    def swapped(self) -> Days:
        """The same with the two models' parts exchanged."""
        return replace(self, champion=self.challenger, challenger=self.champion)


def improvement(days: Days, rules: RolloutRules) -> Improvement:
    """What the pairs say of the challenger, valid at every look together with confidence 1 - `error_rate` a side.

    Args:
        days: Paired losses.
        rules: `block_days`, `minimum_blocks` and `error_rate`.

    Source:
        Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
        sequences" (2021), one-sided boundary; the variance is Newey and West's (1987) over blocks, lag 1, because
        the errors of neighbouring days are alike.
    """
    rows, total = int(days.rows.sum()), float(days.champion.sum())
    if rows == 0 or not total > 0:
        return Improvement(rows=rows, blocks=0, estimate=math.nan, lower=-math.inf, upper=math.inf)
    each = _blocks(days, rules.block_days)
    estimate = _of_error((total - float(days.challenger.sum())) / total, days.power)
    if len(each) < rules.minimum_blocks:
        return Improvement(rows=rows, blocks=len(each), estimate=estimate, lower=-math.inf, upper=math.inf)
    centre = float(each.mean())
    width = math.sqrt(_long_run_variance(each)) * _boundary(len(each), rules.error_rate)
    lower, upper = (_of_error(end, days.power) for end in (centre - width, centre + width))
    return Improvement(rows=rows, blocks=len(each), estimate=estimate, lower=lower, upper=upper)


def _of_error(share: float, power: float) -> float:
    """The share by which an error is lower whose mean loss is lower by a share; it rises with that, so bounds hold."""
    return share if power == 1.0 else 1 - max(1 - share, 0.0) ** power


def _blocks(days: Days, size: int) -> Doubles:
    """Differences of whole blocks of consecutive days, each as a share of the champion's mean loss in all of them."""
    number = (days.day - days.day[0]) // size
    whole = number < (int(days.day[-1] - days.day[0]) + 1) // size
    count = int(number[whole].max(initial=-1)) + 1
    rows = np.bincount(number[whole], days.rows[whole], count)
    gained = np.bincount(number[whole], (days.champion - days.challenger)[whole], count)
    scale = float(days.champion.sum()) / float(days.rows.sum())
    held = rows > 0
    each: Doubles = gained[held] / rows[held] / scale
    return each


def _long_run_variance(each: Doubles) -> float:
    centred = each - each.mean()
    plain = float(centred @ centred) / max(len(each) - 1, 1)
    beside = float(centred[1:] @ centred[:-1]) / max(len(each) - 1, 1)
    return max(plain, plain + beside)


def _boundary(count: int, error_rate: float) -> float:
    """Half width of the confidence sequence in standard deviations after `count` blocks.

    The sequence is one of many blocks; few of them tell their variance badly, for which the width is raised as
    Student's quantile is above the normal one (expansion of Cornish and Fisher).
    """
    spent = -2 * math.log(error_rate)
    rho2 = (spent + math.log(spent) + 1) / TYPICAL_BLOCKS
    grown = count * rho2 + 1
    width = math.sqrt(2 * grown / (count**2 * rho2) * math.log(1 + math.sqrt(grown) / (2 * error_rate)))
    z, free = NormalDist().inv_cdf(1 - error_rate), max(count - 1, 1)
    student = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return width * student / z
