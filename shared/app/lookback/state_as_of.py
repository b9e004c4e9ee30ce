"""A partition's state as it was just before a commit, from snapshot, landed commits and the lake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from shared.app.lookback.commit_history import CommitHistory, Step
from shared.app.score import snapshots
from shared.app.score.stored_answers import replay
from shared.core.stream.commit import Commit, commit_name, place_of
from shared.core.task.state import State
from shared.errors import ContractBroken


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


def state_before(history: CommitHistory, target: Step) -> Before:
    """The state that a commit's step began with.

    Raises:
        ContractBroken: A commit that is needed was removed or is damaged; the message names it.
    """
    partition = target.commit.partition
    state, begin = _snapshot(history, partition, target)
    first = state.epoch, state.next
    names = [name for name in history.landed(partition) if first <= place_of(name) < target.place]
    folded = from_lake = 0
    for landed in chain(map(history.read, names), [target]):
        for item in chain(_gap(history, state, landed), [landed]):
            if not _enter(state, item.commit):
                raise ContractBroken(_broken(history, state, target, begin))
            if item is not target:
                replay(history.task, state, item.commit, item.batch, item.predictions)
                folded, from_lake = folded + 1, from_lake + (item is not landed)
    return Before(state, begin, folded, from_lake)


def _snapshot(history: CommitHistory, partition: int, target: Step) -> tuple[State, str]:
    """The newest whole snapshot taken before a commit, else the empty state."""
    for name, state in snapshots.whole(history.task, history.blobs, partition):
        if (state.epoch, state.next) <= (target.commit.epoch, target.commit.follows):
            return state, f"{snapshots.CONTAINER}/{name}"
    return history.task.empty(partition), ""


def _gap(history: CommitHistory, state: State, item: Step) -> Iterator[Step]:
    """What the lake holds between a state and a commit that does not follow on it."""
    if history.lake is None or _follows(state, item.commit):
        return
    held = history.lake.commits(item.commit.partition, (state.epoch, state.next))
    yield from history.archived([pair for pair in held if place_of(pair[0]) < item.place])


def _broken(history: CommitHistory, state: State, target: Step, begin: str) -> str:
    lost = commit_name(target.commit.partition, state.epoch, state.next)
    since = f"the snapshot {begin}" if begin else "the first commit"
    lake = "also from the lake" if history.lake else "and the lake was not looked into"
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
