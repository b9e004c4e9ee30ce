"""The part of a drift report that stands for what the model reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shared.app.reports.charts.axis import count, plain
from shared.app.reports.charts.parts import Role
from shared.app.reports.charts.rows import bar_chart
from shared.app.reports.charts.shares import shares_chart
from shared.app.reports.markup import Html, foreign, join, shorten, tag
from shared.app.reports.page import section, table
from shared.core.drift.baseline import Baseline
from shared.core.drift.measures import seasonal, shares
from shared.core.drift.verdict import FeatureDrift, Statistic, Verdict
from shared.core.forecast.features.watched import BINS, CELLS
from shared.core.intake.readings import Doubles, Longs
from shared.core.profile.merged import Merged

NOW, THEN = "now", "training, this time of the year"
_HEAD = (
    "Feature", "Ratio", "n", "Missing", "Min", "Max", "Mean", "Ref. mean", "Eucl.", "Wasser.", "PSI", "JS", "KS",
)  # fmt: skip


def features_section(verdict: Verdict, baseline: Baseline, merged: Merged) -> Html:
    """Ratios of the deciding features, and the histograms of those that lead."""
    judged = ranked([feature for feature in verdict.features if feature.decides and feature.ratio is not None])
    silent = sum(feature.decides for feature in verdict.features) - len(judged)
    parts: list[object] = []
    if judged:
        ratios = [known(feature.ratio) for feature in judged]
        roles: list[Role] = ["floor" if ratio > 1 else "model" for ratio in ratios]
        meaning = "Beyond it is drift." if verdict.magnitude is not None else "Nothing is concluded from these here."
        note = f"The largest statistic of each over its limit; the dashed line is the limit. {meaning}"
        note += f" {silent} deciding features could not be judged." if silent else ""
        labels = [feature.name for feature in judged]
        parts.append(bar_chart("Ratio to the limit", labels, ratios, note=note, roles=roles, mark=1.0))
    drawn = [_histogram(feature, verdict, baseline, merged) for feature in _leading(verdict)]
    if drawn:
        first = len(drawn) % 2
        parts += [*drawn[:first], tag("div", *drawn[first:], class_="grid2") if drawn[first:] else ""]
    if not parts:
        parts = [tag("p", "Nothing to show yet.", class_="nothing")]
    return section("What the model reads", *parts)


def table_section(features: Sequence[FeatureDrift]) -> Html:
    """All measures of every watched feature, and the statistics that decide."""
    note = (
        "Min, max, means and the Wasserstein distance are in the feature's unit; Euclidean, Jensen-Shannon (JS) and "
        "Kolmogorov-Smirnov (KS) distances compare shares per bin, PSI tenths of the reference."
    )
    rows = [_row(feature) for feature in ranked(features)]
    if not rows:
        return Html("")
    head = ("Feature", "Statistic", "Value (sd)", "One device alone", "Limit", "Ratio")
    single = [_single(feature, one) for feature in ranked(features) for one in feature.statistics if feature.decides]
    more = tag("details", tag("summary", "The statistics that decide"), table(head, single, words=2)) if single else ""
    return section("All measures", table(_HEAD, rows), more, note=note)


def ranked(features: Sequence[FeatureDrift]) -> list[FeatureDrift]:
    """The worst first; those that were not judged last, in their order."""
    return sorted(features, key=lambda feature: -1.0 if feature.ratio is None else -1.0 - feature.ratio)


def known(value: float | None) -> float:
    """A number that may be missing, as NaN."""
    return math.nan if value is None else value


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
    return judged[: 3 if len(judged) > 2 and known(judged[2].ratio) > 1 else 2]


def _histogram(feature: FeatureDrift, verdict: Verdict, baseline: Baseline, merged: Merged) -> Html:
    place = baseline.watched.index((feature.name, feature.version))
    live = shares(window_of(merged.histograms, verdict, len(baseline.names))[place])
    reference = seasonal(baseline.reference, sum(verdict.window) / 2)[place, :BINS]
    note = f"Mean {plain(known(feature.mean))} now, {plain(known(feature.reference_mean))} then. Share of rows per bar."
    lines: list[tuple[str, Role, Doubles]] = [(THEN, "truth", reference), (NOW, "model", live)]
    return shares_chart(shorten(feature.name), baseline.edges[place], lines, note=note)


def _row(feature: FeatureDrift) -> list[object]:
    beyond = feature.ratio is not None and feature.ratio > 1
    ratio = tag("b", plain(known(feature.ratio), 0.01), class_="warn") if beyond else plain(known(feature.ratio), 0.01)
    values = (feature.minimum, feature.maximum, feature.mean, feature.reference_mean)
    distances = (feature.psi, feature.jensen_shannon, feature.ks)
    return [
        _name(feature), ratio, count(feature.rows), _percent(feature.missing), *(plain(known(one)) for one in values),
        plain(known(feature.euclidean), 0.001), plain(known(feature.wasserstein)),
        *(plain(known(one), 0.001) for one in distances),
    ]  # fmt: skip


def _name(feature: FeatureDrift) -> Html:
    small = f" v{feature.version}{'' if feature.decides else ', does not decide'}"
    return join((foreign(shorten(feature.name)), tag("span", small, class_="muted", style="font-weight:400")))


def _single(feature: FeatureDrift, one: Statistic) -> list[object]:
    numbers = (one.value, one.allowance, one.limit, one.ratio)
    name = foreign(shorten(feature.name))
    return [name, one.kind.replace("_", " "), *(plain(known(number), 0.01) for number in numbers)]


def _percent(share: float | None) -> str:
    return f"{plain(100 * known(share), 0.1)} %" if share is not None else plain(math.nan)
