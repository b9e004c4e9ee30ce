"""The page at the end of the demo: how good the forecasts were, and how they came about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from local.demo.report.charts import MADE, charts
from local.demo.report.outcomes import Outcomes
from shared.app.reports.charts.axis import plain
from shared.app.reports.charts.parts import Chart
from shared.app.reports.charts.rows import bar_chart
from shared.app.reports.page import number, pretty_unit, render

TEMPLATES = Path(str(files("local.demo.report"))) / "templates"
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
    """A step of the loop: its name, its notes, seconds it took (NaN when it does not matter)."""

    name: str
    notes: Sequence[str]
    seconds: float = math.nan


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
        closed=[(name, _listed(summary.get(key))) for name, key in _CLOSED],
        refused=summary.get("refused"),
        charts=charts(outcomes, unit, nominal) if fair.any() else None,
    )


def _error_chart(summary: Mapping[str, object], unit: str) -> Chart:
    """Root mean squared errors as bars, mean absolute ones in the note."""
    found = [(name, number(summary, f"rmse{key}"), role) for name, key, role in MADE]
    known = [(name, value, role) for name, value, role in found if not math.isnan(value)]
    errors = [(name, number(summary, f"mae{key}")) for name, key, _ in MADE]
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


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
