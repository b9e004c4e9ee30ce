"""Landed commits that nobody needs any more: proven to be in the lake, behind every kept snapshot, and old."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.app.score import removed, snapshots
from shared.core.stream.commit import Commit, partition_in, place_of
from shared.core.task.task import Task
from shared.errors import ContractBroken, StateConflict
from shared.ports import Blobs, Lake

log = logging.getLogger(__name__)
NamedCommit = tuple[str, Commit]


@dataclass(frozen=True, slots=True)
class Retention:
    """Removes commits and the predictions that they name, and nothing else.

    Args:
        task: What the snapshots belong to.
        blobs: Commits, predictions and snapshots.
        lake: What is compacted.
    """

    task: Task
    blobs: Blobs
    lake: Lake

    def remove(self, before_ms: int) -> int:
        """Remove what was enqueued before a time; returns how many blobs went.

        Args:
            before_ms: Milliseconds since 1970.
        """
        landed = {container: set(self.blobs.names(container)) for container in ("commits", "predictions")}
        gone = 0
        for partition in sorted({partition_in(name) for names in landed.values() for name in names}):
            try:
                for commit in self._unneeded(partition, landed, before_ms):
                    gone += self._delete(commit, landed)
            except (ContractBroken, StateConflict) as error:
                log.warning("lake: partition %d keeps its landed commits: %s", partition, error)
        return gone

    def _unneeded(self, partition: int, landed: dict[str, set[str]], before_ms: int) -> Iterator[NamedCommit]:
        """Commits that may go, each after its rows have been read from the lake and counted."""
        behind = self._oldest_snapshot(partition)
        mine = [place_of(name) for name in landed["commits"] if partition_in(name) == partition]
        mine += [_place_of(name) for name in landed["predictions"] if partition_in(name) == partition]
        if behind is None or not mine:
            return
        old = [
            (name, commit)
            for name, commit in self.lake.commits(partition, min(mine))
            if commit.after <= behind and commit.enqueued_ms < before_ms
            if name in landed["commits"] or commit.predictions in landed["predictions"]
        ]
        if old:
            removed.raise_mark(self.blobs, partition, *max(commit.after for _, commit in old))
        for number, _ in enumerate(self.lake.stored(old)):
            yield old[number]

    def _oldest_snapshot(self, partition: int) -> tuple[int, int] | None:
        """Epoch and next sequence number of the oldest snapshot that is whole, None when there is none."""
        found = snapshots.whole(self.task, self.blobs, partition)
        return min(((state.epoch, state.next) for _, state in found), default=None)

    def _delete(self, pair: NamedCommit, landed: dict[str, set[str]]) -> int:
        """The commit first: a death in between leaves predictions, which the next run finds by the lake's commit."""
        name, commit = pair
        blobs: Sequence[tuple[str, str | None]] = (("commits", name), ("predictions", commit.predictions))
        there = [(container, blob) for container, blob in blobs if blob is not None and blob in landed[container]]
        for container, blob in there:
            self.blobs.delete(container, blob)
        return len(there)


def _place_of(name: str) -> tuple[int, int]:
    """Epoch and first sequence number in the name of predictions, whose digest is left out."""
    return place_of(f"{name.rsplit('-', 1)[0]}.parquet")
