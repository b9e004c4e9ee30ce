"""The books on the real endpoint, whose hubs are deleted and created anew: the real logs, times and stores."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.eventhub import EventData, EventHubProducerClient

from local.books import recount as books
from local.books.recount import Books
from local.eventhub.event_log import log_path, read
from local.stack.addresses import ANY_PORTS
from local.stack.stack import Stack
from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.adapters.stores.event_hub import EventHubStream
from shared.wiring import CONTAINERS
from tests.e2e.crash import crash_world as world

pytestmark = pytest.mark.emulator
HOUR_S = 3600
DEVICES, READINGS = "telemetry", "readings"


class Site:
    """Both hubs with one partition, and new workers for every batch."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.stack, self.blobs = stack, AzureBlobs.connect(stack.storage, None)
        self.logs = next(folder.rglob("hub.json")).parent.parent
        self._hour = int(time.time()) // HOUR_S - 40

    def send(self) -> None:
        """Four hours of a device and one message that is none."""
        hours = range(self._hour, self._hour + 4)
        self._hour += 4
        bodies = [json.dumps({"device_id": "a", "timestamp": hour * HOUR_S, "pm2_5": 5.0}).encode() for hour in hours]
        with EventHubProducerClient.from_connection_string(self.stack.eventhub, eventhub_name=DEVICES) as out:
            out.send_batch([EventData(body) for body in [*bodies, b"rubbish"]], partition_id="0")

    def work(self) -> None:
        """Route and score all that the hubs hold."""
        hubs = {name: EventHubStream(name, self.stack.eventhub, None) for name in (DEVICES, READINGS)}
        worker = world.pipeline(self.blobs, hubs[READINGS], hubs[DEVICES])
        for name, take in ((DEVICES, worker.route_events), (READINGS, worker.score)):
            count = sum(1 for _ in read(log_path(self.logs, name, 0)))
            take(0, list(hubs[name].read(0, 0, count)))
        for hub in hubs.values():
            hub.close()

    def renew(self) -> None:
        """The hubs are deleted with all they held."""
        self.stack.kill("eventhub")
        for hub in (DEVICES, READINGS):
            shutil.rmtree(self.logs / hub)
        self.stack.restart("eventhub")

    def books(self) -> Books:
        return books.recount(self.blobs, world.FILES, self.logs, READINGS, DEVICES)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    hubs = [f"{READINGS}:1", f"{DEVICES}:1"]
    with Stack(tmp_path, app_dir=None, ports=ANY_PORTS, containers=CONTAINERS, hubs=hubs) as stack:
        yield Site(tmp_path, stack)


def test_the_books_balance_before_and_after_the_new_hubs_are_read(site: Site) -> None:
    site.send()
    site.work()
    assert site.books().problems == []
    site.renew()
    found = site.books()
    assert (found.problems, len(found.notes)) == ([], 2)
    site.send()
    assert any("wait" in problem for problem in site.books().problems)
    site.work()
    found = site.books()
    assert found.problems == []
    assert all("the log is gone with the old hub" in note for note in found.notes)
    sums = found.totals()
    assert (sums["arrived"], sums["applied"], sums["dead_lettered"]) == (10, 8, 2)
