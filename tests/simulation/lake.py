"""The lake in memory: tables of commits with transactions, whose every call is a point of the schedule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.lake.schema import COMMITS, PREDICTIONS, READINGS, TABLES
from shared.core.stream.commit import Commit
from shared.core.stream.events import Batch
from shared.errors import ContractBroken, StateConflict
from shared.ports import Advance, LakeRows
from tests.simulation.ports import called
from tests.simulation.schedule import Schedule

Named = tuple[str, Commit]


@dataclass(frozen=True)
class _Entry:
    """One commit's rows in one table."""

    name: str
    commit: Commit
    raw: bytes
    predictions: bytes | None

    @property
    def place(self) -> tuple[int, int, int]:
        return self.commit.partition, self.commit.epoch, self.commit.first


class Lake:
    """Tables that grow by whole commits.

    Args:
        schedule: Is told of every call.
        files: Reads commits.
    """

    tables = TABLES

    def __init__(self, schedule: Schedule, files: ParquetFiles) -> None:
        self.schedule, self.files = schedule, files
        self.held: dict[str, list[_Entry]] = {table: [] for table in TABLES}
        self.transactions: dict[str, dict[str, int]] = defaultdict(dict)

    @property
    def version(self) -> int:
        return len(self.held[READINGS])

    def under(self, files: ParquetFiles) -> Lake:
        """The same tables, read as a process with its version of the scenario does."""
        found = copy(self)
        found.files = files
        return found

    def rows(self, name: str, raw: bytes, predictions: Callable[[str], bytes]) -> LakeRows:
        commit, batch = self.files.decode_commit(raw)
        made = None if commit.predictions is None else predictions(commit.predictions)
        if made is not None:
            self.files.read_predictions(made)  # what is damaged must not come in
        counts = {READINGS: len(batch), PREDICTIONS: commit.counts["predictions"], COMMITS: 1}
        entry = _Entry(name, commit, raw, made)
        return LakeRows(commit, {table: [entry] * min(counts.get(table, 0), 1) for table in TABLES})

    def reached(self, table: str, apps: Sequence[str]) -> dict[str, int]:
        self.schedule.point("reached", table)
        return {app: self.transactions[table][app] for app in apps if app in self.transactions[table]}

    def append(self, table: str, rows: Sequence[LakeRows], advances: Sequence[Advance]) -> bool:
        joined = [entry for item in rows for entry in item.tables[table]]
        return bool(joined) and called(self.schedule, "append", table, lambda: self._append(table, joined, advances))

    def dataset(self) -> tuple[int, int] | None:
        self.schedule.point("dataset", READINGS)
        return (self.version, len(self.held[READINGS]) * 10_000) if self.version else None

    def commits(self, partition: int, start: tuple[int, int] = (0, 0)) -> list[Named]:
        self.schedule.point("commits", f"{partition}")
        found = [(e.name, e.commit) for e in self.held[COMMITS] if e.place[0] == partition and e.place[1:] >= start]
        return sorted(found, key=lambda pair: (pair[1].epoch, pair[1].first))

    def stored(self, commits: Sequence[Named]) -> Iterator[tuple[Commit, Batch, dict[str, Any] | None]]:
        for commit, batch, entry in self._found(commits):
            made = None if entry.predictions is None else self.files.read_predictions(entry.predictions)
            yield commit, batch, made

    def recounted(self, commits: Sequence[Named]) -> Iterator[tuple[Commit, Batch, Any]]:
        for commit, batch, entry in self._found(commits):
            yield commit, batch, self.files.dispositions(entry.raw)

    def raw(self) -> dict[str, bytes]:
        """Every commit as it came in, by name."""
        return {entry.name: entry.raw for entry in self.held[COMMITS]}

    def begun(self) -> set[str]:
        """Names of commits of which any table has something."""
        return {entry.name for held in self.held.values() for entry in held}

    def merge(self, before_day: int) -> int:  # noqa: ARG002
        self.schedule.point("merge", "")
        return 0

    def vacuum(self, retain_h: int, keep: Sequence[int]) -> int:  # noqa: ARG002
        self.schedule.point("vacuum", "")
        return 0

    def _append(self, table: str, joined: list[_Entry], advances: Sequence[Advance]) -> bool:
        known = self.transactions[table]
        if any(known.get(advance.app) != advance.before for advance in advances):
            raise StateConflict(f"lake {table}: somebody else has moved a transaction")
        known.update({advance.app: advance.after for advance in advances})
        self.held[table] += joined
        return True

    def _found(self, commits: Sequence[Named]) -> Iterator[tuple[Commit, Batch, _Entry]]:
        self.schedule.point("stored", "")
        for _, wanted in commits:
            place = wanted.partition, wanted.epoch, wanted.first
            (whole,) = (entry for entry in self.held[COMMITS] if entry.place == place)
            commit, batch = self.files.decode_commit(whole.raw)
            for table, count in ((READINGS, len(batch)), (PREDICTIONS, commit.counts["predictions"])):
                held = [entry.raw for entry in self.held[table] if entry.place == place]
                if held != [whole.raw] * min(count, 1):
                    raise ContractBroken(f"lake: {table} of {place} are missing, too many, or of another commit")
            yield commit, batch, whole
