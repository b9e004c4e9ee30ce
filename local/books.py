"""The books, recounted from the endpoint's log, the commits and the dead letters; nothing is believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from local import books_sources, event_log
from local.amqp import read_message
from local.books_account import Account
from shared.adapters.commit_files import ParquetFiles
from shared.core import dead_letters
from shared.core.commit import Commit, place_of
from shared.core.events import unpack
from shared.core.outcome import CONFLICT, DISPOSITIONS
from shared.errors import BadEvent
from shared.ports import BlobReader

Counts = dict[str, Counter[str]]


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
        sums["dead_lettered"] = rejected + sums.pop("conflicts") + sums.pop("undecodable")
        sums["expired"] += sum(account.counts["expired"] for account in self.sources)
        sums.pop("predictions", None)
        return dict(sums)


def recount(blobs: BlobReader, files: ParquetFiles, logs: Path, hub: str, devices: str) -> Books:
    """Count everything again.

    Args:
        blobs: Commits, predictions, dead letters, receipts.
        files: Reads commits.
        logs: The endpoint's data folder.
        hub: Name of the hub "readings".
        devices: Name of the devices' hub.
    """
    info = event_log.hub_info(logs, hub)
    partitions = range(info.partitions if info else 0)
    by_source: Counts = {}
    accounts = [_partition(blobs, files, logs, hub, number, by_source) for number in partitions]
    return Books(accounts, books_sources.accounts(blobs, files.scenario, logs, devices, by_source))


def _partition(blobs: BlobReader, files: ParquetFiles, logs: Path, hub: str, number: int, by_source: Counts) -> Account:
    account = Account(f"partition {number}")
    next_event = 0
    for commit, raw in _commits(blobs, files, number):
        if commit.first != next_event and not commit.follows == next_event < commit.first:
            account.problems.append(f"events {next_event} to {commit.first - 1} are in no commit")
        account.counts["expired"] += max(0, commit.first - commit.follows)
        next_event = commit.next
        _count_commit(blobs, files, commit, raw, account, by_source)
    for record in event_log.read(event_log.log_path(logs, hub, number)):
        rows = _rows(record.message, files)
        account.logged += rows
        if record.sequence >= next_event:
            account.waiting += rows
    covered = account.arrived + account.counts["redelivered"] + account.waiting
    if account.logged != covered:
        account.problems.append(f"{account.logged} readings in the log, {covered} in commits and waiting")
    if account.waiting:
        account.problems.append(f"{account.waiting} readings wait for a commit")
    return account


def _commits(blobs: BlobReader, files: ParquetFiles, number: int) -> Iterator[tuple[Commit, bytes]]:
    names = blobs.names("commits", f"partition={number:02d}/")
    for name in sorted(names, key=place_of):
        raw = blobs.read("commits", name) or b""
        yield files.decode_commit(raw)[0], raw


def _count_commit(
    blobs: BlobReader,
    files: ParquetFiles,
    commit: Commit,
    raw: bytes,
    account: Account,
    by_source: Counts,
) -> None:
    _, batch = files.decode_commit(raw)
    became = files.dispositions(raw)
    for place, source in enumerate(batch.sources):
        mine = np.bincount(became[batch.source == place], minlength=len(DISPOSITIONS))
        counts = by_source.setdefault(source, Counter())
        counts.update(dict(zip(DISPOSITIONS, mine.tolist(), strict=True)))
    recounted = dict(zip(DISPOSITIONS, np.bincount(became, minlength=len(DISPOSITIONS)).tolist(), strict=True))
    claimed = {name: commit.counts[name] for name in DISPOSITIONS}
    if recounted != claimed:
        account.problems.append(f"commit {commit.first} says {claimed}, holds {recounted}")
    account.counts.update(recounted)
    account.counts["undecodable"] += commit.counts["undecodable"]
    account.counts["predictions"] += _predictions(blobs, files, commit, account)
    buried, lost = _letters(blobs, commit), int((became == CONFLICT).sum()) + commit.counts["undecodable"]
    if buried != lost and buried + _fed_back(blobs, commit) != lost:
        account.problems.append(f"commit {commit.first} names {buried} dead letters, which is not what it lost")


def _predictions(blobs: BlobReader, files: ParquetFiles, commit: Commit, account: Account) -> int:
    if commit.predictions is None:
        return 0
    raw = blobs.read("predictions", commit.predictions)
    if raw is None:
        account.problems.append(f"predictions/{commit.predictions} is missing")
        return 0
    found = len(files.read_predictions(raw)["device_id"])
    if found != commit.counts["predictions"]:
        account.problems.append(f"commit {commit.first} says {commit.counts['predictions']} predictions, {found} found")
    return found


def _letters(blobs: BlobReader, commit: Commit) -> int:
    if commit.dead_letters is None:
        return 0
    return len(dead_letters.decode(blobs.read("dead-letter", commit.dead_letters) or b""))


def _fed_back(blobs: BlobReader, commit: Commit) -> int:
    return sum(replay.records for replay in books_sources.replays_of(blobs) if replay.blob == commit.dead_letters)


def _rows(message: bytes, files: ParquetFiles) -> int:
    try:
        return len(unpack(read_message(message).body, files.scenario.channel_names)[1])
    except BadEvent:
        return 1


def as_json(books: Books) -> dict[str, Any]:
    """The books for a machine."""
    return {"books_balance": books.balance, "problems": books.problems, **books.totals()}
