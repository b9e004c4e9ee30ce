"""The log of a partition: a file of records that only grows, with a CRC for each, and its index in memory.

Layout: 16 bytes of file header, then per record `length u32, crc u32, enqueued_ms i64, message`, big-endian. The CRC
covers the sequence number too, which is the record's place in the file. A record's position in the file serves as the
event's offset: it grows, and nothing but the log can guess it.

`read` and `hub_info` work offline and beside a running endpoint; `EventLog` belongs to the endpoint alone.
"""

import json
import os
import struct
import time
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from shared.errors import ConfigError, ContractBroken

MAGIC = b"AIRLOOP-LOG\x00\x00\x00\x00\x01"  # the last four bytes are the format version
MAX_MESSAGE = 2 << 20  # bytes; above anything the endpoint accepts, so that a torn length is recognised

_HEAD = struct.Struct(">IIq")
_SEED = struct.Struct(">qqI")


class Record(NamedTuple):
    """One event as the log keeps it; `message` is the AMQP message that consumers get (`local.eventhub.amqp`)."""

    sequence: int
    enqueued_ms: int
    message: bytes


class HubInfo(NamedTuple):
    """A hub as its directory describes it; `created_at_ms` tells a recreated hub from its predecessor."""

    name: str
    partitions: int
    created_at_ms: int


class Place(NamedTuple):
    """Before a record: its position in the file, and its sequence number."""

    position: int = len(MAGIC)
    sequence: int = 0


START = Place()


def log_path(data: Path, hub: str, partition: int) -> Path:
    """Where the log of a partition lies in a data directory."""
    return data / hub / f"{partition:04d}.log"


