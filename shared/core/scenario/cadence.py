"""How a scenario divides time: windows, forecasts and features go by steps, times of readings by ticks."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Cadence:
    """Steps and ticks, counted since 1970 (UTC); with the defaults a step is an hour and a tick a minute.

    Args:
        step_s: Seconds between two values of a window; a whole number of them makes an hour.
        tick_s: Seconds that two readings of a device must lie apart to be two; a whole number of them makes a step.
    """

    step_s: int = HOUR_S
    tick_s: int = 60

    @property
    def hour(self) -> int:
        """Steps in an hour."""
        return HOUR_S // self.step_s

    @property
    def day(self) -> int:
        """Steps in a day."""
        return 24 * self.hour

    @property
    def ticks(self) -> int:
        """Ticks in a step."""
        return self.step_s // self.tick_s

    @property
    def step_us(self) -> int:
        """Microseconds in a step."""
        return self.step_s * 1_000_000

    @property
    def tick_us(self) -> int:
        """Microseconds in a tick."""
        return self.tick_s * 1_000_000


HOURLY = Cadence()
