"""The page at the end of the demo: how good the forecasts were, and how they came about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import numpy as np

from shared.app.reports.charts.axis import count, duration, plain
from shared.app.reports.charts.lines import density_chart, line_chart
from shared.app.reports.charts.parts import Band, Role, Series
from shared.app.reports.charts.rows import bar_chart, dot_chart
from shared.app.reports.markup import Html, foreign, tag
from shared.app.reports.page import Tile, against, facts, number, page, pretty_unit, section, table, tiles
from shared.core.intake.readings import Doubles, Floats, Ints, Longs, Mask

WEEKS = 3
BANDS = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Phase:
    """A step of the loop: its name, what was said of it, seconds it took (NaN when it does not matter)."""

    name: str
    said: Sequence[str]
    seconds: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Forecasts with what came later, one row each, shape (n,); sorted by device, then hour.

    Args:
        devices: Distinct device ids that `device` points into.
        device: Index into `devices`.
        hour: Target hour, hours since 1970 UTC.
        forecast: The model's forecast.
        lower: Lower end of its interval.
        upper: Upper end of its interval.
        truth: What was measured in the target hour.
        persistence: Forecast of persistence, NaN where the value as of then was missing.
        damped: Forecast of damped persistence, NaN likewise.
    """

    devices: Sequence[str]
    device: Ints
    hour: Longs
    forecast: Floats
    lower: Floats
    upper: Floats
    truth: Floats
    persistence: Floats
    damped: Floats

    def fair(self) -> Mask:
        """Rows on which all three can be compared."""
        rows = np.stack((self.forecast, self.truth, self.persistence, self.damped))
        return np.asarray(np.isfinite(rows).all(axis=0))


def demo_report(
    summary: Mapping[str, object],
    outcomes: Outcomes,
    *,
    phases: Sequence[Phase] = (),
    title: str = "",
    unit: str = "",
    nominal: float = 0.9,
) -> str:
    """The demo's page.

    Args:
        summary: What build/demo/summary.json holds; missing keys leave their tile out.
        outcomes: Every served forecast of the last span whose truth is known.
        phases: The steps of the loop, in order.
        title: What is forecast, from the scenario.
        unit: Unit of the forecast, from the scenario.
        nominal: Share of truths that the interval promises to hold.
    """
    unit = pretty_unit(unit)
    parts = [_numbers(summary, unit, nominal)]
    if isinstance(summary.get("mae_by_phase"), Mapping):
        parts.append(_closed(summary, unit))
    if phases:
        parts.append(_loop(phases))
    if outcomes.fair().any():
        parts += [_device(outcomes, unit, nominal), _errors(outcomes, unit), _trust(outcomes, unit, nominal)]
    parts.append(section("The run", _run(summary)))
    return page(title or "AirLoop demo", *parts, lead=_lead(summary, outcomes), kind="Demo report")


def rmse_by(key: Longs | Ints, size: int, outcomes: Outcomes) -> tuple[list[Doubles], Longs]:
    """RMSE of model, damped persistence and persistence by key, on the same rows, and how many rows.

    Args:
        key: Group of each row, 0 to size - 1, shape (n,).
        size: Number of groups.
        outcomes: The forecasts.
    """
    fair = outcomes.fair()
    rows = np.bincount(key[fair], minlength=size)
    errors = []
    for made in (outcomes.forecast, outcomes.damped, outcomes.persistence):
        squares = (made[fair].astype(np.float64) - outcomes.truth[fair]) ** 2
        total = np.bincount(key[fair], weights=squares, minlength=size)
        errors.append(np.sqrt(np.divide(total, rows, out=np.full(size, np.nan), where=rows > 0)))
    return errors, rows


def _lead(summary: Mapping[str, object], outcomes: Outcomes) -> Html | str:
    model, damped, plainest = (number(summary, key) for key in ("rmse", "rmse_damped", "rmse_persistence"))
    if not damped > 0:
        return ""
    made = f"In {count(int(outcomes.fair().sum()))} forecasts for days that no training saw, the error is "
    better = tag("strong", f"{against(model, damped)} damped persistence")
    return tag(
        "span",
        made,
        better,
        f" and {against(model, plainest)} persistence. Every number is read from the blobs that the functions wrote.",
    )


