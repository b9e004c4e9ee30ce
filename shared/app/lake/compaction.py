"""The lake: everything committed goes into its tables exactly once; a partition's state is rebuilt from them alone.

Every table carries, for each partition and epoch, an application transaction: the sequence number up to which it holds
everything, one more once the epoch is closed. An append and the move of its transactions are one write, so a run may
die anywhere and another continue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from shared.app.lake.retention import Retention
from shared.app.score.referenced import read_referenced
from shared.app.score.stored_answers import replay
from shared.core.stream.commit import Commit, folder, partition_in, place_of
from shared.core.task.state import State
from shared.core.task.task import Task
from shared.errors import ContractBroken, StateConflict
from shared.ports import Advance, Blobs, Clock, Lake, LakeRows

log = logging.getLogger(__name__)
DAY_MS = 86_400_000
TRIES = 4
Place = tuple[int, int]  # partition, epoch
Reached = Mapping[str, dict[str, int]]


@dataclass(kw_only=True)
class Compaction:
    """Brings what was committed into the lake, keeps its files few, and removes landing blobs that are not needed.

    Args:
        task: What the commits belong to.
        blobs: Commits, predictions and snapshots.
        lake: The tables.
        clock: Says which days are closed and what is old.
        retain_days: Age from which landed commits may go, 0 keeps them all.
        retain_h: Hours for which a version of a table stays readable after its files were merged.
        keep: Versions of the readings whose files stay for good, such as those that models were trained on.
        mend: Told partition, epoch and first event of commits that the store lost, so that they can be made again.
        chunk_commits: Most commits read before they are appended.
        chunk_rows: Most rows read before they are appended, about.
    """

    task: Task
    blobs: Blobs
    lake: Lake
    clock: Clock
    retain_days: float = 0.0
    retain_h: int = 720
    keep: Callable[[], Sequence[int]] = tuple
    mend: Callable[[int, int, int], None] = lambda *_: None
    chunk_commits: int = 256
    chunk_rows: int = 200_000
    stopped: dict[Place, str] = field(default_factory=dict)

    def run(self) -> dict[str, int]:
        """Append everything committed since the last run; once a day also merge files and remove what is not needed.

        Returns:
            Commits and rows appended, files merged and vacuumed, landing blobs removed.

        Raises:
            ContractBroken: Partitions had to stop at a damaged or missing blob; all others are done.
            StateConflict: Others compact at the same time, again and again.
        """
        self.stopped = {}
        counts = {"commits": 0, "rows": 0, "merged": 0, "vacuumed": 0, "removed": 0}
        for left in reversed(range(TRIES)):
            try:
                self._append(counts)
                break
            except StateConflict:
                if not left:
                    raise
                log.info("lake: another run appends, looking again")
        if self._due():
            self._keep_house(counts)
        log.info("lake: %s", counts)
        if self.stopped:
            raise ContractBroken("lake: " + "; ".join(self.stopped.values()))
        return counts

    def app(self, place: Place) -> str:
        """Application id of a partition's epoch; every table keeps its own transactions under it."""
        return transaction(self.task.scenario.name, place)

    def _append(self, counts: dict[str, int]) -> None:
        names: dict[Place, list[str]] = {}
        for name in self.blobs.names("commits"):
            names.setdefault((partition_in(name), place_of(name)[0]), []).append(name)
        apps = [self.app(place) for place in names]
        reached = {table: self.lake.reached(table, apps) for table in self.lake.tables}
        chunk: list[LakeRows] = []
        for rows in self._unfinished(names, reached):
            chunk.append(rows)
            if len(chunk) >= self.chunk_commits or sum(item.count for item in chunk) >= self.chunk_rows:
                self._flush(chunk, reached, counts)
                chunk = []
        self._flush(chunk, reached, counts)

    def _unfinished(self, names: Mapping[Place, Sequence[str]], reached: Reached) -> Iterator[LakeRows]:
        """Commits that are not in every table yet; a partition ends at what is damaged or missing."""
        for place in sorted(names):
            if any(stopped[0] == place[0] for stopped in self.stopped):
                continue  # an epoch must not get ahead of the one before it
            expected = self._expected(place, reached)
            try:
                yield from self._following(place, names[place], reached, expected)
            except ContractBroken as error:
                if self._expected(place, {t: self.lake.reached(t, [self.app(place)]) for t in reached}) > expected:
                    raise StateConflict("another run appended, and removed what it had appended") from error
                self.stopped[place] = str(error)
                log.warning("lake: partition %d stops: %s", place[0], error)

    def _expected(self, place: Place, reached: Reached) -> int:
        """First event of a partition's epoch that is not complete in the lake."""
        return reached[self.lake.tables[-1]].get(self.app(place), 0)

    def _following(
        self, place: Place, names: Sequence[str], reached: Reached, expected: int, *, mended: bool = False
    ) -> Iterator[LakeRows]:
        """Commits from an event on; where some were lost, these are made again first."""
        for name in sorted(names, key=place_of):
            if place_of(name)[1] < expected:
                continue
            rows = self._read(name)
            if rows.commit.follows > expected and not mended:
                self.mend(*place, expected)
                found = self.blobs.names("commits", folder(*place))
                yield from self._following(place, found, reached, expected, mended=True)
                return
            if rows.commit.follows != expected:
                end = rows.commit.follows - 1
                raise ContractBroken(f"commits/{folder(*place)}: events {expected} to {end} are in no commit")
            for table in self.lake.tables:
                self._check_cut(rows.commit, reached[table])
            yield rows
            expected = _end(rows.commit)

    def _read(self, name: str) -> LakeRows:
        predictions = partial(read_referenced, self.blobs, "predictions", decode=bytes)
        return read_referenced(self.blobs, "commits", name, lambda raw: self.lake.rows(name, raw, predictions))

    def _flush(self, chunk: Sequence[LakeRows], reached: Reached, counts: dict[str, int]) -> None:
        """Append to one table after the other: the last one says what is complete."""
        for table in self.lake.tables:
            ends: dict[str, int] = {}
            rows = [item for item in chunk if self._lacking(item.commit, reached[table])]
            for item in rows:
                ends[self._app(item.commit)] = _end(item.commit)
            advances = [Advance(app, reached[table].get(app), end) for app, end in sorted(ends.items())]
            if self.lake.append(table, rows, advances):
                reached[table].update(ends)
        counts["commits"] += len(chunk)
        counts["rows"] += sum(item.count for item in chunk)

    def _lacking(self, commit: Commit, reached: Mapping[str, int]) -> bool:
        """Whether a table lacks a commit."""
        return _end(commit) > reached.get(self._app(commit), 0)

    def _check_cut(self, commit: Commit, reached: Mapping[str, int]) -> None:
        """Refuse a commit that was lost and made again with another end than a table holds."""
        place = reached.get(self._app(commit), 0)
        if commit.first < place < commit.next:
            where = f"{folder(commit.partition, commit.epoch)}{commit.first}"
            raise ContractBroken(f"commits/{where} ends at {commit.next}, but the lake holds events up to {place}")

    def _app(self, commit: Commit) -> str:
        return self.app((commit.partition, commit.epoch))

    def _keep_house(self, counts: dict[str, int]) -> None:
        today = self.clock.now_ms() // DAY_MS
        counts["merged"] = self.lake.merge(today)
        counts["vacuumed"] = self.lake.vacuum(self.retain_h, self.keep())
        if self.retain_days > 0:
            retention = Retention(self.task, self.blobs, self.lake)
            counts["removed"] = retention.remove(self.clock.now_ms() - int(self.retain_days * DAY_MS))
        self.blobs.write(*self._marker, str(today).encode())

    def _due(self) -> bool:
        """Whether a day has begun since files were merged last."""
        raw = self.blobs.read(*self._marker)
        return raw is None or raw != str(self.clock.now_ms() // DAY_MS).encode()

    @property
    def _marker(self) -> tuple[str, str]:
        return "progress", f"lake-{self.task.scenario.name}.day"


def transaction(scenario: str, place: Place) -> str:
    """Application id of a partition's epoch in the tables' logs."""
    return f"{scenario}/{place[0]:02d}/{place[1]:05d}"


def _end(commit: Commit) -> int:
    """Where the transaction of a table stands that holds everything up to a commit."""
    return commit.next + commit.closes


def rebuild(lake: Lake, task: Task, partition: int) -> State:
    """A partition's state, folded from the lake alone by the very step that made it.

    Raises:
        ContractBroken: The lake lacks rows of a commit, or a whole commit.
    """
    state = task.empty(partition)
    for commit, batch, predictions in lake.stored(lake.commits(partition)):
        if commit.epoch > state.epoch:
            state.epoch, state.next = commit.epoch, 0
        if commit.follows != state.next:
            where = f"partition {partition}, epoch {commit.epoch}"
            raise ContractBroken(f"lake: {where}: events {state.next} to {commit.follows - 1} are in no commit")
        state.expired += commit.first - commit.follows  # neither a commit nor the hub could give these back
        state.next = commit.first
        replay(task, state, commit, batch, predictions)
    return state
