"""Recovering a partition: from a snapshot or the lake, then from its commits, and what these lack from the hub."""

from __future__ import annotations

import logging
from typing import Any

from shared.app.score import removed
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
    found = context.snapshots.newest(partition)
    if found is None or removed.before(context.blobs, found):
        found = context.rebuild(partition) or found
    state = context.task.empty(partition) if found is None else found
    _fold(context, state)
    bring(context.task, state, context.task.version)  # with its next commit this is so for all
    return state


def catch_up(context: ScoringContext, state: State) -> State:
    """A partition with what others have committed since; recovered anew where some of that may have been removed."""
    if removed.before(context.blobs, state):
        return recovered(context, state.partition)
    _fold(context, state)
    return state


def _fold(context: ScoringContext, state: State) -> None:
    """Fold the commits that stand after the state."""
    for name in context.blobs.names("commits", f"partition={state.partition:02d}/"):
        epoch, first = place_of(name)
        if (epoch, first) < (state.epoch, state.next):
            continue
        if epoch > state.epoch:
            state.epoch, state.next = epoch, 0
        _replay(context, state, name, first)


def missing(context: ScoringContext, state: State, end: int, before_ms: int) -> list[Event]:
    """Skipped events from the hub, so many as memory may hold; what it no longer has is counted as expired.

    Args:
        context: What the partition works with.
        state: The partition, which moves on over what has expired.
        end: Sequence number of the first event that is not missing.
        before_ms: When that one was enqueued; a hub whose oldest event is newer is another one and has nothing of it.
    """
    oldest, begin = context.stream.oldest(state.partition), end
    if oldest is not None and oldest.enqueued_ms <= before_ms:
        begin = min(max(oldest.sequence, state.next), end)
    if begin > state.next:
        _expire(state, begin)
    end = min(end, begin + READ_BACK)
    if begin == end:
        return []
    found = list(context.stream.read(state.partition, begin, end))
    log.warning("partition %d: %d of events %d to %d read back", state.partition, len(found), begin, end - 1)
    return found


def _expire(state: State, until: int) -> None:
    log.error("partition %d: events %d to %d are lost: no commit, no hub", state.partition, state.next, until - 1)
    state.expired += until - state.next
    state.next = until


def _replay(context: ScoringContext, state: State, name: str, first: int) -> None:
    found, batch = read_referenced(context.blobs, "commits", name, context.files.decode_commit)
    while found.follows > state.next:
        _refill(context, state, found)
    if first > state.next:
        _expire(state, first)
    replay(context.task, state, found, batch, _predictions(context, found))
    give_receipts(context, state, batch)
    context.snapshots.replayed(state.partition)


def _refill(context: ScoringContext, state: State, found: Commit) -> None:
    """Commit again what was lost before a commit; of an epoch that it closes the hub has nothing any more."""
    follows, before_ms = state.next, -1 if found.closes else found.enqueued_ms
    events = missing(context, state, found.follows, before_ms)
    while events:
        run = run_of(context, events)
        if not commit(context, state, run, follows, state.version):
            raise StateConflict(f"partition {state.partition}: another worker fills the gap before {found.follows}")
        context.snapshots.replayed(state.partition)
        follows, events = state.next, events[len(run) :]


def _predictions(context: ScoringContext, found: Commit) -> dict[str, Any] | None:
    if found.predictions is None:
        return None
    return read_referenced(context.blobs, "predictions", found.predictions, context.files.read_predictions)
