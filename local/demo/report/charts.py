"""What the demo's page draws of forecasts whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from local.demo.report.outcomes import Outcomes, rmse_by
from shared.app.reports.charts.axis import plain
from shared.app.reports.charts.lines import density_chart, line_chart
from shared.app.reports.charts.parts import Band, Chart, Role, Series
from shared.app.reports.charts.rows import dot_chart
from shared.core.intake.readings import Doubles, Floats

WEEKS = 3
BANDS = 8
MADE: tuple[tuple[str, str, Role], ...] = (
    ("model", "", "model"),
    ("damped persistence", "_damped", "other"),
    ("persistence", "_persistence", "baseline"),
)


def charts(outcomes: Outcomes, unit: str, nominal: float) -> dict[str, object]:
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
    return [Series(name, values, role) for (name, _, role), values in zip(MADE, errors, strict=True)][::-1]


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
