"""How a scenario divides time: windows, forecasts and features go by steps, times of readings by ticks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

HOUR_S = 3600
MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Cadence:
    """Steps and ticks, counted since 1970 (UTC); with the defaults a step is an hour and a tick a minute.

    Args:
        step_s: Seconds between two values of a window; a whole number of them makes an hour.
        tick_s: Seconds that two readings of a device must lie apart to be two; a whole number of them makes a step.
    """

    step_s: int = HOUR_S
    tick_s: int = MINUTE_S

    @property
    def fine(self) -> bool:
        """Whether ticks are shorter than a minute, so that stored forms need more room."""
        return self.tick_s < MINUTE_S

    def kept(self, ticks: npt.NDArray[Any]) -> npt.NDArray[np.int32] | npt.NDArray[np.int64]:
        """Ticks in the type that they are kept in."""
        return ticks.astype(np.int64, copy=False) if self.fine else ticks.astype(np.int32, copy=False)

    @property
    def latest_tick(self) -> int:
        """The last one that there is room for, where a device and a tick share a key: of a second in the year 2106."""
        return 2**32 - 1 if self.fine else 2**31 - 1

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

    def tick_of(self, minute: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Ticks of times: minutes since 1970, and the seconds behind them, int64, shape (n,) each."""
        return minute if self.tick_s == MINUTE_S else (minute * MINUTE_S + second) // self.tick_s

    @property
    def step_us(self) -> int:
        """Microseconds in a step."""
        return self.step_s * 1_000_000

    @property
    def tick_us(self) -> int:
        """Microseconds in a tick."""
        return self.tick_s * 1_000_000


HOURLY = Cadence()
