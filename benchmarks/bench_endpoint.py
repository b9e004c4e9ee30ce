"""The bare azure-eventhub client against the local endpoint: events and megabytes per second, sent and received.

Measured is our stand-in with the real client; it says nothing about the service. The aio client pauses 50 ms after each
`prefetch` events, so that small events depend on this setting alone. Run: `python -m benchmarks.bench_endpoint`.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.aio import EventHubConsumerClient

DEADLINE_S = 60


class Case(NamedTuple):
    """Events of one size, and how many of them the consumer may hold unread."""

    body_bytes: int
    events: int
    prefetch: int


CASES = (Case(150, 20_000, 300), Case(150, 20_000, 3000), Case(150_000, 200, 300))


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
    """Seconds to send a case's events in the fullest batches, each acknowledged before the next."""
    body = bytes(case.body_bytes)
    with EventHubProducerClient.from_connection_string(connection) as client:
        batch = client.create_batch(partition_id=partition)  # connects
        start = time.perf_counter()
        for _ in range(case.events):
            try:
                batch.add(EventData(body))
            except ValueError:  # full
                client.send_batch(batch)
                batch = client.create_batch(partition_id=partition)
                batch.add(EventData(body))
        client.send_batch(batch)
        return time.perf_counter() - start


async def receive(connection: str, partition: str, case: Case) -> float:
    """Seconds from the first to the last event of a partition."""
    got = 0
    first = last = 0.0
    done = asyncio.Event()

    async def on_batch(_context: Any, events: list[EventData]) -> None:
        nonlocal got, first, last
        first = first or time.perf_counter()
        got += len(events)
        if got == case.events:
            last = time.perf_counter()
            done.set()

    client = EventHubConsumerClient.from_connection_string(connection, consumer_group="$Default")
    async with client:
        options = {"starting_position": "-1", "prefetch": case.prefetch, "max_batch_size": case.prefetch}
        task = asyncio.create_task(client.receive_batch(on_batch, partition_id=partition, **options))
        await asyncio.wait_for(done.wait(), DEADLINE_S)
        task.cancel()
        await asyncio.wait([task])
    return last - first


def peak_mb(pid: int) -> float:
    """The most memory a process ever held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def run() -> None:
    """Send and receive each case, and print the table."""
    print(f"{'body':>9} {'events':>7} {'prefetch':>8} | {'sent /s':>9} {'MB/s':>7} | {'received /s':>11} {'MB/s':>7}")
    with tempfile.TemporaryDirectory() as data, endpoint(Path(data)) as (connection, pid):
        for number, case in enumerate(CASES):
            sent = case.events / send(connection, str(number), case)
            received = case.events / asyncio.run(receive(connection, str(number), case))
            megabytes = case.body_bytes / 1e6
            print(
                f"{case.body_bytes:>7} B {case.events:>7} {case.prefetch:>8} | {sent:>9,.0f} {sent * megabytes:>7.1f} |"
                f" {received:>11,.0f} {received * megabytes:>7.1f}"
            )
        print(f"endpoint: peak memory {peak_mb(pid):.0f} MB")


if __name__ == "__main__":
    run()
