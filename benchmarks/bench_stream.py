"""A fleet's messages from the devices' hub to committed forecasts, against the bare client that only receives them.

The hosts take some messages first, so that all is loaded and connected, and are then held while the hub is filled. They
go on from there: route, pack, send on, fold and forecast, two hubs and all. When they are done and gone, the bare
consumer reads the same hub from its beginning with the same prefetch. It is timed once every partition has had its
first batch, the hosts from the moment they go on to the last commit. `python -m benchmarks.bench_stream [HOSTS]`.

From Python 3.13 on the vendor's runtime converts each event as Azure's worker does. Below, our worker builds events
directly; what the library's converter would take for them is measured, and a second figure has it in.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.functions.eventhub import EventHubTriggerConverter

from benchmarks import packages
from benchmarks.bench_files import deploy
from benchmarks.timing import TREES, Usage
from local.fleet.__main__ import Fleet
from local.host.eventhub.events import sent as sent_events
from local.send import sources
from local.send.bodies import Bodies
from local.send.wire import Message, Sender
from local.stack.addresses import ANY_PORTS
from local.stack.programs import PROJECT
from local.stack.running import SETTINGS, get
from local.stack.scenario import TEMPLATE
from local.stack.stack import Stack
from local.stack.workspace import DEVICES, Workspace
from shared.adapters.stores import scenario_files
from shared.wiring import CONTAINERS

FLEET, HOURS, WARM_HOURS = 1000, 44, 4
HOSTS = 2  # one for each core
PARTITIONS = 4
HISTORY = Fleet(stations=10, hours=40 * 24)
PATIENT = ("--expiry-seconds", "120")  # a host that is held must find its partitions its own
GOAL, STRETCH = 50, 80
POLL_S, DEADLINE_S = 0.05, 90.0
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
    source = sources.fleet(FLEET, HOURS, seed=7)
    bodies = Bodies(scenario_files.load("air_quality"))
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
    options["starting_position"] = "-1"
    async with client:
        receiving = asyncio.create_task(client.receive_batch(take, **options))
        await asyncio.wait_for(done.wait(), DEADLINE_S)
        receiving.cancel()
        await asyncio.wait([receiving])
    return looks[-1].since(looks[0])


def conversion_s(count: int = 1000) -> float:
    """Processor seconds that the library's converter takes for one event of a batch."""
    events = [EventData(b"{}") for _ in range(count)]
    for number, event in enumerate(events):
        event.raw_amqp_message.annotations = {
            b"x-opt-sequence-number": number,
            b"x-opt-offset": b"%d" % number,
            b"x-opt-enqueued-time": 1_790_000_000_000 + 7 * number,
        }
    batch = sent_events(events, {"PartitionId": "0"})
    begun = time.process_time()
    EventHubTriggerConverter.decode(batch.data, trigger_metadata=batch.metadata)
    return (time.process_time() - begun) / count


class Hosts:
    """The stack's hosts, looked at as one: a partition is as far as the host that took it furthest."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.names = [name for name in stack.processes if name.startswith("host")]

    def asked(self, path: str) -> list[dict[str, Any]]:
        """What each host answers."""
        self._stack.check()
        return [get(f"{self._stack.host_url(name)}{path}") for name in self.names]

    def done(self) -> tuple[int, int]:
        """Readings applied and forecasts made, of all partitions."""
        furthest: dict[str, tuple[int, int]] = {}
        for health in self.asked("/api/health"):
            for number, found in health["partitions"].items():
                told = found["applied"], found["forecasts"]
                furthest[number] = max(furthest.get(number, (0, 0)), told)
        return sum(each[0] for each in furthest.values()), sum(each[1] for each in furthest.values())

    def through(self, expected: int) -> None:
        """Wait until so many readings are applied; each must have brought a forecast."""
        deadline = time.monotonic() + DEADLINE_S
        applied = forecasts = 0
        while applied < expected:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{applied} of {expected} readings were committed within {DEADLINE_S:g} s")
            time.sleep(POLL_S)
            applied, forecasts = self.done()
        assert forecasts == expected, f"{forecasts} forecasts of {expected} readings"

    def balanced(self) -> None:
        """Wait until every host owns its share of the partitions."""
        deadline = time.monotonic() + DEADLINE_S
        share = PARTITIONS // len(self.names)
        while time.monotonic() < deadline:
            if all(owned >= share for found in self.asked("/admin/host/status") for owned in owns(found)):
                return
            time.sleep(POLL_S)
        raise TimeoutError("the hosts did not share the partitions")

    def cpu_s(self) -> float:
        """Processor seconds of all hosts."""
        return sum(Usage.of(self._stack.processes[name].pid).cpu_s for name in self.names)

    def batches(self) -> Counter[tuple[str, str]]:
        """Batches and events of each hub trigger, from the hosts' own counts."""
        found: Counter[tuple[str, str]] = Counter()
        for status in self.asked("/admin/host/status"):
            for function in triggers(status):
                for place in function["partitions"].values():
                    found[function["name"], "batches"] += place["batches"]
                    found[function["name"], "events"] += place["events"]
        return found

    @contextmanager
    def held(self) -> Iterator[None]:
        """The hosts do nothing meanwhile."""
        pids = [self._stack.processes[name].pid for name in self.names]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


