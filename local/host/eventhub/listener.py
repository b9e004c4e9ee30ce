"""Event Hubs triggers: the unmodified client and its blob checkpoint store, one batch at a time per partition."""

import asyncio
import contextlib
import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.storage.blob.aio import ContainerClient

from local.host.eventhub.checkpoints import Checkpoints
from local.host.eventhub.events import sent
from local.host.eventhub.partitions import EventHubOptions, Ownership, PartitionState
from local.host.functions import Declared, connection, resolve
from local.host.invoke import Invoker
from local.host.retry import NO_RETRY, STORAGE
from local.host.waiting import ended
from local.host.worker.worker import InvocationFailed

CHECKPOINT_CONTAINER = "azure-webjobs-eventhub"
POLL_S = 0.1  # how often an unfinished small batch is looked at again
CLOSE_S = 5.0
log = logging.getLogger("host.eventhub")


class EventHubListener:
    """Delivers one hub's events to one function.

    Args:
        function: What to run, with an Event Hubs trigger.
        invoker: Runs it.
        options: Batching and balancing.
        settings: Where connections and `%NAMES%` are looked up.
    """

    def __init__(
        self, function: Declared, invoker: Invoker, options: EventHubOptions, settings: Mapping[str, str]
    ) -> None:
        self.partitions: dict[str, PartitionState] = {}
        self._function = function
        self._invoke = invoker
        self._options = options
        self._retry = function.retry or NO_RETRY
        self._hub = resolve(function.binding["eventHubName"], settings)
        self._group = resolve(function.binding.get("consumerGroup") or "$Default", settings)
        self._hub_connection = connection(function.binding["connection"], settings)
        self._storage = connection("AzureWebJobsStorage", settings)
        self._owned: dict[str, Ownership] = {}
        # an execution outlives the loss of its partition; the next one must wait for it even after a new claim
        self._busy: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._checkpoints = Checkpoints(
            self._write_checkpoint, every=options.checkpoint_every, interval_s=options.checkpoint_interval_s
        )
        self._last_problem: str | None = None
        self._store = BlobCheckpointStore.from_connection_string(self._storage, CHECKPOINT_CONTAINER, **STORAGE)
        self._client: EventHubConsumerClient | None = None

    async def run(self) -> None:
        """Receive until `stop`; the client itself retries while hub or store do not answer."""
        await _ensure_container(self._storage)
        self._client = client = self._connect()
        receiving = client.receive_batch(
            self._on_batch,
            max_batch_size=self._options.max_batch,
            max_wait_time=POLL_S if self._options.min_batch > 1 else None,
            prefetch=self._options.prefetch,
            starting_position=self._options.start,
            on_error=self._on_error,
            on_partition_initialize=self._on_claimed,
            on_partition_close=self._on_lost,
        )
        tasks = [asyncio.create_task(each) for each in (receiving, self._checkpoints.run())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()

    async def stop(self, grace_s: float) -> bool:
        """Take nothing new, let executions end, write the last checkpoints, give the partitions back.

        Returns:
            Whether all executions ended in time.
        """
        self._stopping.set()
        in_time = await ended(set(self._running), grace_s)
        await self._checkpoints.flush()
        if self._client is not None:
            with contextlib.suppress(asyncio.TimeoutError):  # nobody may be there to say goodbye to
                await asyncio.wait_for(self._client.close(), CLOSE_S)
        await self._store.close()
        return in_time

    async def lags(self) -> dict[str, int]:
        """Events not yet done per owned partition; asks the hub, so not for every look."""
        client = self._client
        if client is None:
            return {}

        async def lag(partition: str) -> int:
            last = (await client.get_partition_properties(partition))["last_enqueued_sequence_number"]
            done = self.partitions[partition].last_sequence
            return int(last) - (-1 if done is None else done)

        owned = [partition for partition, state in self.partitions.items() if state.owned]
        return dict(zip(owned, await asyncio.gather(*map(lag, owned)), strict=True))

    def _connect(self) -> EventHubConsumerClient:
        return EventHubConsumerClient.from_connection_string(
            self._hub_connection,
            self._group,
            eventhub_name=self._hub,
            checkpoint_store=self._store,
            load_balancing_interval=self._options.balance_s,
            partition_ownership_expiration_interval=self._options.expiry_s,
        )

    async def _on_claimed(self, context: PartitionContext) -> None:
        self._owned[context.partition_id] = Ownership(context)
        self.partitions.setdefault(context.partition_id, PartitionState()).owned = True
        log.info("%s: %s partition %s claimed", self._function.name, self._hub, context.partition_id)

    async def _on_lost(self, context: PartitionContext, reason: Any) -> None:
        owned = self._owned.pop(context.partition_id, None)
        if owned is not None:
            owned.revoked.set()
        self._checkpoints.forget(context.partition_id)
        self.partitions[context.partition_id].owned = False
        log.info("%s: %s partition %s left: %s", self._function.name, self._hub, context.partition_id, reason.name)

    async def _on_error(self, context: PartitionContext | None, error: Exception) -> None:
        """The client goes on by itself; the same problem is logged once."""
        place = f"partition {context.partition_id}" if context else "balancing"
        problem = f"{self._function.name}: {self._hub} {place}: {type(error).__name__}: {str(error)[:200]}"
        log.log(logging.DEBUG if problem == self._last_problem else logging.WARNING, problem)
        self._last_problem = problem

    async def _on_batch(self, context: PartitionContext, events: list[EventData]) -> None:
        owned = self._owned.get(context.partition_id)
        if owned is None or owned.revoked.is_set() or self._stopping.is_set():
            await asyncio.Event().wait()  # returning would take events; the client cancels this when it closes
            return
        owned.add(events)
        for batch in owned.batches(self._options):
            task = asyncio.create_task(self._deliver(owned, batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            # the client cancels its callback when the partition goes; a running function cannot be cancelled
            await asyncio.shield(task)
            if owned.revoked.is_set() or self._stopping.is_set():
                return

    async def _deliver(self, owned: Ownership, batch: list[EventData]) -> None:
        """Run the function on a batch until it succeeds, is given up, or the partition is lost."""
        partition = owned.context.partition_id
        state = self.partitions[partition]
        async with self._busy[partition]:
            state.attempt, owned.failed = 0, None
            while not owned.revoked.is_set():
                if await self._attempt(owned, state, batch):
                    state.retrying_since = None
                    self._finish(owned, state, batch)
                    return
                await self._pause(owned, self._retry.delay_s(state.attempt))
                if self._stopping.is_set():
                    return

    async def _attempt(self, owned: Ownership, state: PartitionState, batch: list[EventData]) -> bool:
        """One execution; whether the batch is over (done, or given up as the Functions host does)."""
        try:
            await self._invoke(
                self._function, lambda: sent(batch, self._place(owned)), failures=state.attempt, last=owned.failed
            )
            return True
        except InvocationFailed as failed:
            state.attempt += 1
            owned.failed = failed
            place = f"{self._function.name} partition {owned.context.partition_id}"
            if not self._retry.allows(state.attempt):
                numbers = f"{batch[0].sequence_number} to {batch[-1].sequence_number}"
                log.warning("%s: events %s given up after attempt %d: %s", place, numbers, state.attempt, failed)
                return True
            log.warning("%s: attempt %d failed, will retry: %s", place, state.attempt, failed)
            state.retrying_since = state.retrying_since or dt.datetime.now(dt.timezone.utc).isoformat("T", "seconds")
            return False

    def _finish(self, owned: Ownership, state: PartitionState, batch: list[EventData]) -> None:
        state.last_sequence = batch[-1].sequence_number
        state.batches += 1
        state.events += len(batch)
        if not owned.revoked.is_set():
            self._checkpoints.finished(owned.context.partition_id, batch[-1])

    async def _pause(self, owned: Ownership, delay_s: float) -> None:
        """Sleep, unless the partition is lost or the host stops."""
        waits = [asyncio.create_task(event.wait()) for event in (owned.revoked, self._stopping)]
        _, pending = await asyncio.wait(waits, timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    async def _write_checkpoint(self, partition: str, last: EventData) -> None:
        owned = self._owned.get(partition)
        if owned is not None:
            await owned.context.update_checkpoint(last)

    def _place(self, owned: Ownership) -> dict[str, str]:
        return {
            "FullyQualifiedNamespace": owned.context.fully_qualified_namespace,
            "EventHubName": owned.context.eventhub_name,
            "ConsumerGroup": owned.context.consumer_group,
            "PartitionId": owned.context.partition_id,
        }


async def _ensure_container(storage: str) -> None:
    async with ContainerClient.from_connection_string(storage, CHECKPOINT_CONTAINER, **STORAGE) as container:
        with contextlib.suppress(ResourceExistsError):
            await container.create_container()
