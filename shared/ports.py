"""What the use cases need from the world outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from shared.core.commit import Commit
from shared.core.events import Batch, Event
from shared.core.outcome import Outcome
from shared.core.package import Manifest
from shared.core.readings import Floats
from shared.core.scenario import Scenario
from shared.core.tables import LongTable, WideTable


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

    def encode_predictions(self, outcome: Outcome) -> bytes:
        """A batch's predictions; the same batch always gives the same bytes."""

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
    ) -> LongTable | WideTable:
        """The table's stretches, read while iterating.

        Raises:
            BadEvent: The file as a whole cannot be used.
        """
