"""Events and batches of the stream "readings", and which partition owns a device."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shared.core.intake.envelopes.told import UNTOLD, Told
from shared.core.intake.readings import Floats, Ints, Longs, Readings, Ticks

FILE_PREFIX = "file/"
HUB_PREFIX = "hub/"
REPLAY_PREFIX = "replay/"
NEW_HUB_MS = 10_000  # nobody deletes a hub, makes it anew and has it read as far as the old one in less


def partition_of(device: str, partitions: int) -> int:
    """The partition that owns a device, whatever road its readings come by: BLAKE2 of its id modulo the count."""
    digest = hashlib.blake2b(device.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


def share_of(devices: int, partitions: int) -> int:
    """Most devices that one partition may know so that `devices` in all fit, however their ids happen to be spread.

    >>> share_of(10_000, 1), share_of(10_000, 4), share_of(3, 32)
    (10000, 2750, 2)
    """
    mean = devices / partitions
    return min(devices, math.ceil(mean + 5 * math.sqrt(mean)))


def split(readings: Readings, partitions: int) -> Iterator[tuple[int, Readings]]:
    """Readings by owner partition, each part in the order of the source."""
    owner = np.array([partition_of(device, partitions) for device in readings.devices], np.int64)
    where = owner[readings.device] if len(readings) else np.empty(0, np.int64)
    for partition in np.unique(where):
        yield int(partition), rows_of(readings, np.flatnonzero(where == partition))


def rows_of(readings: Readings, rows: Longs) -> Readings:
    """Some rows, with only their own devices listed."""
    used, device = np.unique(readings.device[rows], return_inverse=True)
    return Readings(
        tuple(readings.devices[place] for place in used),
        device.astype(np.int32),
        readings.minute[rows],
        readings.position[rows],
        readings.values[rows],
    )


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a hub as the trigger delivers it.

    `identity` is the device that the hub authenticated, if it did; `told` what else it tells of a device's message.
    """

    sequence: int
    enqueued_ms: int
    body: bytes
    identity: str | None = None
    told: Told = UNTOLD


@dataclass(frozen=True, slots=True)
class End:
    """An end marker: the source it ends (index into the batch's sources) and its position."""

    source: int
    position: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive events of one partition, as columns.

    Args:
        partition: Number of the partition.
        epoch: Life of the hub they belong to.
        first: Sequence number of the first event.
        next: Sequence number after the last event.
        enqueued_ms: Newest enqueued time, milliseconds since 1970.
        sources: Distinct sources.
        devices: Distinct device ids.
        source: Index into `sources`, int32, shape (n,).
        device: Index into `devices`, int32, shape (n,).
        minute: Ticks since 1970, as those of `Readings`, shape (n,).
        position: Positions in the source, int64, shape (n,).
        sequence: Sequence number of each reading's event, int64, shape (n,).
        values: Channel values, NaN where missing, float32, shape (n, channels).
        ends: End markers.
        born_ms: When the oldest message of each event was enqueued at the devices' hub, where that is known; a
            measurement, no input of the step.
    """

    partition: int
    epoch: int
    first: int
    next: int
    enqueued_ms: int
    sources: tuple[str, ...]
    devices: tuple[str, ...]
    source: Ints
    device: Ints
    minute: Ticks
    position: Longs
    sequence: Longs
    values: Floats
    ends: tuple[End, ...]
    born_ms: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.minute)
