"""What the use cases need from the world outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from shared.core.intake.readings import Floats
from shared.core.intake.tables import LongTable, WideTable
from shared.core.model.manifest import Manifest
from shared.core.retrain.job_spec import JobSpec, JobState
from shared.core.scenario import Scenario
from shared.core.stream.commit import Commit
from shared.core.stream.events import Batch, Event
from shared.core.task.state import Outcome


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob's properties: ETag, length in bytes, last change in milliseconds since 1970, metadata."""

    etag: str
    size: int
    modified_ms: int
    metadata: Mapping[str, str]


class BlobReader(Protocol):
    """Containers of named bytes, to be looked at. Methods raise TransientFailure when the store does not answer."""

    def read(self, container: str, name: str) -> bytes | None:
        """A blob's content, None when there is none."""

    def names(self, container: str, prefix: str = "") -> list[str]:
        """Names that begin with `prefix`, sorted."""


class Blobs(BlobReader, Protocol):
    """Containers of named bytes. Every method raises TransientFailure when the store does not answer."""

    def read_changed(self, container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:
        """Content and ETag, None when the blob is missing or still has `etag`."""

    def write(self, container: str, name: str, data: bytes) -> None:
        """Write a blob, replacing what was there."""

    def create(self, container: str, name: str, data: bytes) -> bool:
        """Write a blob that must not exist yet; False when it does."""

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        """Write a blob only if it still has `etag` (None: only if there is none); returns the new ETag.

        Raises:
            StateConflict: Somebody else wrote it.
        """

    def delete(self, container: str, name: str) -> None:
        """Remove a blob; nothing happens when there is none."""

    def info(self, container: str, name: str) -> BlobInfo | None:
        """A blob's properties, None when there is none."""

    def listed(self, container: str, prefix: str = "") -> list[tuple[str, BlobInfo]]:
        """Names that begin with `prefix`, and these blobs' properties, sorted by name."""

    def open(self, container: str, name: str, etag: str) -> AbstractContextManager[BinaryIO]:
        """A blob's content as a stream, in pieces, all of one version.

        Raises:
            StateConflict: The blob no longer has `etag`.
        """


class Stream(Protocol):
    """The hub "readings"; methods raise TransientFailure when it does not answer."""

    def partitions(self) -> int:
        """Number of partitions."""

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        """Append events to a partition, in order; returns once they are accepted."""

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        """Events `first` to `end - 1` that the hub still has, in order and without gaps."""

    def oldest(self, partition: int) -> Event | None:
        """The oldest event that the hub still has, None when it has none."""


class Model(Protocol):
    """A loaded model package."""

    @property
    def manifest(self) -> Manifest:
        """What the package says of itself."""

    def predict(self, matrix: Floats) -> Floats:
        """Raw outputs from the application's features, float32, shape (n, features) -> (n,)."""


class Clock(Protocol):
    """Wall time, where event time cannot serve."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""

    def elapsed_s(self) -> float:
        """A monotonic time in seconds, for durations only."""


class Files(Protocol):
    """How commits and predictions are written; methods that read raise ContractBroken when a blob is damaged."""

    def encode_commit(self, commit: Commit, outcome: Outcome) -> bytes:
        """A commit; the same batch always gives the same bytes."""

    def decode_commit(self, raw: bytes) -> tuple[Commit, Batch]:
        """A commit's metadata and its batch."""

    def encode_predictions(self, outcome: Outcome, version: int = 0) -> bytes:
        """A batch's predictions under a version of the scenario; the same batch always gives the same bytes."""

    def read_predictions(self, raw: bytes) -> dict[str, Any]:
        """Predictions as columns: numpy arrays of numbers, `as_of` in hours since 1970, lists of texts."""


class LoadModel(Protocol):
    """Loads and checks a model package."""

    def __call__(self, files: Mapping[str, bytes]) -> Model:
        """The model in these files.

        Raises:
            ContractBroken: The package is not what its manifest says, or does not fit this application.
        """


class OpenTable(Protocol):
    """Recognises and opens a dropped table."""

    def __call__(
        self,
        name: str,
        stream: BinaryIO,
        scenario: Scenario,
        *,
        zone: str | None,
        not_after_minute: int,
        chunk_rows: int = 50_000,
        device: str | None = None,
        layout: str | None = None,
    ) -> LongTable | WideTable:
        """The table's stretches, read while iterating.

        Raises:
            BadEvent: The file as a whole cannot be used.
        """


class Jobs(Protocol):
    """Where training jobs run.

    Every method raises TransientFailure when that place does not answer, ConfigError when it refuses.
    """

    def submit(self, spec: JobSpec) -> None:
        """Start a job; nothing happens when there is already one of that name."""

    def status(self, name: str) -> JobState | None:
        """How a job stands, None when there is none of that name."""

    def cancel(self, name: str) -> None:
        """Ask a job to stop; nothing happens when it is unknown or has ended."""


@dataclass(frozen=True, slots=True)
class Advance:
    """How far an append brings an application transaction: from `before` (None: it does not exist) to `after`."""

    app: str
    before: int | None
    after: int


@dataclass(frozen=True, slots=True)
class LakeRows:
    """A commit with its predictions and outcomes as rows of the lake's tables.

    Args:
        commit: The commit's metadata.
        tables: Rows by name of the table, in the lake's own form.
    """

    commit: Commit
    tables: Mapping[str, Any]

    @property
    def count(self) -> int:
        """Rows in all tables."""
        return sum(len(rows) for rows in self.tables.values())


class Lake(Protocol):
    """Delta tables of everything committed.

    Methods raise TransientFailure when the store does not answer, ContractBroken when a file is gone or damaged.
    """

    @property
    def tables(self) -> Sequence[str]:
        """Names of the tables; the last one says what is complete."""

    def rows(self, name: str, raw: bytes, predictions: Callable[[str], bytes]) -> LakeRows:
        """A commit's rows.

        Args:
            name: The commit's name.
            raw: Its bytes.
            predictions: Reads the predictions that it names.
        """

    def reached(self, table: str, apps: Sequence[str]) -> dict[str, int]:
        """Where application transactions stand, looked at anew; those that do not exist are left out."""

    def append(self, table: str, rows: Sequence[LakeRows], advances: Sequence[Advance]) -> bool:
        """Append commits' rows to a table and move transactions on, all or nothing; False when there are no rows.

        Raises:
            StateConflict: Somebody else has moved a transaction.
        """

    def dataset(self) -> tuple[int, int] | None:
        """Version of the readings and how many there are; None without a lake."""

    def commits(self, partition: int, start: tuple[int, int] = (0, 0)) -> list[tuple[str, Commit]]:
        """A partition's commits that are in the lake, from an epoch and sequence number on, with names, in order."""

    def stored(self, commits: Sequence[tuple[str, Commit]]) -> Iterator[tuple[Commit, Batch, dict[str, Any] | None]]:
        """Commits with batch and predictions, a bounded number of rows at a time.

        Raises:
            ContractBroken: Rows are missing, or too many.
        """

    def merge(self, before_day: int) -> int:
        """Merge small files of the days before one; returns how many files went."""

    def vacuum(self, retain_h: int, keep: Sequence[int]) -> int:
        """Delete files that no version of the last hours needs, nor a version of the readings to keep."""


class Registry(Protocol):
    """Where model versions are entered; methods raise TransientFailure or ConfigError when it does not take them."""

    def register(self, version: str, run_id: str, tags: Mapping[str, str]) -> str:
        """Enter a version once; returns its number there."""

    def tag(self, version: str, status: str) -> None:
        """Say what became of a version; one that is not entered is left alone."""

    def marks(self) -> dict[str, str]:
        """What was said of every version that is entered, "" when that is nothing or not whole."""

    def keep(self, run_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        """Keep UTF-8 texts with the run that made a model; those of the same names are replaced."""


class Endpoint(Protocol):
    """Where the deployed models answer requests beside the streams."""

    def show(self, champion: str, challenger: str | None, share: float) -> None:
        """Bring it nearer to where the control document stands; called again and again, it never waits.

        Args:
            champion: Version that answers.
            challenger: Version kept ready beside it, None without one.
            share: Share of the requests that the challenger answers, 0 in shadow.

        Raises:
            TransientFailure: It does not answer for now.
            ConfigError: It refuses, or a deployment did not come up; who answered before goes on answering.
            ContractBroken: That is no version or no share.
        """
