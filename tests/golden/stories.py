"""Stories that are the same in every run: what goes into the application, and every byte that comes out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.lake.delta_lake import DeltaLake
from shared.app.lake.compaction import Compaction
from shared.app.loop.stored_packages import StoredPackages
from shared.app.score.partition import Partition
from shared.core.forecast.task import HourlyForecast
from shared.core.intake.readings import Floats, Longs, Readings
from shared.core.model.manifest import decode_manifest, encode_manifest
from shared.core.scenario import Scenario
from shared.core.stream.events import Event
from shared.core.stream.packing import pack, pack_end
from shared.ports import BlobInfo
from tests.flow.loop.test_completion import FEATURES, World2
from tests.flow.loop.test_completion import load as load_plain
from tests.kit import (
    CSV,
    HOUR,
    SCENARIO,
    TASK,
    Faulty,
    HandClock,
    MemoryBlobs,
    MemoryStream,
    assemble,
    deploy,
    load,
    message,
    row,
)
from tests.kit.application import EAGER, START_MS
from tests.kit.data import gate_world
from tests.kit.tiny_model import FEATURIZER
from tests.kit.tiny_model import SCENARIO as AIR_SCENARIO
from tests.kit.whole import DEVICES, READINGS, Whole

Blobs = dict[tuple[str, str], bytes]
Hubs = dict[str, list[Event]]
DAY_MS = 86_400_000
UNDERWAY = {"incoming"}  # what goes in; nothing that comes out
LATER = ("models", "scenario.json")  # was not written when the golden files were
RECORDS = ("receipts", "drops/")  # by what a file is known again: the name follows from every key of a scenario


@dataclass(frozen=True)
class Kind:
    """A scenario, how it is folded, and how many partitions its story has."""

    scenario: Scenario
    task: HourlyForecast
    partitions: int

    @property
    def files(self) -> ParquetFiles:
        return ParquetFiles(self.task)


SMALL = Kind(SCENARIO, TASK, 2)
AIR = Kind(AIR_SCENARIO, HourlyForecast(AIR_SCENARIO, FEATURIZER), 1)
KINDS: Mapping[str, Kind] = {"small": SMALL, "air": AIR}


@dataclass
class Told:
    """What a story leaves: the hubs' events by hub, partition and epoch, and all blobs."""

    hubs: Hubs
    blobs: MemoryBlobs

    def out(self) -> Blobs:
        """Every blob that came out."""
        found = everything(self.blobs, but=UNDERWAY)
        return {place: raw for place, raw in found.items() if place != LATER and not is_record(*place)}


class Dated(Faulty):
    """Blobs that were changed at a time that does not depend on today, with the ETags of before `LATER`."""

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        found = super().replace(container, name, data, etag)
        self._version -= (container, name) == LATER
        return found

    def info(self, container: str, name: str) -> BlobInfo | None:
        found = super().info(container, name)
        return None if found is None else replace(found, modified_ms=START_MS)


def is_record(container: str, name: str) -> bool:
    """Whether a blob says by what a dropped file is known again."""
    return container == RECORDS[0] and name.startswith(RECORDS[1])


def everything(blobs: MemoryBlobs, but: Iterable[str] = ()) -> Blobs:
    return {place: raw for place, (raw, _) in blobs._blobs.items() if place[0] not in but}


def filled(blobs: Blobs, *containers: str) -> MemoryBlobs:
    """A store that holds the blobs of some containers, or of all."""
    made = MemoryBlobs()
    for (container, name), raw in sorted(blobs.items()):
        if not containers or container in containers:
            made.write(container, name, raw)
    return made


def worker(kind: Kind, blobs: MemoryBlobs, number: int = 0, stream: MemoryStream | None = None) -> Partition:
    """A worker that remembers nothing."""
    hub = stream or MemoryStream(kind.partitions)
    application = assemble(EAGER, blobs, hub, HandClock(), task=kind.task, load=load)
    return Partition(number, application.context)


def lake_of(kind: Kind, folder: Path) -> DeltaLake:
    return DeltaLake(kind.task, str(folder), group_rows=50)


