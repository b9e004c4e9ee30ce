"""One line of the books."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

ARRIVED = ("applied", "stored_late", "duplicates", "conflicts")


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
    """

    name: str
    logged: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    dead: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def arrived(self) -> int:
        """Readings that arrived and were not redelivered, one for each undecodable event."""
        return sum(self.counts[name] for name in ARRIVED) + self.counts["undecodable"]
