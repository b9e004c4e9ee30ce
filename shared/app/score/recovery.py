"""Recovering a partition: from a snapshot or the lake, then from its commits, and what these lack from the hub."""

from __future__ import annotations

import logging
from typing import Any

from shared.app.score.committing import commit, give_receipts, run_of
from shared.app.score.context import ScoringContext
from shared.app.score.referenced import read_referenced
from shared.app.score.stored_answers import replay
from shared.core.stream.commit import Commit, place_of
from shared.core.stream.events import Event
from shared.core.task.state import State
from shared.core.task.versions import bring
from shared.errors import StateConflict

log = logging.getLogger(__name__)
READ_BACK = 500


def recovered(context: ScoringContext, partition: int) -> State:
    """A partition's state as its commits tell it."""
    found = context.snapshots.newest(partition) or context.rebuild(partition)
    state = context.task.empty(partition) if found is None else found
    catch_up(context, state)
    bring(context.task, state, context.task.version)  # with its next commit this is so for all
    return state


def catch_up(context: ScoringContext, state: State) -> None:
    """Fold the commits that stand after the state."""
    for name in context.blobs.names("commits", f"partition={state.partition:02d}/"):
        epoch, first = place_of(name)
        if (epoch, first) < (state.epoch, state.next):
            continue
        if epoch > state.epoch:
            state.epoch, state.next = epoch, 0
        _replay(context, state, name, first)


def missing(context: ScoringContext, state: State, end: int) -> list[Event]:
    """Skipped events from the hub, so many as memory may hold; what it no longer has is counted as expired."""
    end = min(end, state.next + READ_BACK)
    found = list(context.stream.read(state.partition, state.next, end))
    log.warning("partition %d: %d of events %d to %d read back", state.partition, len(found), state.next, end - 1)
    begin = found[0].sequence if found else end
    if begin > state.next:
        _expire(state, begin)
    return found


def _expire(state: State, until: int) -> None:
    log.error("partition %d: events %d to %d are lost: no commit, no hub", state.partition, state.next, until - 1)
    state.expired += until - state.next
    state.next = until


def _replay(context: ScoringContext, state: State, name: str, first: int) -> None:
    found, batch = read_referenced(context.blobs, "commits", name, context.files.decode_commit)
    while found.follows > state.next:
        _refill(context, state, found.follows)
    if first > state.next:
        _expire(state, first)
    replay(context.task, state, found, batch, _predictions(context, found))
    give_receipts(context, state, batch)
    context.snapshots.replayed(state.partition)


def _refill(context: ScoringContext, state: State, end: int) -> None:
    """Commit again what a lost commit held."""
    follows, events = state.next, missing(context, state, end)
    while events:
        run = run_of(context, events)
        if not commit(context, state, run, follows, state.version):
            raise StateConflict(f"partition {state.partition}: another worker fills the gap before event {end}")
        context.snapshots.replayed(state.partition)
        follows, events = state.next, events[len(run) :]


def _predictions(context: ScoringContext, found: Commit) -> dict[str, Any] | None:
    if found.predictions is None:
        return None
    return read_referenced(context.blobs, "predictions", found.predictions, context.files.read_predictions)
