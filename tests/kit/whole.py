"""The whole application on stores in memory, with files, devices, dead letters and books: a bench of the tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from local.books import recount as books
from local.books.recount import Books
from local.eventhub import event_log
from local.eventhub.amqp.encode import Symbol, encode
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.stores.memory_stream import MemoryStream
from shared.adapters.tables.open import open_table
from shared.app.route.file_books import Filing
from shared.app.route.files import INCOMING, RouteFile
from shared.app.route.messages import Road, RoutePartition
from shared.app.route.resubmit import Resubmit
from shared.app.score.latencies import Latencies
from shared.app.score.partition import Partition, Tools
from shared.app.score.profiles import Profiles
from shared.app.score.serving import Serving
from shared.app.score.snapshots import Snapshots
from shared.core.forecast.step import Machine
from shared.core.intake import dead_letters
from shared.core.intake.dead_letters import DeadLetter
from shared.core.scenario import Scenario, parse
from shared.core.stream.events import Event, unpack
from tests.kit.small import CHANNELS, HEAD, HOUR, MACHINE, SCENARIO, SIZES, Faulty, HandClock, deploy, load

READINGS, DEVICES = "readings", "telemetry"
START_MS = (HOUR + 100) * 3_600_000
CSV = "device_id,timestamp,pm,rain,wind"


def fixed(**pm: Any) -> Scenario:
    """The scenario after somebody mended what it says of its channel pm."""
    return parse({**HEAD, **SIZES, "channels": [{**CHANNELS[0], **pm}, *CHANNELS[1:]]})


def message(device: str | None = "a", hour: int = 0, pm: Any = 5.0, **more: Any) -> bytes:
    """A device's message, a cell that is None left out."""
    found = {"device_id": device, "timestamp": (HOUR + hour) * 3600, "pm": pm, **more}
    return json.dumps({name: value for name, value in found.items() if value is not None}).encode()


def row(device: str = "a", hour: int = 0, pm: Any = 5.0) -> str:
    """A row of a CSV file under `CSV`."""
    return f"{device},{np.datetime64(HOUR + hour, 'h')}:00Z,{pm},0,90"


