"""Whether a challenger climbs, waits, becomes champion or is taken back."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from shared.core.rollout.improvement import Days, Improvement, improvement
from shared.core.scenario import RolloutRules

Kind = Literal["hold", "advance", "promote", "roll_back"]


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
    return (challenger / champion) ** days.power if champion > 0 else (1.0 if challenger == 0 else math.inf)


def _days(days: Days) -> int:
    return int(days.day[-1] - days.day[0]) + 1 if len(days.day) else 0
