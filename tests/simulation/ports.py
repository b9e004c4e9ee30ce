"""Stores, hubs, jobs and a registry in memory whose every call is a point of the schedule."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, TypeVar

from shared.core.retrain.job_spec import JobSpec, JobState
from shared.core.stream.events import Event
from shared.errors import TransientFailure
from shared.ports import BlobInfo
from tests.kit import HOUR, MemoryBlobs, MemoryJobs
from tests.simulation.schedule import Schedule

T = TypeVar("T")
START_MS = (HOUR + 2000) * 3_600_000


@dataclass
class Time:
    """The world's own time; seconds are for durations."""

    ms: int

    @property
    def s(self) -> float:
        return (self.ms - START_MS) / 1000


@dataclass
class Clock:
    """A process's clock, which may be wrong and may jump."""

    time: Time
    skew_ms: int = 0

    def now_ms(self) -> int:
        return self.time.ms + self.skew_ms

    def elapsed_s(self) -> float:
        return self.time.s


def called(schedule: Schedule, what: str, where: str, act: Callable[[], T]) -> T:
    """A call of a port that may be refused, lose its answer, or be sent twice by its client."""
    fault = schedule.point(what, where)
    found = act()
    if fault == "lost":
        raise TransientFailure(f"{what} {where}: the answer got lost")
    return act() if fault == "repeated" else found


