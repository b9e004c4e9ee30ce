"""The hub "readings" in Azure Event Hubs, or behind the local endpoint."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shared.core.stream.events import Event
from shared.errors import TransientFailure

if TYPE_CHECKING:
    from azure.eventhub import EventDataBatch, EventHubProducerClient

SEND_BYTES = 800_000
BATCH_BYTES = 1 << 20  # what a hub takes at once
IDENTITY = b"iothub-connection-device-id"
IDLE_S = 5.0


class EventHubStream:
    """A hub reached by a connection string (local), or by its namespace and the app's own identity.

    Args:
        hub: Name of the hub.
        connection: Connection string, None in Azure.
        namespace: Fully qualified namespace, None locally.
    """

    def __init__(self, hub: str, connection: str | None, namespace: str | None) -> None:
        self._hub, self._connection, self._namespace = hub, connection, namespace
        self._lock = threading.Lock()
        # Partitions are sent to side by side. The client is not promised to be thread-safe: each has its own.
        self._sending: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)
        self._producers: dict[int, EventHubProducerClient] = {}
        self._partitions = 0

    def partitions(self) -> int:
        """Number of partitions; asked once, it never changes in a hub's life."""
        if not self._partitions:
            with self._turn(0), _translated(self._hub):
                self._partitions = self._partitions or len(self._client(0).get_partition_ids())
        return self._partitions

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        """Append events to a partition, in order; returns once they are accepted."""
        with self._turn(partition), _translated(self._hub):
            for group in _groups(bodies):
                self._client(partition).send_batch(_batch(group, partition))

    def _turn(self, partition: int) -> threading.Lock:
        with self._lock:
            return self._sending[partition]

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        """Events `first` to `end - 1` that the hub still has, in order and without gaps."""
        with _translated(self._hub):
            events = asyncio.run(self._read(partition, first, end))
        yield from events

    def close(self) -> None:
        """Close the connections."""
        for partition in list(self._producers):
            with self._turn(partition):
                self._producers.pop(partition).close()

    def _client(self, partition: int) -> EventHubProducerClient:
        """The partition's own client; its turn is held."""
        if partition not in self._producers:
            from azure.eventhub import EventHubProducerClient

            if self._connection:
                producer = EventHubProducerClient.from_connection_string(self._connection, eventhub_name=self._hub)
            else:
                from azure.identity import DefaultAzureCredential

                producer = EventHubProducerClient(str(self._namespace), self._hub, DefaultAzureCredential())
            self._producers[partition] = producer
        return self._producers[partition]

    def _consumer(self) -> Any:
        from azure.eventhub.aio import EventHubConsumerClient

        if self._connection:
            return EventHubConsumerClient.from_connection_string(self._connection, "$Default", eventhub_name=self._hub)
        from azure.identity.aio import DefaultAzureCredential

        return EventHubConsumerClient(str(self._namespace), self._hub, "$Default", DefaultAzureCredential())

    async def _read(self, partition: int, first: int, end: int) -> list[Event]:
        async with self._consumer() as consumer:
            known = await consumer.get_partition_properties(str(partition))
            if known["is_empty"]:
                return []
            first = max(first, known["beginning_sequence_number"])
            end = min(end, known["last_enqueued_sequence_number"] + 1)
            return await _received(consumer, partition, first, end) if first < end else []


async def _received(consumer: Any, partition: int, first: int, end: int) -> list[Event]:
    """Events `first` to `end - 1`, all of which the hub says it has.

    Raises:
        TransientFailure: It did not give them; they must not be taken for expired.
    """
    found: list[Event] = []
    problems: list[Exception] = []
    done = asyncio.Event()

    async def take(_context: object, events: list[Any]) -> None:
        for event in events:
            if first <= event.sequence_number < end:
                enqueued = int(event.enqueued_time.timestamp() * 1000)
                identity = event.system_properties.get(IDENTITY)
                sender = identity.decode() if isinstance(identity, bytes) else identity
                found.append(Event(event.sequence_number, enqueued, b"".join(event.body), sender))
        if not events or events[-1].sequence_number >= end - 1:
            done.set()

    async def fail(_context: object, error: Exception) -> None:
        problems.append(error)
        done.set()

    position = {"starting_position": first, "starting_position_inclusive": True}
    options = {"partition_id": str(partition), "max_wait_time": IDLE_S, "on_error": fail, **position}
    receiving = asyncio.ensure_future(consumer.receive_batch(take, **options))
    receiving.add_done_callback(lambda _: done.set())
    await done.wait()
    receiving.cancel()
    problems += [p for p in await asyncio.gather(receiving, return_exceptions=True) if isinstance(p, Exception)]
    if [event.sequence for event in found] != list(range(first, end)):
        why = type(problems[0]).__name__ if problems else f"nothing came for {IDLE_S:g} s"
        raise TransientFailure(f"hub: events {first} to {end - 1} of partition {partition} were not read: {why}")
    return found


def _batch(bodies: Sequence[bytes], partition: int) -> EventDataBatch:
    """One message to a partition; given a list instead, the client would open a link more just to ask for its limit."""
    from azure.eventhub import EventData, EventDataBatch

    batch = EventDataBatch(BATCH_BYTES, str(partition))
    for body in bodies:
        batch.add(EventData(body))
    return batch


def _groups(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for body in bodies:
        if group and size + len(body) > SEND_BYTES:
            yield group
            group, size = [], 0
        group.append(body)
        size += len(body)
    if group:
        yield group


@contextmanager
def _translated(hub: str) -> Iterator[None]:
    from azure.core.exceptions import AzureError
    from azure.eventhub.exceptions import EventHubError

    try:
        yield
    except (EventHubError, AzureError, OSError) as error:
        raise TransientFailure(f"hub {hub}: {type(error).__name__}") from error
