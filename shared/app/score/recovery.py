"""Recovering a partition: from a snapshot or the lake, then from its commits, and what these lack from the hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from shared.app.score import removed, snapshots
from shared.app.score.committing import commit, commit_nothing, give_receipts, run_of
from shared.app.score.context import ScoringContext
from shared.app.score.referenced import read_referenced
from shared.app.score.removed import Mark, mark_of
from shared.app.score.stored_answers import replay
from shared.core.profile.merged import Profile
from shared.core.stream.commit import Commit, folder, place_of
from shared.core.stream.events import Event
from shared.core.task.calendar import NO_HOUR
from shared.core.task.state import State
from shared.core.task.versions import at, bring
from shared.errors import ContractBroken, StateConflict

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
    """Fold the commits that stand after the state.

    Raises:
        StateConflict: Retention removed some of them meanwhile; whoever looks again finds what holds them now.
        ContractBroken: One of them is damaged, or a blob that it names is.
    """
    try:
        _fold_all(context, state)
    except ContractBroken as error:
        if not removed.before(context.blobs, state):
            raise
        raise StateConflict(f"partition {state.partition}: commits were removed while they were read") from error


def _fold_all(context: ScoringContext, state: State) -> None:
    for name in context.blobs.names("commits", f"partition={state.partition:02d}/"):
        epoch, first = place_of(name)
        if (epoch, first) < (state.epoch, state.next):
            continue
        if epoch > state.epoch:
            state.epoch, state.next = epoch, 0
        _replay(context, state, name, first)


def mend(context: ScoringContext, partition: int, epoch: int, following: int) -> None:
    """Fold events of lost commits again, as far as the hub has them, whoever has gone on meanwhile.

    Args:
        context: What the partition works with.
        partition: Its number.
        epoch: Where the first lost commit was.
        following: Its first event.
    """
    for state in _before(context, partition, Mark(epoch, following)):
        _fold(context, state)
        if _filled(context, partition, epoch, following):
            return


def _before(context: ScoringContext, partition: int, gap: Mark) -> Iterator[State]:
    """States from before a gap, the newest first; one of an owner who knew the lost commit passes the gap by."""
    mark = mark_of(context.blobs, partition)
    for _, state in snapshots.whole(context.task, context.blobs, partition):
        if mark <= Mark(state.epoch, state.next) <= gap:
            yield state
    rebuilt = context.rebuild(partition)  # older versions removed commits and left no mark: the lake knows
    if rebuilt is not None or mark == Mark():
        yield rebuilt or context.task.empty(partition)


def _filled(context: ScoringContext, partition: int, epoch: int, following: int) -> bool:
    """Whether the first commit that begins at an event or after it also follows what stands before the event."""
    names = context.blobs.names("commits", folder(partition, epoch))
    name = next((name for name in names if place_of(name) >= (epoch, following)), None)
    if name is None:
        return True
    found, _ = read_referenced(context.blobs, "commits", name, context.files.decode_commit)
    return bool(found.follows <= following)


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


def committed(context: ScoringContext, state: State, follows: int) -> bool:
    """Whether a commit stands between an event and the one that a state expects next."""
    names = context.blobs.names("commits", f"partition={state.partition:02d}/")
    return any((state.epoch, follows) <= place_of(name) < (state.epoch, state.next) for name in names)


def outrun(context: ScoringContext, found: Profile) -> bool:
    """Whether commits after a partition's profile speak of newer hours: where a fast stream ends, none is due later.

    Where some of them may have been removed, nothing here tells what they spoke of.
    """
    if Mark(found.epoch, found.next) < mark_of(context.blobs, found.partition):
        return True
    newest = int(found.devices.head.max(initial=NO_HOUR))
    return any(hour > newest for hour in _hours_since(context, found))


def _hours_since(context: ScoringContext, found: Profile) -> Iterator[int]:
    """The newest hour of each commit that reaches beyond a profile and can be read, the newest commit first.

    One that was lost and made again in another cut may begin before the profile's place.
    """
    place = found.epoch, found.next
    for name in reversed(context.blobs.names("commits", f"partition={found.partition:02d}/")):
        try:
            made, batch = read_referenced(context.blobs, "commits", name, context.files.decode_commit)
        except ContractBroken as error:  # whoever recovers the partition stops there; a look at it goes on
            log.warning("a profile is not compared with what came after it: %s", error)
            continue
        if made.after <= place:
            return
        cadence = at(context.task, made.version).scenario.cadence
        yield int(batch.minute.max(initial=NO_HOUR)) // cadence.ticks // cadence.hour


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
    """Commit again what was lost before a commit; of an epoch that it closes the hub has nothing any more.

    Where the hub has nothing of it, a commit says so: the lake ends at a gap that nobody answers for.
    """
    follows, expired, version = state.next, state.expired, state.version
    events = missing(context, state, found.follows, -1 if found.closes else found.enqueued_ms)
    if not events and state.next == found.follows and state.enqueued_ms >= 0:
        state.next, state.expired = follows, expired
        when = found.enqueued_ms
        _first(commit_nothing(context, state, found.follows, when, version=version, lost=True), found)
    while events:
        run = run_of(context, events)
        _first(commit(context, state, run, follows, version), found)
        context.snapshots.replayed(state.partition)
        follows, events = state.next, events[len(run) :]


def _first(done: bool, found: Commit) -> None:
    if not done:
        raise StateConflict(f"partition {found.partition}: another worker fills the gap before event {found.follows}")


def _predictions(context: ScoringContext, found: Commit) -> dict[str, Any] | None:
    if found.predictions is None:
        return None
    return read_referenced(context.blobs, "predictions", found.predictions, context.files.read_predictions)
