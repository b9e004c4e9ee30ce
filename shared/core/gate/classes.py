"""The gate for forecasts of classes: accuracy and F1 both have to be better."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from shared.core.gate.bootstrap import Statistic, Timeline, bootstrap
from shared.core.gate.evidence import ClassEvidence, Facts
from shared.core.gate.flaws import Flaws, champion_seen, disordered
from shared.core.gate.groups import Losses, listed, tabulate
from shared.core.gate.judge import conclude
from shared.core.gate.measure import Case, draws, nothing
from shared.core.gate.rules import COMMON, above_chance, devices
from shared.core.gate.verdict import Rule, Scores, Verdict
from shared.core.intake.readings import Doubles, Ints
from shared.core.scenario import Loss, Scenario
from shared.validation import number


def accuracy(case: Case) -> Rule:
    """More forecasts are right, beyond chance."""
    return above_chance("accuracy", case.intervals["accuracy"].lower, "gain in accuracy", case.gate.confidence)


def f1(case: Case) -> Rule:
    """And that not at the cost of the rare classes: macro F1 is higher, beyond chance."""
    return above_chance("f1", case.intervals["f1"].lower, "gain in macro F1", case.gate.confidence)


WRONG: Loss = "absolute"  # a wrong forecast costs 1, whichever way it is counted
CLASS_RULES: tuple[Callable[[Case], Rule], ...] = (*COMMON, accuracy, f1, devices)


def judge_classes(
    scenario: Scenario,
    evidence: ClassEvidence,
    facts: Facts,
    rules: Sequence[Callable[[Case], Rule]] = CLASS_RULES,
) -> Verdict:
    """Judge a challenger that forecasts classes; stages and verdicts are those of `gate.judge`.

    Args:
        scenario: Its gate rules and horizon; devices are compared by their share of wrong forecasts.
        evidence: Forecasts of both beside the truth.
        facts: What is known of both models and of the challenger's package.
        rules: What has to hold.
    """
    with np.errstate(all="ignore"):
        case = _measure(scenario, evidence, facts)
        found = tuple(rule(case) for rule in rules)
        return conclude(scenario, case, found, listed("device", case.devices), "")


def _measure(scenario: Scenario, evidence: ClassEvidence, facts: Facts) -> Case:
    reference = evidence.floor if facts.champion is None else evidence.champion
    rows = reference >= 0
    truth, challenger, reference = evidence.truth[rows], evidence.challenger[rows], reference[rows]
    hours = evidence.as_of[rows] // scenario.cadence.hour
    axis = Timeline.of(hours, scenario.horizon)
    right, referred = ((forecast == truth).astype(np.float64) for forecast in (challenger, reference))
    intervals = {"accuracy": nothing(scenario), "f1": nothing(scenario)}
    if axis.hours:
        gain = axis.sums(right - referred, np.ones(len(right)))
        influence = gain[:, 0] - gain[:, 0].sum() / gain[:, 1].sum() * gain[:, 1]
        for name, statistic, sums in _statistics(axis, truth, challenger, reference):
            intervals[name] = bootstrap(sums, statistic, influence, draws(scenario))
    losses = Losses(challenger=1 - right, reference=1 - referred, axis=axis, block=intervals["f1"].block, loss=WRONG)
    device = evidence.device[rows].astype(np.int64)
    return Case(
        gate=scenario.gate, facts=facts, flaws=_flaws(evidence, facts), axis=axis, as_of=hours,
        losses=losses, devices=tabulate(evidence.devices, device, losses, scenario.gate), intervals=intervals,
        scores={"challenger": _scores(truth, challenger), "champion" if facts.champion else "floor":
                _scores(truth, reference)},
    )  # fmt: skip


def _statistics(
    axis: Timeline, truth: Ints, challenger: Ints, reference: Ints
) -> Sequence[tuple[str, Statistic, Doubles]]:
    """What is estimated and the sums by hour that it is estimated from."""
    classes = int(max(truth.max(), challenger.max(), reference.max())) + 1
    right = [(forecast == truth).astype(np.float64) for forecast in (challenger, reference)]
    counts = [
        (column == k).astype(np.float64)
        for k in range(classes)
        for column in (truth, challenger, reference, *(np.where(forecast == truth, truth, -1)
                                                      for forecast in (challenger, reference)))
    ]  # fmt: skip

    def gain(sums: Doubles) -> Doubles:
        table = sums.reshape(len(sums), classes, 5)
        return macro_f1(table[..., 3], table[..., 1], table[..., 0]) - macro_f1(
            table[..., 4], table[..., 2], table[..., 0]
        )

    return (
        ("accuracy", lambda sums: (sums[:, 0] - sums[:, 1]) / sums[:, 2], axis.sums(*right, np.ones(len(truth)))),
        ("f1", gain, axis.sums(*counts)),
    )


def macro_f1(hits: Doubles, forecast: Doubles, truth: Doubles) -> Doubles:
    """Mean F1 over the classes that were forecast or came, shape (...,).

    Args:
        hits: Right forecasts by class, shape (..., classes).
        forecast: How often each class was forecast, shape (..., classes).
        truth: How often it came, shape (..., classes).
    """
    there = forecast + truth > 0
    each = np.where(there, 2 * hits / np.where(there, forecast + truth, 1), 0)
    return np.asarray(each.sum(axis=-1) / there.sum(axis=-1))


def _scores(truth: Ints, forecast: Ints) -> Scores:
    if not len(truth):
        return Scores(rows=0)
    size = int(max(truth.max(), forecast.max())) + 1
    valid = forecast >= 0
    hits = np.bincount(truth[(truth == forecast) & (truth >= 0)], minlength=size).astype(np.float64)
    shown, came = (np.bincount(a, minlength=size).astype(np.float64) for a in (forecast[valid], truth[truth >= 0]))
    return Scores(
        rows=len(truth),
        accuracy=number(float(np.mean(truth == forecast))),
        f1=number(float(macro_f1(hits, shown, came))),
    )


def _flaws(evidence: ClassEvidence, facts: Facts) -> Flaws:
    return Flaws(
        not_finite=int((evidence.truth < 0).sum() + (evidence.challenger < 0).sum()),
        misaligned=int((evidence.truth != evidence.witness).sum()),
        disordered=disordered(evidence.device, evidence.as_of),
        seen=int((evidence.trained_until > evidence.as_of).sum()),
        champion_seen=champion_seen(evidence, evidence.champion >= 0, facts),
    )
