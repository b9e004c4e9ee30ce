"""A hub's partitions, each worked on by one object of its own from its first batch on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from shared.core.stream.events import Event


class Takes(Protocol):
    """Works on one partition."""

    def take(self, events: Sequence[Event]) -> None:
        """Bring a batch of its events further."""


T = TypeVar("T", bound=Takes)


@dataclass(frozen=True)
class Partitions(Generic[T]):
    """Those partitions of a hub that this worker was given batches of.

    Args:
        make: What works on the partition of a number.
        held: What does so already.
    """

    make: Callable[[int], T]
    held: dict[int, T] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, number: int, events: Sequence[Event]) -> None:
        """Hand a batch to its partition, and raise what that raises."""
        with self._lock:
            if number not in self.held:
                self.held[number] = self.make(number)
        self.held[number].take(events)
