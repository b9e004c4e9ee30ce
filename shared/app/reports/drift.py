"""The page of a drift check."""

from __future__ import annotations

from shared.app.reports.charts.axis import UNKNOWN, count, moment, plain
from shared.app.reports.drift_features import features_section, known, table_section
from shared.app.reports.drift_quality import devices_section, forecasts_section, quality_section
from shared.app.reports.markup import Html, foreign, join, shorten, tag
from shared.app.reports.page import Tile, callout, names, page, pretty_unit, section, tiles
from shared.core.drift.baseline import Baseline
from shared.core.drift.verdict import Verdict
from shared.core.gate.evidence import LATEST_HOUR
from shared.core.profile.merged import Merged

MOST_REASONS = 6
_HEADLINES = {
    "none": "The readings are as they should be",
    "device": "Single devices are at fault",
    "pipeline": "The readings do not arrive as they should",
    "population": "The readings have changed",
    "not enough data": "Not enough data to judge",
}
_MEANINGS = {
    "none": "What the model reads lies within what its training history shows at this time of the year.",
    "device": "Some of what single devices report cannot be right.",
    "pipeline": "What fails on nearly all devices at once is not the weather: something before the model is broken.",
    "population": "What the model reads is further from its training history at this time of the year than any quiet "
    "week was, and further than one device alone could bring about.",
    "not enough data": "Nothing can be said yet of what the model reads.",
}
_NEXT = {
    "none": ("good", "Nothing needs to be done", "The model goes on serving; the next check looks again."),
    "device": ("warn", "Devices are isolated", "No training job is asked for because of them."),
    "pipeline": (
        "bad",
        "Alert: look at what delivers the readings",
        "No device is isolated and no training job is asked for on account of such readings.",
    ),
    "population": (
        "warn",
        "A training job is asked for",
        "The decision that follows starts one unless one is running, the last is too recent or the budget is spent.",
    ),
    "not enough data": ("muted", "Nothing is concluded", "The next check looks again."),
}


def drift_report(verdict: Verdict, baseline: Baseline, merged: Merged, *, title: str = "", unit: str = "") -> str:
    """Page that tells what a drift check found and what follows from it.

    Args:
        verdict: What was found.
        baseline: What the champion's training left.
        merged: The profiles that were checked.
        title: What is forecast, from the scenario.
        unit: Unit of the forecast, from the scenario.
    """
    unit = pretty_unit(unit)
    parts = (
        _next(verdict),
        _tiles(verdict, unit),
        _magnitude(verdict),
        features_section(verdict, baseline, merged),
        table_section(verdict.features),
        devices_section(verdict, unit),
        quality_section(verdict, baseline, merged, unit),
        forecasts_section(verdict, baseline, merged, unit),
    )
    return page(
        _headline(verdict), *parts, lead=_lead(verdict), status=verdict.kind,
        kind=f"Drift report · {title}" if title else "Drift report", foot=_foot(verdict),
    )  # fmt: skip


def _headline(verdict: Verdict) -> str:
    faulty = len({fault.device for fault in verdict.faulty})
    if verdict.kind == "device" and faulty:
        return "One device is at fault" if faulty == 1 else f"{faulty:,} devices are at fault"
    return _HEADLINES[verdict.kind]


def _lead(verdict: Verdict) -> str:
    together = ""
    if verdict.kind == "device":
        judged = "could not be judged" if verdict.magnitude is None else "is no cause for concern"
        together = f" What all devices show together {judged}."
    return f"{_MEANINGS[verdict.kind]}{together} Checked: {_window(verdict)}."


