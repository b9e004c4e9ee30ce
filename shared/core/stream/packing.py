"""Accepted readings packed into columnar events, and such events read.

An event is msgpack with raw little-endian arrays, at most `EVENT_BYTES` long. A file's last event in a partition is an
end marker: it carries no readings but the totals of the file's route.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Array, Floats, Readings, Ticks
from shared.core.scenario.cadence import MINUTE_S, Cadence
from shared.core.stream.events import rows_of
from shared.errors import BadEvent

VERSION, OTHER_TICKS = 1, 2  # the second says how long its ticks are: not a minute
EVENT_BYTES = 200_000
MOST_TICK_S = 3600
MAX_POSITION = 2**63 - 1
BEYOND = 1 << 48  # a position behind every record: that of a source whose rest does not count any more


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """Wire form of an event; arrays are little-endian bytes in the order of the rows.

    Args:
        version: Version of this form.
        source: Where the readings came from: "file/<name>@<etag>", "hub/<partition>.<epoch>", "replay/<digest>".
        channels: Names of the value columns.
        devices: Distinct device ids.
        device: Index into `devices`, uint16.
        minute: Ticks since 1970, uint32.
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


class Ticking(Packed, frozen=True, array_like=True):
    """An event whose ticks have `tick_s` seconds; they are minutes without it."""

    tick_s: int = MINUTE_S


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Ticking)


def pack(
    source: str, channels: Sequence[str], readings: Readings, born_ms: int = -1, tick_s: int = MINUTE_S
) -> Iterator[bytes]:
    """Events of one partition, in order, each within the size limit.

    Args:
        source: Where the readings came from.
        channels: Names of the value columns.
        readings: Rows of one partition in the order of the source.
        born_ms: When the oldest of their messages was enqueued at the devices' hub.
        tick_s: Seconds in a tick of theirs.
    """
    rows = len(readings)
    limit = max(1, (EVENT_BYTES - 2_000) // (14 + 4 * len(channels)))
    start = 0
    while start < rows:
        end = min(start + limit, rows)
        body = _encode(source, channels, rows_of(readings, np.arange(start, end)), born_ms, tick_s)
        while len(body) > EVENT_BYTES and end > start + 1:  # long device ids: halve until it fits
            end = start + (end - start) // 2
            body = _encode(source, channels, rows_of(readings, np.arange(start, end)), born_ms, tick_s)
        yield body
        start = end


def _encode(source: str, channels: Sequence[str], rows: Readings, born_ms: int, tick_s: int) -> bytes:
    columns = (
        rows.device.astype("<u2").tobytes(),
        rows.minute.astype("<u4").tobytes(),
        rows.position.astype("<i8").tobytes(),
        rows.values.astype("<f4").tobytes(),
    )
    names = list(channels), list(rows.devices)
    if tick_s == MINUTE_S:
        return _ENCODER.encode(Packed(VERSION, source, *names, *columns, born_ms=born_ms))
    return _ENCODER.encode(Ticking(OTHER_TICKS, source, *names, *columns, born_ms=born_ms, tick_s=tick_s))


def pack_end(source: str, end: int) -> bytes:
    """The end marker of a source.

    Args:
        source: The source that ends.
        end: Position after its last record.
    """
    return _ENCODER.encode(Packed(VERSION, source, [], [], b"", b"", b"", b"", end))


_GIVEN_UP = pack_end("", BEYOND)[3:]  # what follows the name of the source


def gives_up(body: bytes) -> bool:
    """Whether an event is the end marker of a source whose rest does not count any more."""
    return body.endswith(_GIVEN_UP)


def unpack(body: bytes, channels: Sequence[str], tick_s: int = MINUTE_S) -> tuple[Packed, Readings]:
    """Decode one event.

    Args:
        body: The event's bytes.
        channels: Value columns wanted; a column the event lacks is missing, one it has beyond them is left out.
        tick_s: Seconds in a tick of the readings wanted; an event of before an edit of the scenario may have others.

    Raises:
        BadEvent: Not an event of this form; the message says what is wrong.
    """
    try:
        packed = _DECODER.decode(body)
        if packed.version not in (VERSION, OTHER_TICKS):
            raise BadEvent("format", f"event version {packed.version} is not {VERSION} or {OTHER_TICKS}")
        device = np.frombuffer(packed.device, "<u2").astype(np.int32)
        minute = _ticks(packed, tick_s)
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


def _ticks(packed: Ticking, tick_s: int) -> Ticks:
    """An event's ticks as the scenario counts them; of a longer one the first of the shorter ones in it."""
    if not 1 <= packed.tick_s <= MOST_TICK_S:
        raise BadEvent("format", f"tick_s: {packed.tick_s} is outside 1 to {MOST_TICK_S}")
    ticks: Array = np.frombuffer(packed.minute, "<u4" if packed.tick_s < MINUTE_S else "<i4")
    cadence = Cadence(tick_s=tick_s)
    if packed.tick_s != tick_s:
        ticks = ticks.astype(np.int64) * packed.tick_s // tick_s
        if ticks.max(initial=0) > cadence.latest_tick:
            raise BadEvent("format", f"a tick of {packed.tick_s} s is beyond {cadence.latest_tick} of {tick_s} s")
    return cadence.kept(ticks)


def _arrange(raw: npt.NDArray[np.float32], have: Sequence[str], want: Sequence[str]) -> Floats:
    out = np.full((len(raw), len(want)), np.nan, np.float32)
    for column, name in enumerate(want):
        if name in have:
            out[:, column] = raw[:, list(have).index(name)]
    return out