def hub_info(data: Path, hub: str) -> HubInfo | None:
    """What the data directory says about a hub; None if it has none of that name.

    Raises:
        ContractBroken: If the description cannot be read.
    """
    path = data / hub / "hub.json"
    try:
        found = json.loads(path.read_text())
        return HubInfo(str(found["name"]), int(found["partitions"]), int(found["created_at_ms"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ContractBroken(f"{path} does not describe a hub") from error


def create_hub(data: Path, hub: str, partitions: int) -> HubInfo:
    """The hub's description, written now if the directory has none.

    Raises:
        ConfigError: If the hub exists with another number of partitions.
    """
    info = hub_info(data, hub)
    if info is None:
        info = HubInfo(hub, partitions, time.time_ns() // 1_000_000)
        (data / hub).mkdir(parents=True, exist_ok=True)
        draft = data / hub / "hub.json.new"
        draft.write_text(json.dumps(info._asdict()) + "\n")
        draft.replace(data / hub / "hub.json")
    if info.partitions != partitions:
        raise ConfigError(f"hub {hub} in {data} has {info.partitions} partitions, not {partitions}")
    return info


def read(path: Path) -> Iterator[Record]:
    """All complete records of a log file in their order; a torn last one is left out.

    Raises:
        ContractBroken: If the file is not a log, or a record that is not the last is damaged.
    """
    with path.open("rb", buffering=1 << 20) as file:
        for _, record in _scan(file, path, START):
            yield record


def end_of(path: Path, known: Place = START) -> Place:
    """Where a log file ends: only what follows a place that is known is read.

    Raises:
        ContractBroken: If the file is not a log, or a record that is not the last is damaged.
    """
    with path.open("rb", buffering=1 << 20) as file:
        for position, record in _scan(file, path, known):
            known = Place(position + _HEAD.size + len(record.message), record.sequence + 1)
    return known


def _scan(file: BinaryIO, path: Path, place: Place) -> Iterator[tuple[int, Record]]:
    size = os.fstat(file.fileno()).st_size
    if size < len(MAGIC):
        return
    if file.read(len(MAGIC)) != MAGIC:
        raise ContractBroken(f"{path} is not an event log of version 1")
    position, sequence = place
    file.seek(position)
    while position + _HEAD.size <= size:
        length, crc, enqueued_ms = _HEAD.unpack(file.read(_HEAD.size))
        end = position + _HEAD.size + length
        torn = end > size and length <= MAX_MESSAGE
        message = b"" if torn or length > MAX_MESSAGE else file.read(length)
        if torn or length > MAX_MESSAGE or crc != _crc(sequence, enqueued_ms, message):
            if torn or end == size or _only_zeros(file, position + _HEAD.size):
                return
            raise ContractBroken(f"{path}: record {sequence} at byte {position} is damaged and is not the last one")
        yield position, Record(sequence, enqueued_ms, message)
        position, sequence = end, sequence + 1


def _crc(sequence: int, enqueued_ms: int, message: bytes) -> int:
    return zlib.crc32(message, zlib.crc32(_SEED.pack(sequence, enqueued_ms, len(message))))


def _only_zeros(file: BinaryIO, start: int) -> bool:
    """Whether a power cut left a hole: the file grew, but its last blocks were never written."""
    file.seek(start)
    return all(not any(chunk) for chunk in iter(lambda: file.read(1 << 16), b""))


class EventLog:
    """Append, commit and read runs of one partition's log; the index costs 16 bytes of memory per event.

    Opening checks every record, cuts off a torn last one (`torn_bytes` says how much) and goes on counting from there.

    Args:
        path: The log file; made if there is none.
        fsync: Whether a commit waits for the disk, too, and not only for the operating system.

    Raises:
        ContractBroken: If a record that is not the last is damaged.
    """

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self._fsync = fsync
        self._positions = array("q")
        self._times = array("q")
        self._pending: list[bytes] = []
        self._pending_times: list[int] = []
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self.torn_bytes = self._recover(path)
        except BaseException:
            os.close(self._fd)
            raise

    def _recover(self, path: Path) -> int:
        """Index the records; the number of bytes that were cut off."""
        end = len(MAGIC)
        with path.open("rb", buffering=1 << 20) as file:
            for position, record in _scan(file, path, START):
                self._positions.append(position)
                self._times.append(record.enqueued_ms)
                end = position + _HEAD.size + len(record.message)
        torn = max(0, os.fstat(self._fd).st_size - end)
        if not self._positions:
            os.pwrite(self._fd, MAGIC, 0)
        os.ftruncate(self._fd, end)
        self._committed = self.next_position = end
        return torn

    @property
    def end(self) -> int:
        """The sequence number that follows the last committed one; 0 while the log is empty."""
        return len(self._positions)

    @property
    def next_sequence(self) -> int:
        """The sequence number of the next event that is appended."""
        return len(self._positions) + len(self._pending_times)

    @property
    def last_enqueued_ms(self) -> int:
        """When the last committed event was enqueued; 0 while there is none."""
        return self._times[-1] if self._times else 0

    @property
    def earliest_next_ms(self) -> int:
        """The time of the newest event, committed or not; the next one may not be older."""
        return self._pending_times[-1] if self._pending_times else self.last_enqueued_ms

    @property
    def last_position(self) -> int:
        """Position of the last committed event; -1 while there is none."""
        return self._positions[-1] if self._positions else -1

    def append(self, enqueued_ms: int, message: bytes) -> None:
        """Take an event as number `next_sequence`, at `next_position`; it exists for readers after `commit`."""
        crc = _crc(self.next_sequence, enqueued_ms, message)
        self._pending.append(_HEAD.pack(len(message), crc, enqueued_ms))
        self._pending.append(message)
        self._pending_times.append(enqueued_ms)
        self.next_position += _HEAD.size + len(message)

    def commit(self) -> None:
        """Write what was appended and hand it to the operating system, or take all of it back.

        Raises:
            OSError: If it could not be written; the log is then as it was before the appends.
        """
        try:
            self._write(b"".join(self._pending))
            if self._fsync:
                os.fsync(self._fd)
        except OSError:
            self._forget()
            os.ftruncate(self._fd, self._committed)
            raise
        position = self._committed
        for message in self._pending[1::2]:
            self._positions.append(position)
            position += _HEAD.size + len(message)
        self._times.extend(self._pending_times)
        self._committed = position
        self._forget()

    def _write(self, data: bytes) -> None:
        rest, at = memoryview(data), self._committed
        while rest:
            written = os.pwrite(self._fd, rest, at)
            rest, at = rest[written:], at + written

    def _forget(self) -> None:
        self._pending.clear()
        self._pending_times.clear()
        self.next_position = self._committed

    def read_run(self, sequence: int, max_count: int, max_bytes: int) -> list[bytes]:
        """Messages of committed events from `sequence` on, within both limits but at least one if there is any."""
        if not 0 <= sequence < self.end or max_count < 1:
            return []
        start, count = self._positions[sequence], min(self.end, sequence + max_count)
        stop = bisect_right(self._positions, start + max_bytes, sequence + 1, count) - 1
        if self._end_of(count - 1) <= start + max_bytes:
            stop = count
        stop = max(stop, sequence + 1)
        bounds = [*self._positions[sequence:stop], self._end_of(stop - 1)]
        data = os.pread(self._fd, bounds[-1] - start, start)
        if len(data) != bounds[-1] - start:
            raise OSError(f"log is shorter than its index at event {sequence}")
        return [data[a - start + _HEAD.size : b - start] for a, b in pairwise(bounds)]

    def _end_of(self, sequence: int) -> int:
        return self._positions[sequence + 1] if sequence + 1 < self.end else self._committed

    def after_time(self, enqueued_ms: int, *, inclusive: bool) -> int:
        """Sequence number of the first event enqueued after this time, or at it when inclusive."""
        return (bisect_left if inclusive else bisect_right)(self._times, enqueued_ms)

    def after_position(self, position: int, *, inclusive: bool) -> int:
        """Sequence number of the first event behind this position, or at it when inclusive."""
        return (bisect_left if inclusive else bisect_right)(self._positions, position)

    def close(self) -> None:
        """Give the file back; what was not committed is gone."""
        os.close(self._fd)
