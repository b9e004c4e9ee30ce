"""One partition: its state in memory, moved forward batch by batch, each made durable by one commit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.app.score import recovery
from shared.app.score.committing import commit, run_of
from shared.app.score.context import ScoringContext
from shared.core.stream.events import Event
from shared.core.task.state import State

log = logging.getLogger(__name__)


@dataclass
class Partition:
    """Exactly-once effects of an at-least-once trigger, for one partition.

    Args:
        number: Number of the partition.
        context: What it works with.
    """

    number: int
    context: ScoringContext
    state: State | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, events: Sequence[Event]) -> None:
        """Fold events in the order of their sequence numbers; those already folded are skipped.

        Raises:
            TransientFailure: A store did not answer; nothing of the unfinished part remains in memory.
            ContractBroken: A stored blob or a model's output is not what it must be.
        """
        with self._lock:
            try:
                self._take(list(events))
            except BaseException:
                self.state = None  # what is durable is in the commits: the next batch starts from there
                raise

    def recovered(self) -> State:
        """The state as the commits tell it, read from them unless it is in memory."""
        if self.state is None:
            self.state = recovery.recovered(self.context, self.number)
        return self.state

    def _take(self, events: list[Event]) -> None:
        while events:
            state = self.recovered()
            self._begin_epoch(state, events[0])
            if events[0].sequence > state.next:  # another owner may have been here, and the hub may have forgotten
                recovery.catch_up(self.context, state)
            events = [event for event in events if event.sequence >= state.next]
            if events:
                events = self._process(state, events)

    def _begin_epoch(self, state: State, event: Event) -> None:
        """A sequence number seen before, but enqueued later than anything seen: the hub was created anew."""
        if event.sequence < state.next and event.enqueued_ms > state.enqueued_ms >= 0:
            log.warning("partition %d: the hub was created anew, epoch %d begins", self.number, state.epoch + 1)
            state.epoch, state.next = state.epoch + 1, 0

    def _process(self, state: State, events: list[Event]) -> list[Event]:
        """Commit a first run of events; returns what remains to be done."""
        follows = state.next
        while events[0].sequence > state.next:
            events = [*recovery.missing(self.context, state, events[0].sequence), *events]
        run = run_of(self.context, events)
        if commit(self.context, state, run, follows):
            self.context.profiles.consider(state, due=self.context.snapshots.consider(state))
            return events[len(run) :]
        self.state = None  # another worker committed this place: catch up, then go on with what remains
        return events
