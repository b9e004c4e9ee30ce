"""What an Event Hubs trigger knows of its partitions: how they are batched, who owns them, what waits."""

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import PartitionContext

from local.host.retry import span_s
from local.host.worker.worker import InvocationFailed


def _start(options: Mapping[str, Any]) -> str | dt.datetime:
    kind = str(options.get("type", "fromStart")).lower()
    if kind == "fromenqueuedtime":
        return dt.datetime.fromisoformat(str(options["enqueuedTimeUtc"]))
    return "@latest" if kind == "fromend" else "-1"


HOST_JSON: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "max_batch": ("maxEventBatchSize", int),
    "min_batch": ("minEventBatchSize", int),
    "max_wait_s": ("maxWaitTime", span_s),
    "prefetch": ("prefetchCount", int),
    "checkpoint_every": ("batchCheckpointFrequency", int),
    "start": ("initialOffsetOptions", _start),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHubOptions:
    """host.json `extensions.eventHubs`, and how the local host balances partitions.

    Args:
        max_batch: Most events of one execution.
        min_batch: Executions wait for this many events, but no longer than `max_wait_s`.
        max_wait_s: See above, in seconds.
        prefetch: Events that the client may hold unread per partition.
        checkpoint_every: Batches per checkpoint.
        start: Where a partition without checkpoint begins: "-1" (all), "@latest" or an aware time.
        checkpoint_interval_s: Least time between two checkpoints of a partition.
        balance_s: Time between two looks at who owns what.
        expiry_s: A partition whose owner did not renew for this long is free.
    """

    max_batch: int = 100
    min_batch: int = 1
    max_wait_s: float = 60.0
    prefetch: int = 300
    checkpoint_every: int = 1
    start: str | dt.datetime = "-1"
    checkpoint_interval_s: float = 1.0
    balance_s: float = 1.0
    expiry_s: float = 6.0

    @classmethod
    def from_host_json(cls, host_json: Mapping[str, Any], **balancing: float) -> "EventHubOptions":
        """Read host.json; what it does not say keeps the Functions host's defaults."""
        found = host_json.get("extensions", {}).get("eventHubs", {})
        given: dict[str, Any] = {field: read(found[name]) for field, (name, read) in HOST_JSON.items() if name in found}
        return cls(**given | balancing)


@dataclass(slots=True)
class PartitionState:
    """What is known of one partition; the status page shows it."""

    owned: bool = False
    last_sequence: int | None = None
    batches: int = 0
    events: int = 0
    attempt: int = 0
    retrying_since: str | None = None


@dataclass(slots=True)
class Ownership:
    """A partition from the moment it was claimed until it is lost."""

    context: PartitionContext
    waiting: list[EventData] = field(default_factory=list)
    waiting_since: float = 0.0
    revoked: asyncio.Event = field(default_factory=asyncio.Event)
    failed: InvocationFailed | None = None  # how the batch that is tried again failed last

    def add(self, events: Sequence[EventData]) -> None:
        """Let events wait."""
        if not self.waiting:
            self.waiting_since = time.monotonic()
        self.waiting.extend(events)

    def batches(self, options: EventHubOptions) -> Iterator[list[EventData]]:
        """Batches that may be delivered now."""
        while self.waiting:
            waited_s = time.monotonic() - self.waiting_since
            if len(self.waiting) < options.min_batch and waited_s < options.max_wait_s:
                return
            batch = self.waiting[: options.max_batch]
            del self.waiting[: options.max_batch]
            self.waiting_since = time.monotonic()
            yield batch
