"""Whether a challenger climbs, waits, becomes champion or is taken back: decided on matured paired labels.

Both models answer every device all the way up, so every day gives pairs: the same forecast, the same truth, two errors.
The days are joined into blocks, and what the blocks say is judged by a confidence sequence: a bound that holds at all
looks together, so that looking every hour does not raise the error rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import msgspec
import numpy as np

from shared.core.intake.readings import Doubles, Longs
from shared.core.model.scoring import ROLES
from shared.core.profile.merged import MergedProfile
from shared.core.scenario import RolloutRules, Scenario

Kind = Literal["hold", "advance", "promote", "roll_back"]
TYPICAL_BLOCKS = 30  # where the bound is tightest


class Improvement(msgspec.Struct, frozen=True, kw_only=True):
    """How much less the challenger errs, as shares of the champion's mean absolute error.

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


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done with a challenger.

    Args:
        kind: What.
        share: Share of devices it answers from now on.
        reasons: Why, in words with numbers.
        improvement: What the pairs say.
    """

    kind: Kind
    share: float
    reasons: tuple[str, ...]
    improvement: Improvement


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Paired losses by as-of day, rising, shape (n,) each; of matured forecasts only.

    Args:
        day: Days since 1970.
        rows: Pairs.
        champion: Sum of the champion's absolute errors, any unit.
        challenger: Sum of the challenger's, same unit.
    """

    day: Longs
    rows: Longs
    champion: Doubles
    challenger: Doubles

    @classmethod
    def of(cls, sums: Mapping[int, tuple[int, float, float]]) -> Days:
        """From rows and the two sums by day."""
        days = sorted(sums)
        table = np.array([sums[day] for day in days], np.float64).reshape(len(days), 3)
        return cls(
            day=np.array(days, np.int64),
            rows=table[:, 0].astype(np.int64),
            champion=table[:, 1],
            challenger=table[:, 2],
        )

    def swapped(self) -> Days:
        """The same with the two models' parts exchanged."""
        return Days(day=self.day, rows=self.rows, champion=self.challenger, challenger=self.champion)


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a challenger beside its errors.

    Args:
        unanswered: Share of the champion's matured forecasts that the challenger did not answer.
        latency_ms: Time it takes for one forecast, NaN when not measured.
        forecast_shift: Distance of its forecasts from the champion's on the same rows, in their standard deviations.
    """

    unanswered: float = 0.0
    latency_ms: float = math.nan
    forecast_shift: float = 0.0


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
    estimate = (total - float(days.challenger.sum())) / total
    if len(each) < rules.minimum_blocks:
        return Improvement(rows=rows, blocks=len(each), estimate=estimate, lower=-math.inf, upper=math.inf)
    centre = float(each.mean())
    width = math.sqrt(_long_run_variance(each)) * _boundary(len(each), rules.error_rate)
    return Improvement(rows=rows, blocks=len(each), estimate=estimate, lower=centre - width, upper=centre + width)


def decide(share: float, days: Days, health: Health, rules: RolloutRules, rung_day: int | None = None) -> Step:
    """The next step of a challenger on the ladder.

    Args:
        share: Share of devices it answers now, 0 in shadow.
        days: Paired losses since its shadow began.
        health: What else is known of it.
        rules: Ladder, limits and error rate.
        rung_day: First as-of day on this rung, whose labels let it climb further; None: the first of `days`.
    """
    found = improvement(days, rules)
    against = _against(found, days, health, rules)
    if against:
        return Step(kind="roll_back", share=0.0, reasons=tuple(against), improvement=found)
    upper_rungs = [rung for rung in rules.ladder if rung > share]
    fresh = int(days.rows.sum() if rung_day is None else days.rows[days.day >= rung_day].sum())
    following = upper_rungs[0] if upper_rungs else 1.0
    missing = _missing(found, fresh, following, rules)
    if missing:
        given_up = _days(days) >= rules.maximum_days
        why = (*missing, f"{_days(days)} days without a decision, limit {rules.maximum_days}") if given_up else missing
        return Step(kind="roll_back" if given_up else "hold", share=0.0 if given_up else share, reasons=tuple(why),
                    improvement=found)  # fmt: skip
    text = f"improvement {found.estimate:.1%}, at least {found.lower:.1%} on {found.rows:,} pairs of {_days(days)} days"
    return Step(kind="promote" if following >= 1.0 else "advance", share=following, reasons=(text,), improvement=found)


def guard(days: Days, rules: RolloutRules, matured_days: int = 0) -> Step:
    """Whether the model before the champion has to come back.

    Args:
        days: Paired losses since the promotion; the model before stands as the challenger.
        rules: Limits and error rate.
        matured_days: Days since the promotion whose labels are known, with pairs or without: a model before that
            answers nothing does not guard for ever.

    Returns:
        roll_back when the champion proves worse, promote when the guard may end, hold otherwise.
    """
    found = improvement(days, rules)
    ratio = _ratio(days.swapped())
    if found.rows >= rules.minimum_labels and not ratio <= rules.emergency_ratio:
        why = f"its error is {ratio:.2f} times that of the model before on {found.rows:,} pairs, limit"
        return Step(kind="roll_back", share=0.0, reasons=(f"{why} {rules.emergency_ratio:g}",), improvement=found)
    if found.lower > 0:
        why = f"the model before errs less by {found.estimate:.1%}, at least {found.lower:.1%}"
        return Step(kind="roll_back", share=0.0, reasons=(why,), improvement=found)
    passed = max(_days(days), matured_days)
    if passed >= rules.guard_days:
        why = f"{passed} days beside the model before, which is not better on {found.rows:,} pairs"
        return Step(kind="promote", share=0.0, reasons=(why,), improvement=found)
    why = f"{passed} of {rules.guard_days} days beside the model before, {found.rows:,} pairs"
    return Step(kind="hold", share=0.0, reasons=(why,), improvement=found)


def forecast_shift(scenario: Scenario, merged: MergedProfile, champion: str, challenger: str, since_day: int) -> float:
    """How far the challenger's forecasts lie above the champion's, in standard deviations of the champion's.

    The means are those of the whole days on which both forecast, from the bins of the profiles: on the first day the
    challenger has other hours than the champion. The standard deviation is that of all days known of the champion, for
    a few days alone vary too little. 0 while either has fewer than `minimum_labels` forecasts on these days.
    """
    first = {day: row for (day, role, model), row in merged.forecasts.items() if (role, model) == (ROLES[0], champion)}
    second = {d: row for (d, role, model), row in merged.forecasts.items() if (role, model) == (ROLES[1], challenger)}
    both = sorted(day for day in first.keys() & second.keys() if day > since_day)
    common = [[rows[day] for day in both] for rows in (first, second)]
    if not min(int(np.sum(rows)) for rows in common) >= scenario.rollout.minimum_labels:
        return 0.0
    edges = merged.task.answer_edges
    one, other = (_moments(edges, rows)[0] for rows in common)
    spread = _moments(edges, list(first.values()))[1]
    return (other - one) / max(spread, float(edges[1] - edges[0]))


def _moments(edges: Doubles, rows: Sequence[Longs]) -> tuple[float, float]:
    """Mean and standard deviation of counted values, NaN when none was counted."""
    counts = np.sum(rows, axis=0)[:-1]
    if not counts.sum():
        return math.nan, math.nan
    centre = (edges[1:] + edges[:-1]) / 2
    mean = float(counts @ centre) / float(counts.sum())
    return mean, math.sqrt(float(counts @ (centre - mean) ** 2) / float(counts.sum()))


def _against(found: Improvement, days: Days, health: Health, rules: RolloutRules) -> list[str]:
    """Reasons to take a challenger back at once; written so that NaN counts as one."""
    reasons = []
    if found.upper < 0:
        reasons.append(f"it errs more: improvement {found.estimate:.1%}, at most {found.upper:.1%}")
    ratio = _ratio(days)
    if found.rows >= rules.minimum_labels and not ratio <= rules.emergency_ratio:
        reasons.append(f"its error is {ratio:.2f} times the champion's, limit {rules.emergency_ratio:g}")
    if not health.unanswered <= rules.maximum_unanswered:
        reasons.append(f"it left {health.unanswered:.1%} unanswered, limit {rules.maximum_unanswered:.1%}")
    if health.latency_ms > rules.maximum_latency_ms:
        reasons.append(f"it takes {health.latency_ms:.3g} ms a forecast, limit {rules.maximum_latency_ms:g}")
    if not abs(health.forecast_shift) <= rules.maximum_forecast_shift:
        limit = f"limit {rules.maximum_forecast_shift:g}"
        reasons.append(
            f"its forecasts lie {health.forecast_shift:.2f} standard deviations from the champion's, {limit}"
        )
    return reasons


def _missing(found: Improvement, fresh: int, following: float, rules: RolloutRules) -> list[str]:
    """What still has to be shown before the next rung; `fresh` are the pairs on this one."""
    reasons = []
    if not fresh >= rules.minimum_labels:
        reasons.append(f"{fresh:,} of {rules.minimum_labels:,} pairs on this rung")
    if not found.blocks >= rules.minimum_blocks:
        reasons.append(f"{found.blocks} of {rules.minimum_blocks} blocks of {rules.block_days} days")
    floor = 0.0 if following >= 1.0 else -rules.tolerance
    if found.blocks >= rules.minimum_blocks and not found.lower > floor:
        reasons.append(f"improvement {found.estimate:.1%}, at least {found.lower:.1%}; needed: above {floor:.1%}")
    return reasons


def _ratio(days: Days) -> float:
    champion, challenger = float(days.champion.sum()), float(days.challenger.sum())
    if math.isnan(champion) or math.isnan(challenger):
        return math.nan
    return challenger / champion if champion > 0 else (1.0 if challenger == 0 else math.inf)


def _days(days: Days) -> int:
    return int(days.day[-1] - days.day[0]) + 1 if len(days.day) else 0


def _blocks(days: Days, size: int) -> Doubles:
    """Differences of whole blocks of consecutive days, each as a share of the champion's mean loss in all of them."""
    number = (days.day - days.day[0]) // size
    whole = number < (int(days.day[-1] - days.day[0]) + 1) // size
    count = int(number[whole].max(initial=-1)) + 1
    rows = np.bincount(number[whole], days.rows[whole], count)
    gained = np.bincount(number[whole], (days.champion - days.challenger)[whole], count)
    level = float(days.champion.sum()) / float(days.rows.sum())
    held = rows > 0
    each: Doubles = gained[held] / rows[held] / level
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