def _numbers(summary: Mapping[str, object], unit: str, nominal: float) -> Html:
    shown = []
    coverage, pace = number(summary, "interval_coverage"), number(summary, "score_rows_per_second")
    if not math.isnan(coverage):
        shown.append(
            Tile("Truth inside the interval", f"{100 * coverage:.1f} %", more=f"promised: {100 * nominal:.0f} %")
        )
    if "books_balance" in summary:
        shown.append(_books(summary["books_balance"] is True))
    if pace > 0:
        shown.append(Tile("Scoring", count(pace), "rows/s", f"{_counted(summary, 'rows_in')} rows in all"))
    elapsed = number(summary, "elapsed_seconds")
    if elapsed > 0:
        train = f"{duration(number(summary, 'train_seconds'))} of it training"
        shown.append(Tile("The whole loop", duration(elapsed), more=train))
    return tag("div", _verdict(summary, unit), tiles(shown), class_="hero")


def _verdict(summary: Mapping[str, object], unit: str) -> Html:
    names = (("rmse", "model"), ("rmse_damped", "damped persistence"), ("rmse_persistence", "persistence"))
    known = [(name, number(summary, key)) for key, name in names if not math.isnan(number(summary, key))]
    roles: tuple[Role, ...] = ("model", "other", "floor")
    maes = ", ".join(
        f"{name} {plain(number(summary, key.replace('rmse', 'mae')))}"
        for key, name in names
        if not math.isnan(number(summary, key.replace("rmse", "mae")))
    )
    note = "Root mean squared error; shorter is better." + (f" Mean absolute error: {maes}." if maes else "")
    labels, values = [name for name, _ in known], [value for _, value in known]
    return bar_chart("Error 24 hours ahead", labels, values, unit=unit, note=note, roles=roles)


def _books(balanced: bool) -> Tile:
    told = "every reading is accounted for" if balanced else "readings are missing"
    return Tile(
        "Books", "balanced" if balanced else "open", more=tag("span", told, class_="good" if balanced else "bad")
    )


def _loop(phases: Sequence[Phase]) -> Html:
    steps = []
    for phase in phases:
        took = tag("span", duration(phase.seconds), class_="took") if math.isfinite(phase.seconds) else ""
        steps.append(tag("li", tag("b", phase.name), *(tag("span", line) for line in phase.said), took))
    return section("The loop", tag("ol", *steps, class_="steps"))


def _closed(summary: Mapping[str, object], unit: str) -> Html:
    """What the functions did by themselves, and what it did to the error."""
    by_phase: Mapping[str, object] = summary["mae_by_phase"]  # type: ignore[assignment]
    known = {name: number(by_phase, name) for name in by_phase if not math.isnan(number(by_phase, name))}
    note = "Mean absolute error of the forecasts that users saw, by part of the story."
    bars = bar_chart("The error, part by part", list(known), list(known.values()), unit=unit, note=note)

    def named(key: str) -> Html | str:
        value = summary.get(key)
        return foreign(", ".join(map(str, value)) if isinstance(value, list) else value or "nothing")

    done = facts([
        ("Isolated", named("quarantined")),
        ("Training jobs", named("jobs")),
        ("Promoted", named("promoted_version")),
        ("A bad model", "was refused" if summary.get("refused") else "WAS NOT REFUSED"),
        ("Taken back", named("rolled_back")),
    ])  # fmt: skip
    return section("The loop closed", tag("div", bars, done, class_="grid2"))


def _device(outcomes: Outcomes, unit: str, nominal: float) -> Html:
    """The device with the most forecasts, its last weeks."""
    rows = np.bincount(outcomes.device[outcomes.fair()], minlength=len(outcomes.devices))
    chosen = int(rows.argmax())
    own = np.flatnonzero(outcomes.device == chosen)
    last = int(outcomes.hour[own].max())
    own = own[outcomes.hour[own] > last - WEEKS * 168]
    hours = np.arange(int(outcomes.hour[own].min()), last + 1, dtype=np.int64)
    place = outcomes.hour[own] - hours[0]

    def filled(values: Floats) -> Doubles:
        line = np.full(len(hours), np.nan)
        line[place] = values[own]
        return line

    lines = [
        Series("measured", filled(outcomes.truth), "truth"),
        Series("forecast a day before", filled(outcomes.forecast)),
    ]
    band = Band(f"{100 * nominal:.0f} % interval", filled(outcomes.lower), filled(outcomes.upper))
    chart = line_chart(f"Last {WEEKS} weeks", hours, lines, band=band, unit=unit)
    return section(
        "What the forecasts look like", chart, note=tag("span", "Device ", foreign(outcomes.devices[chosen]), ".")
    )


