"""The evidence of a gate's verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shared.app.reports.charts.axis import UNKNOWN, count, moment, plain
from shared.app.reports.charts.lines import line_chart
from shared.app.reports.charts.parts import Role, Series
from shared.app.reports.charts.rows import bar_chart, dot_chart
from shared.app.reports.markup import Html, foreign, join, shorten, tag
from shared.app.reports.page import Tile, against, callout, facts, page, pretty_unit, section, table, tiles
from shared.core.gate.evidence import LATEST_HOUR
from shared.core.gate.verdict import Day, Group, Improvement, Rule, Scores, Verdict
from shared.core.intake.readings import Doubles, Longs

_STATUS = {"promote": "promoted", "refuse": "refused", "not enough data": "not enough data"}
_STAGES = {"trust": "Can it be trusted?", "amount": "Is there enough of it?", "merit": "Is it better?"}
_NAMES = {"champion": "champion", "floor": "damped persistence"}
_TILES = {"mae": "Mean absolute error", "rmse": "Error (RMSE)", "accuracy": "Accuracy", "f1": "Macro F1"}


def gate_report(verdict: Verdict, *, title: str = "") -> str:
    """Page that tells a verdict with everything it rests on.

    Args:
        verdict: The verdict.
        title: What is forecast, from the scenario.
    """
    unit, other = pretty_unit(verdict.unit), _other(verdict)
    parts = [_trouble(verdict), _tiles(verdict, unit, other), _gain(verdict, other), _rules(verdict)]
    for kind, head in (("device", "Device by device"), ("band", "Band by band of the value as of now")):
        groups = [group for group in verdict.groups if group.kind == kind]
        if groups:
            parts.append(_groups(head, groups, unit, other))
    if verdict.days:
        parts.append(_days(verdict.days, unit, other))
    parts.append(section("The models", _facts(verdict)))
    return page(
        verdict.facts.challenger.version, *parts, lead=_lead(verdict), status=_STATUS[verdict.kind],
        kind=f"Gate report · {title or verdict.scenario}",
    )  # fmt: skip


def _other(verdict: Verdict) -> str:
    return _NAMES["floor" if verdict.facts.champion is None else "champion"]


def _lead(verdict: Verdict) -> Html:
    champion = verdict.facts.champion
    who = join(("the champion ", foreign(shorten(champion.version)))) if champion else "the floor, damped persistence"
    told = {
        "promote": "It may replace what serves: every rule holds.",
        "refuse": f"It may not serve: {len(verdict.reasons)} of {len(verdict.rules)} rules decided against it.",
        "not enough data": "There is too little yet to judge it by.",
    }[verdict.kind]
    return join(("Challenger compared with ", who, " on the same forecasts. ", told))


def _trouble(verdict: Verdict) -> Html:
    if verdict.kind == "promote":
        return Html("")
    decisive = [rule for rule in verdict.rules if rule.name in verdict.reasons and not rule.holds]
    kind = "bad" if verdict.kind == "refuse" else "warn"
    head = _STAGES[decisive[0].stage] if decisive else "Refused"
    return callout(f"{head} No." if decisive else head, *(_sentence(rule.text) for rule in decisive), kind=kind)


def _tiles(verdict: Verdict, unit: str, other: str) -> Html:
    shown = [_gain_tile(one, other) for one in verdict.improvements if one.value is not None]
    mine = verdict.scores.get("challenger")
    theirs = verdict.scores.get("floor" if verdict.facts.champion is None and not unit else _key(verdict))
    for one in verdict.improvements:
        value, reference = _score(mine, one.measure), _score(theirs, one.measure)
        if not math.isnan(value):
            relative = one.measure in ("mae", "rmse")
            told = f"{against(value, reference)} the {other} ({plain(reference)})" if relative else ""
            told = told or f"the {other} has {plain(reference)}"
            shown.append(Tile(_TILES[one.measure], plain(value), unit if relative else "", told))
    if mine is not None and mine.coverage is not None:
        width = f"on average {plain(_value(mine.width))} {unit} wide"
        shown.append(Tile("Truths within the interval", f"{100 * mine.coverage:.1f}", "%", width))
    rows = sum(day.rows for day in verdict.days)
    blocks = verdict.improvements[0].blocks if verdict.improvements else math.nan
    days = f"{len(verdict.days):,} days, {plain(blocks)} independent stretches"
    shown.append(Tile("Forecasts compared", count(rows), more=days))
    return tiles(shown)


def _key(verdict: Verdict) -> str:
    return "damped" if verdict.facts.champion is None else "champion"


def _gain_tile(one: Improvement, other: str) -> Tile:
    name = "Improvement" if one.measure in ("mae", "rmse") else f"Gain in {_TILES[one.measure]}"
    sure = f"{_percent(one.lower)} to {_percent(one.upper)}, each end with {100 * one.confidence:g} % confidence"
    return Tile(name, _percent(one.value).removesuffix(" %"), "%", f"over the {other}; {sure}")


def _rules(verdict: Verdict) -> Html:
    note = (
        "Rules of trust come first, then those of the amount, then merit: the first of these that fails decides. "
        "A number that is missing fails its rule."
    )
    rows = [_rule(rule) for rule in verdict.rules]
    return section("The rules", table(("Rule", "Value", "Limit", "Holds"), rows), note=note)


def _rule(rule: Rule) -> list[object]:
    sign, kind, word = ("✓", "good", "yes") if rule.holds else ("✕", "bad", "no")
    mark = tag("span", tag("span", sign, aria_hidden="true"), f" {word}", class_=kind)
    limit = UNKNOWN if rule.limit is None else f"{rule.limit:g}"
    value = UNKNOWN if rule.value is None else f"{rule.value:,.0f}" if abs(rule.value) >= 1000 else f"{rule.value:.4g}"
    told = tag("div", _sentence(rule.text), class_="muted", style="font-weight:400")
    stage = tag("span", f" · {rule.stage}", class_="muted", style="font-weight:400")
    return [join((rule.name.replace("_", " "), stage, told)), value, limit, mark]


def _gain(verdict: Verdict, other: str) -> Html:
    known = [one for one in verdict.improvements if None not in (one.value, one.lower, one.upper)]
    if not known:
        return Html("")
    names = [one.measure.upper() if one.measure != "accuracy" else "Accuracy" for one in known]
    ends: list[tuple[str, Role, list[float]]] = [
        ("lower end", "other", [_value(one.lower) for one in known]),
        ("upper end", "other", [_value(one.upper) for one in known]),
        ("improvement", "model", [_value(one.value) for one in known]),
    ]
    lines = [Series(name, np.array(values), role) for name, role, values in ends]
    one = known[0]
    note = (
        f"{one.resamples:,} draws of stretches of {one.block_hours} h (horizon and {one.memory_hours} h of memory), "
        f"all devices together. Right of the dashed line (no change) the challenger is better."
    )
    return section(
        "How sure is it",
        dot_chart(f"Improvement over the {other}", names, lines, note=note, mark=0.0, percent=True),
    )


def _groups(head: str, groups: Sequence[Group], unit: str, other: str) -> Html:
    names = [group.name for group in groups]
    lines = [
        Series(other, np.array([_value(group.reference) for group in groups]), "floor"),
        Series("challenger", np.array([_value(group.challenger) for group in groups])),
    ]
    note = "The worst first."
    drawn = dot_chart("Error of both", names, lines, unit=unit, note=note)
    ratios = [_value(group.ratio) for group in groups]
    roles: list[Role] = ["floor" if ratio > 1 else "model" for ratio in ratios]
    note = f"Below 1 the challenger is better; where it is not, the bar is in the {other}'s colour."
    bars = bar_chart(f"Error as a share of the {other}'s", names, ratios, note=note, roles=roles)
    rows = [
        [foreign(shorten(group.name)), "yes" if group.judged else "too small", count(group.rows),
         plain(_value(group.challenger)), plain(_value(group.reference)), _three(group.ratio), _three(group.lower)]
        for group in groups
    ]  # fmt: skip
    columns = ("Group", "Judged", "Rows", "Challenger", other.capitalize(), "Ratio", "Ratio at least")
    numbers = tag("details", tag("summary", "The numbers"), table(columns, rows, words=2))
    return section(head, tag("div", drawn, bars, class_="grid2"), numbers)


def _days(days: Sequence[Day], unit: str, other: str) -> Html:
    hours, mine, theirs = _daily(days)
    lines = [Series(other, theirs, "floor"), Series("challenger", mine)]
    both = line_chart(
        "Error by day", hours, lines, unit=unit, note="Lower is better. Days are of as-of hours.", clock=False
    )
    apart = [Series("no change", np.where(np.isnan(mine), np.nan, 0.0), "truth"), Series("difference", mine - theirs)]
    note = f"Challenger minus {other}: below 0 the challenger is better."
    return section("Day by day", both, line_chart("Difference", hours, apart, unit=unit, note=note, clock=False))


def _daily(days: Sequence[Day]) -> tuple[Longs, Doubles, Doubles]:
    """Noon of each day (hours since 1970) and the errors; days without forecasts become gaps."""
    ordinal = np.array([day.day for day in days], "datetime64[D]").astype(np.int64)
    every = np.arange(ordinal.min(), ordinal.max() + 1) if np.ptp(ordinal) < 4000 else ordinal
    columns = np.full((2, len(every)), np.nan)
    at = np.searchsorted(every, ordinal)
    columns[0, at] = [_value(day.challenger) for day in days]
    columns[1, at] = [_value(day.reference) for day in days]
    return every * 24 + 12, columns[0], columns[1]


def _facts(verdict: Verdict) -> Html:
    known, champion = verdict.facts, verdict.facts.champion
    return facts(
        [
            ("Challenger", foreign(shorten(known.challenger.version))),
            ("Its file", tag("code", shorten(known.challenger.sha256))),
            ("Trained until", _hour(known.challenger.trained_until)),
            ("Champion", foreign(shorten(champion.version)) if champion else "none yet"),
            ("Its file ", tag("code", shorten(champion.sha256)) if champion else ""),
            ("Trained until ", _hour(champion.trained_until) if champion else ""),
            ("Size", f"{plain(_value(known.size_mb))} MB"),
            ("Scoring call", f"{plain(_value(known.latency_ms))} ms"),
            ("From the trained model", f"{_value(known.parity):.2g} {pretty_unit(verdict.unit)} at most"),
        ]
    )


def _hour(hour: int) -> str:
    return f"{moment(hour)} UTC" if 0 <= hour <= LATEST_HOUR else UNKNOWN


def _score(scores: Scores | None, measure: str) -> float:
    return math.nan if scores is None else _value(getattr(scores, measure, None))


def _value(value: float | None) -> float:
    return math.nan if value is None else value


def _percent(value: float | None) -> str:
    return f"{plain(100 * _value(value), 0.1)} %"


def _three(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
