"""The hub "readings" in memory, for tests and benchmarks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from shared.core.stream.events import Event


class MemoryStream:
    """Partitions as lists; enqueued times rise by a millisecond an event.

    Args:
        partitions: Number of partitions.
        start_ms: Enqueued time of the first event.
    """

    def __init__(self, partitions: int = 4, start_ms: int = 1_800_000_000_000) -> None:
        self.logs: list[list[Event]] = [[] for _ in range(partitions)]
        self._now_ms = start_ms
        self._lock = threading.Lock()

    def partitions(self) -> int:
        """Number of partitions."""
        return len(self.logs)

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        """Append events to a partition, in order."""
        with self._lock:
            for body in bodies:
                self._now_ms += 1
                self.logs[partition].append(Event(len(self.logs[partition]), self._now_ms, body))

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        """Events `first` to `end - 1`."""
        yield from self.logs[partition][first:end]