def _errors(outcomes: Outcomes, unit: str) -> Html:
    months = [_EPOCH + timedelta(hours=int(hour)) for hour in np.unique(outcomes.hour // 24) * 24]
    names = list(dict.fromkeys(f"{day:%b %Y}" for day in months))
    of_day = {int(day.timestamp()) // 86400: names.index(f"{day:%b %Y}") for day in months}
    month = np.array([of_day[int(day)] for day in outcomes.hour // 24], dtype=np.int64)
    by_month, month_rows = rmse_by(month, len(names), outcomes)
    by_device, device_rows = rmse_by(outcomes.device, len(outcomes.devices), outcomes)
    order = [int(i) for i in np.argsort(-np.nan_to_num(by_device[0], nan=-1.0), kind="stable") if device_rows[i]]
    left = dot_chart(
        "By month", names, _three(by_month), unit=unit, note="Root mean squared error; further left is better."
    )
    picked = [values[order] for values in by_device]
    ids = [outcomes.devices[i] for i in order]
    right = dot_chart("By device", ids, _three(picked), unit=unit, note="Those with the largest error first.")
    head = ("Device", "Rows", "Model", "Damped", "Persistence", "Model against damped")
    rows = [
        (
            foreign(ids[i]),
            count(int(device_rows[order[i]])),
            *(plain(float(v[i])) for v in picked),
            against(float(picked[0][i]), float(picked[1][i])),
        )
        for i in range(len(ids))
    ]
    numbers = tag("details", tag("summary", "The numbers by device"), table(head, rows))
    return section(
        "Where the error comes from", tag("div", left, right, class_="grid2"), numbers, note=_rows_note(month_rows)
    )


def _rows_note(rows: Longs) -> str:
    return f"All three on the same {count(int(rows.sum()))} rows."


def _three(errors: Sequence[Doubles]) -> list[Series]:
    names: tuple[tuple[str, Role], ...] = (
        ("persistence", "floor"),
        ("damped persistence", "other"),
        ("model", "model"),
    )
    return [Series(name, values, role) for (name, role), values in zip(names, reversed(errors), strict=True)]


def _trust(outcomes: Outcomes, unit: str, nominal: float) -> Html:
    fair = outcomes.fair()
    truth, forecast = outcomes.truth[fair].astype(np.float64), outcomes.forecast[fair].astype(np.float64)
    density = density_chart("Forecast against truth", truth, forecast, unit=unit)
    inside = (truth >= outcomes.lower[fair]) & (truth <= outcomes.upper[fair])
    edges = np.unique(np.quantile(forecast, np.linspace(0, 1, BANDS + 1)[1:-1]))
    band = np.searchsorted(edges, forecast, side="right")
    rows = np.bincount(band, minlength=len(edges) + 1)
    share = np.bincount(band, weights=inside, minlength=len(rows)) / np.maximum(rows, 1)
    ends = [plain(float(edge)) for edge in edges]
    labels = [
        f"below {ends[0]}",
        *(f"{a} to {b}" for a, b in pairwise(ends)),
        f"above {ends[-1]}",
    ]
    told = (
        f"Share of truths inside the interval, by how high the forecast was ({unit}). The dashed line is the promise."
    )
    coverage = dot_chart(
        "Does the interval keep its word?",
        labels,
        [Series("inside", share)],
        mark=nominal,
        limits=(0.5, 1.0),
        percent=True,
        note=told,
    )
    return section("How far to trust them", tag("div", density, coverage, class_="grid2"))


def _run(summary: Mapping[str, object]) -> Html:
    seconds = (("train_seconds", "Training"), ("elapsed_seconds", "Whole run"))
    pairs: list[tuple[str, object]] = [
        ("Readings in", _counted(summary, "rows_in")),
        ("Accepted", _counted(summary, "rows_accepted")),
        ("Rejected", _counted(summary, "rows_rejected")),
        ("Forecasts", _counted(summary, "predictions")),
        ("Features", _counted(summary, "features")),
        ("Model", foreign(summary["model_version"]) if summary.get("model_version") else ""),
    ]
    pairs += [(name, duration(number(summary, key))) for key, name in seconds if not math.isnan(number(summary, key))]
    return facts(pairs)


def _counted(summary: Mapping[str, object], key: str) -> str:
    value = number(summary, key)
    return "" if math.isnan(value) else count(value)
