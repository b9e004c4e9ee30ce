"""Blobs, jobs, a registry and the hub "readings" in memory, for tests and benchmarks."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from shared.core.retrain.job_spec import JobSpec, JobState
from shared.core.stream.events import Event
from shared.errors import PipelineError, StateConflict
from shared.ports import BlobInfo


class MemoryBlobs:
    """A dictionary of containers; `writes` counts what a test wants to bound."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blobs: dict[tuple[str, str], tuple[bytes, BlobInfo]] = {}
        self._version = 0
        self.writes: list[tuple[str, str]] = []

    def read(self, container: str, name: str) -> bytes | None:
        """A blob's content, None when there is none."""
        found = self._blobs.get((container, name))
        return None if found is None else found[0]

    def read_changed(self, container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:
        """Content and ETag, None when the blob is missing or still has `etag`."""
        found = self._blobs.get((container, name))
        return None if found is None or found[1].etag == etag else (found[0], found[1].etag)

    def write(self, container: str, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """Write a blob, replacing what was there."""
        with self._lock:
            self._store(container, name, data, metadata or {})

    def create(self, container: str, name: str, data: bytes) -> bool:
        """Write a blob that must not exist yet; False when it does."""
        with self._lock:
            if (container, name) in self._blobs:
                return False
            self._store(container, name, data, {})
            return True

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        """Write a blob only if it still has `etag` (None: only if there is none); returns the new ETag."""
        with self._lock:
            found = self._blobs.get((container, name))
            if (None if found is None else found[1].etag) != etag:
                raise StateConflict(f"{container}/{name} was changed by somebody else")
            return self._store(container, name, data, {})

    def names(self, container: str, prefix: str = "") -> list[str]:
        """Names that begin with `prefix`, sorted."""
        with self._lock:
            return sorted(name for where, name in self._blobs if where == container and name.startswith(prefix))

    def delete(self, container: str, name: str) -> None:
        """Remove a blob; nothing happens when there is none."""
        with self._lock:
            self._blobs.pop((container, name), None)

    def info(self, container: str, name: str) -> BlobInfo | None:
        """A blob's properties, None when there is none."""
        found = self._blobs.get((container, name))
        return None if found is None else found[1]

    def listed(self, container: str, prefix: str = "") -> list[tuple[str, BlobInfo]]:
        """Names that begin with `prefix`, and these blobs' properties, sorted by name."""
        with self._lock:
            places = [place for place in self._blobs if place[0] == container and place[1].startswith(prefix)]
            return [(place[1], self._blobs[place][1]) for place in sorted(places)]

    @contextmanager
    def open(self, container: str, name: str, etag: str) -> Iterator[BinaryIO]:
        """A blob's content as a stream."""
        found = self._blobs.get((container, name))
        if found is None or found[1].etag != etag:
            raise StateConflict(f"{container}/{name} no longer has ETag {etag}")
        yield io.BytesIO(found[0])

    def _store(self, container: str, name: str, data: bytes, metadata: Mapping[str, str]) -> str:
        self._version += 1
        self.writes.append((container, name))
        etag = f"{self._version:08x}-{hashlib.sha256(data).hexdigest()[:8]}"
        self._blobs[container, name] = (bytes(data), BlobInfo(etag, len(data), time.time_ns() // 1_000_000, metadata))
        return etag


class MemoryJobs:
    """A dictionary of jobs, which end when they are told to.

    `specs` holds what was submitted by name, `submissions` counts every call, `failing` is raised by the next calls as
    long as it is set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.specs: dict[str, JobSpec] = {}
        self.states: dict[str, JobState] = {}
        self.submissions: list[str] = []
        self.cancelled: list[str] = []
        self.failing: PipelineError | None = None

    def submit(self, spec: JobSpec) -> None:
        """Start a job; nothing happens when there is already one of that name."""
        with self._lock:
            self._answer()
            self.submissions.append(spec.name)
            self.specs.setdefault(spec.name, spec)
            self.states.setdefault(spec.name, "running")

    def status(self, name: str) -> JobState | None:
        """How a job stands, None when there is none of that name."""
        with self._lock:
            self._answer()
            return self.states.get(name)

    def cancel(self, name: str) -> None:
        """Ask a job to stop; nothing happens when it is unknown or has ended."""
        with self._lock:
            self._answer()
            self.cancelled.append(name)
            if self.states.get(name) in {"queued", "running"}:
                self.states[name] = "canceled"

    def _answer(self) -> None:
        if self.failing is not None:
            raise self.failing


class MemoryRegistry:
    """A dictionary of versions and their marks.

    `told` holds every mark that was taken, in order; `failing` is raised by each call as long as it is set, and
    `refusing` for marks of the versions it names.

    Args:
        versions: Those that are entered already.
    """

    def __init__(self, *versions: str) -> None:
        self.entered: dict[str, str] = {}
        self.marked: dict[str, str] = {}
        self.told: list[tuple[str, str]] = []
        self.kept: dict[str, bytes] = {}
        self.failing: PipelineError | None = None
        self.refusing: dict[str, PipelineError] = {}
        for version in versions:
            self.register(version, "", {})

    def register(self, version: str, _run_id: str, _tags: Mapping[str, str]) -> str:
        """Enter a version once; returns its number there."""
        self._answer()
        return self.entered.setdefault(version, str(len(self.entered) + 1))

    def tag(self, version: str, status: str) -> None:
        """Say what became of a version; one that is not entered is left alone."""
        self._answer()
        if version in self.refusing:
            raise self.refusing[version]
        if version in self.entered:
            self.told.append((version, status))
            self.marked[version] = status

    def marks(self) -> dict[str, str]:
        """What was said of every version that is entered."""
        self._answer()
        return {version: self.marked.get(version, "") for version in self.entered}

    def keep(self, run_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        """Keep texts with a run."""
        self._answer()
        self.kept.update({f"{run_id}/{folder}/{name}": data for name, data in files.items()})

    def _answer(self) -> None:
        if self.failing is not None:
            raise self.failing


class MemoryStream:
    """The hub's partitions as lists; enqueued times rise by a millisecond an event.

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

    def pass_time(self, ms: int) -> None:
        """The hub's clock moves, also backwards."""
        self._now_ms += ms

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        """Append events to a partition, in order."""
        with self._lock:
            for body in bodies:
                self._now_ms += 1
                self.logs[partition].append(Event(len(self.logs[partition]), self._now_ms, body))

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        """Events `first` to `end - 1`."""
        yield from self.logs[partition][first:end]

    def oldest(self, partition: int) -> Event | None:
        """The oldest event, None when there is none."""
        return next(iter(self.logs[partition]), None)
