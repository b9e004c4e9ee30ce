"""A clock that moves when told, blobs that fail when told, and a hub that forgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from shared.core.stream.events import Event
from shared.errors import TransientFailure
from tests.kit.memory import MemoryBlobs, MemoryStream


@dataclass
class HandClock:
    """A clock that moves when told, also backwards."""

    ms: int = 1_800_000_000_000
    s: float = 0.0

    def now_ms(self) -> int:
        return self.ms

    def elapsed_s(self) -> float:
        return self.s


class Faulty(MemoryBlobs):
    """Blobs of which write number `fail_at` fails, before it is stored or after; each first calls `before`."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.fail_at = -1
        self.stored_anyway = False
        self.before: Callable[[int], None] = lambda _: None

    def _turn(self) -> bool:
        number = self.count
        self.count += 1
        self.before(number)
        if number == self.fail_at and not self.stored_anyway:
            raise TransientFailure("the store does not answer")
        return number == self.fail_at

    def write(self, container: str, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        failing = self._turn()
        super().write(container, name, data, metadata)
        if failing:
            raise TransientFailure("the store's answer got lost")

    def create(self, container: str, name: str, data: bytes) -> bool:
        failing = self._turn()
        created = super().create(container, name, data)
        if failing:
            raise TransientFailure("the store's answer got lost")
        return created

    def everything(self, *but: str) -> dict[tuple[str, str], bytes]:
        """All blobs, without those of some containers."""
        return {place: raw for place, (raw, _) in self._blobs.items() if place[0] not in but}


class Forgetful(MemoryStream):
    """A hub that keeps only its newest events."""

    def __init__(self, partitions: int = 1) -> None:
        super().__init__(partitions)
        self.begin = 0
        self.reads: list[tuple[int, int]] = []

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        self.reads.append((first, end))
        return super().read(partition, max(first, self.begin), max(end, self.begin))

    def oldest(self, partition: int) -> Event | None:
        return next(iter(self.logs[partition][self.begin :]), None)
