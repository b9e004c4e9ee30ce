"""The page at the end of the demo: how good the forecasts were, and how they came about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np

from shared.app.reports.charts.axis import plain
from shared.app.reports.charts.lines import density_chart, line_chart
from shared.app.reports.charts.parts import Band, Chart, Role, Series
from shared.app.reports.charts.rows import bar_chart, dot_chart
from shared.app.reports.page import number, pretty_unit, render
from shared.core.intake.readings import Doubles, Floats, Ints, Longs, Mask

TEMPLATES = Path(str(files("local.demo.report"))) / "templates"
WEEKS = 3
BANDS = 8
_MADE: tuple[tuple[str, str, Role], ...] = (
    ("model", "", "model"),
    ("damped persistence", "_damped", "other"),
    ("persistence", "_persistence", "baseline"),
)
_COUNTS = (
    ("Readings in", "rows_in"),
    ("Accepted", "rows_accepted"),
    ("Rejected", "rows_rejected"),
    ("Forecasts", "predictions"),
    ("Features", "features"),
)
_CLOSED = (
    ("Isolated", "quarantined"),
    ("Training jobs", "jobs"),
    ("Promoted", "promoted_version"),
    ("Taken back", "rolled_back"),
)
_NUMBERS = (
    "rmse", "rmse_damped", "rmse_persistence", "interval_coverage", "score_rows_per_second", "elapsed_seconds",
    "train_seconds", *(key for _, key in _COUNTS),
)  # fmt: skip


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
        nominal: Share of truths that the interval should hold.
    """
    unit, fair = pretty_unit(unit), outcomes.fair()
    return render(
        "demo.html",
        TEMPLATES,
        title=title or "AirLoop demo",
        unit=unit,
        nominal=nominal,
        phases=phases,
        found={key: number(summary, key) for key in _NUMBERS},
        counts=_COUNTS,
        compared=int(fair.sum()),
        books=summary.get("books_balance"),
        model=summary.get("model_version"),
        errors=_error_chart(summary, unit),
        parts=_part_chart(summary, unit),
        closed=[(name, _named(summary.get(key))) for name, key in _CLOSED],
        refused=summary.get("refused"),
        charts=_charts(outcomes, unit, nominal) if fair.any() else None,
    )


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


def _error_chart(summary: Mapping[str, object], unit: str) -> Chart:
    """Root mean squared errors as bars, mean absolute ones in the note."""
    found = [(name, number(summary, f"rmse{key}"), role) for name, key, role in _MADE]
    known = [(name, value, role) for name, value, role in found if not math.isnan(value)]
    errors = [(name, number(summary, f"mae{key}")) for name, key, _ in _MADE]
    maes = ", ".join(f"{name} {plain(value)}" for name, value in errors if not math.isnan(value))
    note = "Root mean squared error; shorter is better." + (f" Mean absolute error: {maes}." if maes else "")
    labels, values = [name for name, _, _ in known], [value for _, value, _ in known]
    return bar_chart("Error", labels, values, unit=unit, note=note, roles=[role for _, _, role in known])


def _part_chart(summary: Mapping[str, object], unit: str) -> Chart | None:
    """What the loop did to the error; None where the summary does not tell."""
    by_phase = summary.get("mae_by_phase")
    if not isinstance(by_phase, Mapping):
        return None
    known = {name: error for name in by_phase if not math.isnan(error := number(by_phase, name))}
    note = "Mean absolute error of the forecasts that users saw, by part of the story."
    return bar_chart("The error, part by part", list(known), list(known.values()), unit=unit, note=note)


def _named(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _charts(outcomes: Outcomes, unit: str, nominal: float) -> dict[str, object]:
    """What is drawn of forecasts whose truth is known."""
    device, line = _device(outcomes, unit, nominal)
    months, by_month = _by_month(outcomes)
    by_device, rows = rmse_by(outcomes.device, len(outcomes.devices), outcomes)
    order = [int(i) for i in np.argsort(-np.nan_to_num(by_device[0], nan=-1.0), kind="stable") if rows[i]]
    ids, errors = [outcomes.devices[i] for i in order], [values[order] for values in by_device]
    note = "Root mean squared error; further left is better."
    return {
        "device": device,
        "line": line,
        "where": [
            dot_chart("By month", months, _three(by_month), unit=unit, note=note),
            dot_chart("By device", ids, _three(errors), unit=unit, note="Those with the largest error first."),
        ],
        "devices": list(zip(ids, rows[order].tolist(), *(each.tolist() for each in errors), strict=True)),
        "trust": _trust(outcomes, unit, nominal),
    }


def _device(outcomes: Outcomes, unit: str, nominal: float) -> tuple[str, Chart]:
    """The device with the most forecasts, its last weeks."""
    rows = np.bincount(outcomes.device[outcomes.fair()], minlength=len(outcomes.devices))
    chosen = int(rows.argmax())
    own = np.flatnonzero(outcomes.device == chosen)
    last = int(outcomes.hour[own].max())
    own = own[outcomes.hour[own] > last - WEEKS * 168]
    hours = np.arange(int(outcomes.hour[own].min()), last + 1, dtype=np.int64)

    def filled(values: Floats) -> Doubles:
        line = np.full(len(hours), np.nan)
        line[outcomes.hour[own] - hours[0]] = values[own]
        return line

    lines = [Series("measured", filled(outcomes.truth), "truth"), Series("forecast", filled(outcomes.forecast))]
    band = Band(f"{100 * nominal:.0f} % interval", filled(outcomes.lower), filled(outcomes.upper))
    return outcomes.devices[chosen], line_chart(f"Last {WEEKS} weeks", hours, lines, band=band, unit=unit)


def _by_month(outcomes: Outcomes) -> tuple[list[str], list[Doubles]]:
    """Months with their errors."""
    months, place = np.unique(outcomes.hour.astype("datetime64[h]").astype("datetime64[M]"), return_inverse=True)
    names = [f"{month:%b %Y}" for month in months.tolist()]
    return names, rmse_by(place, len(names), outcomes)[0]


def _three(errors: Sequence[Doubles]) -> list[Series]:
    return [Series(name, values, role) for (name, _, role), values in zip(_MADE, errors, strict=True)][::-1]


def _trust(outcomes: Outcomes, unit: str, nominal: float) -> list[Chart]:
    """Forecast against truth, and how many truths the interval holds by how high the forecast was."""
    fair = outcomes.fair()
    truth, forecast = outcomes.truth[fair].astype(np.float64), outcomes.forecast[fair].astype(np.float64)
    inside = (truth >= outcomes.lower[fair]) & (truth <= outcomes.upper[fair])
    edges = np.unique(np.quantile(forecast, np.linspace(0, 1, BANDS + 1)[1:-1]))
    band = np.searchsorted(edges, forecast, side="right")
    rows = np.bincount(band, minlength=len(edges) + 1)
    share = np.bincount(band, weights=inside, minlength=len(rows)) / np.maximum(rows, 1)
    ends = [plain(float(edge)) for edge in edges]
    labels = [f"below {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends)), f"above {ends[-1]}"]
    note = f"Share of truths inside the interval, by how high the forecast was ({unit}). Dashed: the nominal share."
    return [
        density_chart("Forecast against truth", truth, forecast, unit=unit),
        dot_chart(
            "Coverage of the interval", labels, [Series("inside", share)],
            mark=nominal, limits=(0.5, 1.0), percent=True, note=note,
        ),
    ]  # fmt: skip
