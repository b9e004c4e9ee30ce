"""Consecutive events of a partition gathered into a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Readings
from shared.core.scenario.cadence import HOURLY, Cadence
from shared.core.stream.events import Batch, End, Event
from shared.core.stream.packing import unpack
from shared.errors import BadEvent

N = TypeVar("N", bound=np.generic)


def gather(
    partition: int, epoch: int, events: Sequence[Event], channels: Sequence[str], cadence: Cadence = HOURLY
) -> tuple[Batch, list[tuple[Event, BadEvent]]]:
    """Consecutive events as one batch.

    Args:
        partition: Number of the partition.
        epoch: Life of the hub.
        events: At least one, with consecutive sequence numbers.
        channels: The scenario's channels.
        cadence: The scenario's.

    Returns:
        The batch, and what could not be decoded (such an event adds no rows; its bytes belong into the dead-letter).
    """
    sources: dict[str, int] = {}
    devices: dict[str, int] = {}
    parts: list[tuple[Event, int, Readings]] = []
    ends: list[End] = []
    born: list[int] = []
    bad: list[tuple[Event, BadEvent]] = []
    for event in events:
        try:
            packed, readings = unpack(event.body, channels, cadence.tick_s)
        except BadEvent as error:
            bad.append((event, error))
            continue
        source = sources.setdefault(packed.source, len(sources))
        born += [packed.born_ms] if packed.born_ms >= 0 else []
        if packed.end is not None:
            ends.append(End(source, packed.end))
        if len(readings):
            parts.append((event, source, _renumbered(readings, devices)))
    width = len(channels)
    batch = Batch(
        partition,
        epoch,
        events[0].sequence,
        events[-1].sequence + 1,
        max(event.enqueued_ms for event in events),
        tuple(sources),
        tuple(devices),
        _joined([np.full(len(r), source, np.int32) for _, source, r in parts], np.int32),
        _joined([r.device for _, _, r in parts], np.int32),
        cadence.kept(_joined([r.minute for _, _, r in parts], np.int32)),
        _joined([r.position for _, _, r in parts], np.int64),
        _joined([np.full(len(r), event.sequence, np.int64) for event, _, r in parts], np.int64),
        np.concatenate([r.values for _, _, r in parts] or [np.empty((0, width), np.float32)]),
        tuple(ends),
        tuple(born),
    )
    return batch, bad


def nothing(partition: int, epoch: int, first: int, end: int, enqueued_ms: int, width: int) -> Batch:
    """A batch without events, which stands for `first` to `end - 1`; `width` is the number of channels."""
    ints, longs = np.empty(0, np.int32), np.empty(0, np.int64)
    rows = (ints, ints, ints, longs, longs, np.empty((0, width), np.float32))
    return Batch(partition, epoch, first, end, enqueued_ms, (), (), *rows, ())


def _joined(parts: Sequence[npt.NDArray[N]], kind: type[N]) -> npt.NDArray[N]:
    return np.concatenate([np.empty(0, kind), *parts])


def _renumbered(readings: Readings, known: dict[str, int]) -> Readings:
    places = np.array([known.setdefault(name, len(known)) for name in readings.devices], np.int32)
    return Readings(readings.devices, places[readings.device], readings.minute, readings.position, readings.values)
