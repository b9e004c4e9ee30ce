"""The page of a drift check."""

from __future__ import annotations

from shared.app.reports.charts.axis import moment, plain
from shared.app.reports.drift_features import histograms, ranked, ratio_chart
from shared.app.reports.drift_quality import accepted, device_chart, error_chart, forecast_chart
from shared.app.reports.page import pretty_unit, render
from shared.core.drift.baseline import Baseline
from shared.core.drift.comparable import comparable
from shared.core.drift.verdict import Verdict
from shared.core.gate.evidence import LATEST_HOUR
from shared.core.profile.merged import MergedProfile
from shared.core.task.calendar import DAY_HOURS


def drift_report(
    verdict: Verdict, baseline: Baseline | None, merged: MergedProfile, *, title: str = "", unit: str = ""
) -> str:
    """Page that tells what a drift check found and what follows from it.

    Args:
        verdict: What was found.
        baseline: What the champion's training left, None where that cannot be read.
        merged: The profiles that were checked.
        title: What is forecast, from the scenario.
        unit: Unit of the forecast, from the scenario.
    """
    unit, ordered = pretty_unit(unit), ranked(verdict.features)
    if baseline is not None:
        merged, _ = comparable(baseline, merged)
    formula, _, meaning = verdict.formula.partition(". ")
    return render(
        "drift.html",
        verdict=verdict,
        title=title,
        unit=unit,
        window=_window(verdict),
        formula=formula,
        meaning=meaning,
        example=_example(verdict),
        features=ordered,
        leading=next((one for one in ordered if one.ratio is not None), None),
        judged=ratio_chart(verdict),
        histograms=[] if baseline is None else histograms(verdict, baseline, merged),
        faulty=list(dict.fromkeys(fault.device for fault in verdict.faulty)),
        devices=sorted(verdict.quality.devices, key=lambda one: -one.mae),
        device_errors=device_chart(verdict, unit),
        daily=error_chart(verdict, merged, unit),
        accepted=accepted(verdict.quality),
        forecasts=None if baseline is None else forecast_chart(verdict, baseline, merged, unit),
    )


def _window(verdict: Verdict) -> str:
    first, end = verdict.window
    if not (0 < end <= LATEST_HOUR // DAY_HOURS and first < end):
        return "no whole day yet"
    return f"{moment(first * DAY_HOURS, clock=False)} to {moment((end - 1) * DAY_HOURS, clock=False)}"


def _example(verdict: Verdict) -> tuple[str, str, str] | None:
    """Feature, statistic and the formula with the numbers of the one that decided put in."""
    found = [(one.ratio, feature, one) for feature in verdict.features for one in feature.statistics
             if one.ratio is not None and feature.ratio is not None]  # fmt: skip
    if not found:
        return None
    _, feature, one = max(found, key=lambda each: each[0])
    value, allowance, limit, ratio = (plain(part, 0.01) for part in (one.value, one.allowance, one.limit, one.ratio))
    return feature.name, one.kind.replace("_", " "), f"(|{value}| \u2212 {allowance}) / {limit} = {ratio}"
