"""What matured labels say of two models in a rollout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shared.core.intake.readings import Doubles, Longs
from shared.core.model.scoring import ROLES
from shared.core.profile.merged import MergedProfile
from shared.core.rollout.decide import Health
from shared.core.rollout.improvement import Days
from shared.core.rollout.status import RolloutStatus
from shared.core.scenario import Scenario
from shared.core.task.calendar import DAY_HOURS


def paired_days(merged: MergedProfile, current: RolloutStatus) -> Days:
    """Paired losses of the two models since the stage began."""
    losses = merged.task.losses
    one, other = map(losses.pairs.index, losses.compared)
    sums: dict[int, tuple[int, float, float]] = {}
    for (day, first, second), row in merged.pairs.items():
        if (first, second) == (current.champion, current.challenger) and day >= current.since_day:
            sums[day] = int(row[0]), float(row[one]), float(row[other])
    return Days.of(sums, losses.power)


def matured_days(merged: MergedProfile, current: RolloutStatus) -> int:
    """Whole days since the stage began whose labels have matured; 0 when it began before the first reading."""
    known = merged.newest_hour + 1 - merged.task.delay_h
    return max(known // DAY_HOURS - current.since_day, 0) if current.since_day > 0 else 0


def health(scenario: Scenario, merged: MergedProfile, current: RolloutStatus, latency_ms: float) -> Health:
    """How a challenger is apart from its errors."""
    held = [(day, row) for (day, role, model), row in merged.errors.items()
            if role == ROLES[0] and model == current.champion and day >= current.since_day]  # fmt: skip
    rows = paired_days(merged, current)
    paired = dict(zip(rows.day.tolist(), rows.rows.tolist(), strict=True))
    answered = [(int(row[0]), paired.get(day, 0)) for day, row in held if day > current.since_day]
    asked = sum(each for each, _ in answered)
    enough = asked >= scenario.rollout.minimum_labels
    unanswered = 1 - sum(each for _, each in answered) / asked if enough else 0.0
    shift = forecast_shift(scenario, merged, current.champion or "", current.challenger or "",
                                   current.since_day)  # fmt: skip
    return Health(unanswered=unanswered, latency_ms=latency_ms, forecast_shift=shift)


def forecast_shift(scenario: Scenario, merged: MergedProfile, champion: str, challenger: str, since_day: int) -> float:
    """How far the challenger's forecasts lie above the champion's, in standard deviations of the champion's.

    The means are those of the whole days on which both forecast, from the bins of the profiles: on the first day the
    challenger has other hours than the champion. The standard deviation is that of all days known of the champion, for
    a few days alone vary too little. 0 while either has fewer than `minimum_labels` forecasts on these days.
    """
    first = {day: row for (day, role, model), row in merged.forecasts.items() if (role, model) == (ROLES[0], champion)}
    second = {d: row for (d, role, model), row in merged.forecasts.items() if (role, model) == (ROLES[1], challenger)}
    both = sorted(day for day in first.keys() & second.keys() if day > since_day)
    common = [[rows[day] for day in both] for rows in (first, second)]
    if not min(int(np.sum(rows)) for rows in common) >= scenario.rollout.minimum_labels:
        return 0.0
    edges = merged.task.answer_edges
    one, other = (_moments(edges, rows)[0] for rows in common)
    spread = _moments(edges, list(first.values()))[1]
    return (other - one) / max(spread, float(edges[1] - edges[0]))


def _moments(edges: Doubles, rows: Sequence[Longs]) -> tuple[float, float]:
    """Mean and standard deviation of counted values, NaN when none was counted."""
    counts = np.sum(rows, axis=0)[:-1]
    if not counts.sum():
        return math.nan, math.nan
    centre = (edges[1:] + edges[:-1]) / 2
    mean = float(counts @ centre) / float(counts.sum())
    return mean, math.sqrt(float(counts @ (centre - mean) ** 2) / float(counts.sum()))