class Blobs(MemoryBlobs):
    """Containers; the world's own hand reaches them at once, outside any task.

    Args:
        schedule: Is told of every call.
        time: When a blob was changed.

    Attributes:
        deleted_ms: When a blob was deleted, by container and name.
    """

    def __init__(self, schedule: Schedule, time: Time) -> None:
        super().__init__()
        self.schedule, self.time = schedule, time
        self.stored: Callable[[str, str, bytes], None] = lambda *_: None
        self.deleted_ms: dict[tuple[str, str], int] = {}

    def read(self, container: str, name: str) -> bytes | None:
        return self._call("read", container, name, lambda: super(Blobs, self).read(container, name))

    def read_changed(self, container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:
        return self._call("read", container, name, lambda: super(Blobs, self).read_changed(container, name, etag))

    def write(self, container: str, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        self._call("write", container, name, lambda: super(Blobs, self).write(container, name, data, metadata))

    def create(self, container: str, name: str, data: bytes) -> bool:
        return self._call("create", container, name, lambda: super(Blobs, self).create(container, name, data))

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        return self._call("replace", container, name, lambda: super(Blobs, self).replace(container, name, data, etag))

    def names(self, container: str, prefix: str = "") -> list[str]:
        return self._call("names", container, prefix, lambda: super(Blobs, self).names(container, prefix))

    def listed(self, container: str, prefix: str = "") -> list[tuple[str, BlobInfo]]:
        return self._call("list", container, prefix, lambda: super(Blobs, self).listed(container, prefix))

    def delete(self, container: str, name: str) -> None:
        self.schedule.counts[f"{container} deleted"] += 1
        self.deleted_ms[container, name] = self.time.ms
        self._call("delete", container, name, lambda: super(Blobs, self).delete(container, name))

    def info(self, container: str, name: str) -> BlobInfo | None:
        return self._call("info", container, name, lambda: super(Blobs, self).info(container, name))

    @contextmanager
    def open(self, container: str, name: str, etag: str) -> Iterator[BinaryIO]:
        self.schedule.point("open", f"{container}/{name}")
        with super().open(container, name, etag) as stream:
            yield stream

    def _call(self, what: str, container: str, name: str, act: Callable[[], T]) -> T:
        return called(self.schedule, what, f"{container}/{name}", act)

    def _store(self, container: str, name: str, data: bytes, metadata: Mapping[str, str]) -> str:
        self._version += 1
        etag = f"{self._version:08x}-{hashlib.sha256(data).hexdigest()[:8]}"
        self._blobs[container, name] = (bytes(data), BlobInfo(etag, len(data), self.time.ms, metadata))
        self.stored(container, name, data)
        return etag


class Hub:
    """A hub: what is sent may arrive in part or twice, what everybody has read may be forgotten.

    Args:
        schedule: Is told of every call.
        time: When an event was enqueued.
        name: Of the hub.
        partitions: How many.
    """

    def __init__(self, schedule: Schedule, time: Time, name: str, partitions: int) -> None:
        self.schedule, self.time, self.name = schedule, time, name
        self.logs: list[list[Event]] = [[] for _ in range(partitions)]
        self.begin = [0] * partitions
        self.newest_ms, self.created_ms = 0, 0
        self.lives: list[list[list[Event]]] = []  # the logs of hubs of this name that are gone

    def partitions(self) -> int:
        return len(self.logs)

    def append(self, partition: int, body: bytes, identity: str | None = None) -> None:
        """An event arrives; each is a little newer than the one before."""
        self.newest_ms = max(self.newest_ms + 1, self.time.ms)
        log = self.logs[partition]
        log.append(Event(len(log), self.newest_ms, body, identity))

    def renew(self) -> None:
        """It is deleted and created anew: empty, and its sequence numbers begin with 0 again."""
        self.lives.append([list(log) for log in self.logs])
        self.logs[:], self.begin[:] = [[] for _ in self.logs], [0 for _ in self.begin]
        self.created_ms = self.newest_ms + 1

    def fill(self) -> None:
        """Somebody sends it what the one before had: the same bodies at the same places."""
        for partition, log in enumerate(self.lives[-1]):
            for event in log:
                self.append(partition, event.body, event.identity)

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        left = list(bodies)
        while left:
            count = len(left) if self.schedule.calm else self.schedule.random.randint(1, len(left))
            part, left = left[:count], left[count:]
            called(self.schedule, "send", f"{self.name}/{partition}", partial(self._add, partition, part))

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        self.schedule.point("read", f"{self.name}/{partition} {first} to {end - 1}")
        return iter(self.logs[partition][max(first, self.begin[partition]) : end])

    def oldest(self, partition: int) -> Event | None:
        self.schedule.point("read", f"{self.name}/{partition} its oldest event")
        return next(iter(self.logs[partition][self.begin[partition] :]), None)

    def _add(self, partition: int, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            self.append(partition, body)


class Jobs(MemoryJobs):
    """Where training jobs run."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule

    def submit(self, spec: JobSpec) -> None:
        called(self.schedule, "submit", spec.name, lambda: super(Jobs, self).submit(spec))

    def status(self, name: str) -> JobState | None:
        return called(self.schedule, "status", name, lambda: super(Jobs, self).status(name))

    def cancel(self, name: str) -> None:
        called(self.schedule, "cancel", name, lambda: super(Jobs, self).cancel(name))


@dataclass
class Registry:
    """Where model versions are entered; `tags` is what people see there."""

    schedule: Schedule
    entered: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)

    def register(self, version: str, run_id: str, tags: Mapping[str, str]) -> str:  # noqa: ARG002
        number = str(len(self.entered) + 1)
        return called(self.schedule, "register", version, lambda: self.entered.setdefault(version, number))

    def tag(self, version: str, status: str) -> None:
        called(self.schedule, "tag", f"{version} {status}", lambda: self._tag(version, status))

    def marks(self) -> dict[str, str]:
        return called(self.schedule, "marks", "", lambda: {each: self.tags.get(each, "") for each in self.entered})

    def _tag(self, version: str, status: str) -> None:
        if version in self.entered:
            self.tags[version] = status

    def keep(self, run_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        found = {f"{run_id}/{folder}/{name}": data for name, data in files.items()}
        called(self.schedule, "keep", run_id, lambda: self.kept.update(found))


class Endpoint:
    """Follows the rollout, as far as anybody can see."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def show(self, champion: str, challenger: str | None, share: float) -> None:  # noqa: ARG002
        self.schedule.point("show", champion)
