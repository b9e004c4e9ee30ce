"""How far the routing of one partition of the devices' hub has come."""

from __future__ import annotations

import msgspec

from shared.errors import ContractBroken

CONTAINER = "progress"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A partition's progress, written once a batch.

    Args:
        epoch: How often the hub was created anew.
        next: Sequence number of the first message not yet routed.
        enqueued_ms: Enqueued time of the newest routed message.
        messages: Messages routed.
        accepted: Readings sent on.
        rejected: Records put into the dead-letter, by reason.
        expired: Messages that the hub no longer had when they were missed.
    """

    epoch: int = 0
    next: int = 0
    enqueued_ms: int = -1
    messages: int = 0
    accepted: int = 0
    rejected: dict[str, int] = {}
    expired: int = 0


def name_of(partition: int) -> str:
    """Name of a partition's progress blob."""
    return f"partition={partition:02d}.json"


def decode(raw: bytes) -> Progress:
    """Read a progress blob.

    Raises:
        ContractBroken: It is not one.
    """
    try:
        return msgspec.json.decode(raw, type=Progress)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ContractBroken(f"progress: {error}") from error


def encode(progress: Progress) -> bytes:
    """Write a progress blob."""
    return msgspec.json.encode(progress)
