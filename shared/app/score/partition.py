"""One partition: its state in memory, moved forward batch by batch, each made durable by one commit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.app.left_behind import left_behind
from shared.app.score import epochs, recovery, removed
from shared.app.score.committing import commit, run_of
from shared.app.score.context import ScoringContext
from shared.core.stream.commit import commit_name
from shared.core.stream.events import Event
from shared.core.task.state import State

HELD_MS = 10_000  # how long nobody is taken to have removed anything since it was last looked for


@dataclass
class Partition:
    """Exactly-once effects of an at-least-once trigger, for one partition.

    Args:
        number: Number of the partition.
        context: What it works with.
        dropped: Events that came from a hub which is gone, since this worker began.
    """

    number: int
    context: ScoringContext
    state: State | None = None
    dropped: int = 0
    _held_ms: int = 0
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
            self._held_ms = self.context.clock.now_ms()
            self.state = recovery.recovered(self.context, self.number)
        return self.state

    def _take(self, events: list[Event]) -> None:
        caught_up = False
        while events:
            if self.state is not None and self._outlived(self.state):
                self.state = None
            caught_up |= self.state is None
            state = self.recovered()
            if not caught_up and (events[0].sequence > state.next or epochs.anew(state, events[0])):
                state = self.state = recovery.catch_up(self.context, state)  # another owner may have been here
                caught_up = True
            if not epochs.enter(self.context, state, events[0]):
                self.state = None
                continue
            events = self._fitting(state, events)
            if events:
                events = self._process(state, events)

    def _outlived(self, state: State) -> bool:
        """Whether commits that stand after it may have been removed; looked for only when it was not for a while."""
        now = self.context.clock.now_ms()
        held = 0 <= now - self._held_ms < HELD_MS
        self._held_ms = self._held_ms if held else now
        return not held and removed.before(self.context.blobs, state)

    def _fitting(self, state: State, events: Sequence[Event]) -> list[Event]:
        """Events that are not folded yet and of the hub as it is."""
        events = [event for event in events if event.sequence >= state.next]
        gone = left_behind(self.context.stream, self.number, events, state.enqueued_ms if state.epoch else -1)
        self.dropped += len(gone)
        return [event for event in events if event.sequence not in gone]

    def _process(self, state: State, events: list[Event]) -> list[Event]:
        """Commit a first run of events; returns what remains to be done."""
        follows, expired = state.next, state.expired
        while events[0].sequence > state.next:
            first = events[0]
            events = [*recovery.missing(self.context, state, first.sequence, first.enqueued_ms), *events]
        if state.expired > expired and recovery.committed(self.context, state, follows):
            self.state = None  # what the hub has forgotten was committed by another worker since we caught up
            return events
        run = run_of(self.context, events)
        done = commit(self.context, state, run, follows)
        if done and not self._outlived(state):
            self.context.profiles.consider(state, due=self.context.snapshots.consider(state))
            return events[len(run) :]
        self.state = None  # another worker committed this place: catch up, then go on with what remains
        if done:  # it slept over its commit: the lake holds this place, whose name was free because it was removed
            self.context.blobs.delete("commits", commit_name(self.number, state.epoch, run[0].sequence))
        return events
