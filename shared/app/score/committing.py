"""Committing a batch: its change is made, what it gave is written, and one commit makes it durable."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from shared.app.score.context import ScoringContext
from shared.app.score.serving import ChallengerFails
from shared.core.intake import dead_letters
from shared.core.intake.dead_letters import DeadLetter
from shared.core.intake.readings import Rejection
from shared.core.model.scoring import Control
from shared.core.scenario import Scenario
from shared.core.stream.commit import CONFLICT, EXPIRED, REFUSED, Commit, commit_name, folder, scenario_fields
from shared.core.stream.events import Batch, Event, share_of
from shared.core.stream.gathering import gather, nothing
from shared.core.stream.packing import gives_up
from shared.core.task.state import Outcome, State
from shared.core.task.task import Task, names_of
from shared.core.task.versions import aligned, bring
from shared.errors import BadEvent

log = logging.getLogger(__name__)
READING_BYTES = 14


def run_of(context: ScoringContext, events: Sequence[Event]) -> Sequence[Event]:
    """The first events that follow each other and together hold about as many readings as one commit may.

    What a source sends after it was given up never counts, so the commit ends there: within it an end comes last.
    """
    limit = context.batch_rows * (READING_BYTES + 4 * len(context.task.row))
    count, size = 1, len(events[0].body)
    while count < len(events) and events[count].sequence == events[count - 1].sequence + 1:
        size += len(events[count].body)
        if size > limit or gives_up(events[count - 1].body):
            break
        count += 1
    return events[:count]


def commit(
    context: ScoringContext, state: State, events: Sequence[Event], follows: int, version: int | None = None
) -> bool:
    """Make one batch durable and put it into the state; False when somebody else was first.

    Args:
        context: What the partition works with.
        state: The partition, which expects the first of the events.
        events: At least one, with consecutive sequence numbers.
        follows: What was expected before events that had expired.
        version: Version of the scenario to fold them under, None for the newest.
    """
    task = bring(context.task, state, context.task.version if version is None else version)
    batch, bad = gather(state.partition, state.epoch, events, names_of(task.row), task.scenario.cadence)
    control, outcome = _scored(context, task, state, batch)
    if not _made_durable(context, state, outcome, _written(context, task, outcome, control, bad, follows)):
        return False
    context.latencies.add(context.clock.now_ms(), batch.born_ms)
    give_receipts(context, state, batch)
    return True


def commit_nothing(
    context: ScoringContext, state: State, end: int, enqueued_ms: int, *, version: int | None = None, lost: bool = False
) -> bool:
    """Make durable that the partition goes on at `end`, or that its epoch ends here; False when somebody was first.

    Args:
        context: What the partition works with.
        state: The partition.
        end: Sequence number expected next, or that already expected: then the next epoch begins.
        enqueued_ms: When what follows began.
        version: Version of the scenario to say so under, None for the newest.
        lost: Whether the events that are passed over count as expired.
    """
    task, control = bring(context.task, state, context.task.version if version is None else version), Control()
    batch = nothing(state.partition, state.epoch, state.next, end, enqueued_ms, len(names_of(task.row)))
    outcome = task.step(state, batch, control, lambda _: [])
    found = _written(context, task, outcome, control, [], state.next)
    if lost:
        found = msgspec.structs.replace(found, counts={**found.counts, EXPIRED: end - state.next})
    return _made_durable(context, state, outcome, found)


def _made_durable(context: ScoringContext, state: State, outcome: Outcome, found: Commit) -> bool:
    raw = context.files.encode_commit(found, outcome)
    name = commit_name(found.partition, found.epoch, found.first)
    if not context.blobs.create("commits", name, raw) and context.blobs.read("commits", name) != raw:
        log.warning("partition %d: another worker committed event %d first", found.partition, found.first)
        return False
    outcome.put(state)
    state.epoch, state.next = found.after
    state.expired += found.counts.get(EXPIRED, 0)
    return True


def give_receipts(context: ScoringContext, state: State, batch: Batch) -> None:
    """Say that the sources which end in a batch are committed as a whole."""
    for end in batch.ends:
        context.ended(state, batch.sources[end.source])


def _scored(context: ScoringContext, task: Task, state: State, batch: Batch) -> tuple[Control, Outcome]:
    """The batch's change; a challenger that fails is left out of all of it, so that recovery finds one answer."""
    answering, scenario = context.serving.current(), context.task.scenario
    devices = share_of(scenario.maximum_devices, context.stream.partitions())
    hours = 0 if scenario.cold_start.answer else scenario.cold_hours
    control = replace(answering.control, devices=devices, minimum_hours=hours)
    try:
        return control, task.step(state, batch, control, aligned(answering, task, context.task))
    except ChallengerFails as error:
        log.warning("partition %d: left out of a batch: %s", batch.partition, error)
    alone = answering.alone()
    control = replace(alone.control, devices=devices, minimum_hours=hours)
    return control, task.step(state, batch, control, aligned(alone, task, context.task))


