"""The bare azure-eventhub client against the local endpoint: events and megabytes per second, sent and received.

What is measured is the stand-in with the real client; it says nothing about the service. Run it with
`python -m benchmarks.bench_endpoint`.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from azure.eventhub import EventData, EventHubProducerClient, PartitionContext
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.aio import PartitionContext as AioPartitionContext

CASES = ((150, 20_000), (150_000, 200))  # bytes of a body, events
KILO_OVERHEAD = 1e6


@contextmanager
def endpoint(data: Path) -> Iterator[str]:
    """A running endpoint; its connection string."""
    command = [sys.executable, "-m", "local.eventhub", "--port", "0", "--hub", "bench:2", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own command
        assert process.stdout is not None
        port = process.stdout.readline().split("port=")[1].split()[0]
        keys = "SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true;EntityPath=bench"
        try:
            yield f"Endpoint=sb://localhost:{port};{keys}"
        finally:
            process.terminate()


def send(connection: str, partition: str, body: bytes, count: int) -> float:
    """Seconds to send events in the largest batches the client makes, each acknowledged before the next."""
    with EventHubProducerClient.from_connection_string(connection) as client:
        client.send_batch([EventData(b"warm")], partition_id=partition)
        start = time.perf_counter()
        batch = client.create_batch(partition_id=partition)
        for _ in range(count):
            try:
                batch.add(EventData(body))
            except ValueError:  # full
                client.send_batch(batch)
                batch = client.create_batch(partition_id=partition)
                batch.add(EventData(body))
        client.send_batch(batch)
        return time.perf_counter() - start
