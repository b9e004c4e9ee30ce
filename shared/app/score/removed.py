"""Up to where commits of a partition may have been removed.

Below that place their names fence nothing any more: only a snapshot or the lake says what was committed there. Whoever
removes commits raises the mark first.
"""

from __future__ import annotations

import msgspec

from shared.core.task.state import State
from shared.ports import BlobReader, Blobs
from shared.validation import decoded

CONTAINER = "progress"


class Mark(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Epoch and sequence number after the newest commit that may be gone."""

    epoch: int = 0
    next: int = 0


def mark_of(blobs: BlobReader, partition: int) -> Mark:
    """A partition's mark.

    Raises:
        ContractBroken: It cannot be read.
    """
    raw = blobs.read(CONTAINER, _name_of(partition))
    return Mark() if raw is None else _decoded(raw, partition)


def before(blobs: BlobReader, state: State) -> bool:
    """Whether a commit that stands after a state may have been removed."""
    return Mark(state.epoch, state.next) < mark_of(blobs, state.partition)


def raise_mark(blobs: Blobs, partition: int, epoch: int, following: int) -> None:
    """Say that commits before a place are about to be removed.

    Raises:
        StateConflict: Somebody else says so at the same time.
    """
    found = blobs.read_changed(CONTAINER, _name_of(partition), None)
    mark = Mark(epoch, following)
    if found is None or _decoded(found[0], partition) < mark:
        blobs.replace(CONTAINER, _name_of(partition), msgspec.json.encode(mark), found and found[1])


def _decoded(raw: bytes, partition: int) -> Mark:
    return decoded(raw, Mark, f"{CONTAINER}/{_name_of(partition)} (mark of removed commits)")


def _name_of(partition: int) -> str:
    return f"removed/partition={partition:02d}.json"