def _written(
    context: ScoringContext,
    task: Task,
    outcome: Outcome,
    control: Control,
    bad: Sequence[tuple[Event, BadEvent]],
    follows: int,
) -> Commit:
    """Write what the commit refers to, and return the commit itself."""
    batch = outcome.batch
    predictions = context.files.encode_predictions(outcome, task.version) if len(outcome.predictions) else None
    letters = [*_undecodable(batch.partition, bad), *_refused(outcome, task.scenario)]
    lost = dead_letters.encode(letters) if letters else None
    counts = {**outcome.counts(), "undecodable": len(bad), "predictions": len(outcome.predictions)}
    return Commit(
        partition=batch.partition,
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
        predictions=_put(context, "predictions", batch, predictions, "parquet"),
        dead_letters=_put(context, "dead-letter", batch, lost, "jsonl"),
        counts=counts,
        devices=control.devices if control.devices is not None and "refused" in counts else msgspec.UNSET,
        minimum_hours=control.minimum_hours or msgspec.UNSET,
        **scenario_fields(task.version),
    )


def _put(context: ScoringContext, container: str, batch: Batch, data: bytes | None, kind: str) -> str | None:
    """Write a blob under a name that its content decides, so that a zombie cannot overwrite it."""
    if data is None:
        return None
    digest = hashlib.sha256(data).hexdigest()[:16]
    name = f"{folder(batch.partition, batch.epoch)}{batch.first:020d}-{digest}.{kind}"
    context.blobs.write(container, name, data)
    return name


def _undecodable(partition: int, bad: Sequence[tuple[Event, BadEvent]]) -> list[DeadLetter]:
    source = f"readings/{partition}"
    return [
        dead_letters.letter(source, Rejection(event.sequence, error.reason, error.detail, event.body))
        for event, error in bad
    ]


def _refused(outcome: Outcome, scenario: Scenario) -> list[DeadLetter]:
    """Readings that the partition did not take, written out again as messages."""
    same = f"the same resolution_s = {scenario.resolution_s} seconds"
    why = {
        CONFLICT: ("conflict", f"the device already sent another value within {same}; the first one counts"),
        REFUSED: ("too_many_devices", f"a new device beyond maximum_devices = {scenario.maximum_devices}"),
    }
    batch, (time, *_) = outcome.batch, scenario.names.time
    letters = []
    for row in np.flatnonzero(np.isin(outcome.disposition, list(why))).tolist():
        values = {n: v for n, v in zip(scenario.channel_names, batch.values[row].tolist(), strict=True) if v == v}
        reading = {
            scenario.key: batch.devices[batch.device[row]],
            time: int(batch.minute[row]) * scenario.cadence.tick_s,
            **values,
        }
        reason, detail = why[int(outcome.disposition[row])]
        rejection = Rejection(int(batch.position[row]), reason, detail, msgspec.json.encode(reading))
        letters.append(dead_letters.letter(batch.sources[batch.source[row]], rejection))
    return letters
