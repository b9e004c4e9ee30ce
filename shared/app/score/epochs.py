"""The lives of a hub: where a partition begins in one, when it was created anew, and which events the old one left.

An epoch is closed by a commit of its own before the next one begins: its name is the place that a worker which has not
heard of the new hub would commit at.
"""

from __future__ import annotations

import logging

from shared.app.score.committing import commit_nothing
from shared.app.score.context import ScoringContext
from shared.core.stream.events import NEW_HUB_MS, Event
from shared.core.task.state import State

log = logging.getLogger(__name__)


def anew(state: State, event: Event) -> bool:
    """Whether an event is of a newer hub: its number was seen before, yet it was enqueued later than anything seen."""
    return event.sequence < state.next and event.enqueued_ms > state.enqueued_ms >= 0


def _goes_on(state: State, event: Event) -> bool:
    """Whether an event is the next one of the same hub: of another one it would come after a pause."""
    return event.sequence == state.next and (state.next == 0 or event.enqueued_ms - state.enqueued_ms < NEW_HUB_MS)


def enter(context: ScoringContext, state: State, event: Event) -> bool:
    """Bring a partition into the hub that an event is of; False when another worker was first.

    Args:
        context: What the partition works with.
        state: The partition with all that is committed.
        event: The next one at hand.
    """
    if not anew(state, event) and (event.sequence < state.next or _goes_on(state, event)):
        return True
    oldest = context.stream.oldest(state.partition) or event
    began_ms = min(oldest.enqueued_ms, event.enqueued_ms)
    if anew(state, event) or (anew(state, oldest) and began_ms == oldest.enqueued_ms):
        log.warning("partition %d: the hub was created anew, epoch %d begins", state.partition, state.epoch + 1)
        return commit_nothing(context, state, state.next, began_ms)
    begin = min(oldest.sequence, event.sequence)
    if begin and state.enqueued_ms < 0:  # nothing was ever committed: what the hub forgot before was not for us
        log.warning("partition %d: begins with event %d, the oldest that the hub has", state.partition, begin)
        return commit_nothing(context, state, begin, began_ms)
    return True
