"""The bare azure-eventhub client against the local endpoint: events and megabytes per second, sent and received.

Measured is our stand-in with the real client; it says nothing about the service. Both consumers fetch `prefetch` events
at a time; the aio one then pauses for 50 ms, so that this setting alone decides its speed with small events. Received
counts from the end of the first batch to the end of the last. Run: `python -m benchmarks.bench_endpoint`.
"""

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.aio import EventHubConsumerClient as AioConsumer

from benchmarks.timing import Usage

DEADLINE_S = 60


class Case(NamedTuple):
    """Events of one size, and how many of them the consumer may hold unread."""

    body_bytes: int
    events: int
    prefetch: int


CASES = (Case(150, 20_000, 300), Case(150, 20_000, 3000), Case(150_000, 200, 20))


@contextmanager
def endpoint(data: Path) -> Iterator[tuple[str, int]]:
    """A running endpoint with one partition per case: its connection string and its process id."""
    hub = f"bench:{len(CASES)}"
    command = [sys.executable, "-m", "local.eventhub", "--port", "0", "--hub", hub, "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own command
        assert process.stdout is not None
        port = process.stdout.readline().split("port=")[1].split()[0]
        keys = "SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true;EntityPath=bench"
        try:
            yield f"Endpoint=sb://localhost:{port};{keys}", process.pid
        finally:
            process.terminate()


def send(connection: str, partition: str, case: Case) -> float:
    """Events per second in the fullest batches, each acknowledged before the next."""
    body = bytes(case.body_bytes)
    with EventHubProducerClient.from_connection_string(connection) as client:
        client.send_batch([EventData(b"connected")], partition_id=partition)
        start = time.perf_counter()
        batch = client.create_batch(partition_id=partition)
        for _ in range(case.events):
            try:
                batch.add(EventData(body))
            except ValueError:  # full
                client.send_batch(batch)
                batch = client.create_batch(partition_id=partition)
                batch.add(EventData(body))
        client.send_batch(batch)
        return case.events / (time.perf_counter() - start)


class Meter:
    """Counts events from the end of the first batch on, and notices the last."""

    def __init__(self, case: Case) -> None:
        self._missing = case.events + 1  # and the one that was sent to connect
        self._counted = 0
        self._start = self._end = 0.0

    def took(self, events: int) -> bool:
        """Count a batch; whether it was the last."""
        self._end = time.perf_counter()
        if self._start:
            self._counted += events
        else:
            self._start = self._end
        self._missing -= events
        return self._missing <= 0

    @property
    def rate(self) -> float:
        """Events per second."""
        return self._counted / (self._end - self._start)


def receive(connection: str, partition: str, case: Case) -> float:
    """Events per second of the sync consumer."""
    meter, done = Meter(case), threading.Event()

    def on_batch(_context: Any, events: list[EventData]) -> None:
        if meter.took(len(events)):
            done.set()

    client = EventHubConsumerClient.from_connection_string(
        connection, consumer_group="$Default", load_balancing_interval=0.5
    )
    options: dict[str, Any] = {"starting_position": "-1", "prefetch": case.prefetch, "max_batch_size": case.prefetch}
    options |= {"partition_id": partition, "max_wait_time": 1}
    thread = threading.Thread(target=client.receive_batch, args=(on_batch,), kwargs=options)
    thread.start()
    assert done.wait(DEADLINE_S)
    client.close()
    thread.join()
    return meter.rate


async def receive_aio(connection: str, partition: str, case: Case) -> float:
    """Events per second of the aio consumer."""
    meter, done = Meter(case), asyncio.Event()

    async def on_batch(_context: Any, events: list[EventData]) -> None:
        if meter.took(len(events)):
            done.set()

    client = AioConsumer.from_connection_string(connection, consumer_group="$Default")
    options: dict[str, Any] = {"starting_position": "-1", "prefetch": case.prefetch, "max_batch_size": case.prefetch}
    async with client:
        task = asyncio.create_task(client.receive_batch(on_batch, partition_id=partition, **options))
        await asyncio.wait_for(done.wait(), DEADLINE_S)
        task.cancel()
        await asyncio.wait([task])
    return meter.rate


def run() -> None:
    """Send and receive each case, and print the table."""
    print(f"{'body':>9} {'events':>7} {'prefetch':>8} | {'sent':^18} | {'received, sync':^18} | {'received, aio':^18}")
    print(f"{'':>26} | " + " | ".join([f"{'events/s':>9} {'MB/s':>8}"] * 3))
    with tempfile.TemporaryDirectory() as data, endpoint(Path(data)) as (connection, pid):
        for number, case in enumerate(CASES):
            rates = [send(connection, str(number), case), receive(connection, str(number), case)]
            rates.append(asyncio.run(receive_aio(connection, str(number), case)))
            columns = [f"{rate:>9,.0f} {rate * case.body_bytes / 1e6:>8.1f}" for rate in rates]
            print(f"{case.body_bytes:>7} B {case.events:>7} {case.prefetch:>8} | " + " | ".join(columns))
        print(f"endpoint: peak memory {Usage.of(pid).peak_mb:.0f} MB")


if __name__ == "__main__":
    run()
