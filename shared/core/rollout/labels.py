"""What matured labels say of two models in a rollout."""

from __future__ import annotations

from shared.core.model.scoring import ROLES
from shared.core.profile.merged import MergedProfile
from shared.core.rollout.decide import Days, Health, forecast_shift
from shared.core.rollout.status import RolloutStatus
from shared.core.scenario import Scenario
from shared.core.task.calendar import DAY_HOURS


def paired_days(merged: MergedProfile, current: RolloutStatus) -> Days:
    """Paired losses of the two models since the stage began."""
    sums: dict[int, tuple[int, float, float]] = {}
    for (day, first, second), row in merged.pairs.items():
        if (first, second) == (current.champion, current.challenger) and day >= current.since_day:
            sums[day] = int(row[0]), float(row[1]), float(row[2])  # as the task's losses name them
    return Days.of(sums)


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
