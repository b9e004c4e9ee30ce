"""The wall clock, and a clock that the data move."""

import time


class WallClock:
    """Time of this machine."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def elapsed_s(self) -> float:
        """A monotonic time in seconds, for durations only."""
        return time.monotonic()


class WatermarkClock(WallClock):
    """Event time: for runs over data of the past, in which days pass as fast as their readings arrive.

    Until it hears of a reading it shows wall time.
    """

    def __init__(self) -> None:
        self._newest_ms = -1

    def reach(self, hour: int) -> None:
        """Move on to the end of an hour (since 1970); it never goes back."""
        self._newest_ms = max(self._newest_ms, (hour + 1) * 3_600_000)

    def now_ms(self) -> int:
        """Milliseconds since 1970 of the newest reading's end of hour."""
        return self._newest_ms if self._newest_ms >= 0 else super().now_ms()
