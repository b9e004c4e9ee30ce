"""Messages of devices become readings of the one stream; what cannot be used goes to the dead-letter, with a reason."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from shared.app.left_behind import left_behind
from shared.core.intake import dead_letters, progress
from shared.core.intake.dead_letters import DeadLetter
from shared.core.intake.envelopes.packed import opened
from shared.core.intake.messages.decoding import Decoder
from shared.core.intake.messages.json_bodies import at_once
from shared.core.intake.progress import Day, Progress
from shared.core.intake.readings import Parsed, Rejection, joined
from shared.core.intake.values.dropped import warnings
from shared.core.scenario import Scenario
from shared.core.stream.events import HUB_PREFIX, NEW_HUB_MS, Event, split
from shared.core.stream.packing import pack
from shared.errors import PipelineError, StateConflict
from shared.ports import Blobs, Stream

log = logging.getLogger(__name__)
MINUTE_MS = 60_000
DAY_MS = 86_400_000
POISON_TRIES = 5
READ_BACK = 500
LOOK_AGAIN_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingContext:
    """What the routing of all partitions shares.

    Args:
        scenario: Says what a reading is.
        blobs: Where progress and dead letters go.
        devices: The devices' hub, to read back what the trigger skipped.
        readings: The hub "readings".
    """

    scenario: Scenario
    blobs: Blobs
    devices: Stream
    readings: Stream


@dataclass
class RoutePartition:
    """Routes one partition of the devices' hub: nothing lost, and repetitions recognisable by their positions.

    Args:
        number: Number of the partition.
        context: What it works with.
    """

    number: int
    context: RoutingContext
    _at: tuple[Progress, str | None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _failed: tuple[int, str, int] = (-1, "", 0)

    def __post_init__(self) -> None:
        self._decoder = Decoder(self.context.scenario)

    def take(self, events: Sequence[Event]) -> None:
        """Route messages in the order of their sequence numbers; those already routed are skipped.

        Raises:
            TransientFailure: A store or hub did not answer; the trigger delivers the batch again.
        """
        with self._lock:
            try:
                self._take(list(events))
            except BaseException:
                self._at = None  # what is durable is in the progress blob
                raise

    def status(self) -> dict[str, object]:
        """How far this worker has routed the partition, empty when it does not know."""
        at = self._at
        return {} if at is None else msgspec.json.decode(progress.encode(at[0]))

    @property
    def newest_day(self) -> Day | None:
        """What became of the values of the newest day, None where nothing is known or nothing was ever dropped."""
        at = self._at
        return at[0].days[-1] if at is not None and at[0].days and at[0].dropped else None

    def _take(self, events: list[Event]) -> None:
        while events:
            if self._at is not None and _may_be_stale(self._at[0], events[0]):
                self._at = None
            at, etag = self._progress()
            if self._of_a_newer_hub(at, events[0]):
                log.warning("devices' partition %d was created anew, epoch %d begins", self.number, at.epoch + 1)
                at = progress.anew(at)
            events = [event for event in events if event.sequence >= at.next]
            gone = left_behind(self.context.devices, self.number, events, at.enqueued_ms if at.epoch else -1)
            events = [event for event in events if event.sequence not in gone]
            if not events:
                return
            run, expired = events, 0
            if events[0].sequence > at.next:
                run, expired = self._skipped(at, events)
            run = run[: at_once(opened(event.body, event.told.encoding) for event in run)]
            last = self._route(at, etag, run, expired)
            events = [event for event in events if event.sequence > last]

    def _of_a_newer_hub(self, at: Progress, event: Event) -> bool:
        """Whether a hub was created anew; where the trigger may have skipped its beginning, the hub itself is asked."""
        goes_on = event.sequence == at.next and event.enqueued_ms - at.enqueued_ms < NEW_HUB_MS
        if event.sequence < at.next or goes_on or at.enqueued_ms < 0:
            return _anew(at, event)
        oldest = self.context.devices.oldest(self.number)
        return oldest is not None and oldest.enqueued_ms <= event.enqueued_ms and _anew(at, oldest)

    def _skipped(self, at: Progress, events: list[Event]) -> tuple[list[Event], int]:
        """The oldest that the hub still has of the messages skipped; else the ones at hand; and how many are lost.

        What a hub forgot before anything of it was ever routed was not for us, and is not lost.
        """
        end = events[0].sequence
        found = list(islice(self.context.devices.read(self.number, at.next, end), READ_BACK))
        lost = (found[0].sequence if found else end) - at.next
        log.warning("devices' partition %d: %d messages from %d on were skipped", self.number, end - at.next, at.next)
        if lost and at.enqueued_ms < 0:
            log.warning("devices' partition %d: begins with message %d", self.number, at.next + lost)
            lost = 0
        if lost:
            log.error("devices' partition %d: messages %d to %d are lost", self.number, at.next, at.next + lost - 1)
        return found or events, lost

    def _route(self, at: Progress, etag: str | None, events: Sequence[Event], expired: int) -> int:
        """One batch, or its beginning: readings sent on, the rest buried, then the progress; its last message."""
        count, parsed = self._parsed(events)
        events = events[:count]
        source = f"{HUB_PREFIX}{self.number}.{at.epoch}"
        channels, tick_s = self.context.scenario.channel_names, self.context.scenario.resolution_s
        born_ms = min(event.enqueued_ms for event in events)
        count = self.context.readings.partitions()
        parts = dict(split(parsed.readings, count))
        # each begins elsewhere, so that those who route side by side do not queue for the same way out
        for partition in sorted(parts, key=lambda owner: (owner - self.number) % count):
            self.context.readings.send(partition, list(pack(source, channels, parts[partition], born_ms, tick_s)))
        self._dead_letter(source, events, parsed.rejected)
        for line in parsed.skipped.warnings:
            log.warning("devices' partition %d: %s", self.number, line)
        self._advance(at, etag, events, parsed, expired)
        return events[-1].sequence

    def _progress(self) -> tuple[Progress, str | None]:
        if self._at is None:
            found = self.context.blobs.read_changed(progress.CONTAINER, progress.name_of(self.number), None)
            self._at = (Progress(), None) if found is None else (progress.decode(found[0]), found[1])
        return self._at

    def _parsed(self, events: Sequence[Event]) -> tuple[int, Parsed]:
        """As many of the first messages as may be decoded at once.

        Of a batch that keeps failing for one same reason, those that fail alone are poison.
        """
        try:
            return next(self._decoded(events))
        except PipelineError:
            raise
        except Exception as error:  # a bug of ours must not stop a partition for ever
            first, before, tries = self._failed
            same = (first, before) == (events[0].sequence, _words(error))
            self._failed = (events[0].sequence, _words(error), tries + 1 if same else 1)
            if self._failed[2] < POISON_TRIES:
                raise
            log.exception("devices' partition %d: poison is looked for in %d messages", self.number, len(events))
            return len(events), joined(list(self._pieces(events)), len(self.context.scenario.channels))

    def _pieces(self, events: Sequence[Event]) -> Iterator[Parsed]:
        """A batch in the halves and halves of halves that can be decoded, down to the single messages that cannot."""
        try:
            yield from [parsed for _, parsed in self._decoded(events)]
        except Exception as error:
            if len(events) == 1:
                log.exception("devices' partition %d: message %d is poison", self.number, events[0].sequence)
                poison = Rejection(events[0].sequence << 16, "poison", _words(error)[:200], events[0].body)
                yield Parsed(joined([], len(self.context.scenario.channels)).readings, [poison])
                return
            yield from self._pieces(events[: len(events) // 2])
            yield from self._pieces(events[len(events) // 2 :])

    def _decoded(self, events: Sequence[Event]) -> Iterator[tuple[int, Parsed]]:
        return self._decoder.stretches(
            [event.body for event in events],
            positions=[event.sequence for event in events],
            identities=[event.identity for event in events],
            not_after_minutes=[event.enqueued_ms // MINUTE_MS for event in events],
            told=[event.told.at(event.enqueued_ms, self.context.scenario) for event in events],
        )

    def _dead_letter(self, source: str, events: Sequence[Event], rejected: Sequence[Rejection]) -> None:
        """Write rejected records; the name follows from place and content, so a repetition overwrites."""
        if not rejected:
            return
        sent = {event.sequence: event for event in events}
        fine = self.context.scenario.cadence.fine
        letters = [_letter(source, rejection, sent[rejection.position >> 16], fine=fine) for rejection in rejected]
        raw = dead_letters.encode(letters)
        digest = hashlib.sha256(raw).hexdigest()[:16]
        self.context.blobs.write("dead-letter", f"{source}/{events[0].sequence:020d}-{digest}.jsonl", raw)

    def _advance(self, at: Progress, etag: str | None, events: Sequence[Event], parsed: Parsed, expired: int) -> None:
        reasons = Counter(at.rejected)
        reasons.update(rejection.reason for rejection in parsed.rejected)
        now = msgspec.structs.replace(
            at,
            next=events[-1].sequence + 1,
            enqueued_ms=max(at.enqueued_ms, max(event.enqueued_ms for event in events)),
            messages=at.messages + len(events),
            accepted=at.accepted + len(parsed.readings),
            rejected=dict(reasons),
            expired=at.expired + expired,
        )
        names = self.context.scenario.channel_names
        now = progress.with_values(now, now.enqueued_ms // DAY_MS, parsed.values(names))
        self._warn(at, now)
        name = progress.name_of(self.number)
        try:
            self._at = now, self.context.blobs.replace(progress.CONTAINER, name, progress.encode(now), etag)
        except StateConflict:
            log.warning("devices' partition %d: another worker routed the same messages", self.number)
            raise

    def _warn(self, at: Progress, now: Progress) -> None:
        """Say once of a day that is over of which channels too many values were dropped."""
        if at.days and now.days and at.days[-1].day < now.days[-1].day:
            share = self.context.scenario.quality.maximum_dropped_share
            for line in warnings(at.days[-1].values, share):
                log.warning("devices' partition %d, the day before: %s", self.number, line)


def _may_be_stale(at: Progress, event: Event) -> bool:
    """Whether another router may have been here since: a message is not the next one, or a pause came before it.

    A hub cannot be created anew and be read as far as the old one without a pause; the sequence alone would not tell.
    """
    return event.sequence != at.next or event.enqueued_ms - at.enqueued_ms > LOOK_AGAIN_MS


def _anew(at: Progress, event: Event) -> bool:
    """Whether a message is of a newer hub: its number was seen before, yet it was enqueued later than anything seen."""
    return event.sequence < at.next and event.enqueued_ms > at.enqueued_ms >= 0


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _letter(source: str, rejection: Rejection, event: Event, *, fine: bool) -> DeadLetter:
    """A dead letter that is read as the message was; a part of a packed message stands unpacked in it."""
    whole = rejection.raw == event.body
    return msgspec.structs.replace(
        dead_letters.letter(source, rejection),
        identity=event.identity,
        not_after_minute=event.enqueued_ms // MINUTE_MS,
        created=event.told.created,
        encoding=event.told.encoding if whole else "",
        telemetry=event.told.telemetry,
        enqueued_ms=event.enqueued_ms if fine else None,
    )