def _window(verdict: Verdict) -> str:
    first, end = verdict.window
    if not (0 < end <= LATEST_HOUR // 24 and first < end):
        return "no whole day yet"
    return f"{moment(first * 24, clock=False)} to {moment((end - 1) * 24, clock=False)}"


def _next(verdict: Verdict) -> Html:
    kind, head, told = _NEXT[verdict.kind]
    paragraphs: list[object] = [told]
    devices = list(dict.fromkeys(fault.device for fault in verdict.faulty))
    if devices and verdict.kind != "pipeline":
        rest = ": their readings are stored, but not scored until they are healthy again."
        paragraphs.append(join(("Isolated: ", names(devices, 8), rest)))
    if verdict.recovered:
        paragraphs.append(join(("Healthy again, no longer isolated: ", names(verdict.recovered, 8), ".")))
    if verdict.quality.outside:
        why = "; ".join(verdict.quality.reasons)
        paragraphs.append(f"The realised quality is outside its accepted range, which asks for training too: {why}.")
    reasons = [tag("span", reason, class_="muted") for reason in verdict.reasons[:MOST_REASONS]]
    left = len(verdict.reasons) - MOST_REASONS
    if left > 0:
        reasons.append(tag("span", f"And {left:,} more.", class_="muted"))
    return callout(head, *paragraphs, *reasons, kind=kind)


def _tiles(verdict: Verdict, unit: str) -> Html:
    quality, faulty = verdict.quality, len({fault.device for fault in verdict.faulty})
    worst = max(verdict.features, key=lambda f: -1.0 if f.ratio is None else f.ratio, default=None)
    led = f"limit 1; led by {worst.name}" if worst is not None and worst.ratio is not None else "limit 1"
    least = quality.limits.get("coverage")
    truths = f"n = {count(quality.rows)}" if quality.rows else "no truth known yet"
    others = f"{count(len(verdict.silent))} silent, {count(len(verdict.recovered))} healthy again"
    covered = "" if quality.coverage is None else "%"
    return tiles(
        [
            Tile(
                "Magnitude of drift", _two(verdict.magnitude), more=led if verdict.magnitude is not None else "unknown"
            ),
            Tile("Rows compared", count(verdict.rows), more=f"at least {count(verdict.minimum_rows)} are needed"),
            Tile("Realised error (MAE)", plain(known(quality.mae)), unit if quality.mae is not None else "", truths),
            Tile(
                "Truths within the interval",
                plain(100 * known(quality.coverage), 0.1),
                covered,
                truths if least is None else f"{truths}; at least {plain(100 * least, 0.1)} % accepted",
            ),
            Tile("Devices at fault", count(faulty), more=others),
        ]
    )


def _magnitude(verdict: Verdict) -> Html:
    first, _, rest = verdict.formula.partition(". ")
    size = verdict.magnitude
    found = (
        "It could not be judged."
        if size is None
        else f"Here it is {_two(size)}, {'above' if size > 1 else 'not above'} the limit of 1."
    )
    worst = [feature for feature in verdict.features if feature.ratio is not None and feature.ratio == size]
    parts: list[object] = [tag("p", tag("code", first)), tag("p", found, _example(verdict) if worst else "")]
    return section("How large it is", *parts, tag("p", rest, class_="muted") if rest else "")


def _example(verdict: Verdict) -> Html:
    """The formula with the numbers of the statistic that decided put in."""
    ranked = [(one.ratio, feature, one) for feature in verdict.features for one in feature.statistics
              if one.ratio is not None and feature.ratio is not None]  # fmt: skip
    if not ranked:
        return Html("")
    ratio, feature, one = max(ranked, key=lambda found: found[0])
    sum_of = f"(|{_two(one.value)}| \u2212 {_two(one.allowance)}) / {_two(one.limit)} = {_two(ratio)}"
    return join(
        (" It comes from ", foreign(shorten(feature.name)), f", {_words(one.kind)}: ", tag("code", sum_of), ".")
    )


def _foot(verdict: Verdict) -> Html:
    windows, years = count(verdict.calibrated_windows), plain(verdict.calibrated_years, 0.1)
    limits = f"Limits from {windows} windows of {years} years of training history."
    if not verdict.calibrated_windows:
        limits = "The training history was too short for limits."
    model = foreign(shorten(verdict.model)) if verdict.model else UNKNOWN
    window = f"Window: {_window(verdict)}, by the day (UTC) from which was forecast. "
    return join((window, limits, " Model: ", model, ". This page needs nothing from the network."))


def _two(value: float | None) -> str:
    return plain(known(value), 0.01)


def _words(kind: str) -> str:
    return kind.replace("_", " ")
