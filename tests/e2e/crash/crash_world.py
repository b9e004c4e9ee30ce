"""What the crash tests share: stores of one's own in Azurite, the use cases on them, and what a run came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from azure.storage.blob import BlobServiceClient

from local.eventhub import event_log
from local.eventhub.partition_log import PartitionLog
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.app.route.file_books import FileBooks, Routed
from shared.core.forecast.state import State, own
from shared.core.intake import dead_letters
from shared.core.model import deployment
from shared.core.model.deployment import Deployment
from shared.core.stream.commit import Commit, place_of
from shared.core.stream.events import Batch, Event
from shared.core.task.tasks import task_of
from shared.ports import BlobInfo, Blobs, Stream
from shared.settings import Settings
from shared.wiring import CONTAINERS, Application
from tests.e2e.crash.crash_story import FILES_TOLD, SCENARIO, START_MS, V1, Delivery, Log, Story, models, telemetry
from tests.kit import HandClock, MemoryBlobs, MemoryStream, assemble
from tests.kit.essence import essence as kit_essence

FILES = ParquetFiles(task_of(SCENARIO))
Forecast = tuple[str, int, str, int]  # device, as-of hour, role, revision


class Own:
    """Blobs in containers of one's own, so that many tests share one Azurite."""

    def __init__(self, blobs: Blobs, prefix: str) -> None:
        self.blobs = blobs
        self.prefix = prefix

    def read(self, container: str, name: str) -> bytes | None:
        return self.blobs.read(f"{self.prefix}-{container}", name)

    def read_changed(self, container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:
        return self.blobs.read_changed(f"{self.prefix}-{container}", name, etag)

    def write(self, container: str, name: str, data: bytes) -> None:
        self.blobs.write(f"{self.prefix}-{container}", name, data)

    def create(self, container: str, name: str, data: bytes) -> bool:
        return self.blobs.create(f"{self.prefix}-{container}", name, data)

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        return self.blobs.replace(f"{self.prefix}-{container}", name, data, etag)

    def names(self, container: str, prefix: str = "") -> list[str]:
        return self.blobs.names(f"{self.prefix}-{container}", prefix)

    def delete(self, container: str, name: str) -> None:
        self.blobs.delete(f"{self.prefix}-{container}", name)

    def info(self, container: str, name: str) -> BlobInfo | None:
        return self.blobs.info(f"{self.prefix}-{container}", name)

    def listed(self, container: str, prefix: str = "") -> list[tuple[str, BlobInfo]]:
        return self.blobs.listed(f"{self.prefix}-{container}", prefix)

    def open(self, container: str, name: str, etag: str) -> AbstractContextManager[BinaryIO]:
        return self.blobs.open(f"{self.prefix}-{container}", name, etag)


def connect(storage: str, prefix: str) -> Own:
    """One's own containers, without the client's own patience: a store that is gone is told at once."""
    return Own(AzureBlobs(BlobServiceClient.from_connection_string(storage, retry_total=0)), prefix)


@dataclass(frozen=True)
class FileHub:
    """A hub in files, in the endpoint's own form: what was sent once outlives every death.

    Args:
        folder: Where its logs are.
        count: Number of partitions.
    """

    folder: Path
    count: int = 2

    def partitions(self) -> int:
        return self.count

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        log = PartitionLog(self._path(partition))
        for body in bodies:
            log.append(START_MS + log.next_sequence, body)
        log.commit()
        log.close()

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        path = self._path(partition)
        records = event_log.read(path) if path.exists() else ()
        return (Event(r.sequence, r.enqueued_ms, r.message) for r in records if first <= r.sequence < end)

    def oldest(self, partition: int) -> Event | None:
        return next(iter(self.read(partition, 0, 2**62)), None)

    def _path(self, partition: int) -> Path:
        return self.folder / f"{partition}.log"


def deploy(blobs: Blobs, wanted: Deployment) -> None:
    blobs.write(deployment.CONTAINER, deployment.NAME, deployment.encode(wanted))


def furnish(blobs: Blobs) -> None:
    """Packages, and what route would have said of the story's files."""
    for version, files in models().items():
        for name, raw in files.items():
            blobs.write(deployment.CONTAINER, f"{version}/{name}", raw)
    file_books = FileBooks(task_of(SCENARIO), blobs, HandClock())
    for source in FILES_TOLD:
        routed = Routed(
            source=source, file=source, etag="", started_ms=0, partitions=1, rows_in=1, rows_accepted=1,
            rejected={}, devices=1, ignored=[], converted={},
        )  # fmt: skip
        file_books.routed(routed)


def space(storage: str, prefix: str) -> Own:
    """Furnished containers in Azurite."""
    found = connect(storage, prefix)
    with BlobServiceClient.from_connection_string(storage) as service:
        for container in CONTAINERS:
            service.create_container(f"{prefix}-{container}")
    furnish(found)
    return found


def pipeline(blobs: Blobs, readings: Stream, devices: Stream | None = None, *, every: int = 4) -> Application:
    """The real use cases on these stores; snapshots are taken at once, every so many commits."""
    settings = Settings(model_refresh_s=0.0, snapshot_commits=every)
    return assemble(settings, blobs, readings, HandClock(), devices)


def deliver(worker: Application, blobs: Blobs, deliveries: Iterable[Delivery]) -> None:
    """Batches of a story for one worker."""
    before = None
    for _, now, events in deliveries:
        if now != before:
            deploy(blobs, now)
        worker.score(0, events)
        before = now


def routed(partitions: int, wanted: Deployment) -> tuple[MemoryBlobs, list[State]]:
    """Stores and states in memory after the devices' messages were routed and scored undisturbed."""
    blobs, hub, devices = MemoryBlobs(), MemoryStream(partitions), Log(telemetry())
    furnish(blobs)
    deploy(blobs, wanted)
    worker = pipeline(blobs, hub, devices)
    for number, events in enumerate(devices.logs):
        worker.route_events(number, events)
    for number, events in enumerate(hub.logs):
        worker.score(number, events)
    return blobs, [recovering(worker, number) for number in range(partitions)]


def undisturbed(told: Story) -> MemoryBlobs:
    """Stores in memory after the undisturbed story."""
    blobs = MemoryBlobs()
    furnish(blobs)
    deliver(pipeline(blobs, told.hub()), blobs, told.batches())
    return blobs


def recovered(blobs: Blobs, readings: Stream, number: int = 0) -> State:
    """The state as a worker that remembers nothing finds it."""
    return recovering(pipeline(blobs, readings), number)


def recovering(worker: Application, number: int = 0) -> State:
    worker.score(number, [])
    return own(worker.score.held[number].recovered())


def commits(blobs: Blobs, number: int = 0) -> list[tuple[Commit, Batch]]:
    names = sorted(blobs.names("commits", f"partition={number:02d}/"), key=place_of)
    return [FILES.decode_commit(blobs.read("commits", name) or b"") for name in names]


def forecasts(blobs: Blobs, number: int = 0) -> dict[Forecast, tuple[float, float, float, str, bool]]:
    """Every forecast that a commit names; each once, with revisions that rise one by one."""
    found: dict[Forecast, tuple[float, float, float, str, bool]] = {}
    last: dict[tuple[str, int, str], int] = {}
    for commit, _ in commits(blobs, number):
        if commit.predictions is None:
            continue
        rows = FILES.read_predictions(blobs.read("predictions", commit.predictions) or b"")
        names = ("device_id", "as_of", "role", "revision", "value", "lower", "upper", "model_version", "served")
        places = zip(*(_list(rows[name]) for name in names), strict=True)
        shown: Counter[tuple[str, int]] = Counter()
        for device, as_of, role, revision, *rest in places:
            found[device, as_of, role, revision] = tuple(rest)
            shown[device, as_of] += rest[-1]
            before = last.get((device, as_of, role), -1)
            assert revision > before, f"{device} {as_of}: revision {revision} after {before}"
            last[device, as_of, role] = revision
        assert set(shown.values()) <= {1}, "a forecast is shown twice, or not at all"
    return found


def _list(column: Any) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def newest(found: Mapping[Forecast, Any]) -> dict[tuple[str, int, str], Any]:
    """The last revision of each device, as-of hour and role, unless another set of models made a newer one."""
    last: dict[tuple[str, int], int] = {}
    for device, as_of, _, revision in found:
        last[device, as_of] = max(revision, last.get((device, as_of), -1))
    return {(d, a, role): value for (d, a, role, revision), value in found.items() if last[d, a] == revision}


def essence(*states: State) -> dict[str, Any]:
    """What must not depend on cuts and repetitions, of all partitions."""
    return {name: value for state in states for name, value in kit_essence(state).items()}


def same(found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    """Check that two mappings are equal; a difference is told in a few words, however large they are."""
    differing = [key for key in {**expected, **found} if not (key in found and key in expected)]
    differing += [key for key in found if key in expected and found[key] != expected[key]]
    shown = [f"{key}: {str(found.get(key))[:80]} instead of {str(expected.get(key))[:80]}" for key in differing[:3]]
    if differing:
        raise AssertionError(f"{len(differing)} of {len(expected)} differ: {'; '.join(shown)}")


def same_values(own: Blobs, quiet: Blobs, told: Story) -> None:
    """Check that a partition of the stream came to what an undisturbed one came to."""
    found, expected = recovered(own, told.hub()), recovered(quiet, told.hub())
    same(essence(found), essence(expected))
    assert (found.epoch, found.next, found.enqueued_ms) == (expected.epoch, expected.next, expected.enqueued_ms)
    same(newest(forecasts(own)), newest(forecasts(quiet)))


def same_chain(own: Blobs, hub: FileHub) -> list[State]:
    """Check that the devices' messages came to what they come to undisturbed; the states as they are recovered."""
    quiet, expected = routed(hub.count, V1)
    states = [recovered(own, hub, number) for number in range(hub.count)]
    same(everything(own, "progress"), everything(quiet, "progress"))
    same(essence(*states), essence(*expected))
    for number in range(hub.count):
        same(newest(forecasts(own, number)), newest(forecasts(quiet, number)))
    same(letters(own), letters(quiet))
    return states


def letters(blobs: Blobs) -> dict[tuple[str, int], tuple[str, str]]:
    """What route refused; a letter may stand in two blobs, its place in the source tells that it is one."""
    raw = [blobs.read("dead-letter", name) or b"" for name in blobs.names("dead-letter", "hub/")]
    found = [letter for each in raw for letter in dead_letters.decode(each)]
    return {(letter.source, letter.position): (letter.reason, letter.raw) for letter in found}


def everything(blobs: Blobs, *containers: str) -> dict[tuple[str, str], bytes | None]:
    """All blobs of some containers."""
    return {(each, name): blobs.read(each, name) for each in containers for name in blobs.names(each)}
