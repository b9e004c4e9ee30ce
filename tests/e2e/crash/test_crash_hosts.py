"""Whole hosts are killed while devices send and a file is read; they forecast what an undisturbed run forecasts."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from azure.eventhub import EventData, EventHubProducerClient

from local.books import recount as books
from local.eventhub import event_log
from local.eventhub.amqp.message import read_message
from local.stack.addresses import ANY_PORTS, storage_connection
from local.stack.programs import PROJECT
from local.stack.scenario import TEMPLATE
from local.stack.stack import Stack
from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.adapters.stores.event_hub import EventHubStream
from shared.app.route.file_books import key_of
from shared.core.forecast.state import State
from shared.core.intake import progress
from shared.core.intake.reasons import REASONS
from shared.core.model.deployment import Deployment
from shared.core.stream.events import FILE_PREFIX, Event
from shared.core.stream.packing import unpack
from shared.wiring import CONTAINERS
from tests.e2e.crash import crash_story as story
from tests.e2e.crash import crash_world as world
from tests.e2e.crash.crash_weather import Weather
from tests.kit import MemoryBlobs, MemoryStream

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
PACE = ("--balance-seconds", "0.5", "--expiry-seconds", "3")
SETTINGS = {"MODEL_REFRESH_S": "1", "SNAPSHOT_COMMITS": "8", "CHUNK_ROWS": "300"}
DEVICES = tuple(f"w-{number}" for number in range(10))
FUNCTIONS = {"route_events": "telemetry", "score_readings": "readings"}
PARTITIONS = 4
PAUSE_S = 0.02
FILE = "while it is read.csv"
FILE_HOURS = 2000
DEADLINE_S = 240.0


class Senders(threading.Thread):
    """Devices that send an hour's readings at a time until told to stop, some of them twice, late or as garbage."""

    def __init__(self, connection: str, pause_s: float = PAUSE_S) -> None:
        super().__init__()
        self._pause_s = pause_s
        self.ending = threading.Event()
        self.hours = 0
        self._connection = connection
        self._teller = story.Teller(11)

    def run(self) -> None:
        with EventHubProducerClient.from_connection_string(self._connection, eventhub_name="telemetry") as client:
            while not self.ending.wait(self._pause_s):
                for device in DEVICES:
                    messages = list(self._messages(device, self.hours))
                    client.send_batch([_annotated(device, body) for body in messages], partition_key=device)
                self.hours += 1

    def _messages(self, device: str, hour: int) -> Iterator[bytes]:
        chance = self._teller.random.random()
        yield _body(self._teller, device, hour)
        if chance < 0.1:
            yield _body(self._teller, device, hour)
        if chance > 0.9:
            yield _body(self._teller, device, max(0, hour - self._teller.random.choice([2, 5, 40])), minute=7)
        if chance > 0.97:
            yield self._teller.random.choice([b"\xff", b"{", b"[]", b'{"device_id": "another", "ts": 1500000000}'])


def _body(teller: story.Teller, device: str, hour: int, minute: int = 0) -> bytes:
    named = zip(story.SCENARIO.channel_names, teller.values(device, hour), strict=True)
    values = {name: value for name, value in named if value == value}
    return json.dumps({"device_id": device, "ts": (story.HOUR + hour) * 3600 + 60 * minute, **values}).encode()


def _annotated(device: str, body: bytes) -> EventData:
    event = EventData(body)
    event.raw_amqp_message.annotations = {"iothub-connection-device-id": device, "iothub-message-source": "Telemetry"}
    return event


