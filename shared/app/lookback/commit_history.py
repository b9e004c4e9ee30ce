"""What was committed, landed or in the lake. Predictions that no commit names do not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.app.score.referenced import read_referenced
from shared.core.stream.commit import Commit, partition_in, place_of
from shared.core.stream.events import Batch
from shared.core.task.task import Task
from shared.ports import BlobReader, Files, Lake

Place = tuple[int, int]  # epoch, first sequence number of a commit
Predictions = dict[str, Any]


class Archive(Lake, Protocol):
    """A lake that also finds forecasts."""

    def places(self, device: str, as_of: int) -> list[tuple[int, int, int]]:
        """Partition, epoch and sequence number of every forecast of a device's as-of hour, without repetition."""

    def ends(self, apps: Sequence[str]) -> dict[str, int]:
        """Event up to which the lake holds everything, by application id; without those that it has nothing of."""

    def forecast_days(self, first: int, last: int) -> list[tuple[int, Callable[[str | None], Predictions]]]:
        """Days with forecasts of as-of hours `first` to `last`, newest first, each with what reads the served ones.

        A day counts since 1970; what reads it takes a device id (None: all) and gives the columns of predictions
        with `epoch` beside them.
        """

    def made(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """Forecasts, and how many of them users saw, by model version and role."""


@dataclass(frozen=True, slots=True)
class Step:
    """A commit with everything that its step took and gave.

    Args:
        name: The commit's name.
        commit: Its metadata.
        batch: Its readings.
        predictions: Its forecasts as columns, None when it made none.
    """

    name: str
    commit: Commit
    batch: Batch
    predictions: Predictions | None

    @property
    def place(self) -> Place:
        """Where it stands in its partition."""
        return self.commit.epoch, self.commit.first


@dataclass(frozen=True, slots=True)
class CommitHistory:
    """What was committed.

    Args:
        task: What was asked and answered.
        blobs: Commits, predictions and snapshots.
        files: Reads them.
        lake: Has what was removed, None without one.
        partitions: How many partitions the hub has; None looks for a device in all that there are.
    """

    task: Task
    blobs: BlobReader
    files: Files
    lake: Archive | None = None
    partitions: int | None = None

    def read(self, name: str) -> Step:
        """A landed commit.

        Raises:
            ContractBroken: It or its predictions are gone or damaged.
        """
        commit, batch = read_referenced(self.blobs, "commits", name, self.files.decode_commit)
        predictions = None
        if commit.predictions is not None:
            predictions = read_referenced(self.blobs, "predictions", commit.predictions, self.files.read_predictions)
        return Step(name, commit, batch, predictions)

    def commit(self, name: str) -> Commit:
        """A landed commit's metadata.

        Raises:
            ContractBroken: It is gone or damaged.
        """
        commit: Commit = read_referenced(self.blobs, "commits", name, self.files.decode_commit)[0]
        return commit

    def outside_the_lake(self) -> Iterator[str]:
        """Names of landed commits that are not in the lake."""
        for partition in self.there():
            yield from self.outside(partition)

    def outside(self, partition: int) -> list[str]:
        """Names of a partition's landed commits that are still to come into the lake, oldest first."""
        ends = {commit.epoch: commit.after for _, commit in self.lake.commits(partition)} if self.lake else {}
        return [name for name in self.landed(partition) if place_of(name) >= ends.get(place_of(name)[0], (0, 0))]

    def there(self) -> list[int]:
        """Partitions with landed commits."""
        return sorted({partition_in(name) for name in self.blobs.names("commits")})

    def landed(self, partition: int) -> list[str]:
        """Names of a partition's landed commits, oldest first."""
        return sorted(self.blobs.names("commits", f"partition={partition:02d}/"), key=place_of)

    def archived(self, pairs: Sequence[tuple[str, Commit]]) -> Iterator[Step]:
        """Commits as the lake holds them."""
        assert self.lake is not None  # noqa: S101 - it gave the names
        for (name, _), (commit, batch, predictions) in zip(pairs, self.lake.stored(pairs), strict=True):
            yield Step(name, commit, batch, predictions)
