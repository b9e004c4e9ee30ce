"""Charts of a drift report: devices, realised quality and forecasts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.app.reports.charts.axis import percent, plain
from shared.app.reports.charts.lines import line_chart
from shared.app.reports.charts.parts import Chart, Series
from shared.app.reports.charts.rows import bar_chart
from shared.app.reports.charts.shares import shares_chart
from shared.app.reports.drift_features import now_and_then, window_of
from shared.core.drift.baseline import Baseline
from shared.core.drift.measures import filled, seasonal, shares
from shared.core.drift.verdict import Quality, Verdict
from shared.core.intake.readings import Doubles, Longs
from shared.core.model.scoring import CHAMPION, ROLES
from shared.core.profile.bins import BINS
from shared.core.profile.merged import MergedProfile
from shared.core.task.calendar import DAY_HOURS, noon

DAYS = 90  # of quality that are drawn
AFTER = 14  # days behind the window that may have matured in part
_LIMITS = (
    ("Mean absolute error", "mae", "at most"),
    ("Root mean squared error", "rmse", ""),
    ("Truths within the interval", "coverage", "at least"),
    ("Error relative to persistence", "ratio", "at most"),
    ("RMSE relative to persistence", "rmse_ratio", ""),
)


def device_chart(verdict: Verdict, unit: str) -> Chart:
    """What the forecasts were worth on each device."""
    worst = sorted(verdict.quality.devices, key=lambda one: -one.mae)
    note = "Mean absolute error over its newest days, the worst first."
    names, errors = [one.device for one in worst], [one.mae for one in worst]
    return bar_chart("Error of each device", names, errors, unit=unit, note=note)


def error_chart(verdict: Verdict, merged: MergedProfile, unit: str) -> Chart:
    """Error by day, the window of the check shaded."""
    hours, lines = _daily(verdict, merged)
    shaded = (verdict.window[0] * DAY_HOURS, verdict.window[1] * DAY_HOURS)
    note = "Mean absolute error of the forecasts made on each day; the shaded days are the window of this check."
    return line_chart("Error by day", hours, lines, unit=unit, note=note, clock=False, shaded=shaded)


def accepted(quality: Quality) -> list[tuple[str, str, str]]:
    """Measures of the realised quality, their values and what is accepted."""
    rows = []
    for name, key, word in _LIMITS:
        shown = percent if key == "coverage" else plain
        limit = quality.limits.get(key)
        accepts = f"{word} {shown(limit)}" if word and limit is not None else plain(None)
        rows.append((name, shown(getattr(quality, key)), accepts))
    return rows


def forecast_chart(verdict: Verdict, baseline: Baseline, merged: MergedProfile, unit: str) -> Chart:
    """The champion's forecasts now and out of fold."""
    own = {day: counts for (day, role, version), counts in merged.forecasts.items()
           if role == ROLES[CHAMPION] and version == verdict.model}  # fmt: skip
    live = shares(window_of(own, verdict, 1)[0])
    reference = seasonal(filled(baseline.forecast_counts[:, None]), sum(verdict.window) / 2)[0, :BINS]
    lines = now_and_then(live, reference)
    return shares_chart("Forecasts", baseline.forecast_edges, lines, unit=unit, note="Share of forecasts per bar.")


def _daily(verdict: Verdict, merged: MergedProfile) -> tuple[Longs, list[Series]]:
    """Noon of each day (hours since 1970) and the champion's error, that of models before it, and of persistence."""
    end = verdict.window[1]
    sums: dict[tuple[bool, int], Longs] = {}
    for (day, role, model), row in merged.errors.items():
        if role == ROLES[CHAMPION] and end - DAYS <= day < end + AFTER:
            key = model == verdict.model, day
            sums[key] = sums[key] + row if key in sums else row
    seen = {day for _, day in sums}
    days = range(min(seen), max(seen) + 1) if seen else range(0)
    quantum, sums_of = merged.task.losses.unit, merged.task.losses.errors
    nothing = np.zeros(len(sums_of), np.int64)
    every = [sums.get((True, day), nothing) + sums.get((False, day), nothing) for day in days]
    own = [sums.get((True, day)) for day in days]
    others = [sums.get((False, day)) for day in days]
    absolute, matured, naive, paired = map(sums_of.index, ("absolute", "matured", "absolute_persistence", "paired"))
    found = [
        Series("persistence", _mean(every, naive, paired) * quantum, "baseline"),
        Series("earlier models", _mean(others, absolute, matured) * quantum, "other"),
        Series("champion", _mean(own, absolute, matured) * quantum),
    ]
    hours = noon(np.array(days, np.int64))
    return hours, [one for one in found if one.name == "champion" or np.isfinite(one.values).any()]


def _mean(rows: Sequence[Longs | None], top: int, bottom: int) -> Doubles:
    return np.array([row[top] / row[bottom] if row is not None and row[bottom] else np.nan for row in rows])
