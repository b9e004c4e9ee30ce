"""The part of a drift report that stands for devices, realised quality and forecasts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.app.reports.charts.axis import count, plain
from shared.app.reports.charts.lines import line_chart
from shared.app.reports.charts.parts import Role, Series
from shared.app.reports.charts.rows import bar_chart
from shared.app.reports.charts.shares import shares_chart
from shared.app.reports.drift_features import NOW, THEN, known, window_of
from shared.app.reports.markup import Html, foreign, shorten, tag
from shared.app.reports.page import facts, names, section, table
from shared.core.drift.baseline import Baseline
from shared.core.drift.measures import filled, seasonal, shares
from shared.core.drift.verdict import DeviceQuality, Fault, Quality, Verdict
from shared.core.forecast.features.watched import BINS
from shared.core.forecast.state import CHAMPION, ERRORS, ROLES
from shared.core.intake.readings import Doubles, Longs
from shared.core.profile.merged import Merged

DAYS = 90  # of quality that are drawn
AFTER = 14  # days behind the window that may have matured in part
MOST = 100
_FAULTS = {"stuck": "stuck at one value", "jump": "level jumped", "missing": "values missing"}
_LIMITS = (
    ("Mean absolute error", "mae", "at most"),
    ("Root mean squared error", "rmse", ""),
    ("Truths within the interval", "coverage", "at least"),
    ("Error relative to persistence", "ratio", "at most"),
    ("RMSE relative to persistence", "rmse_ratio", ""),
)


def devices_section(verdict: Verdict, unit: str) -> Html:
    """Devices at fault with their reason, recovered and silent ones, and what the forecasts were worth on each."""
    parts: list[object] = [_pipeline(verdict.pipeline), _faulty(verdict.faulty)]
    lists = [("Healthy again", verdict.recovered), ("Silent for long", verdict.silent)]
    told = [(name, names(found)) for name, found in lists if found]
    parts += [facts(told)] if told else []
    parts += _each(verdict.quality.devices, unit)
    return section("Devices", *parts)


def quality_section(verdict: Verdict, baseline: Baseline, merged: Merged, unit: str) -> Html:
    """Error by day, and the realised quality beside what is accepted."""
    hours, lines = _daily(verdict, baseline, merged)
    first, end = verdict.window
    note = "Mean absolute error of the forecasts made on each day; the shaded days are the window of this check."
    drawn = line_chart(
        "Error by day", hours, lines, unit=unit, note=note, clock=False, shaded=(first * 24, end * 24)
    )  # fmt: skip
    rows = [_accepted(verdict.quality, *one) for one in _LIMITS]
    told = {True: "outside the accepted range", False: "inside the accepted range", None: "not judged"}
    sample = f"{count(verdict.quality.rows)} forecasts with known truth"
    note = f"{sample}, {count(verdict.quality.paired)} of them with known persistence: {told[verdict.quality.outside]}."
    return section("Realised quality", drawn, table(("Measure", "Value", "Accepted"), rows), note=note)


def forecasts_section(verdict: Verdict, baseline: Baseline, merged: Merged, unit: str) -> Html:
    """The champion's forecasts now and out of fold."""
    found, model = verdict.forecasts, verdict.model
    own = {day: counts for (day, role, version), counts in merged.forecasts.items()
           if role == ROLES[CHAMPION] and version == model}  # fmt: skip
    live = shares(window_of(own, verdict, 1)[0])
    middle = sum(verdict.window) / 2
    reference = seasonal(filled(baseline.forecast_counts[:, None]), middle)[0, :BINS]
    lines: list[tuple[str, Role, Doubles]] = [(THEN, "truth", reference), (NOW, "model", live)]
    drawn = shares_chart("Forecasts", baseline.forecast_edges, lines, unit=unit, note="Share of forecasts per bar.")
    head = ("Forecasts", "n", "Mean", "Difference (sd)", "Wasserstein", "PSI", "JS", "KS", "Ratio to its limit")
    distances = (found.psi, found.jensen_shannon, found.ks, found.ratio)
    row = [
        "Now and in training", count(found.rows), plain(known(found.mean)), plain(known(found.difference), 0.01),
        plain(known(found.wasserstein)), *(plain(known(one), 0.001) for one in distances),
    ]  # fmt: skip
    note = (
        "Compared with the out-of-fold forecasts of this time of the year. Reported; the verdict does not rest on it."
    )
    return section("What the model says", drawn, table(head, [row]), note=note)


