"""Charts of a drift report: what the model reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.app.reports.charts.axis import plain
from shared.app.reports.charts.parts import Chart, Role
from shared.app.reports.charts.rows import bar_chart
from shared.app.reports.charts.shares import shares_chart
from shared.app.reports.page import shorten
from shared.core.drift.baseline import Baseline
from shared.core.drift.measures import seasonal, shares
from shared.core.drift.verdict import FeatureDrift, Verdict
from shared.core.intake.readings import Doubles, Longs
from shared.core.profile.bins import BINS, CELLS
from shared.core.profile.merged import MergedProfile

NOW, THEN = "now", "training, this time of the year"


def ratio_chart(verdict: Verdict) -> Chart | None:
    """Ratios of the deciding features; None where nothing could be judged."""
    deciding = [feature for feature in ranked(verdict.features) if feature.decides]
    found = [(feature.name, feature.ratio) for feature in deciding if feature.ratio is not None]
    if not found:
        return None
    ratios = [ratio for _, ratio in found]
    roles: list[Role] = ["baseline" if ratio > 1 else "model" for ratio in ratios]
    silent = len(deciding) - len(found)
    note = (
        "The largest statistic of each over its limit; the dashed line is the limit. "
        + ("Beyond it is drift." if verdict.magnitude is not None else "Nothing is concluded from these here.")
        + (f" {silent} deciding features could not be judged." if silent else "")
    )
    return bar_chart("Ratio to the limit", [name for name, _ in found], ratios, note=note, roles=roles, mark=1.0)


def histograms(verdict: Verdict, baseline: Baseline, merged: MergedProfile) -> list[Chart]:
    """The features that lead, now and at this time of the year in training."""
    leading = _leading(verdict)
    live = window_of(merged.histograms, verdict, len(baseline.names)) if leading else np.empty(0)
    reference = seasonal(baseline.reference, sum(verdict.window) / 2) if leading else np.empty(0)
    charts = []
    for feature in leading:
        place = baseline.watched.index((feature.name, feature.version))
        note = f"Mean {plain(feature.mean)} now, {plain(feature.reference_mean)} then. Share of rows per bar."
        charts.append(
            shares_chart(
                shorten(feature.name),
                baseline.edges[place],
                now_and_then(shares(live[place]), reference[place, :BINS]),
                note=note,
            )
        )
    return charts


def now_and_then(now: Doubles, then: Doubles) -> list[tuple[str, Role, Doubles]]:
    """Both histograms as a chart takes them."""
    return [(THEN, "truth", then), (NOW, "model", now)]


def ranked(features: Sequence[FeatureDrift]) -> list[FeatureDrift]:
    """The worst first; those that were not judged last, in their order."""
    return sorted(features, key=lambda feature: -1.0 if feature.ratio is None else -1.0 - feature.ratio)


def window_of(counts: dict[int, Longs], verdict: Verdict, width: int) -> Longs:
    """Counts of the window's days added up, shape (width, BINS + 1)."""
    total = np.zeros((width, CELLS), np.int64)
    for day in range(*verdict.window):
        total += counts.get(day, 0)
    return total


def _leading(verdict: Verdict) -> list[FeatureDrift]:
    """Two features, three when the third drifts too; without ratios the ones whose means moved most."""
    there = [feature for feature in verdict.features if feature.rows]
    judged = [feature for feature in ranked(there) if feature.ratio is not None]
    if not judged:
        return sorted(there, key=lambda feature: -abs(feature.difference or 0.0))[:2]
    return judged[: 3 if len(judged) > 2 and (judged[2].ratio or 0.0) > 1 else 2]
