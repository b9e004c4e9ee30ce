"""Hubs and partitions: what arrives is placed, stamped, logged in groups, and only then acknowledged.

The key hash is ours (CRC-32 modulo partitions), not the service's: the same key stays in one partition, but not in the
one where the service, or a client that computes the service's hash itself (buffered mode), would put it.
"""

import logging
import os
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from local.eventhub.amqp.errors import AmqpError
from local.eventhub.event_log import create_hub, log_path
from local.eventhub.messages import Delivery, stamp
from local.eventhub.partition_log import PartitionLog
from shared.adapters.processes import SYSTEM
from shared.errors import ConfigError

logger = logging.getLogger(__name__)

DEFAULT_GROUP = "$Default"
MAX_MESSAGE_SIZE = 1 << 20  # bytes of one message, single or batch
RECEIVERS_PER_GROUP = 5

Done = Callable[[AmqpError | None], None]


class Consumer(Protocol):
    """A receiving link, as its partition sees it."""

    group: str
    epoch: int | None

    def wake(self) -> None:
        """There are new events."""

    def steal(self, error: AmqpError) -> None:
        """Another consumer took the partition over: detach."""


@dataclass(eq=False)
class Partition:
    """One partition: its log, who reads it, and the deliveries that wait for the next commit."""

    hub: str
    number: int
    log: PartitionLog
    retain: int | None
    consumers: list[Consumer] = field(default_factory=list, init=False)
    waiting: list[Done] = field(default_factory=list, init=False)

    @property
    def name(self) -> str:
        """The number, as clients write it."""
        return str(self.number)

    @property
    def begin(self) -> int:
        """Sequence number of the oldest event that is still served."""
        return 0 if self.retain is None else max(0, self.log.end - self.retain)

    @property
    def last_offset(self) -> str:
        """Offset of the newest event, "-1" while there is none."""
        return str(self.log.last_position)

    def append(self, delivery: Delivery, now_ms: int) -> None:
        """Stamp the events of a delivery; their enqueued times never go back, whatever the clock does."""
        log = self.log
        enqueued_ms = max(now_ms, log.earliest_next_ms)
        for event in delivery.events:
            log.append(enqueued_ms, stamp(event, log.next_sequence, str(log.next_position), enqueued_ms))

    def join(self, consumer: Consumer) -> AmqpError | None:
        """Add a consumer under the epoch rules of its group; the reason if it may not."""
        peers = [peer for peer in self.consumers if peer.group == consumer.group]
        top = max((peer.epoch for peer in peers if peer.epoch is not None), default=None)
        if top is not None and (consumer.epoch is None or consumer.epoch < top):
            return AmqpError(
                "amqp:link:stolen", f"A receiver with epoch {top} exists; epoch {consumer.epoch} may not replace it."
            )
        if consumer.epoch is None and len(peers) >= RECEIVERS_PER_GROUP:
            text = f"Exceeded the {RECEIVERS_PER_GROUP} receivers allowed per partition in a consumer group."
            return AmqpError("amqp:resource-limit-exceeded", text)
        if consumer.epoch is not None:
            for peer in peers:
                peer.steal(
                    AmqpError("amqp:link:stolen", f"New receiver with epoch {consumer.epoch} took the partition over.")
                )
        self.consumers.append(consumer)
        return None

    def leave(self, consumer: Consumer) -> None:
        """Remove a consumer, if it is one."""
        if consumer in self.consumers:
            self.consumers.remove(consumer)


@dataclass(eq=False)
class Hub:
    """An event hub: a name, its partitions, and whose turn it is when nothing decides."""

    name: str
    created_at_ms: int
    partitions: list[Partition]
    _turn: int = field(default=-1, init=False)

    def partition(self, name: str) -> Partition | None:
        """The partition of this name ("0", "1", ...), if there is one."""
        return next((partition for partition in self.partitions if partition.name == name), None)

    def place(self, key: str | bytes | None) -> Partition:
        """Where an event goes that names no partition: by its key, else in turn."""
        if key is None:
            self._turn += 1
            return self.partitions[self._turn % len(self.partitions)]
        raw = key.encode() if isinstance(key, str) else key
        return self.partitions[zlib.crc32(raw) % len(self.partitions)]


class Broker:
    """All hubs of one data directory; the only writer of its logs.

    Args:
        hubs: Partition count by hub name.
        data: Directory of the logs; made if there is none.
        schedule: Runs a function soon, after the input that is already here (an event loop's call_soon).
        groups: Consumer groups beside `$Default`, known to every hub.
        retain_events: How many events per partition are served; None serves all. The log files keep all.
        fsync: Whether an acknowledgement waits for the disk.

    Raises:
        ConfigError: If the directory is in use, or a hub exists with another number of partitions.
        ContractBroken: If a log is damaged.
    """

    def __init__(
        self,
        hubs: Mapping[str, int],
        data: Path,
        schedule: Callable[[Callable[[], None]], object],
        *,
        groups: Iterable[str] = (),
        retain_events: int | None = None,
        fsync: bool = False,
    ) -> None:
        self._schedule = schedule
        self._dirty: set[Partition] = set()
        self.groups = {group.lower() for group in (DEFAULT_GROUP, *groups)}
        self._lock = _lock(data)
        self._hubs = {
            name.lower(): _open_hub(data, name, count, retain_events=retain_events, fsync=fsync)
            for name, count in hubs.items()
        }

    def hub(self, name: str) -> Hub | None:
        """The hub of this name, in any case of letters."""
        return self._hubs.get(name.lower())

    def publish(self, partition: Partition, delivery: Delivery, done: Done) -> None:
        """Take a delivery; `done` hears None once it is logged and flushed, else why it was not."""
        partition.append(delivery, time.time_ns() // 1_000_000)
        partition.waiting.append(done)
        if not self._dirty:
            self._schedule(self.commit)
        self._dirty.add(partition)

    def commit(self) -> None:
        """Flush every log that grew, then acknowledge, then wake the consumers."""
        dirty, self._dirty = self._dirty, set()
        for partition in dirty:
            error = _commit(partition)
            waiting, partition.waiting = partition.waiting, []
            for done in waiting:
                done(error)
            for consumer in list(partition.consumers):
                consumer.wake()

    def close(self) -> None:
        """Commit what waits and give all files back."""
        self.commit()
        for hub in self._hubs.values():
            for partition in hub.partitions:
                partition.log.close()
        os.close(self._lock)


def _commit(partition: Partition) -> AmqpError | None:
    try:
        partition.log.commit()
    except OSError as error:
        logger.warning("hub %s partition %s: log not written: %s", partition.hub, partition.name, error.strerror)
        return AmqpError("amqp:internal-error", f"The log could not be written: {error.strerror}.")
    return None


def _open_hub(data: Path, name: str, count: int, *, retain_events: int | None, fsync: bool) -> Hub:
    info = create_hub(data, name, count)
    partitions = []
    for number in range(count):
        log = PartitionLog(log_path(data, name, number), fsync=fsync)
        if log.torn_bytes:
            logger.warning("hub %s partition %d: cut %d bytes of a torn record", name, number, log.torn_bytes)
        partitions.append(Partition(name, number, log, retain_events))
    return Hub(name, info.created_at_ms, partitions)


def _lock(data: Path) -> int:
    data.mkdir(parents=True, exist_ok=True)
    handle = os.open(data / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    if not SYSTEM.lock(handle):
        os.close(handle)
        raise ConfigError(f"{data} is in use by another endpoint")
    return handle
