"""The books of the hub "readings": its log is counted again and held against the commits, epoch by epoch.

The log of a hub that was created anew is gone. What the commits of its epoch hold is then held against the sources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from local.books.account import GONE, Account, created_anew, titled
from local.books.dead_letters import replays_of
from local.eventhub import event_log
from local.eventhub.amqp.message import read_message
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.lake.delta_lake import DeltaLake
from shared.app.score.removed import Mark, mark_of
from shared.core.intake import dead_letters
from shared.core.stream.commit import CONFLICT, DISPOSITIONS, EXPIRED, REFUSED, Commit, partition_in, place_of
from shared.core.stream.events import Batch
from shared.core.stream.packing import unpack
from shared.errors import BadEvent
from shared.ports import BlobReader

Counts = dict[str, Counter[str]]
# a commit with its batch, what became of each reading, and its predictions where they are counted already
Counted = tuple[Commit, Batch, npt.NDArray[np.uint8], int | None]


@dataclass
class Partitions:
    """Counts the commits of all partitions, and what they say of each source.

    Args:
        blobs: Commits, predictions, dead letters.
        files: Reads commits.
        logs: The endpoint's data folder.
        hub: Name of the hub "readings".
        by_source: What became of each source's readings, filled by `accounts`.
        lake: Holds the commits whose blobs are no longer needed, None where none is ever removed.
    """

    blobs: BlobReader
    files: ParquetFiles
    logs: Path
    hub: str
    by_source: Counts = field(default_factory=dict)
    lake: DeltaLake | None = None

    def accounts(self) -> list[Account]:
        """One account for each epoch of each partition."""
        info = event_log.hub_info(self.logs, self.hub)
        committed: dict[int, list[str]] = {number: [] for number in range(info.partitions if info else 0)}
        for name in self.blobs.names("commits"):
            committed.setdefault(partition_in(name), []).append(name)
        return [found for number in sorted(committed) for found in self._partition(info, number, committed[number])]

    def _partition(self, info: event_log.HubInfo | None, number: int, names: Sequence[str]) -> list[Account]:
        """Accounts of a partition's epochs; the last one is of the hub as it stands."""
        epochs: dict[int, list[str]] = {}
        if self.lake:  # what stands before the mark stands in the lake, or was made again by one who did not know
            mark = mark_of(self.blobs, number)
            names = [name for name in names if Mark(*place_of(name)) >= mark]
        removed, landed = self._removed(number, names), self._landed(names)
        kept, names = set(names), [*names, *(name for name, _ in removed)]
        compacted = self._compacted(removed)
        for name in sorted(names, key=place_of):
            epochs.setdefault(place_of(name)[0], []).append(name)
        newest_ms, after, found = -1, (0, 0), []
        for epoch in range(max(epochs, default=0) + 1):
            found.append(account := Account(titled(f"partition {number}", epoch, epoch)))
            if names and epoch not in epochs:
                account.problems.append("no commit is left")
            counted = (next(landed if name in kept else compacted) for name in epochs.get(epoch, []))
            after, newest_ms = self._epoch(account, epoch, counted, newest_ms)
        last, next_event = after
        stands = info is not None and number < info.partitions
        log = event_log.read(event_log.log_path(self.logs, self.hub, number)) if stands else iter(())
        oldest = next(log, None)
        if created_anew(info, oldest, next_event, newest_ms):
            last, next_event = last + 1, 0
        if last == len(found):
            found.append(Account(titled(f"partition {number}", last, last)))
        for account in found[:-1]:
            _close(account)
        self._log(found[-1], chain([oldest] if oldest else [], log), next_event)
        return found

    def _removed(self, number: int, names: Sequence[str]) -> list[tuple[str, Commit]]:
        """Commits of a partition that stand in the lake only."""
        landed = set(names)
        found = self.lake.commits(number) if self.lake else []
        return [each for each in found if each[0] not in landed]

    def _landed(self, names: Sequence[str]) -> Iterator[Counted]:
        for name in sorted(names, key=place_of):
            raw = self.blobs.read("commits", name) or b""
            commit, batch = self.files.decode_commit(raw)
            yield commit, batch, self.files.dispositions(raw), None

    def _compacted(self, removed: Sequence[tuple[str, Commit]]) -> Iterator[Counted]:
        for commit, batch, became in self.lake.recounted(removed) if self.lake else ():
            yield commit, batch, became, commit.counts["predictions"]  # the lake has counted them while reading

    def _epoch(
        self, account: Account, epoch: int, commits: Iterable[Counted], newest_ms: int
    ) -> tuple[tuple[int, int], int]:
        """Count the commits of one epoch; epoch and event expected after it, and the newest enqueued time so far."""
        after = epoch, 0
        for commit, batch, became, predictions in commits:
            next_event = after[1]
            if commit.first < next_event:  # the store lost what stood here, and two workers went on side by side
                account.notes.append(f"commit {commit.first} counts for nothing: it begins within the one before it")
                continue
            if commit.first != next_event and not commit.follows == next_event < commit.first:
                account.problems.append(f"events {next_event} to {commit.first - 1} are in no commit")
            account.counts["expired"] += max(0, commit.first - commit.follows) + commit.counts.get(EXPIRED, 0)
            after, newest_ms = commit.after, max(newest_ms, commit.enqueued_ms)
            self._count(commit, batch, became, account)
            found = self._predictions(commit, account) if predictions is None else predictions
            account.counts["predictions"] += found
        return after, newest_ms

    def _log(self, account: Account, log: Iterable[event_log.Record], next_event: int) -> None:
        """Hold the log against the commits of its epoch."""
        for record in log:
            rows = self._rows(record.message)
            account.logged += rows
            if record.sequence >= next_event:
                account.waiting += rows
        covered = account.arrived + account.counts["redelivered"] + account.waiting
        if account.logged != covered:
            account.problems.append(f"{account.logged} readings in the log, {covered} in commits and waiting")
        if account.waiting:
            account.problems.append(f"{account.waiting} readings wait for a commit")

    def _count(self, commit: Commit, batch: Batch, became: npt.NDArray[np.uint8], account: Account) -> None:
        for place, source in enumerate(batch.sources):
            self.by_source.setdefault(source, Counter()).update(_by_disposition(became[batch.source == place]))
        recounted = _by_disposition(became)
        claimed = {name: commit.counts.get(name, 0) for name in DISPOSITIONS}
        if recounted != claimed:
            account.problems.append(f"commit {commit.first} says {claimed}, holds {recounted}")
        account.counts.update(recounted)
        account.counts["undecodable"] += commit.counts["undecodable"]
        lost = int(np.isin(became, (CONFLICT, REFUSED)).sum())
        letters, expected = self._letters(commit), lost + commit.counts["undecodable"]
        if letters != expected and letters + self._replayed(commit) != expected:
            account.problems.append(f"commit {commit.first} names {letters} dead letters, which is not what it lost")

    def _predictions(self, commit: Commit, account: Account) -> int:
        if commit.predictions is None:
            return 0
        raw = self.blobs.read("predictions", commit.predictions)
        if raw is None:
            account.problems.append(f"predictions/{commit.predictions} is missing")
            return 0
        found, claimed = len(self.files.read_predictions(raw)["device_id"]), commit.counts["predictions"]
        if found != claimed:
            account.problems.append(f"commit {commit.first} says {claimed} predictions, {found} found")
        return found

    def _letters(self, commit: Commit) -> int:
        if commit.dead_letters is None:
            return 0
        return len(dead_letters.decode(self.blobs.read("dead-letter", commit.dead_letters) or b""))

    def _replayed(self, commit: Commit) -> int:
        return sum(replay.records for replay in replays_of(self.blobs) if replay.blob == commit.dead_letters)

    def _rows(self, message: bytes) -> int:
        try:
            return len(unpack(read_message(message).body, self.files.scenario.channel_names)[1])
        except BadEvent:
            return 1


def _close(account: Account) -> None:
    """An epoch whose log is gone: all there is to count is in its commits."""
    account.logged = account.arrived + account.counts["redelivered"]
    account.notes.append(
        f"{GONE}; the {account.arrived} readings in its commits are held against what their sources sent; what the old "
        "hub held without a commit is missed there"
    )


def _by_disposition(became: npt.NDArray[np.uint8]) -> dict[str, int]:
    return dict(zip(DISPOSITIONS, np.bincount(became, minlength=len(DISPOSITIONS)).tolist(), strict=True))
