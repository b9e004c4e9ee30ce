"""The hub "readings" in Azure Event Hubs, or behind the local endpoint."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shared.adapters.stores.event_hub_errors import failure
from shared.adapters.stores.event_hub_read import received
from shared.adapters.stores.identity import ANY, Identity
from shared.core.stream.events import Event

if TYPE_CHECKING:
    from azure.eventhub import EventDataBatch, EventHubProducerClient

SEND_BYTES = 800_000
BATCH_BYTES = 1 << 20  # what a hub takes at once
READ_AT_ONCE = 500


class EventHubStream:
    """A hub reached by a connection string (local), or by its namespace and the app's own identity.

    Args:
        hub: Name of the hub.
        connection: Connection string, None in Azure.
        namespace: Fully qualified namespace, None locally.
        identity: With which the namespace is reached.
        group: Consumer group to read in. Not that of a trigger: a trigger has its partitions for itself, and a second
            reader in its group is refused as long as it runs.
    """

    def __init__(
        self, hub: str, connection: str | None, namespace: str | None, identity: Identity = ANY, group: str = "$Default"
    ) -> None:
        self._group = group
        self._hub, self._connection, self._namespace, self._identity = hub, connection, namespace, identity
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
        """Events `first` to `end - 1` that the hub still has, in order and without gaps; `READ_AT_ONCE` are held."""
        while first < end:
            with _translated(self._hub):
                events = asyncio.run(self._read(partition, first, end))
            if not events:
                return
            yield from events
            first = events[-1].sequence + 1

    def oldest(self, partition: int) -> Event | None:
        """The oldest event that the hub still has, None when it has none."""
        with _translated(self._hub):
            return asyncio.run(self._oldest(partition))

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
                credential = self._identity.credential()
                producer = EventHubProducerClient(str(self._namespace), self._hub, credential)
            self._producers[partition] = producer
        return self._producers[partition]

    def _consumer(self) -> Any:
        from azure.eventhub.aio import EventHubConsumerClient

        if self._connection:
            return EventHubConsumerClient.from_connection_string(self._connection, self._group, eventhub_name=self._hub)
        credential = self._identity.async_credential()
        return EventHubConsumerClient(str(self._namespace), self._hub, self._group, credential)

    async def _read(self, partition: int, first: int, end: int) -> list[Event]:
        async with self._consumer() as consumer:
            known = await consumer.get_partition_properties(str(partition))
            if known["is_empty"]:
                return []
            first = max(first, known["beginning_sequence_number"])
            end = min(end, known["last_enqueued_sequence_number"] + 1, first + READ_AT_ONCE)
            return await received(consumer, partition, first, end) if first < end else []

    async def _oldest(self, partition: int) -> Event | None:
        async with self._consumer() as consumer:
            known = await consumer.get_partition_properties(str(partition))
            first = known["beginning_sequence_number"]
            return None if known["is_empty"] else (await received(consumer, partition, first, first + 1))[0]


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
    """Errors of the hub's client as ours.

    Raises:
        TransientFailure: The hub does not answer, or not now.
        ConfigError: It refuses for good: identity, rights, a hub or consumer group that is missing.
    """
    from azure.core.exceptions import AzureError
    from azure.eventhub.exceptions import EventHubError

    try:
        yield
    except (EventHubError, AzureError, OSError) as error:
        raise failure(f"hub {hub}", error) from error
