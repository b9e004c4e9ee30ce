"""One line of the books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from local.eventhub.event_log import HubInfo, Record

ARRIVED = ("applied", "stored_late", "duplicates", "conflicts", "refused")
Dropped: TypeAlias = Mapping[str, Mapping[str, int]]
GONE = "the log is gone with the old hub"


@dataclass
class Account:
    """Readings of one partition, or of one file.

    Args:
        name: Of the partition or source.
        logged: Readings in the hub's log (partitions), or records that the source held (sources).
        counts: Readings in commits by what became of them, `undecodable` events, `predictions`.
        waiting: Readings in the log that no commit covers yet.
        dead: Records of a source that stand in the dead-letter.
        problems: What does not balance.
        notes: What could not be recounted, and what it was compared with instead.
        dropped: Values dropped from readings, by channel and reason: as the log says, of files as their routing did.
    """

    name: str
    logged: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    dead: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dropped: Dropped = field(default_factory=dict)

    @property
    def arrived(self) -> int:
        """Readings that arrived and were not redelivered, one for each undecodable event."""
        return sum(self.counts[name] for name in ARRIVED) + self.counts["undecodable"]


def titled(name: str, first: int, last: int) -> str:
    """Name of an account of some epochs; a hub that was never created anew needs no epoch."""
    if first < last:
        return f"{name}, epochs {first} to {last}"
    return f"{name}, epoch {last}" if last else name


def created_anew(info: HubInfo | None, oldest: Record | None, known_next: int, known_ms: int) -> bool:
    """Whether a log belongs to a newer hub than the one that somebody has read so far, by the rule of the readers.

    Args:
        info: The hub as it stands, None if there is none.
        oldest: The first event of its log, None if that is empty.
        known_next: Sequence number after the last event that was read.
        known_ms: Enqueued time of the newest event that was read.
    """
    if known_next == 0:
        return False
    if oldest is None:
        return info is None or info.created_at_ms > known_ms
    return oldest.sequence < known_next and oldest.enqueued_ms > known_ms >= 0
