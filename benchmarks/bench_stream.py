"""A fleet's messages from the devices' hub to committed forecasts, against the bare client that only receives them.

The hub is filled first. The bare consumer reads it to its end; then the host starts and routes, packs, sends on, folds
and forecasts the same messages, two hubs and all, with the same prefetch. Both are timed once every partition has had
its first batch, the host until its last forecast is committed. Run it with `python -m benchmarks.bench_stream`.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

from benchmarks import packages
from benchmarks.bench_files import deploy
from benchmarks.timing import TREES, Usage
from local import send_sources
from local.commands import SETTINGS, get
from local.fleet import Fleet
from local.send_sources import Bodies
from local.send_wire import Message, Sender
from local.stack import ANY_PORTS, PROJECT, Stack
from local.workspace import DEVICES, TEMPLATE, Workspace
from shared.adapters import scenario_files
from shared.wiring import CONTAINERS

FLEET, HOURS = 1000, 30
PARTITIONS = 4
HISTORY = Fleet(stations=10, hours=40 * 24)
BALANCING = ("--balance-seconds", "0.5", "--expiry-seconds", "2")
GOAL, STRETCH = 50, 80
POLL_S, DEADLINE_S = 0.05, 150.0
WRITTEN = ("predictions", "commits", "dead-letter")


class Pace(NamedTuple):
    """How many readings, in how many seconds, of which the process computed so many."""

    readings: int
    seconds: float
    cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        """Readings per second."""
        return self.readings / self.seconds

    def since(self, before: Pace) -> Pace:
        """What came between two looks at the clocks."""
        return Pace(self.readings - before.readings, self.seconds - before.seconds, self.cpu_s - before.cpu_s)


def messages() -> list[Message]:
    """What the fleet says, ready to be sent."""
    source = send_sources.fleet(FLEET, HOURS, seed=7)
    bodies = Bodies(scenario_files.load("air_quality").channel_names)
    return [Message(row.device, bodies.of(row), row.minute) for row in source.rows()]


async def bare(connection: str, expected: int) -> Pace:
    """The aio consumer on all partitions at once, doing nothing with what it gets."""
    client = EventHubConsumerClient.from_connection_string(connection, "$Default", eventhub_name=DEVICES)
    limits = json.loads((PROJECT / "host.json").read_text("utf-8"))["extensions"]["eventHubs"]
    got: Counter[str] = Counter()
    looks: list[Pace] = []
    done = asyncio.Event()

    async def take(context: PartitionContext, events: list[EventData]) -> None:
        got[context.partition_id] += len(events)
        if len(got) == PARTITIONS:
            looks.append(Pace(got.total(), time.perf_counter(), time.process_time()))
        if got.total() >= expected:
            done.set()

    options: dict[str, Any] = {"prefetch": limits["prefetchCount"], "max_batch_size": limits["maxEventBatchSize"]}
    async with client:
        receiving = asyncio.create_task(client.receive_batch(take, starting_position="-1", **options))
        await asyncio.wait_for(done.wait(), DEADLINE_S)
        receiving.cancel()
        await asyncio.wait([receiving])
    return looks[-1].since(looks[0])


def through(stack: Stack, expected: int) -> Pace:
    """The host, from the first look at which every partition has committed; what is routed by then does not count."""
    deadline = time.monotonic() + DEADLINE_S
    first: Pace | None = None
    pid = stack.processes["host"].pid
    while time.monotonic() < deadline:
        stack.check()
        health = get(f"{stack.host_url()}/api/health")
        found, routes = health["partitions"].values(), health["routes"].values()
        applied = sum(each["applied"] for each in found)
        if first is None and sum(each["applied"] > 0 for each in found) == PARTITIONS:
            first = Pace(sum(route.get("messages", 0) for route in routes), time.perf_counter(), Usage.of(pid).cpu_s)
        if first is not None and applied >= expected:
            forecasts = sum(each["forecasts"] for each in found)
            assert forecasts == expected, f"{forecasts} forecasts of {expected} readings"
            return Pace(expected, time.perf_counter(), Usage.of(pid).cpu_s).since(first)
        time.sleep(POLL_S)
    raise TimeoutError(f"not all of {expected} readings were committed within {DEADLINE_S:g} s: {health}")


def writes(stack: Stack) -> dict[str, int]:
    """Blob writes of the application by what they are; progress is written once a batch that route took."""
    space = Workspace.connect(stack.root, stack.storage, stack.host_url())
    found = {container: len(space.blobs.names(container)) for container in WRITTEN}
    return {"progress": batches(stack)["route_events"][0], **found}


def batches(stack: Stack) -> dict[str, tuple[int, int]]:
    """Batches and events of each hub trigger, from the host's own count."""
    status = get(f"{stack.host_url()}/admin/host/status")
    found = {}
    for function in status["functions"]:
        if function["type"] != "eventHubTrigger":
            continue
        places = function["partitions"].values()
        found[function["name"]] = sum(each["batches"] for each in places), sum(each["events"] for each in places)
    return found


def run() -> None:
    """Fill the hub, let both read it, print what each took."""
    with tempfile.TemporaryDirectory() as name:
        root, package = Path(name) / "stack", Path(name) / "package"
        packages.train_on(package, HISTORY)
        sent = messages()
        options: dict[str, Any] = {"settings": SETTINGS, "ports": ANY_PORTS, "host_options": BALANCING}
        with Stack(root, template=TEMPLATE, containers=CONTAINERS, **options) as stack:
            deploy(stack, package)
            stack.kill("host")
            with Sender(stack.eventhub, DEVICES) as sender:
                done = sender.send(sent)
            receiver = asyncio.run(bare(stack.eventhub, len(sent)))
            stack.restart("host")
            ours = through(stack, len(sent))
            show(stack, Pace(*done), receiver, ours)


def show(stack: Stack, sent: Pace, receiver: Pace, ours: Pace) -> None:
    """Print the table."""
    count = sent.readings
    print(f"{count:,} readings of {FLEET:,} devices, one a message; {TREES['iterations']} trees of depth", end=" ")
    print(TREES["depth"])
    for name, pace in (("sent", sent), ("bare consumer", receiver), ("hub to forecasts", ours)):
        cpu = f" {pace.cpu_s / pace.readings * 1e6:6.0f} us CPU a reading" if pace.cpu_s else ""
        print(f"{name:16} {pace.seconds:7.1f} s {pace.rate:10,.0f} readings/s{cpu}")
    print(f"{100 * ours.rate / receiver.rate:.0f} % of the bare consumer's (goal: {GOAL}, stretch: {STRETCH})")
    for name, (times, events) in batches(stack).items():
        print(f"{name:16} {times:7,} batches, {events:8,} events, {events / max(times, 1):6.1f} a batch")
    written = writes(stack)
    each = ", ".join(f"{kind} {number * 1e6 / count:,.0f}" for kind, number in written.items())
    print(f"blob writes per million readings: {sum(written.values()) * 1e6 / count:,.0f} ({each})")
    used = {name: Usage.of(process.pid) for name, process in stack.processes.items()}
    print("CPU seconds: " + ", ".join(f"{name} {each.cpu_s:.1f}" for name, each in used.items()), end="; ")
    print(f"host's peak memory {used['host'].peak_mb:.0f} MB")


if __name__ == "__main__":
    run()
