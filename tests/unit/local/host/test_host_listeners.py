"""Pieces of the local host's listeners that need no network: batching, checkpoints, names."""

import asyncio
import datetime as dt
import time
from typing import Any

import pytest
from azure.core.exceptions import AzureError
from azure.eventhub import EventData

from local.host.blobs.options import BlobOptions, path_pattern
from local.host.blobs.sent import blob_of_url
from local.host.eventhub.checkpoints import Checkpoints
from local.host.eventhub.partitions import EventHubOptions, Ownership


def events(count: int) -> list[EventData]:
    return [EventData(str(number)) for number in range(count)]


def owned() -> Ownership:
    return Ownership(context=None)  # type: ignore[arg-type] # not looked at


def sizes(ownership: Ownership, options: EventHubOptions) -> list[int]:
    return [len(batch) for batch in ownership.batches(options)]


def test_batches_are_cut_at_the_largest_size() -> None:
    ownership = owned()
    ownership.add(events(250))
    assert sizes(ownership, EventHubOptions(max_batch=100)) == [100, 100, 50]
    assert ownership.waiting == []


def test_a_batch_below_the_smallest_size_waits_for_more_or_for_its_time() -> None:
    patient = EventHubOptions(max_batch=100, min_batch=10, max_wait_s=3600.0)
    ownership = owned()
    ownership.add(events(6))
    assert sizes(ownership, patient) == []
    ownership.add(events(6))
    assert sizes(ownership, patient) == [12]
    ownership.add(events(1))
    ownership.waiting_since = time.monotonic() - 3601.0
    assert sizes(ownership, patient) == [1]


def test_options_come_from_host_json_and_default_to_those_of_the_functions_host() -> None:
    assert EventHubOptions.from_host_json({}) == EventHubOptions()
    given: dict[str, Any] = {
        "maxEventBatchSize": 500,
        "minEventBatchSize": 20,
        "maxWaitTime": "00:00:05",
        "prefetchCount": 1000,
        "batchCheckpointFrequency": 5,
        "initialOffsetOptions": {"type": "fromEnqueuedTime", "enqueuedTimeUtc": "2026-11-20T00:00:00Z"},
    }
    found = EventHubOptions.from_host_json({"extensions": {"eventHubs": given}}, balance_s=0.5)
    assert (found.max_batch, found.min_batch, found.max_wait_s) == (500, 20, 5.0)
    assert (found.prefetch, found.checkpoint_every, found.balance_s) == (1000, 5, 0.5)
    assert found.start == dt.datetime(2026, 11, 20, tzinfo=dt.timezone.utc)
    latest = {"extensions": {"eventHubs": {"initialOffsetOptions": {"type": "fromEnd"}}}}
    assert EventHubOptions.from_host_json(latest).start == "@latest"
    blobs = {"extensions": {"blobs": {"poisonBlobThreshold": 3, "maxDegreeOfParallelism": 1}}}
    assert BlobOptions.from_host_json(blobs) == BlobOptions(tries=3, parallel=1)


class Store:
    """A checkpoint store that can be out of order."""

    def __init__(self) -> None:
        self.written: list[tuple[str, EventData]] = []
        self.broken = False

    async def write(self, partition: str, last: EventData) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise AzureError("out of order")
        self.written.append((partition, last))


async def settled(checkpoints: Checkpoints, rounds: int = 20) -> None:
    """Let the writer do all it would do now."""
    task = asyncio.create_task(checkpoints.run())
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()


def test_only_the_newest_event_of_a_partition_is_written() -> None:
    async def scenario() -> None:
        store, (first, second, other) = Store(), events(3)
        checkpoints = Checkpoints(store.write, every=1, interval_s=0.0)
        checkpoints.finished("0", first)
        checkpoints.finished("0", second)
        checkpoints.finished("1", other)
        await settled(checkpoints)
        assert store.written == [("0", second), ("1", other)]
        await settled(checkpoints)
        await checkpoints.flush()
        assert len(store.written) == 2

    asyncio.run(scenario())


def test_checkpoints_wait_for_their_number_of_batches_but_not_at_the_end() -> None:
    async def scenario() -> None:
        store, found = Store(), events(4)
        checkpoints = Checkpoints(store.write, every=3, interval_s=0.0)
        for event in found[:2]:
            checkpoints.finished("0", event)
        await settled(checkpoints)
        assert store.written == []
        checkpoints.finished("0", found[2])
        await settled(checkpoints)
        assert store.written == [("0", found[2])]
        checkpoints.finished("0", found[3])
        await checkpoints.flush()
        assert store.written[1:] == [("0", found[3])]

    asyncio.run(scenario())


def test_a_failed_write_is_repeated_and_a_lost_partition_is_not_written() -> None:
    async def scenario() -> None:
        store, (first, second) = Store(), events(2)
        store.broken = True
        checkpoints = Checkpoints(store.write, every=1, interval_s=0.0)
        checkpoints.finished("0", first)
        checkpoints.finished("1", second)
        await settled(checkpoints)
        store.broken = False
        checkpoints.forget("1")
        await settled(checkpoints)
        assert store.written == [("0", first)]

    asyncio.run(scenario())


def test_at_most_one_write_goes_out_in_an_interval() -> None:
    async def scenario() -> None:
        store = Store()
        checkpoints = Checkpoints(store.write, every=1, interval_s=3600.0)
        task = asyncio.create_task(checkpoints.run())
        for event in events(50):
            checkpoints.finished("0", event)
            for _ in range(5):
                await asyncio.sleep(0)
        task.cancel()
        assert len(store.written) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "name", "meant"),
    [
        ("incoming/{name}", "a.csv", True),
        ("incoming/{name}", "a/b.csv", True),
        ("incoming/{name}", 'it\'s "quoted" 🌫️\nnewline', True),
        ("incoming/{name}.csv", "a.csv", True),
        ("incoming/{name}.csv", "a.csv.gz", False),
        ("incoming/raw/{name}", "a.csv", False),
        ("incoming/{folder}/{name}", "f/a.csv", True),
        ("incoming", "anything/at all", True),
    ],
)
def test_blob_paths(path: str, name: str, meant: bool) -> None:
    container, prefix, pattern = path_pattern(path)
    assert container == "incoming"
    assert (name.startswith(prefix) and bool(pattern.fullmatch(name))) == meant


def test_a_blob_url_is_read_in_both_forms() -> None:
    assert blob_of_url("http://localhost:1/devstoreaccount1/incoming/a%20b/%23.csv") == "incoming/a b/#.csv"
    assert blob_of_url("https://x.blob.core.windows.net/incoming/a%2Bb?sv=1") == "incoming/a+b"
