"""One partition: its state in memory, moved forward batch by batch, each made durable by one commit."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from shared.app.score.latencies import Latencies
from shared.app.score.profiles import Profiles
from shared.app.score.referenced import read_referenced
from shared.app.score.serving import ChallengerFails, Serving
from shared.app.score.snapshots import Snapshots
from shared.app.score.stored_answers import replay
from shared.core.intake import dead_letters
from shared.core.intake.dead_letters import DeadLetter
from shared.core.intake.readings import Rejection
from shared.core.model.scoring import Control
from shared.core.scenario import Scenario
from shared.core.stream.commit import CONFLICT, Commit, commit_name, folder, place_of
from shared.core.stream.events import Batch, Event
from shared.core.stream.gathering import gather
from shared.core.task.state import Outcome, State
from shared.core.task.task import Task, names_of
from shared.errors import BadEvent, StateConflict
from shared.ports import Blobs, Clock, Files, Stream

log = logging.getLogger(__name__)
READING_BYTES = 14
READ_BACK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringContext:
    """What all partitions share.

    Args:
        task: What is asked and answered.
        blobs: Where commits, predictions and dead letters go.
        files: How commits and predictions are written.
        stream: The hub, to read back what no commit covers.
        serving: Who answers.
        snapshots: Where recovery begins.
        profiles: What others watch.
        ended: Called with the state and the source after a source's end marker was committed.
        batch_rows: Most readings in one commit, about.
        clock: Says how long a forecast took.
        latencies: How long recent ones took, for the health route.
        rebuild: A partition's state from the lake, None when that holds nothing of it; asked when no snapshot is whole,
            because the first commits may have been removed once they were in the lake.
    """

    task: Task
    blobs: Blobs
    files: Files
    stream: Stream
    serving: Serving
    snapshots: Snapshots
    profiles: Profiles
    ended: Callable[[State, str], None]
    batch_rows: int
    clock: Clock
    latencies: Latencies
    rebuild: Callable[[int], State | None] = lambda _: None


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
            found = self.context.snapshots.newest(self.number) or self.context.rebuild(self.number)
            state = self.context.task.empty(self.number) if found is None else found
            self._catch_up(state)
            self.state = state
        return self.state

    def _take(self, events: list[Event]) -> None:
        while events:
            state = self.recovered()
            self._begin_epoch(state, events[0])
            if events[0].sequence > state.next:  # another owner may have been here, and the hub may have forgotten
                self._catch_up(state)
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
            events = [*self._missing(state, events[0].sequence), *events]
        run = _run(events, self.context)
        if self._commit(state, run, follows):
            self.context.profiles.consider(state, due=self.context.snapshots.consider(state))
            return events[len(run) :]
        self.state = None  # another worker committed this place: catch up, then go on with what remains
        return events

    def _missing(self, state: State, end: int) -> list[Event]:
        """Skipped events from the hub, so many as memory may hold; what it no longer has is counted as expired."""
        end = min(end, state.next + READ_BACK)
        found = list(self.context.stream.read(self.number, state.next, end))
        log.warning("partition %d: %d of events %d to %d read back", self.number, len(found), state.next, end - 1)
        begin = found[0].sequence if found else end
        if begin > state.next:
            self._expire(state, begin)
        return found

    def _expire(self, state: State, until: int) -> None:
        log.error("partition %d: events %d to %d are lost: no commit, no hub", self.number, state.next, until - 1)
        state.expired += until - state.next
        state.next = until

    def _catch_up(self, state: State) -> None:
        """Fold the commits that stand after the state."""
        names = self.context.blobs.names("commits", f"partition={self.number:02d}/")
        for name in names:
            epoch, first = place_of(name)
            if (epoch, first) < (state.epoch, state.next):
                continue
            if epoch > state.epoch:
                state.epoch, state.next = epoch, 0
            self._replay(state, name, first)

    def _replay(self, state: State, name: str, first: int) -> None:
        commit, batch = read_referenced(self.context.blobs, "commits", name, self.context.files.decode_commit)
        while commit.follows > state.next:
            self._refill(state, commit.follows)
        if first > state.next:
            self._expire(state, first)
        replay(self.context.task, state, commit, batch, self._predictions(commit))
        self._receipts(state, batch)
        self.context.snapshots.replayed(self.number)

    def _refill(self, state: State, end: int) -> None:
        """Commit again what a lost commit held."""
        follows, missing = state.next, self._missing(state, end)
        while missing:
            run = _run(missing, self.context)
            if not self._commit(state, run, follows):
                raise StateConflict(f"partition {self.number}: another worker fills the gap before event {end}")
            self.context.snapshots.replayed(self.number)
            follows, missing = state.next, missing[len(run) :]

    def _predictions(self, commit: Commit) -> dict[str, Any] | None:
        if commit.predictions is None:
            return None
        blobs, files = self.context.blobs, self.context.files
        return read_referenced(blobs, "predictions", commit.predictions, files.read_predictions)

    def _commit(self, state: State, events: Sequence[Event], follows: int) -> bool:
        """Make one batch durable and put it into the state; False when somebody else was first."""
        context = self.context
        batch, bad = gather(self.number, state.epoch, events, names_of(context.task.row))
        control, outcome = self._scored(state, batch)
        name = commit_name(self.number, state.epoch, batch.first)
        raw = self._write(outcome, control, bad, follows)
        if not context.blobs.create("commits", name, raw) and context.blobs.read("commits", name) != raw:
            log.warning("partition %d: another worker committed event %d first", self.number, batch.first)
            return False
        outcome.put(state)
        context.latencies.add(context.clock.now_ms(), batch.born_ms)
        self._receipts(state, batch)
        return True

    def _scored(self, state: State, batch: Batch) -> tuple[Control, Outcome]:
        """The batch's change; a challenger that fails is left out of all of it, so that recovery finds one answer."""
        answering = self.context.serving.current()
        try:
            return answering.control, self.context.task.step(state, batch, answering.control, answering)
        except ChallengerFails as error:
            log.warning("partition %d: left out of a batch: %s", self.number, error)
        alone = answering.alone()
        return alone.control, self.context.task.step(state, batch, alone.control, alone)

    def _write(self, outcome: Outcome, control: Control, bad: Sequence[tuple[Event, BadEvent]], follows: int) -> bytes:
        """Write what the commit refers to, and return the commit itself."""
        context, batch = self.context, outcome.batch
        predictions = context.files.encode_predictions(outcome) if len(outcome.predictions) else None
        letters = [*_undecodable(self.number, bad), *_conflicts(outcome, context.task.scenario)]
        lost = dead_letters.encode(letters) if letters else None
        counts = {**outcome.counts(), "undecodable": len(bad), "predictions": len(outcome.predictions)}
        commit = Commit(
            partition=self.number,
            epoch=batch.epoch,
            first=batch.first,
            next=batch.next,
            follows=follows,
            enqueued_ms=batch.enqueued_ms,
            sources=list(batch.sources),
            ends=[(end.source, end.position) for end in batch.ends],
            champion=control.champion,
            challenger=control.challenger,
            quarantine=sorted(control.quarantine),
            predictions=self._put("predictions", batch, predictions, "parquet"),
            dead_letters=self._put("dead-letter", batch, lost, "jsonl"),
            counts=counts,
        )
        return context.files.encode_commit(commit, outcome)

    def _put(self, container: str, batch: Batch, data: bytes | None, kind: str) -> str | None:
        """Write a blob under a name that its content decides, so that a zombie cannot overwrite it."""
        if data is None:
            return None
        digest = hashlib.sha256(data).hexdigest()[:16]
        name = f"{folder(batch.partition, batch.epoch)}{batch.first:020d}-{digest}.{kind}"
        self.context.blobs.write(container, name, data)
        return name

    def _receipts(self, state: State, batch: Batch) -> None:
        for end in batch.ends:
            self.context.ended(state, batch.sources[end.source])