@dataclass
class Whole:
    """Hubs, blobs and workers of two partitions; the scenario may change while it runs.

    Args:
        folder: Where the hubs' logs are written for the books.
    """

    folder: Path
    blobs: Faulty = field(default_factory=Faulty)
    scenario: Scenario = SCENARIO
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self.readings, self.devices = MemoryStream(2), MemoryStream(2, START_MS)
        self.taken = [0, 0]
        self.created_ms = {READINGS: 0, DEVICES: 0}
        self.now_ms = START_MS
        self.restart()
        deploy(self.blobs, "v1")

    def restart(self, scenario: Scenario | None = None) -> None:
        """New workers that remember nothing, perhaps with another scenario."""
        self.scenario = scenario or self.scenario
        blobs, clock, files = self.blobs, self.clock, ParquetFiles(self.scenario)
        machine = Machine(self.scenario, MACHINE.featurizer)
        serving = Serving(self.scenario, blobs, load, clock, 0.0)
        filing = Filing(self.scenario, blobs, clock)
        tools = Tools(
            machine=machine,
            blobs=blobs,
            files=files,
            stream=self.readings,
            serving=serving,
            snapshots=Snapshots(self.scenario, blobs, 3, lambda job: job()),
            profiles=Profiles(machine, blobs, clock, lambda job: job()),
            ended=filing.ended,
            batch_rows=1000,
            clock=clock,
            latencies=Latencies(),
        )
        self.files = files
        self.partitions = [Partition(number, tools) for number in range(2)]
        road = Road(scenario=self.scenario, blobs=blobs, devices=self.devices, readings=self.readings)
        self.routers = [RoutePartition(number, road) for number in range(2)]
        self.route_file = RouteFile(
            machine=machine,
            blobs=blobs,
            stream=self.readings,
            serving=serving,
            filing=filing,
            open_table=open_table,
            clock=clock,
        )
        self.resubmit = Resubmit(
            scenario=self.scenario, blobs=blobs, readings=self.readings, open_table=open_table, clock=clock
        )

    def hear(self, *bodies: bytes, partition: int = 0, identity: str | None = None) -> None:
        """Messages arrive at the devices' hub and are routed as one batch."""
        log = self.devices.logs[partition]
        first = len(log)
        log += [Event(first + i, self.now_ms + first + i, body, identity) for i, body in enumerate(bodies)]
        self.routers[partition].take(log[first:])

    def drop(self, name: str, data: bytes | str, zone: str | None = None) -> None:
        """A file is dropped and routed."""
        raw = data.encode() if isinstance(data, str) else data
        self.blobs.write(INCOMING, name, raw, {"zone": zone} if zone else None)
        self.route_file(name)

    def renew(self, hub: str) -> None:
        """A hub is deleted and created anew: its log is gone, and sequence numbers begin with 0 again."""
        stream = self.devices if hub == DEVICES else self.readings
        newest = max(event.enqueued_ms for log in stream.logs for event in log)
        stream.logs[:] = [[] for _ in stream.logs]
        self.created_ms[hub] = newest + 1
        if hub == DEVICES:
            self.now_ms += 3_600_000
        else:
            self.taken = [0, 0]

    def score(self) -> None:
        """The partitions take what is new in the hub, an event at a time."""
        for number, log in enumerate(self.readings.logs):
            while self.taken[number] < len(log):
                self.partitions[number].take(log[self.taken[number] : self.taken[number] + 1])
                self.taken[number] += 1

    def letters(self) -> list[DeadLetter]:
        """All dead letters."""
        names = self.blobs.names("dead-letter")
        return [item for name in names for item in dead_letters.decode(self.blobs.read("dead-letter", name) or b"")]

    def reasons(self) -> list[tuple[str, int]]:
        """Reason and attempt of all dead letters."""
        return [(item.reason, item.attempt) for item in self.letters()]

    def sent(self, prefix: str = "") -> list[tuple[str, int, float]]:
        """Device, hour and pm of the readings in the hub whose source begins with `prefix`, sorted."""
        found: list[tuple[str, int, float]] = []
        for event in (event for log in self.readings.logs for event in log):
            packed, rows = unpack(event.body, self.scenario.channel_names)
            if packed.source.startswith(prefix):
                devices = [rows.devices[place] for place in rows.device]
                hours = (rows.minute // 60 - HOUR).tolist()
                found += zip(devices, hours, rows.values[:, 0].tolist(), strict=True)
        return sorted(found)

    def counts(self) -> dict[str, int]:
        """What became of all readings, from the commits."""
        sums: dict[str, int] = {}
        for name in self.blobs.names("commits"):
            commit, _ = self.files.decode_commit(self.blobs.read("commits", name) or b"")
            for what, count in commit.counts.items():
                sums[what] = sums.get(what, 0) + count
        return sums

    def books(self) -> Books:
        """Everything recounted."""
        shutil.rmtree(self.folder, ignore_errors=True)
        write_log(self.folder, READINGS, self.readings.logs, self.created_ms[READINGS])
        write_log(self.folder, DEVICES, self.devices.logs, self.created_ms[DEVICES])
        return books.recount(self.blobs, self.files, self.folder, READINGS, DEVICES)


def write_log(folder: Path, hub: str, logs: Sequence[Sequence[Event]], created_ms: int = 0) -> None:
    """The on-disk log of the local endpoint, as it would hold these events."""
    info = event_log.create_hub(folder, hub, len(logs))
    (folder / hub / "hub.json").write_text(json.dumps(info._replace(created_at_ms=created_ms)._asdict()))
    for number, events in enumerate(logs):
        out = event_log.EventLog(event_log.log_path(folder, hub, number))
        for event in events:
            out.append(event.enqueued_ms, amqp(event.body, event.identity))
        out.commit()
        out.close()


def amqp(body: bytes, identity: str | None = None) -> bytes:
    """An AMQP message with a body and IoT Hub's annotation."""
    known: Mapping[Symbol, str] = {} if identity is None else {Symbol("iothub-connection-device-id"): identity}
    head = b"\x00\x53\x72" + encode(dict(known)) if known else b""
    return head + b"\x00\x53\x75\xb0" + len(body).to_bytes(4, "big") + body
