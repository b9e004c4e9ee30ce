"""The evidence of a gate's verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from shared.app.reports.charts.lines import line_chart
from shared.app.reports.charts.parts import Chart, Role, Series
from shared.app.reports.charts.rows import bar_chart, dot_chart
from shared.app.reports.page import pretty_unit, render
from shared.core.gate.evidence import LATEST_HOUR
from shared.core.gate.verdict import Day, Group, Improvement, Scores, Verdict
from shared.core.intake.readings import Doubles, Longs
from shared.core.task.calendar import noon


def gate_report(verdict: Verdict, *, title: str = "") -> str:
    """Page that tells a verdict with everything it rests on.

    Args:
        verdict: The verdict.
        title: What is forecast, from the scenario.
    """
    unit, other = pretty_unit(verdict.unit), "champion" if verdict.facts.champion else "damped persistence"
    groups = {kind: [one for one in verdict.groups if one.kind == kind] for kind in ("device", "band")}
    return render(
        "gate.html",
        verdict=verdict,
        title=title or verdict.scenario,
        unit=unit,
        other=other,
        decisive=[rule for rule in verdict.rules if rule.name in verdict.reasons and not rule.holds],
        mine=verdict.scores.get("challenger"),
        theirs=_theirs(verdict),
        latest=LATEST_HOUR,
        gain=_gain(verdict.improvements),
        groups={kind: (found, _groups(found, unit, other)) for kind, found in groups.items()},
        days=list(_days(verdict.days, unit, other)),
    )


def _theirs(verdict: Verdict) -> Scores | None:
    if verdict.facts.champion:
        return verdict.scores.get("champion")
    return verdict.scores.get("damped" if verdict.unit else "floor")


def _gain(improvements: Sequence[Improvement]) -> Chart | None:
    """The improvements with their ends; None where they are not known."""
    known = [one for one in improvements if None not in (one.value, one.lower, one.upper)]
    if not known:
        return None
    names = [one.measure.upper() if one.measure != "accuracy" else "Accuracy" for one in known]
    lines = [
        Series("lower end", _array([one.lower for one in known]), "other"),
        Series("upper end", _array([one.upper for one in known]), "other"),
        Series("improvement", _array([one.value for one in known])),
    ]
    one = known[0]
    note = (
        f"{one.resamples:,} draws of stretches of {one.block_hours} h (horizon and {one.memory_hours} h of memory), "
        f"all devices together. Right of the dashed line (no change) the challenger is better."
    )
    return dot_chart("Improvement", names, lines, note=note, mark=0.0, percent=True)


def _groups(groups: Sequence[Group], unit: str, other: str) -> list[Chart]:
    """Both errors by group, and the one as a share of the other."""
    names = [group.name for group in groups]
    lines = [
        Series(other, _array([group.reference for group in groups]), "baseline"),
        Series("challenger", _array([group.challenger for group in groups])),
    ]
    ratios = _array([group.ratio for group in groups]).tolist()
    roles: list[Role] = ["baseline" if ratio > 1 else "model" for ratio in ratios]
    note = f"Challenger to {other}: below 1 the challenger is better; where it is not, the bar has the other colour."
    return [
        dot_chart("Error of both", names, lines, unit=unit, note="The worst first."),
        bar_chart("Ratio of the errors", names, ratios, note=note, roles=roles),
    ]


def _days(days: Sequence[Day], unit: str, other: str) -> Iterator[Chart]:
    """Errors of both by day, and their difference."""
    if not days:
        return
    hours, mine, theirs = _daily(days)
    lines = [Series(other, theirs, "baseline"), Series("challenger", mine)]
    note = "Lower is better. Days are of as-of hours."
    yield line_chart("Error by day", hours, lines, unit=unit, note=note, clock=False)
    note = f"Challenger minus {other}: below 0 the challenger is better."
    yield line_chart("Difference", hours, [Series("difference", mine - theirs)], unit=unit, note=note, clock=False)


def _daily(days: Sequence[Day]) -> tuple[Longs, Doubles, Doubles]:
    """Noon of each day (hours since 1970) and the errors; days without forecasts become gaps."""
    ordinal = np.array([day.day for day in days], "datetime64[D]").astype(np.int64)
    every = np.arange(ordinal.min(), ordinal.max() + 1) if np.ptp(ordinal) < 4000 else ordinal
    columns = np.full((2, len(every)), np.nan)
    at = np.searchsorted(every, ordinal)
    columns[:, at] = _array([day.challenger for day in days]), _array([day.reference for day in days])
    return noon(every), columns[0], columns[1]


def _array(values: Sequence[float | None]) -> Doubles:
    return np.array([math.nan if value is None else value for value in values], np.float64)