def _run(events: Sequence[Event], context: ScoringContext) -> Sequence[Event]:
    """The first events that follow each other and together hold about as many readings as one commit may."""
    limit = context.batch_rows * (READING_BYTES + 4 * len(context.task.row))
    count, size = 1, len(events[0].body)
    while count < len(events) and events[count].sequence == events[count - 1].sequence + 1:
        size += len(events[count].body)
        if size > limit:
            break
        count += 1
    return events[:count]


def _undecodable(partition: int, bad: Sequence[tuple[Event, BadEvent]]) -> list[DeadLetter]:
    source = f"readings/{partition}"
    return [
        dead_letters.letter(source, Rejection(event.sequence, error.reason, error.detail, event.body))
        for event, error in bad
    ]


def _conflicts(outcome: Outcome, scenario: Scenario) -> list[DeadLetter]:
    """Readings of a minute that already had another value, written out again as messages."""
    batch, (time, *_) = outcome.batch, scenario.names.time
    letters = []
    for row in np.flatnonzero(outcome.disposition == CONFLICT).tolist():
        values = {n: v for n, v in zip(scenario.channel_names, batch.values[row].tolist(), strict=True) if v == v}
        reading = {scenario.key: batch.devices[batch.device[row]], time: int(batch.minute[row]) * 60, **values}
        detail = "the device already sent another value for this minute; the first one counts"
        rejection = Rejection(int(batch.position[row]), "conflict", detail, msgspec.json.encode(reading))
        letters.append(dead_letters.letter(batch.sources[batch.source[row]], rejection))
    return letters