def triggers(status: dict[str, Any]) -> list[dict[str, Any]]:
    """The hub triggers in a host's status."""
    return [function for function in status["functions"] if function["type"] == "eventHubTrigger"]


def owns(status: dict[str, Any]) -> list[int]:
    """How many partitions each hub trigger of a host owns."""
    return [sum(each["owned"] for each in function["partitions"].values()) for function in triggers(status)]


def writes(stack: Stack, progress: int) -> dict[str, int]:
    """Blob writes of the application by what they are; progress is written once a batch that route took."""
    scenario = scenario_files.load("air_quality")
    space = Workspace.connect(stack.root, stack.storage, stack.host_url(), scenario)
    return {"progress": progress, **{container: len(space.blobs.names(container)) for container in WRITTEN}}


def run(number: int = HOSTS) -> None:
    """Warm the hosts, fill the hub, let both read it, print what each took."""
    with tempfile.TemporaryDirectory() as name:
        root, package = Path(name) / "stack", Path(name) / "package"
        packages.train_on(package, HISTORY)
        sent = messages()
        options: dict[str, Any] = {"settings": SETTINGS, "ports": ANY_PORTS, "host_options": PATIENT}
        with Stack(root, template=TEMPLATE, containers=CONTAINERS, **options) as stack:
            deploy(stack, package)
            for each in range(1, number):
                stack.start_host(f"host-{each + 1}")
            measure(stack, Hosts(stack), sent)


def measure(stack: Stack, hosts: Hosts, sent: list[Message]) -> None:
    """Both sides on the same messages, the hosts behind those that warmed them."""
    warm = WARM_HOURS * FLEET
    with Sender(stack.eventhub, DEVICES) as sender:
        hosts.balanced()
        sender.send(sent[:warm])
        hosts.through(warm)
        with hosts.held():
            begun = time.perf_counter()
            sender.send(sent[warm:])
            used, start = hosts.cpu_s(), time.perf_counter()
            done = Pace(len(sent) - warm, start - begun)
        hosts.through(len(sent))
        ours = Pace(done.readings, time.perf_counter() - start, hosts.cpu_s() - used)
    counts = hosts.batches()
    show(stack, hosts, counts, len(sent))
    for name in hosts.names:
        stack.kill(name)
    receiver = asyncio.run(bare(stack.eventhub, len(sent)))
    rows = {"sent": done, "bare consumer": receiver, "hub to forecasts": ours}
    events = sum(number for (_, what), number in counts.items() if what == "events") / len(sent)
    rows |= converted(ours, events, len(hosts.names))
    for title, pace in rows.items():
        cpu = f" {pace.cpu_s / pace.readings * 1e6:6.0f} us CPU a reading" if pace.cpu_s else ""
        print(f"{title:28} {pace.seconds:7.1f} s {pace.rate:10,.0f} readings/s{cpu}")
    print(f"{100 * ours.rate / receiver.rate:.0f} % of the bare consumer's (goal: {GOAL}, stretch: {STRETCH})")


def converted(ours: Pace, events: float, hosts: int) -> dict[str, Pace]:
    """The hosts' pace with the conversion that Azure's worker pays, where they did not pay it; tells its cost.

    Args:
        ours: Their pace.
        events: Events that a trigger was given for a reading, of all triggers.
        hosts: How many shared the work.
    """
    each_s = conversion_s()
    print(f"the library's converter takes {each_s * 1e3:.2f} ms of a processor for an event", end="; ")
    if sys.version_info >= (3, 13):
        print("the hosts ran on the vendor's runtime and paid it")
        return {}
    print("Azure's worker pays it, these hosts did not")
    more_s = each_s * events * ours.readings
    return {"with the vendor's conversion": Pace(ours.readings, ours.seconds + more_s / hosts, ours.cpu_s + more_s)}


def show(stack: Stack, hosts: Hosts, found: Counter[tuple[str, str]], count: int) -> None:
    """Print what the hosts did and used, the messages that warmed them included."""
    print(f"{count:,} readings of {FLEET:,} devices, one a message; {TREES['iterations']} trees of depth", end=" ")
    print(f"{TREES['depth']}; {len(hosts.names)} host(s)")
    for name in ("route_events", "score_readings"):
        times, events = found[name, "batches"], found[name, "events"]
        print(f"{name:16} {times:7,} batches, {events:8,} events, {events / max(times, 1):6.1f} a batch")
    written = writes(stack, found["route_events", "batches"])
    each = ", ".join(f"{kind} {number * 1e6 / count:,.0f}" for kind, number in written.items())
    print(f"blob writes per million readings: {sum(written.values()) * 1e6 / count:,.0f} ({each})")
    used = {name: Usage.of(process.pid) for name, process in stack.processes.items()}
    print("CPU seconds: " + ", ".join(f"{name} {each.cpu_s:.1f}" for name, each in used.items()), end="; ")
    print("peak memory " + ", ".join(f"{name} {used[name].peak_mb:.0f} MB" for name in hosts.names))


if __name__ == "__main__":
    run(*map(int, sys.argv[1:2]))
