"""How far the routing of one partition of the devices' hub has come."""

from __future__ import annotations

import msgspec

from shared.core.intake.values.dropped import ChannelValues, Values, by_reason, joined, sums_of
from shared.validation import decoded

CONTAINER = "progress"
PREFIX = "partition="
SUFFIX = ".json"


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What had been counted, over all epochs so far, when an epoch ended.

    Two of them that follow each other differ by what their epochs counted, so that a blob that was written before
    these were kept only leaves its first epochs together.

    Args:
        epoch: The epoch that ended.
        messages: Messages routed until then.
        accepted: Readings sent on until then.
        rejected: Records put into the dead-letter until then, by reason.
        expired: Messages missed until then.
        dropped: Values dropped from readings until then, by channel and reason, where any were.
    """

    epoch: int
    messages: int
    accepted: int
    rejected: dict[str, int]
    expired: int
    dropped: dict[str, dict[str, int]] | msgspec.UnsetType = msgspec.UNSET


class Day(msgspec.Struct, frozen=True):
    """What became of the values that messages brought on a day (UTC), that of a batch's newest message.

    Args:
        day: Days since 1970.
        values: By channel.
    """

    day: int
    values: dict[str, ChannelValues]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A partition's progress, written once a batch; its counts are over all epochs.

    Args:
        epoch: How often the hub was created anew.
        next: Sequence number of the first message not yet routed.
        enqueued_ms: Enqueued time of the newest routed message.
        messages: Messages routed.
        accepted: Readings sent on.
        rejected: Records put into the dead-letter, by reason.
        expired: Messages that the hub no longer had when they were missed.
        ended: What had been counted when earlier epochs ended, oldest first.
        dropped: Values dropped from readings, by channel and reason, where any were.
        days: The newest day's values, and those of the day before it that brought any.
    """

    epoch: int = 0
    next: int = 0
    enqueued_ms: int = -1
    messages: int = 0
    accepted: int = 0
    rejected: dict[str, int] = {}
    expired: int = 0
    ended: list[Ended] = []
    dropped: dict[str, dict[str, int]] | msgspec.UnsetType = msgspec.UNSET
    days: list[Day] | msgspec.UnsetType = msgspec.UNSET


def with_values(at: Progress, day: int, values: Values) -> Progress:
    """Progress with what became of the values of a batch that came on a day."""
    found = by_reason(values)
    known = at.dropped or {}
    sums = {name: sums_of([known.get(name, {}), found.get(name, {})]) for name in {**known, **found}}
    *older, newest = at.days or [Day(day, {})]
    if day > newest.day:
        older, newest = [newest], Day(day, {})
    days = [*older, Day(newest.day, joined([newest.values, values]))]
    return msgspec.structs.replace(at, dropped=sums or msgspec.UNSET, days=days)


def anew(at: Progress) -> Progress:
    """Progress at the beginning of the next epoch: sequence numbers begin with 0 again, counts go on."""
    closing = Ended(
        epoch=at.epoch,
        messages=at.messages,
        accepted=at.accepted,
        rejected=at.rejected,
        expired=at.expired,
        dropped=at.dropped,
    )
    return msgspec.structs.replace(at, epoch=at.epoch + 1, next=0, ended=[*at.ended, closing])


def name_of(partition: int) -> str:
    """Name of a partition's progress blob."""
    return f"{PREFIX}{partition:02d}{SUFFIX}"


def partition_of(name: str) -> int:
    """Partition in the name of a progress blob."""
    return int(name.removeprefix(PREFIX).removesuffix(SUFFIX))


def decode(raw: bytes) -> Progress:
    """Read a progress blob.

    Raises:
        ContractBroken: It is not one.
    """
    return decoded(raw, Progress, "progress")


def encode(progress: Progress) -> bytes:
    """Write a progress blob."""
    return msgspec.json.encode(progress)
