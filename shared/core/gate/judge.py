"""The gate: may a challenger serve? Everything it decides is a value; nothing is read or written here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from shared.core.gate.bootstrap import Interval
from shared.core.gate.evidence import Evidence, Facts
from shared.core.gate.groups import listed, root
from shared.core.gate.measure import Case, Numbers, measure
from shared.core.gate.rules import RULES
from shared.core.gate.verdict import Day, Group, Improvement, Kind, Rule, Verdict
from shared.core.scenario import Scenario
from shared.core.task.calendar import DAY_HOURS
from shared.validation import number


def judge(
    scenario: Scenario,
    evidence: Evidence,
    facts: Facts,
    rules: Sequence[Callable[[Numbers], Rule]] = RULES,
) -> Verdict:
    """Judge a challenger that forecasts numbers, against the champion or, where there is none, damped persistence.

    Rules on trust come first: on evidence or a package that cannot be trusted it is refused whatever the numbers say.
    Then the amount: too little of it is "not enough data". Only then merit decides.

    Args:
        scenario: Its gate rules, horizon, interval and categories.
        evidence: Forecasts of both beside the truth.
        facts: What is known of both models and of the challenger's package.
        rules: What has to hold.
    """
    with np.errstate(all="ignore"):  # NaN and infinities are for the rules to find
        case = measure(scenario, evidence, facts)
        found = tuple(rule(case) for rule in rules)
        groups = [*listed("device", case.devices), *listed("band", case.bands)]
        return conclude(scenario, case, found, groups, scenario.target_channel.unit)


def conclude(scenario: Scenario, case: Case, rules: tuple[Rule, ...], groups: Sequence[Group], unit: str) -> Verdict:
    """The verdict that follows from the rules."""
    kind, decisive = decide(rules)
    improvements = tuple(_improvement(case, name, one) for name, one in case.intervals.items())
    return Verdict(
        kind=kind, reasons=tuple(rule.name for rule in decisive), text=_text(kind, decisive, improvements, case),
        scenario=scenario.name, unit=unit, facts=_plain(case.facts), rules=rules, scores=case.scores,
        improvements=improvements, groups=tuple(groups), days=_days(case),
    )  # fmt: skip


def decide(rules: Sequence[Rule]) -> tuple[Kind, list[Rule]]:
    """The verdict and the rules that decided it: those that do not hold, of the first stage where one does not."""
    for stage in ("trust", "amount", "merit"):
        failed = [rule for rule in rules if rule.stage == stage and not rule.holds]
        if failed:
            return "not enough data" if stage == "amount" else "refuse", failed
    return "promote", []


def _improvement(case: Case, measure: str, one: Interval) -> Improvement:
    return Improvement(
        measure=measure, against="floor" if case.facts.champion is None else "champion", value=number(one.value),
        lower=number(one.lower), upper=number(one.upper), confidence=case.gate.confidence, block_hours=one.block,
        memory_hours=one.memory, blocks=round(one.blocks, 3), resamples=case.gate.resamples,
    )  # fmt: skip


def _text(kind: Kind, decisive: Sequence[Rule], improvements: Sequence[Improvement], case: Case) -> str:
    if kind != "promote":
        return "; ".join(f"{rule.name}: {rule.text}" for rule in decisive)
    parts = [
        f"{one.measure} better by {100 * (one.value or 0):.1f} % "
        f"(at least {100 * (one.lower or 0):.1f} % with {100 * one.confidence:g} % confidence)"
        for one in improvements
    ]
    against = "damped persistence" if case.facts.champion is None else "the champion"
    return f"{', '.join(parts)} than {against} on {len(case.as_of):,} forecasts"


def _plain(facts: Facts) -> Facts:
    """Facts that JSON can hold."""
    numbers = (None if value is None else number(value) for value in (facts.parity, facts.size_mb, facts.latency_ms))
    parity, size_mb, latency_ms = numbers
    return Facts(
        challenger=facts.challenger, champion=facts.champion, damage=facts.damage,
        unknown_features=facts.unknown_features, parity=parity, size_mb=size_mb, latency_ms=latency_ms,
    )  # fmt: skip


def _days(case: Case) -> tuple[Day, ...]:
    days, which, counts = np.unique(case.as_of // DAY_HOURS, return_inverse=True, return_counts=True)
    challenger, reference = (
        root(np.bincount(which, losses, len(days)) / counts, case.losses.loss)
        for losses in (case.losses.challenger, case.losses.reference)
    )
    names = np.datetime_as_string(days.astype("datetime64[D]")) if len(days) else ()
    return tuple(
        Day(day=str(name), rows=int(count), challenger=number(mine), reference=number(other))
        for name, count, mine, other in zip(names, counts, challenger, reference, strict=True)
    )