def _pipeline(found: Sequence[str]) -> Html:
    items = [[text] for text in found[:MOST]]
    return table(("What fails before the model",), items) if items else Html("")


def _faulty(found: Sequence[Fault]) -> Html:
    if not found:
        return tag("p", "No device is at fault.")
    rows = [
        [foreign(shorten(f.device)), _FAULTS.get(f.fault, f.fault), foreign(shorten(f.channel)), f.detail]
        for f in found[:MOST]
    ]
    left = len(found) - MOST
    told = f"The first {MOST} of {len(found):,} faults." if left > 0 else ""
    return table(("Device", "Fault", "Channel", "What was seen"), rows, words=4, caption=told)


def _each(devices: Sequence[DeviceQuality], unit: str) -> list[object]:
    """Bars and numbers of the devices, the worst first."""
    if not devices:
        return [tag("p", "No device has a forecast whose truth is known yet.", class_="nothing")]
    worst = sorted(devices, key=lambda one: -one.mae)
    bars = bar_chart(
        "Error of each device",
        [one.device for one in worst],
        [one.mae for one in worst],
        unit=unit,
        note="Mean absolute error over its newest days, the worst first.",
    )
    rows = [[foreign(shorten(d.device)), count(d.rows), plain(d.mae), f"{100 * d.coverage:.1f} %"] for d in worst]
    told = f"The {MOST} worst of {len(worst):,} devices." if len(worst) > MOST else ""
    numbers = table(
        ("Device", "n", f"MAE ({unit})" if unit else "MAE", "Within the interval"), rows[:MOST], caption=told
    )
    return [bars, tag("details", tag("summary", "The numbers of each device"), numbers)]


def _accepted(quality: Quality, name: str, key: str, word: str) -> list[object]:
    factor, sign = (100, " %") if key == "coverage" else (1, "")
    value, limit = known(getattr(quality, key)), known(quality.limits.get(key))
    shown, most = (plain(factor * one) + (sign if one == one else "") for one in (value, limit))
    return [name, shown, f"{word} {most}" if word and limit == limit else most]


def _daily(verdict: Verdict, baseline: Baseline, merged: Merged) -> tuple[Longs, list[Series]]:
    """Noon of each day (hours since 1970) and the champion's error, that of models before it, and of persistence."""
    end = verdict.window[1]
    sums: dict[tuple[bool, int], Longs] = {}
    for (day, role, model), row in merged.errors.items():
        if role == ROLES[CHAMPION] and end - DAYS <= day < end + AFTER:
            key = model == verdict.model, day
            sums[key] = sums[key] + row if key in sums else row
    seen = {day for _, day in sums}
    days = range(min(seen), max(seen) + 1) if seen else range(0)
    quantum = float(baseline.quantum[0])
    nothing = np.zeros(len(ERRORS), np.int64)
    every = [sums.get((True, day), nothing) + sums.get((False, day), nothing) for day in days]
    own = [sums.get((True, day)) for day in days]
    others = [sums.get((False, day)) for day in days]
    found = [
        Series("persistence", _mean(every, "absolute_persistence", "paired") * quantum, "floor"),
        Series("earlier models", _mean(others, "absolute", "matured") * quantum, "other"),
        Series("champion", _mean(own, "absolute", "matured") * quantum),
    ]
    hours = np.array([day * 24 + 12 for day in days], np.int64)
    return hours, [one for one in found if one.name == "champion" or np.isfinite(one.values).any()]


def _mean(rows: Sequence[Longs | None], top: str, bottom: str) -> Doubles:
    a, b = ERRORS.index(top), ERRORS.index(bottom)
    return np.array([row[a] / row[b] if row is not None and row[b] else np.nan for row in rows])
