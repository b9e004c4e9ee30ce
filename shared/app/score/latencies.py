"""How long it took from a device's message to its committed forecast: a measurement, kept in memory only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

KEPT = 10_000


@dataclass
class Latencies:
    """The newest latencies, in milliseconds, with the moment at which each was noted."""

    _values: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, now_ms: int, born_ms: Iterable[int]) -> None:
        """Note that events born then are committed now."""
        self._values.extend((now_ms, now_ms - born) for born in born_ms)

    def summary(self, since_ms: int) -> dict[str, int]:
        """Number of latencies noted since then, their median and 95th percentile; empty when there are none.

        >>> latencies = Latencies()
        >>> latencies.add(1000, range(900, 1000))
        >>> latencies.summary(0)
        {'events': 100, 'p50_ms': 51, 'p95_ms': 96}
        >>> latencies.summary(1001)
        {}
        """
        values = sorted(latency for noted, latency in list(self._values) if noted >= since_ms)
        if not values:
            return {}
        at = {"p50_ms": len(values) // 2, "p95_ms": len(values) * 95 // 100}
        return {"events": len(values), **{name: values[place] for name, place in at.items()}}
