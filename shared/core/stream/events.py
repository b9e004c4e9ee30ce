"""The stream "readings": accepted readings packed into columnar events, and events gathered into a partition's batch.

An event is msgpack with raw little-endian arrays, at most `EVENT_BYTES` long. A file's last event in a partition is an
end marker: it carries no readings but the totals of the file's route.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Floats, Ints, Longs, Readings
from shared.errors import BadEvent

N = TypeVar("N", bound=np.generic)
VERSION = 1
EVENT_BYTES = 200_000
MAX_POSITION = 2**63 - 1
FILE_PREFIX = "file/"
HUB_PREFIX = "hub/"
REPLAY_PREFIX = "replay/"


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """Wire form of an event; arrays are little-endian bytes in the order of the rows.

    Args:
        version: Version of this form.
        source: Where the readings came from: "file/<name>@<etag>", "hub/<partition>.<epoch>", "replay/<digest>".
        channels: Names of the value columns.
        devices: Distinct device ids.
        device: Index into `devices`, uint16.
        minute: Minutes since 1970, int32.
        position: Positions in the source, rising, int64.
        values: float32, row by row.
        end: Position after the source's last record, when this is its end marker.
        born_ms: When the oldest of its messages was enqueued at the devices' hub, -1 where that is not known.
    """

    version: int
    source: str
    channels: list[str]
    devices: list[str]
    device: bytes
    minute: bytes
    position: bytes
    values: bytes
    end: int | None = None
    born_ms: int = -1


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Packed)


def partition_of(device: str, partitions: int) -> int:
    """The partition that owns a device, whatever road its readings come by: BLAKE2 of its id modulo the count."""
    digest = hashlib.blake2b(device.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


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


def pack(source: str, channels: Sequence[str], readings: Readings, born_ms: int = -1) -> Iterator[bytes]:
    """Events of one partition, in order, each within the size limit.

    Args:
        source: Where the readings came from.
        channels: Names of the value columns.
        readings: Rows of one partition in the order of the source.
        born_ms: When the oldest of their messages was enqueued at the devices' hub.
    """
    rows = len(readings)
    limit = max(1, (EVENT_BYTES - 2_000) // (14 + 4 * len(channels)))
    start = 0
    while start < rows:
        end = min(start + limit, rows)
        body = _encode(source, channels, rows_of(readings, np.arange(start, end)), born_ms)
        while len(body) > EVENT_BYTES and end > start + 1:  # long device ids: halve until it fits
            end = start + (end - start) // 2
            body = _encode(source, channels, rows_of(readings, np.arange(start, end)), born_ms)
        yield body
        start = end


def _encode(source: str, channels: Sequence[str], rows: Readings, born_ms: int) -> bytes:
    return _ENCODER.encode(
        Packed(
            VERSION,
            source,
            list(channels),
            list(rows.devices),
            rows.device.astype("<u2").tobytes(),
            rows.minute.astype("<i4").tobytes(),
            rows.position.astype("<i8").tobytes(),
            rows.values.astype("<f4").tobytes(),
            born_ms=born_ms,
        )
    )


def pack_end(source: str, end: int) -> bytes:
    """The end marker of a source.

    Args:
        source: The source that ends.
        end: Position after its last record.
    """
    return _ENCODER.encode(Packed(VERSION, source, [], [], b"", b"", b"", b"", end))


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a hub as the trigger delivers it; `identity` is the device that the hub authenticated, if it did."""

    sequence: int
    enqueued_ms: int
    body: bytes
    identity: str | None = None


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
        minute: Minutes since 1970, int32, shape (n,).
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
    minute: Ints
    position: Longs
    sequence: Longs
    values: Floats
    ends: tuple[End, ...]
    born_ms: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.minute)


def unpack(body: bytes, channels: Sequence[str]) -> tuple[Packed, Readings]:
    """Decode one event.

    Args:
        body: The event's bytes.
        channels: Value columns wanted; a column the event lacks is missing, one it has beyond them is left out.

    Raises:
        BadEvent: Not an event of this form; the message says what is wrong.
    """
    try:
        packed = _DECODER.decode(body)
        if packed.version != VERSION:
            raise BadEvent("format", f"event version {packed.version} is not {VERSION}")
        device = np.frombuffer(packed.device, "<u2").astype(np.int32)
        minute = np.frombuffer(packed.minute, "<i4").astype(np.int32)
        position = np.frombuffer(packed.position, "<i8").astype(np.int64)
        raw = np.frombuffer(packed.values, "<f4").reshape(len(device), len(packed.channels))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadEvent("format", f"not a readings event of {len(body)} bytes: {error}") from error
    if not len(device) == len(minute) == len(position):
        raise BadEvent("format", f"columns of {len(device)}, {len(minute)} and {len(position)} rows")
    if len(device) and (int(device.max()) >= len(packed.devices) or (np.diff(position) <= 0).any()):
        raise BadEvent("format", "a device index is out of range, or positions do not rise")
    if min(minute.min(initial=0), position.min(initial=0)) < 0 or not 0 <= (packed.end or 0) <= MAX_POSITION:
        raise BadEvent("format", "a minute or a position is negative, or beyond 63 bits")
    values = raw.astype(np.float32)
    if list(channels) != packed.channels:
        values = _arrange(raw, packed.channels, channels)
    return packed, Readings(tuple(packed.devices), device, minute, position, values)


def _arrange(raw: npt.NDArray[np.float32], have: Sequence[str], want: Sequence[str]) -> Floats:
    out = np.full((len(raw), len(want)), np.nan, np.float32)
    for column, name in enumerate(want):
        if name in have:
            out[:, column] = raw[:, list(have).index(name)]
    return out


def gather(
    partition: int, epoch: int, events: Sequence[Event], channels: Sequence[str]
) -> tuple[Batch, list[tuple[Event, BadEvent]]]:
    """Consecutive events as one batch.

    Args:
        partition: Number of the partition.
        epoch: Life of the hub.
        events: At least one, with consecutive sequence numbers.
        channels: The scenario's channels.

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
            packed, readings = unpack(event.body, channels)
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
        _joined([r.minute for _, _, r in parts], np.int32),
        _joined([r.position for _, _, r in parts], np.int64),
        _joined([np.full(len(r), event.sequence, np.int64) for event, _, r in parts], np.int64),
        np.concatenate([r.values for _, _, r in parts] or [np.empty((0, width), np.float32)]),
        tuple(ends),
        tuple(born),
    )
    return batch, bad


def _joined(parts: Sequence[npt.NDArray[N]], kind: type[N]) -> npt.NDArray[N]:
    return np.concatenate([np.empty(0, kind), *parts])


def _renumbered(readings: Readings, known: dict[str, int]) -> Readings:
    places = np.array([known.setdefault(name, len(known)) for name in readings.devices], np.int32)
    return Readings(readings.devices, places[readings.device], readings.minute, readings.position, readings.values)
