"""The whole application on stores in memory, with files, devices, dead letters and books: a bench of the tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from local.books import recount as books
from local.books.recount import Books
from local.eventhub import event_log
from local.eventhub.amqp.encode import Symbol, encode
from local.eventhub.partition_log import PartitionLog
from shared.core.scenario import Scenario
from shared.core.stream.events import Event
from tests.kit import SCENARIO, Faulty, InMemory

READINGS, DEVICES = "readings", "telemetry"


class Whole(InMemory):
    """The application in memory with its books.

    Args:
        folder: Where the hubs' logs are written for the books.
        blobs: All containers.
        scenario: The scenario.
    """

    def __init__(self, folder: Path, blobs: Faulty | None = None, scenario: Scenario = SCENARIO) -> None:
        super().__init__(blobs or Faulty(), scenario)
        self.folder = folder
        self.created_ms = {READINGS: 0, DEVICES: 0}

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
        out = PartitionLog(event_log.log_path(folder, hub, number))
        for event in events:
            out.append(event.enqueued_ms, amqp(event))
        out.commit()
        out.close()


def amqp(event: Event) -> bytes:
    """An AMQP message with a body and what IoT Hub tells of it: in annotations, AMQP's own properties and others."""
    source = None if event.told.telemetry else "twinChangeEvents"
    annotations = {"iothub-connection-device-id": event.identity, "iothub-message-source": source}
    known = {Symbol(name): value for name, value in annotations.items() if value is not None}
    head = b"\x00\x53\x72" + encode(known) if known else b""
    if event.told.encoding:
        head += b"\x00\x53\x73" + encode([*[None] * 7, Symbol(event.told.encoding)])
    if event.told.created is not None:
        head += b"\x00\x53\x74" + encode({"iothub-creation-time-utc": event.told.created})
    return head + b"\x00\x53\x75\xb0" + len(event.body).to_bytes(4, "big") + event.body