def compact(kind: Kind, blobs: MemoryBlobs, folder: Path, at_ms: int = HOUR * 3_600_000) -> None:
    """Everything committed into the lake; at a later time small files are merged too."""
    clock = HandClock()
    clock.ms = at_ms
    Compaction(task=kind.task, blobs=blobs, lake=lake_of(kind, folder), clock=clock, chunk_commits=8).run()


def small_story(folder: Path) -> Told:
    """A file, devices, two models, everything a reading can become, and hubs that are created anew."""
    whole, hubs = Whole(folder, Dated()), Hubs()
    whole.application.route_file = replace(whole.application.route_file, chunk_rows=30)
    _file(whole)
    deploy(whole.blobs, "v2", quarantine=["d"], challenger="v3", share=0.5)
    _devices(whole)
    _repetitions(whole)
    _keep(hubs, whole, 0)
    for hub in (READINGS, DEVICES):
        whole.renew(hub)
    whole.hear(*(message(device, hour, 30.0 + hour, wind=10.0 * hour) for hour in (19, 20, 23) for device in "agh"))
    whole.hear(message("g", 24, 12.5, rain=0.0), message("c", 23, None, rain=1.5), partition=1)
    whole.score()
    _keep(hubs, whole, 1)
    return Told(hubs, whole.blobs)


def _file(whole: Whole) -> None:
    """Devices of both partitions in a file with rows that cannot be used."""
    rows = [row(device, hour, (hour * 7 + place * 3) % 50) for hour in range(13) for place, device in enumerate("adgh")]
    bad = [row("a", 3, "much"), row("a", 5, 2000), "b,yesterday,1,0,90", row("", 4)]
    whole.drop("day one.csv", "\n".join([CSV, *rows[:30], *bad, *rows[30:]]), zone="Africa/Kampala")
    whole.score()


def _devices(whole: Whole) -> None:
    bodies = [message(device, hour, 4.25 * hour, rain=0.5, wind=45.0) for hour in (13, 14, 15) for device in "agh"]
    whole.hear(*bodies)
    whole.hear(message("a", 16, 7.0), b"{", message(None, 16), message("a", 16, "x"), b"\xff\xfe", identity="a")
    whole.hear(message("c", 13, 8.0), message("g", 18, 9.0, wind=359.5), message("d", 18, 3.0), partition=1)
    whole.score()


def _repetitions(whole: Whole) -> None:
    """Late, too late, again, otherwise, delivered twice, and not readable; the dead letters are tried again."""
    late = message("a", 14, 6.0, timestamp=(HOUR + 14) * 3600 + 120)
    whole.hear(late, message("g", 2, 5.0), message("a", 16, 8.0), message("h", 17, 1.0), message("h", 17, 1.0))
    whole.readings.send(0, [b"garbage", whole.readings.logs[0][0].body])
    whole.resubmit()
    whole.score()


def _keep(hubs: Hubs, whole: Whole, epoch: int) -> None:
    for hub, stream in ((READINGS, whole.readings), (DEVICES, whole.devices)):
        for number, log in enumerate(stream.logs):
            hubs[f"{hub}-{number}.{epoch}"] = list(log)


