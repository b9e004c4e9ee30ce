"""Copies of a partition's state, so that recovery need not begin with the first commit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from shared.core.task.state import State
from shared.core.task.task import Task
from shared.errors import ContractBroken, PipelineError
from shared.ports import BlobReader, Blobs

log = logging.getLogger(__name__)
KEPT = 3
CONTAINER = "state"


@dataclass
class Snapshots:
    """Takes a copy every so many commits and uploads it beside the work.

    Args:
        task: What the states belong to.
        blobs: Where snapshots are kept.
        every: Commits of a partition between two snapshots.
        in_background: Runs a job off the critical path; a test may run it at once.
    """

    task: Task
    blobs: Blobs
    every: int
    in_background: Callable[[Callable[[], None]], object]
    _commits: dict[int, int] = field(default_factory=dict)

    def replayed(self, partition: int) -> None:
        """Count a commit that stands after the newest snapshot, whoever made it: workers may live for a few only."""
        self._commits[partition] = self._commits.get(partition, 0) + 1

    def consider(self, state: State) -> bool:
        """Count a commit; every so often copy the state, and upload the copy beside the work.

        Returns:
            Whether a copy was due.
        """
        self.replayed(state.partition)
        if self._commits[state.partition] < self.every:
            return False
        self._commits[state.partition] = 0
        name = f"partition={state.partition:02d}/{state.epoch:05d}-{state.next:020d}.state"
        copy = self.task.snapshot(state)
        self.in_background(lambda: self.upload(name, copy()))
        return True

    def upload(self, name: str, raw: bytes) -> None:
        """Write a copy, read it back to verify it, and drop all but the partition's newest ones."""
        try:
            self.blobs.write(CONTAINER, name, raw)
            if self.blobs.read(CONTAINER, name) != raw:
                self.blobs.delete(CONTAINER, name)
                log.error("%s/%s did not read back as written and was removed", CONTAINER, name)
                return
            for old in self.blobs.names(CONTAINER, f"{name.split('/')[0]}/")[:-KEPT]:
                self.blobs.delete(CONTAINER, old)
        except PipelineError as error:
            log.warning("snapshot %s was not stored, the next one will be: %s", name, error)

    def newest(self, partition: int) -> State | None:
        """The newest snapshot that is whole, None when there is none."""
        self._commits[partition] = 0
        return next((state for _, state in whole(self.task, self.blobs, partition)), None)


def whole(task: Task, blobs: BlobReader, partition: int) -> Iterator[tuple[str, State]]:
    """A partition's snapshots that are whole, the newest first, with their names."""
    for name in reversed(blobs.names(CONTAINER, f"partition={partition:02d}/")):
        try:
            state = task.restore(blobs.read(CONTAINER, name) or b"")
        except ContractBroken as error:
            log.error("%s/%s is not used: %s", CONTAINER, name, error)
            continue
        yield name, state
