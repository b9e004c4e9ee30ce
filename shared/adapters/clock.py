"""The wall clock."""

import time


class WallClock:
    """Time of this machine."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def elapsed_s(self) -> float:
        """A monotonic time in seconds, for durations only."""
        return time.monotonic()
