"""The books, recounted from the endpoint's log, the commits and the dead letters; nothing is believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from local import event_log
from local.amqp import read_message
from shared.adapters.commit_files import ParquetFiles
from shared.app.filing import Routed
from shared.core import dead_letters
from shared.core.commit import Commit, place_of
from shared.core.events import unpack
from shared.core.outcome import CONFLICT, DISPOSITIONS
from shared.errors import BadEvent
from shared.ports import Blobs

ARRIVED = ("applied", "stored_late", "duplicates", "conflicts")


@dataclass
class Account:
    """Readings of one partition, or of one file.

    Args:
        name: Of the partition or file.
        logged: Readings in the hub's log (partitions), or rows that route accepted (files).
        counts: Readings in commits by what became of them, `undecodable` events, `predictions`.
        waiting: Readings in the log that no commit covers yet.
        problems: What does not balance.
    """

    name: str
    logged: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def arrived(self) -> int:
        """Readings that arrived and were not redelivered, one for each undecodable event."""
        return sum(self.counts[name] for name in ARRIVED) + self.counts["undecodable"]


@dataclass
class Books:
    """All accounts."""

    partitions: list[Account]
    files: list[Account]

    @property
    def problems(self) -> list[str]:
        """Everything that does not balance."""
        return [f"{a.name}: {problem}" for a in (*self.partitions, *self.files) for problem in a.problems]

    @property
    def balance(self) -> bool:
        """Whether everything balances and nothing waits."""
        return not self.problems

    def totals(self) -> dict[str, int]:
        """Sums over the partitions."""
        sums: Counter[str] = Counter()
        for account in self.partitions:
            sums.update(account.counts)
            sums["logged"] += account.logged
            sums["waiting"] += account.waiting
            sums["arrived"] += account.arrived
        return dict(sums)


def recount(blobs: Blobs, files: ParquetFiles, logs: Path, hub: str) -> Books:
    """Count everything again.

    Args:
        blobs: Commits, predictions, dead letters, receipts.
        files: Reads commits.
        logs: The endpoint's data folder.
        hub: Name of the hub "readings".
    """
    info = event_log.hub_info(logs, hub)
    partitions = range(info.partitions if info else 0)
    by_source: dict[str, Counter[str]] = {}
    accounts = [_partition(blobs, files, logs, hub, number, by_source) for number in partitions]
    return Books(accounts, [_file(blobs, name, by_source) for name in _routes(blobs)])


def _partition(
    blobs: Blobs, files: ParquetFiles, logs: Path, hub: str, number: int, by_source: dict[str, Counter[str]]
) -> Account:
    account = Account(f"partition {number}")
    next_event = 0
    for commit, raw in _commits(blobs, files, number):
        if commit.first != next_event:
            account.problems.append(f"events {next_event} to {commit.first - 1} are in no commit")
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


def _commits(blobs: Blobs, files: ParquetFiles, number: int) -> Iterator[tuple[Commit, bytes]]:
    names = blobs.names("commits", f"partition={number:02d}/")
    for name in sorted(names, key=place_of):
        raw = blobs.read("commits", name) or b""
        yield files.decode_commit(raw)[0], raw


def _count_commit(
    blobs: Blobs, files: ParquetFiles, commit: Commit, raw: bytes, account: Account, by_source: dict[str, Counter[str]]
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
    buried = _letters(blobs, commit)
    if buried != int((became == CONFLICT).sum()) + commit.counts["undecodable"]:
        account.problems.append(f"commit {commit.first} names {buried} dead letters, which is not what it lost")


def _predictions(blobs: Blobs, files: ParquetFiles, commit: Commit, account: Account) -> int:
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


def _letters(blobs: Blobs, commit: Commit) -> int:
    if commit.dead_letters is None:
        return 0
    return len(dead_letters.decode(blobs.read("dead-letter", commit.dead_letters) or b""))


def _rows(message: bytes, files: ParquetFiles) -> int:
    try:
        return len(unpack(read_message(message).body, files.scenario.channel_names)[1])
    except BadEvent:
        return 1


def _routes(blobs: Blobs) -> list[str]:
    return [name for name in blobs.names("receipts") if name.endswith("/route.json")]


def _file(blobs: Blobs, name: str, by_source: dict[str, Counter[str]]) -> Account:
    routed = msgspec.json.decode(blobs.read("receipts", name) or b"", type=Routed)
    account = Account(f"file {routed.file!r}", routed.rows_accepted)
    account.counts.update(by_source.get(routed.source, Counter()))
    rejected = sum(routed.rejected.values())
    buried = 0
    for letter in blobs.names("dead-letter", f"file={name.split('/')[0]}/"):
        buried += len(dead_letters.decode(blobs.read("dead-letter", letter) or b""))
    if routed.rows_in != routed.rows_accepted + rejected:
        account.problems.append(f"{routed.rows_in} rows in, {routed.rows_accepted} accepted, {rejected} rejected")
    if buried != rejected:
        account.problems.append(f"{rejected} rows rejected, {buried} in the dead-letter")
    if account.arrived != routed.rows_accepted:
        account.problems.append(f"{routed.rows_accepted} rows accepted, {account.arrived} in commits")
    return account


def as_json(books: Books) -> dict[str, Any]:
    """The books for a machine."""
    return {"balance": books.balance, "problems": books.problems, **books.totals()}