def until(holds: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    stop = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < stop, f"{what} did not happen within {deadline_s} s"
        time.sleep(0.05)


@dataclass(frozen=True)
class Told:
    """What a run came to: which hosts were killed, hours sent, forecasts compared, what the weather did."""

    killed: list[str]
    hours: int
    forecasts: int
    weather: Counter[str]


@dataclass
class Site:
    """A running stack, and what stands in its stores."""

    stack: Stack
    blobs: AzureBlobs
    weather: Weather | None = None
    random: random.Random = field(default_factory=lambda: random.Random(4))
    killed: list[str] = field(default_factory=list)

    @property
    def logs(self) -> Path:
        return self.stack.root / "eventhub"

    def log(self, hub: str, number: int) -> list[Event]:
        """A partition as a trigger would deliver it."""
        out = []
        for record in event_log.read(event_log.log_path(self.logs, hub, number)):
            message = read_message(record.message)
            identity = message.annotations.get("iothub-connection-device-id")
            out.append(Event(record.sequence, record.enqueued_ms, message.body, identity))
        return out

    def routed(self) -> list[int]:
        """Messages routed, by partition of the devices' hub."""
        names = [progress.name_of(number) for number in range(PARTITIONS)]
        return [progress.decode(self.blobs.read(progress.CONTAINER, name) or b"{}").messages for name in names]

    def kill(self, name: str) -> None:
        """Kill a host at a random moment while all hosts together are at work."""
        before = sum(self.routed())
        until(lambda: sum(self.routed()) > before, "routing anything")
        time.sleep(self.random.uniform(0.0, 0.8))  # the moment is random, nothing is waited for
        self.stack.kill(name)
        self.killed.append(name)

    def drop(self, name: str, body: bytes) -> None:
        self.blobs.write("incoming", name, body)

    def being_read(self) -> bool:
        """Whether readings of a file stand in the hub already."""
        events = [event for number in range(PARTITIONS) for event in self.log("readings", number)]
        return any(
            unpack(event.body, story.SCENARIO.channel_names)[0].source.startswith(FILE_PREFIX) for event in events
        )

    def source(self) -> str:
        info = self.blobs.info("incoming", FILE)
        assert info is not None
        return f"{FILE_PREFIX}{FILE}@{info.etag.strip(chr(34))}"

    def shared(self) -> bool:
        """Whether the second host works on both hubs beside the first."""
        said = self.stack.processes["host2"].log.read_text("utf-8")
        return all(f"{name}: " in said and f"{hub} partition" in said for name, hub in FUNCTIONS.items())

    def caught_up(self) -> bool:
        return self.routed() == [len(self.log("telemetry", number)) for number in range(PARTITIONS)]

    def books(self) -> books.Books:
        return books.recount(self.blobs, world.FILES, self.logs, "readings", "telemetry")


@contextmanager
def site(folder: Path, weather_seed: int | None = None) -> Iterator[Site]:
    """A running stack with its models.

    Args:
        folder: For its data.
        weather_seed: Of the weather between hosts and store, None for none.
    """
    stack = Stack(
        folder,
        app_dir=PROJECT,
        template=TEMPLATE,
        settings=SETTINGS,
        containers=CONTAINERS,
        ports=ANY_PORTS,
        host_options=PACE,
    )
    with ExitStack() as ending:
        weather = None
        if weather_seed is not None:
            weather = ending.enter_context(Weather(lambda: stack.processes["azurite"].port, weather_seed))
            # the stack puts its own port where it finds 127.0.0.1
            behind = storage_connection(weather.port).replace("127.0.0.1", "localhost")
            stack.settings = {**SETTINGS, "AzureWebJobsStorage": behind, "BLOBS": behind}
        ending.enter_context(stack)
        blobs = AzureBlobs.connect(stack.storage, None)
        for version, files in story.models().items():
            for name, raw in files.items():
                blobs.write("models", f"{version}/{name}", raw)
        world.deploy(blobs, Deployment(champion="v2", challenger="v1", share=0.3, salt="x", quarantine=["w-9"]))
        yield Site(stack, blobs, weather)


def table() -> bytes:
    """A file of other devices than those that send."""
    teller = story.Teller(12)
    lines = [",".join(("device_id", "timestamp", *story.SCENARIO.channel_names))]
    for hour in range(FILE_HOURS):
        for device in ("f-0", "f-1", "f-2", "f-3"):
            cells = ("" if value != value else str(value) for value in teller.values(device, hour))
            lines.append(",".join((device, str((story.HOUR + hour) * 3600), *cells)))
    return "\n".join([*lines, "f-0,never,,,,,,,", ""]).encode()


def undisturbed(there: Site, body: bytes) -> tuple[MemoryBlobs, list[State]]:
    """The same messages and the same file, taken by one worker in memory that nothing ever happens to."""
    blobs, hub = MemoryBlobs(), MemoryStream(PARTITIONS)
    world.furnish(blobs)
    world.deploy(blobs, Deployment(champion="v2", challenger="v1", share=0.3, salt="x", quarantine=["w-9"]))
    devices = story.Log([there.log("telemetry", number) for number in range(PARTITIONS)])
    worker = world.pipeline(blobs, hub, devices)
    for number, events in enumerate(devices.logs):
        worker.route_events(number, events)
    blobs.write("incoming", FILE, body)
    worker.route_file(FILE)
    for number, events in enumerate(hub.logs):
        worker.score(number, events)
    return blobs, [world.recovering(worker, number) for number in range(PARTITIONS)]


def test_hosts_that_are_killed_again_and_again_leave_what_an_undisturbed_run_leaves(tmp_path: Path) -> None:
    assert len(kill_hosts(tmp_path, seed=4).killed) >= 6


def kill_hosts(
    folder: Path, seed: int, more: int = 0, weather_seed: int | None = None, pause_s: float = PAUSE_S
) -> Told:
    """Kill hosts while devices send, once while a file is read, and check what is left.

    Args:
        folder: For the stack.
        seed: Of the moments.
        more: Kills beyond the usual ones.
        weather_seed: Of the weather between hosts and store, None for none.
        pause_s: Pause between two hours of the devices.
    """
    body = table()
    with site(folder / "stack", weather_seed) as there:
        there.random.seed(seed)
        senders = Senders(there.stack.eventhub, pause_s)
        senders.start()
        try:
            _kill_again_and_again(there, body, ("host", "host2", "host", *(("host2", "host") * more)[:more]))
        finally:
            senders.ending.set()
            senders.join()
        if there.weather is not None:
            there.weather.clear_up()
        until(there.caught_up, "routing everything")
        until(lambda: there.blobs.read("receipts", f"{key_of(there.source())}/done") is not None, "the file's summary")
        until(lambda: there.books().balance, "the books' balance")
        compared = _compare(there, body)
    assert senders.hours > 100
    return Told(there.killed, senders.hours, compared, there.weather.seen if there.weather else Counter())


def _kill_again_and_again(there: Site, body: bytes, names: Sequence[str]) -> None:
    for _ in range(2):
        there.kill("host")
        there.stack.restart("host")
    there.drop(FILE, body)
    until(there.being_read, "reading the file")
    there.stack.kill("host")
    there.killed.append("host, reading")
    assert there.blobs.read("receipts", f"{key_of(there.source())}/route.json") is None
    there.stack.restart("host")
    there.stack.start_host("host2")
    until(there.shared, "passing partitions to the second host")
    for name in names:
        there.kill(name)
        there.stack.restart(name)


def _compare(there: Site, body: bytes) -> int:
    """How many forecasts are the same as in an undisturbed run, to the bit; so are states and books."""
    quiet, expected = undisturbed(there, body)
    found = {
        k: v for number in range(PARTITIONS) for k, v in world.newest(world.forecasts(there.blobs, number)).items()
    }
    wanted = {k: v for number in range(PARTITIONS) for k, v in world.newest(world.forecasts(quiet, number)).items()}
    world.same(found, wanted)
    assert {device for device, _, _ in found} == {*DEVICES, "f-0", "f-1", "f-2", "f-3"} - {"w-9"}
    hub = EventHubStream("readings", there.stack.eventhub, None)
    states = [world.recovered(there.blobs, hub, number) for number in range(PARTITIONS)]
    hub.close()
    world.same(_but_files(world.essence(*states)), _but_files(world.essence(*expected)))
    totals = there.books().totals()
    assert totals["expired"] == 0
    assert totals["arrived"] == sum(totals[name] for name in ("applied", "stored_late", "duplicates", "dead_lettered"))
    assert totals["redelivered"] > 0
    reasons = {reason for number in range(PARTITIONS) for reason in _progress(there, number).rejected}
    assert reasons <= REASONS.keys()
    assert reasons
    return len(found)


def _progress(there: Site, number: int) -> progress.Progress:
    return progress.decode(there.blobs.read(progress.CONTAINER, progress.name_of(number)) or b"{}")


def _but_files(essence: dict[str, object]) -> dict[str, object]:
    """Without the tallies of files, whose names hold an ETag."""
    return {name: value for name, value in essence.items() if FILE_PREFIX not in name}
