"""The books, recounted from the endpoint's log, the commits and the dead letters; nothing is believed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.books import sources as books_sources
from local.books.account import Account
from local.books.partitions import Partitions
from local.books.sources import UNREAD
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.lake.delta_lake import DeltaLake
from shared.core.intake.values.dropped import sums_of
from shared.core.stream.commit import DISPOSITIONS
from shared.ports import BlobReader


@dataclass
class Books:
    """All accounts: what the partitions committed, and what became of each source."""

    partitions: list[Account]
    sources: list[Account]

    @property
    def problems(self) -> list[str]:
        """Everything that does not balance."""
        found = [f"{a.name}: {problem}" for a in (*self.partitions, *self.sources) for problem in a.problems]
        sums = self.totals()
        parts = sums["applied"] + sums["stored_late"] + sums["duplicates"] + sums["dead_lettered"]
        if sums["arrived"] != parts and not sums["waiting"]:
            found.append(f"{sums['arrived']} records arrived, {parts} are accounted for")
        return found

    @property
    def notes(self) -> list[str]:
        """Everything that could not be recounted, and what it was compared with instead."""
        return [f"{a.name}: {note}" for a in (*self.partitions, *self.sources) for note in a.notes]

    @property
    def waiting(self) -> int:
        """Records that stand in a hub or a file and have not come to their end: the rest cannot balance before that."""
        unread = sum(UNREAD in account.problems for account in self.sources)
        return unread + sum(account.waiting for account in (*self.partitions, *self.sources))

    @property
    def dropped(self) -> dict[str, dict[str, int]]:
        """Values dropped from readings, by channel and reason."""
        channels = dict.fromkeys(name for account in self.sources for name in account.dropped)
        return {name: sums_of(account.dropped.get(name, {}) for account in self.sources) for name in channels}

    @property
    def balance(self) -> bool:
        """Whether everything balances and nothing waits."""
        return not self.problems

    def totals(self) -> dict[str, int]:
        """Records over all: `arrived` from the sources, everything else from commits and dead letters."""
        sums: Counter[str] = Counter(dict.fromkeys((*DISPOSITIONS, "undecodable", "expired", "waiting"), 0))
        for account in self.partitions:
            sums.update(account.counts)
            sums["waiting"] += account.waiting
        sums["arrived"] = sum(account.logged for account in self.sources) + sums["undecodable"]
        rejected = sum(account.dead for account in self.sources)
        sums["dead_lettered"] = rejected + sum(sums.pop(name) for name in ("conflicts", "refused", "undecodable"))
        sums["expired"] += sum(account.counts["expired"] for account in self.sources)
        sums.pop("predictions", None)
        return dict(sums)


def recount(
    blobs: BlobReader, files: ParquetFiles, logs: Path, hub: str, devices: str, lake: DeltaLake | None = None
) -> Books:
    """Count everything again.

    Args:
        blobs: Commits, predictions, dead letters, receipts.
        files: Reads commits.
        logs: The endpoint's data folder.
        hub: Name of the hub "readings".
        devices: Name of the devices' hub.
        lake: Where commits stand whose blobs are no longer needed; not needed where none is ever removed.
    """
    partitions = Partitions(blobs, files, logs, hub, lake=lake)
    accounts = partitions.accounts()  # first, for what it learns of each source
    return Books(accounts, books_sources.accounts(blobs, files.scenario, logs, devices, partitions.by_source))


def as_json(books: Books) -> dict[str, Any]:
    """The books for a machine."""
    return {
        "books_balance": books.balance,
        "early": books.waiting > 0,
        "problems": books.problems,
        "notes": books.notes,
        "dropped_values": books.dropped,
        **books.totals(),
    }
