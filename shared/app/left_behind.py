"""Events of a hub that is gone, in the hands of a worker that was held up while the hub was created anew."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from shared.core.stream.events import NEW_HUB_MS, Event
from shared.ports import Stream

log = logging.getLogger(__name__)


def left_behind(stream: Stream, partition: int, events: Sequence[Event], newest_ms: int) -> set[int]:
    """Which events are of a hub that is gone: older than what is known, and the hub has nothing or others there.

    The hub is asked, because the clocks of its own machines may differ by a little.

    Args:
        stream: The hub.
        partition: Of which the events are said to be.
        events: In the order of their sequence numbers, none of them known yet.
        newest_ms: When the newest event that is known was enqueued; -1 where the hub was never created anew.

    Returns:
        Their sequence numbers.
    """
    old = [event for event in events if event.enqueued_ms < newest_ms]
    if not old:
        return set()
    there = {event.sequence: event for event in stream.read(partition, old[0].sequence, old[-1].sequence + 1)}
    gone = {event.sequence for event in old if not _same(event, there.get(event.sequence))}
    if gone:
        words = "partition %d: %d events from %d on are dropped: they are of a hub that is gone"
        log.error(words, partition, len(gone), min(gone))
    return gone


def _same(event: Event, there: Event | None) -> bool:
    """Whether the hub has this very event; a new hub may have another one there that says the same."""
    return there is not None and there.body == event.body and abs(there.enqueued_ms - event.enqueued_ms) < NEW_HUB_MS
