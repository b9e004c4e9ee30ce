"""A partition's log as the endpoint keeps it: appended to in groups, and read by an index in memory."""

import os
from array import array
from bisect import bisect_left, bisect_right
from itertools import pairwise
from pathlib import Path

from local.eventhub.event_log import HEAD, MAGIC, START, checksum, scan


class PartitionLog:
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
            for position, record in scan(file, path, START):
                self._positions.append(position)
                self._times.append(record.enqueued_ms)
                end = position + HEAD.size + len(record.message)
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
        crc = checksum(self.next_sequence, enqueued_ms, message)
        self._pending.append(HEAD.pack(len(message), crc, enqueued_ms))
        self._pending.append(message)
        self._pending_times.append(enqueued_ms)
        self.next_position += HEAD.size + len(message)

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
            position += HEAD.size + len(message)
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
        return [data[a - start + HEAD.size : b - start] for a, b in pairwise(bounds)]

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
