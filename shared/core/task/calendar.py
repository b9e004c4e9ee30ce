"""Hours and days since 1970 (UTC), in which every task says when something was."""

from __future__ import annotations

from shared.core.intake.readings import Longs

HOUR_MINUTES, DAY_HOURS = 60, 24
HOUR_MS, HOUR_US = 3_600_000, 3_600_000_000
NO_HOUR = -1  # where nothing has been yet, or the time is unknown


def noon(day: Longs) -> Longs:
    """Hours of the noons of days, where a day's values stand on an axis of hours."""
    return day * DAY_HOURS + DAY_HOURS // 2
