"""What a commit says beside its readings, and where commits and their blobs are named."""

from __future__ import annotations

import msgspec

FORMAT, EVOLVED = 1, 2  # the second says under which version of an edited scenario it was made
APPLIED, STORED_LATE, DUPLICATE, CONFLICT, REDELIVERED, REFUSED = range(6)
DISPOSITIONS = ("applied", "stored_late", "duplicates", "conflicts", "redelivered", "refused")
"""What became of a reading; one is refused when its device would be one too many."""

EXPIRED = "expired"  # events that a commit of its own says are lost, when what follows them was committed before


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A commit's metadata: every input of the step that is not a reading.

    One without events, from `first` to `next`, says that none of these are the partition's; where the two are the same
    it closes its epoch, and because names fence nobody can commit there any more.

    Args:
        follows: Sequence number expected before this batch; less than `first` where events had expired.
        champion: Version that served, None without one; likewise `challenger`.
        quarantine: Devices that were not scored.
        predictions: Name of the batch's predictions, None when there are none.
        dead_letters: Name of the batch's dead letters, None when there are none.
        counts: Readings by what became of them, `undecodable` events and `predictions`, perhaps
            `expired` events; `refused` where there are any.
        scenario: Version of the scenario, left out for the first.
        devices: Most devices that the partition might know; said where readings were refused for it.
        minimum_hours: Hours in which a device must have spoken to be forecast; left out where any number was enough.
    """

    format: int = FORMAT
    partition: int
    epoch: int
    first: int
    next: int
    follows: int
    enqueued_ms: int
    sources: list[str]
    ends: list[tuple[int, int]]
    champion: str | None
    challenger: str | None
    quarantine: list[str]
    predictions: str | None
    dead_letters: str | None
    counts: dict[str, int]
    scenario: int | msgspec.UnsetType = msgspec.UNSET
    devices: int | msgspec.UnsetType = msgspec.UNSET
    minimum_hours: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def version(self) -> int:
        """Version of the scenario that it was made under."""
        return self.scenario or 0

    @property
    def closes(self) -> bool:
        """Whether it ends its epoch: the hub was created anew."""
        return self.first == self.next

    @property
    def after(self) -> tuple[int, int]:
        """Epoch and sequence number that the partition expects after it."""
        return (self.epoch + 1, 0) if self.closes else (self.epoch, self.next)


def scenario_fields(version: int) -> dict[str, int]:
    """What a commit says of the version of its scenario: nothing for the first, as before there were versions."""
    return {"format": EVOLVED, "scenario": version} if version else {}


def folder(partition: int, epoch: int) -> str:
    """Prefix of the names of one partition's blobs in one epoch."""
    return f"partition={partition:02d}/epoch={epoch:05d}/"


def commit_name(partition: int, epoch: int, first: int) -> str:
    """Name of the commit of the batch that begins at `first`: nothing else decides it, so it fences."""
    return f"{folder(partition, epoch)}{first:020d}.parquet"


def place_of(name: str) -> tuple[int, int]:
    """Epoch and first sequence number in a commit's name."""
    _, epoch, first = name.split("/")
    return int(epoch.removeprefix("epoch=")), int(first.removesuffix(".parquet"))


def partition_in(name: str) -> int:
    """Partition in a commit's name."""
    return int(name.partition("/")[0].removeprefix("partition="))