def air_readings(hours: int = 98, devices: int = 3) -> Readings:
    """Readings of the real scenario with missing values and hours, and some that come late; whole numbers made them."""
    low = np.array([channel.minimum for channel in AIR.scenario.channels])
    high = np.array([channel.maximum for channel in AIR.scenario.channels])
    device, hour = (grid.ravel() for grid in np.indices((devices, hours)))
    mixed = (device * 131 + hour * 17) % 64
    order = np.argsort(hour + np.where(mixed % 13 == 5, 9, 0), kind="stable")
    device, hour, mixed = (each[order] for each in (device, hour, mixed))
    part = (mixed[:, None] * (3 + np.arange(len(low))) + hour[:, None] // 5) % 41 / 80
    values = (low + (high - low) * part).astype(np.float32)
    values[(mixed[:, None] + np.arange(len(low))) % 9 == 4] = np.nan
    here = mixed % 11 != 7
    device, minute, values = device[here], (HOUR + hour[here]) * 60 + mixed[here] % 60, values[here]
    names = tuple(f"station-{place}" for place in range(devices))
    position = np.arange(1, len(device) + 1)
    return Readings(names, device.astype(np.int32), minute.astype(np.int32), position, values)


def air_story() -> Told:
    """The real scenario on one partition: a champion, then a challenger beside it."""
    blobs, stream, readings = MemoryBlobs(), MemoryStream(1), air_readings()
    for start in range(0, len(readings), 60):
        some = np.arange(start, min(start + 60, len(readings)))
        part = Readings(readings.devices, *(each[some] for each in _columns(readings)))
        stream.send(0, list(pack("file/air.csv@1", AIR.scenario.channel_names, part)))
    stream.send(0, [pack_end("file/air.csv@1", len(readings) + 1)])
    deploy_air(blobs, "v1")
    scorer = worker(AIR, blobs, 0, stream)
    scorer.take(stream.logs[0][:2])
    for event in stream.logs[0][2:]:
        if event.sequence == 3:
            deploy_air(blobs, "v1", "v2")
        scorer.take([event])
    return Told({f"{READINGS}-0.0": list(stream.logs[0])}, blobs)


def deploy_air(blobs: MemoryBlobs, champion: str, challenger: str | None = None) -> None:
    deploy(blobs, champion, challenger=challenger, share=0.25)
    for version in filter(None, (champion, challenger)):
        manifest = decode_manifest(blobs.read("models", f"{version}/manifest.json") or b"")
        raw = encode_manifest(msgspec.structs.replace(manifest, scenario=AIR.scenario.name))
        blobs.write("models", f"{version}/manifest.json", raw)


def _columns(readings: Readings) -> Sequence[np.ndarray[Any, Any]]:
    return readings.device, readings.minute, readings.position, readings.values


class Steady(StoredPackages):
    """Packages whose models always take the same time."""

    def timed(self, files: Mapping[str, bytes]) -> float:
        self.load(files)
        return 1.25


def released() -> World2:
    """A job's end brings its model to the gate and into a rollout, which a person ends in the next month."""
    world = World2(None)
    drawn = gate_world.World.draw(3, devices=2, days=20)
    world.leave(drawn.evidence(drawn.error(1, 0.8)))
    judge(world)
    rollouts = world.completion().rollouts
    rollouts.request("promote", 20_010, "ann", "r-1")
    world.clock.ms += 31 * DAY_MS
    rollouts.request("roll_back", 20_041, "ann", "r-2")
    return world


def judge(world: World2) -> None:
    """The job's end."""
    world.jobs.states[world.job] = "completed"
    packages = Steady(world.blobs, load_plain, FEATURES)
    replace(world.completion(), packages=packages).ended(world.job)


def windows() -> tuple[Floats, Longs]:
    """Windows of the real scenario with every sort of gap, and their as-of hours; whole numbers made them."""
    channels, hours = AIR.scenario.stored, AIR.scenario.history
    count = 20
    hour, column, place = np.indices((hours, len(channels), count))
    limits = [_limits(name) for name in channels]
    low, high = np.array(limits, np.float32).T[:, None, :, None]
    window = low + (high - low) * ((hour * 7 + column * 11 + place * 29 + hour // 24 * place) % 97) / 194
    window = np.asarray(window, np.float32)
    window[(hour * 5 + column * 3 + place) % 8 < place % 4] = np.nan  # every fourth window has no gap
    window[:, :, 13], window[:-1, :, 14], window[-1, :, 15] = np.nan, np.nan, np.nan
    window[:, -1, 16], window[-24:, :, 17] = np.nan, np.nan
    window[:, :, 18], window[:, :, 19] = low[..., 0], high[..., 0]
    as_of = HOUR + np.arange(count, dtype=np.int64) * 1009
    as_of[::7] = -1
    return window, as_of


def _limits(name: str) -> tuple[float, float]:
    found = next(f for f in FEATURIZER.features if f.name == f"{name}.latest")
    return found.low, found.high
