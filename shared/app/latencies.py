"""How long it took from a device's message to its committed forecast: a measurement, kept in memory only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

KEPT = 10_000


@dataclass
class Latencies:
    """The newest latencies, in milliseconds."""

    _values: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, now_ms: int, born_ms: Iterable[int]) -> None:
        """Note that events born then are committed now."""
        self._values.extend(now_ms - born for born in born_ms)

    def summary(self) -> dict[str, int]:
        """Number of latencies, their median and 95th percentile; empty before the first."""
        values = sorted(self._values)
        if not values:
            return {}
        return {
            "events": len(values),
            "p50_ms": values[len(values) // 2],
            "p95_ms": values[min(len(values) - 1, len(values) * 95 // 100)],
        }
