"""Looking back into partitions: which commit made a forecast, and the state as it was just before a commit.

Only commits count: predictions that no commit names do not exist. What was removed after compaction is read from the
lake where there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Protocol

import numpy as np

from shared.app import snapshots
from shared.app.forecast_name import ForecastName, hour_text
from shared.app.replay import Stored, control_of
from shared.core import snapshot
from shared.core.commit import Commit, commit_name, partition_in, place_of
from shared.core.events import Batch, partition_of
from shared.core.state import State
from shared.core.step import Machine, step
from shared.errors import ContractBroken
from shared.ports import BlobReader, Files, Lake

log = logging.getLogger(__name__)
Place = tuple[int, int]  # epoch, first sequence number of a commit
Predictions = dict[str, Any]


class Archive(Lake, Protocol):
    """A lake that also finds forecasts."""

    def places(self, device: str, as_of: int) -> list[tuple[int, int, int]]:
        """Partition, epoch and sequence number of every forecast of a device's as-of hour, without repetition."""

    def made(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """Forecasts, and how many of them users saw, by model version and role."""


@dataclass(frozen=True, slots=True)
class Step:
    """A commit with everything that its step took and gave.

    Args:
        name: The commit's name.
        commit: Its metadata.
        batch: Its readings.
        predictions: Its forecasts as columns, None when it made none.
    """

    name: str
    commit: Commit
    batch: Batch
    predictions: Predictions | None

    @property
    def place(self) -> Place:
        """Where it stands in its partition."""
        return self.commit.epoch, self.commit.first


@dataclass(frozen=True, slots=True)
class Found:
    """A forecast where it stands.

    Args:
        step: The commit that made it.
        row: Its row in the commit's predictions.
    """

    step: Step
    row: int

    def column(self, name: str) -> Any:
        """The row's value in a column of the predictions."""
        assert self.step.predictions is not None  # noqa: S101 - there is a row
        return self.step.predictions[name][self.row]


@dataclass(frozen=True, slots=True)
class Before:
    """A partition just before a commit.

    Args:
        state: The state.
        begin: Snapshot it was rebuilt from, "" for the first commit.
        folded: Commits folded since.
        from_lake: How many of these came from the lake.
    """

    state: State
    begin: str
    folded: int
    from_lake: int


@dataclass(frozen=True, slots=True)
class Past:
    """What was committed.

    Args:
        machine: Scenario and features.
        blobs: Commits, predictions and snapshots.
        files: Reads them.
        lake: Has what was removed, None without one.
        partitions: How many partitions the hub has; None looks for a device in all that there are.
    """

    machine: Machine
    blobs: BlobReader
    files: Files
    lake: Archive | None = None
    partitions: int | None = None

    def find(self, wanted: ForecastName) -> Found:
        """The forecast that is meant.

        Raises:
            ContractBroken: There is none, or a blob is gone or damaged; the message says what there is.
        """
        there = self._partitions()
        likely = [partition_of(wanted.device, self.partitions)] if self.partitions else there
        # What is not in the lake yet is newest; a recreated hub may have had another number of partitions.
        for search in (
            *(partial(self._in_blobs, partition) for partition in likely),
            self._in_lake,
            *(partial(self._in_blobs, partition) for partition in there if partition not in likely),
        ):
            if found := search(wanted):
                return found
        raise ContractBroken(self._missing(wanted, there))

    def before(self, target: Step) -> Before:
        """The state that a commit's step began with.

        Raises:
            ContractBroken: A commit that is needed was removed or is damaged; the message names it.
        """
        partition = target.commit.partition
        state, begin = self._snapshot(partition, target)
        first = state.epoch, state.next
        names = [name for name in self._landed(partition) if first <= place_of(name) < target.place]
        folded = from_lake = 0
        for landed in chain(map(self.read, names), [target]):
            for item in chain(self._gap(state, landed), [landed]):
                if not _enter(state, item.commit):
                    raise ContractBroken(self._broken(state, target, begin))
                if item is not target:
                    self._fold(state, item)
                    folded, from_lake = folded + 1, from_lake + (item is not landed)
        return Before(state, begin, folded, from_lake)

    def read(self, name: str) -> Step:
        """A landed commit.

        Raises:
            ContractBroken: It or its predictions are gone or damaged.
        """
        commit, batch = self._decoded("commits", name, self.files.decode_commit)
        predictions = None
        if commit.predictions is not None:
            predictions = self._decoded("predictions", commit.predictions, self.files.read_predictions)
        return Step(name, commit, batch, predictions)

    def commit(self, name: str) -> Commit:
        """A landed commit's metadata.

        Raises:
            ContractBroken: It is gone or damaged.
        """
        commit: Commit = self._decoded("commits", name, self.files.decode_commit)[0]
        return commit

    def outside_the_lake(self) -> Iterator[str]:
        """Names of landed commits that are not in the lake."""
        for partition in self._partitions():
            yield from self._outside(partition)

    def _outside(self, partition: int) -> list[str]:
        known = {name for name, _ in self.lake.commits(partition)} if self.lake else set()
        return [name for name in self._landed(partition) if name not in known]

    def _decoded(self, container: str, name: str, decode: Any) -> Any:
        raw = self.blobs.read(container, name)
        if raw is None:
            raise ContractBroken(f"{container}/{name} is gone, but a list or a commit names it")
        try:
            return decode(raw)
        except ContractBroken as error:
            raise ContractBroken(f"{container}/{name}: {error}") from error

    def _partitions(self) -> list[int]:
        return sorted({partition_in(name) for name in self.blobs.names("commits")})

    def _landed(self, partition: int) -> list[str]:
        """Names of a partition's landed commits, oldest first."""
        return sorted(self.blobs.names("commits", f"partition={partition:02d}/"), key=place_of)

    def _in_blobs(self, partition: int, wanted: ForecastName) -> Found | None:
        """The forecast among those outside the lake, looked for from the newest on: revisions rise with commits."""
        landed = set(self._outside(partition))
        made = [(_maker(name), name) for name in self.blobs.names("predictions", f"partition={partition:02d}/")]
        for maker, name in sorted(made, key=lambda pair: place_of(pair[0]), reverse=True):
            if maker in landed and self._may_hold(name, wanted):
                if found := _row(self.read(maker), wanted):
                    return found
        return None

    def _may_hold(self, name: str, wanted: ForecastName) -> bool:
        """Whether predictions hold the forecast; only the commit tells whether they count, and if damaged, matter."""
        try:
            return bool(_rows(self.files.read_predictions(self.blobs.read("predictions", name) or b""), wanted))
        except ContractBroken:
            return True

    def _in_lake(self, wanted: ForecastName) -> Found | None:
        places = self.lake.places(wanted.device, wanted.as_of) if self.lake else []
        for partition, epoch, sequence in sorted(places, key=lambda place: place[1:], reverse=True):
            assert self.lake is not None  # noqa: S101 - it gave the places
            held = [
                named
                for named in self.lake.commits(partition, (epoch, 0))
                if named[1].epoch == epoch and named[1].first <= sequence < named[1].next
            ]
            for item in self._kept(held):
                if found := _row(item, wanted):
                    return found
        return None

    def _kept(self, named: Sequence[tuple[str, Commit]]) -> Iterator[Step]:
        """Commits of the lake, from their blobs where these are still there."""
        for name, commit in named:
            if self.blobs.read("commits", name) is not None:
                yield self.read(name)
            else:
                yield from self._archived([(name, commit)])

    def _archived(self, named: Sequence[tuple[str, Commit]]) -> Iterator[Step]:
        assert self.lake is not None  # noqa: S101 - it gave the names
        for (name, _), (commit, batch, predictions) in zip(named, self.lake.stored(named), strict=True):
            yield Step(name, commit, batch, predictions)

    def _missing(self, wanted: ForecastName, owners: Sequence[int]) -> str:
        known = [f"commits/{name}" for partition in owners for name in self._landed(partition)[:1]]
        begin = f"the oldest commits still there are {', '.join(known)}" if known else "there are no commits"
        lake = "" if self.lake else "; what was removed may be in the lake, which was not looked into"
        return f"no such forecast: {_quoted(wanted)}; {begin}{lake}"

    def _snapshot(self, partition: int, target: Step) -> tuple[State, str]:
        """The newest whole snapshot taken before a commit, else the empty state."""
        for name in reversed(self.blobs.names(snapshots.CONTAINER, f"partition={partition:02d}/")):
            try:
                state = snapshot.decode(self.machine.scenario, self.blobs.read(snapshots.CONTAINER, name) or b"")
            except ContractBroken as error:
                log.warning("%s/%s is not used: %s", snapshots.CONTAINER, name, error)
                continue
            if (state.epoch, state.next) <= (target.commit.epoch, target.commit.follows):
                return state, f"{snapshots.CONTAINER}/{name}"
        return State.empty(self.machine.scenario, partition), ""

    def _gap(self, state: State, item: Step) -> Iterator[Step]:
        """What the lake holds between a state and a commit that does not follow on it."""
        if self.lake is None or _follows(state, item.commit):
            return
        held = self.lake.commits(item.commit.partition, (state.epoch, state.next))
        yield from self._archived([named for named in held if place_of(named[0]) < item.place])

    def _fold(self, state: State, item: Step) -> None:
        answers = Stored(item.predictions, partial=state.expired > 0)
        step(self.machine, state, item.batch, control_of(item.commit), answers).put(state)

    def _broken(self, state: State, target: Step, begin: str) -> str:
        lost = commit_name(target.commit.partition, state.epoch, state.next)
        since = f"the snapshot {begin}" if begin else "the first commit"
        lake = "also from the lake" if self.lake else "and the lake was not looked into"
        return f"the state before commits/{target.name} cannot be rebuilt from {since}: commits/{lost} is gone, {lake}"


def _follows(state: State, commit: Commit) -> bool:
    """Whether a commit is the next one on a state; every epoch has commits, so none begins behind an empty one."""
    if commit.epoch == state.epoch + 1:
        return state.next > 0 and commit.follows == 0
    return (commit.epoch, commit.follows) == (state.epoch, state.next)


def _enter(state: State, commit: Commit) -> bool:
    """Bring a state to where a commit begins, over what had expired before it; False when it does not follow."""
    if not _follows(state, commit):
        return False
    state.expired += commit.first - commit.follows
    state.epoch, state.next = commit.epoch, commit.first
    return True


def _row(item: Step, wanted: ForecastName) -> Found | None:
    """The wanted forecast among a commit's predictions: of the newest revision there unless one is wanted."""
    found = item.predictions
    rows = [] if found is None else _rows(found, wanted)
    return Found(item, max(rows, key=lambda row: int(found["revision"][row]))) if found and rows else None


def _rows(found: Predictions, wanted: ForecastName) -> list[int]:
    """Rows of a forecast, of every revision unless one is wanted."""
    rows = np.flatnonzero(found["as_of"] == wanted.as_of).tolist()
    return [row for row in rows if found["device_id"][row] == wanted.device and _fits(found, row, wanted)]


def _maker(name: str) -> str:
    """Name of the commit in whose step predictions were made."""
    return f"{name.rsplit('-', 1)[0]}.parquet"


def _fits(found: Predictions, row: int, wanted: ForecastName) -> bool:
    if wanted.revision is not None and int(found["revision"][row]) != wanted.revision:
        return False
    return bool(found["served"][row]) if wanted.role is None else bool(found["role"][row] == wanted.role)


def _quoted(wanted: ForecastName) -> str:
    revision = "" if wanted.revision is None else f" revision {wanted.revision}"
    return f"device {wanted.device[:80]!a} as of {hour_text(wanted.as_of)}{revision}, {wanted.role or 'served'}"
