"""What the crash tests share: stories of events, models, stores of one's own in Azurite, and what a run came to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from azure.storage.blob import BlobServiceClient
from onnx import TensorProto, helper, numpy_helper

from local import event_log
from local.event_log import EventLog
from shared.adapters import scenario_files
from shared.adapters.azure_blobs import AzureBlobs
from shared.adapters.commit_files import ParquetFiles
from shared.adapters.memory_blobs import MemoryBlobs
from shared.adapters.memory_stream import MemoryStream
from shared.app.filing import Filing, Routed
from shared.core import deployment, package
from shared.core.commit import Commit, place_of
from shared.core.deployment import Deployment
from shared.core.events import Batch, Event, pack, pack_end
from shared.core.features import Featurizer
from shared.core.readings import Readings
from shared.core.scenario import Scenario
from shared.core.state import TOTALS, State
from shared.ports import BlobInfo, Blobs, Stream
from shared.settings import Settings
from shared.wiring import CONTAINERS, Pipeline, assemble

ROOT = Path(__file__).parents[2]
CUT = 8  # most events of a delivery whose size is drawn
MANY = 300  # more deaths than any run of ours has places for
HOUR = 420_000  # an hour of 2017
SCENARIO: Scenario = scenario_files.load("air_quality")
FILES = ParquetFiles(SCENARIO)
Row = tuple[str, int, Sequence[float]]  # device, minute, values of the channels
Forecast = tuple[str, int, str, int]  # device, as-of hour, role, revision


class HandClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.ms = 1_900_000_000_000
        self.s = 0.0

    def now_ms(self) -> int:
        return self.ms

    def elapsed_s(self) -> float:
        return self.s


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

    def open(self, container: str, name: str, etag: str) -> AbstractContextManager[BinaryIO]:
        return self.blobs.open(f"{self.prefix}-{container}", name, etag)


def connect(storage: str, prefix: str) -> Own:
    """One's own containers, without the client's own patience: a store that is gone is told at once."""
    return Own(AzureBlobs(BlobServiceClient.from_connection_string(storage, retry_total=0)), prefix)


@dataclass
class Log:
    """A hub's partitions as lists of events; of each only `kept` and later ones can still be read."""

    logs: list[list[Event]]
    kept: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)

    def partitions(self) -> int:
        return len(self.logs)

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        raise AssertionError("nobody sends into a story")

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        self.asked.append((first, end))
        return (event for event in self.logs[partition] if max(first, self.kept) <= event.sequence < end)


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
        log = EventLog(self._path(partition))
        for body in bodies:
            log.append(1_800_000_000_000 + log.next_sequence, body)
        log.commit()
        log.close()

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        path = self._path(partition)
        records = event_log.read(path) if path.exists() else ()
        return (Event(r.sequence, r.enqueued_ms, r.message) for r in records if first <= r.sequence < end)

    def _path(self, partition: int) -> Path:
        return self.folder / f"{partition}.log"


@dataclass(frozen=True)
class Story:
    """Events of one partition, cut into batches, and who serves from which event on.

    Args:
        events: In order; sequence numbers begin with 0, and again with 0 where the hub was created anew.
        phases: Place of the first event and deployment of each phase, rising.
        size: Events in a batch; a batch never spans two phases.
    """

    events: list[Event]
    phases: list[tuple[int, Deployment]]
    size: int = 16

    def batches(
        self, first: int = 0, cuts: random.Random | None = None
    ) -> Iterator[tuple[int, Deployment, list[Event]]]:
        """Deliveries from a place on: the place after each, the deployment of its time, and its events.

        Args:
            first: Place of the first event.
            cuts: Draws the sizes; without it an event is always delivered in the same company.
        """
        place = first
        while place < len(self.events):
            start, now = [phase for phase in self.phases if phase[0] <= place][-1]
            end = min([first for first, _ in self.phases if first > place], default=len(self.events))
            size = cuts.randint(1, CUT) if cuts else self.size - (place - start) % self.size
            stop = min(place + size, end)
            yield stop, now, self.events[place:stop]
            place = stop

    def hub(self, *, kept: int = 0) -> Log:
        """The hub as it is at the end."""
        reborn = [place for place, event in enumerate(self.events) if event.sequence == 0][-1]
        return Log([self.events[reborn:]], kept)


class Teller:
    """Writes a story: rows of sources become events."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.bodies: list[bytes] = []
        self._position: Counter[str] = Counter()

    def send(self, source: str, rows: Sequence[Row]) -> None:
        """One event with rows at the source's next positions."""
        if not rows:
            return
        first = self._position[source] + 1
        self._position[source] += len(rows)
        devices = tuple(sorted({device for device, _, _ in rows}))
        readings = Readings(
            devices,
            np.array([devices.index(device) for device, _, _ in rows], np.int32),
            np.array([minute for _, minute, _ in rows], np.int32),
            np.arange(first, first + len(rows), dtype=np.int64),
            np.array([values for _, _, values in rows], np.float32),
        )
        self.bodies.extend(pack(source, SCENARIO.channel_names, readings))

    def end(self, source: str) -> None:
        self.bodies.append(pack_end(source, self._position[source] + 1))

    def values(self, device: str, hour: int) -> list[float]:
        """Plausible channels of a device's hour; pm25 and rain are missing at times."""
        r = random.Random(f"{device} {hour}")
        day = hour % 24
        rain = float("nan") if r.random() < 0.05 else round(max(0.0, r.gauss(-1, 1)), 1)
        pm = float("nan") if r.random() < 0.05 else round(abs(60 + 30 * np.sin(hour / 9) + r.gauss(0, 10)), 1)
        sky = [round(12 + 8 * np.sin(day / 4) + r.gauss(0, 1), 1), rain, round(r.uniform(20, 99))]
        return [*sky, round(r.uniform(0, 360)), round(r.uniform(0, 9), 1), round(r.uniform(990, 1030), 1), pm]

    def events(self, start_ms: int) -> list[Event]:
        return [Event(i, start_ms + 40 * i, body) for i, body in enumerate(self.bodies)]


SOURCES = {
    "hub/0.0": ("plain", "a/../b", "früh \N{THERMOMETER}"),
    "hub/1.0": ("jumper", "slow"),
    "file/all.csv@1": ("filed",),
}
EARLY_FILE = "file/early.csv@2"


@cache
def story(name: str) -> Story:
    """A story by its name: of one hub, of one that was created anew, or of one model from the first event on."""
    if name == "reborn":
        return reborn(score_story())
    if name == "steady":
        return Story(score_story().events, [(0, Deployment(champion="v1"))])
    return score_story()


def reborn(told: Story) -> Story:
    """The same events, from the middle on in a hub that was created anew."""
    half = len(told.events) // 2
    begin, start_ms = told.events[:half], told.events[-1].enqueued_ms + 1000
    again = [Event(i, start_ms + 40 * i, event.body) for i, event in enumerate(told.events[half:])]
    now = [deployment for first, deployment in told.phases if first <= half][-1]
    return Story([*begin, *again], sorted([*told.phases, (half, now)], key=lambda phase: phase[0]), told.size)


@cache
def score_story(seed: int = 7, hours: int = 90, start_ms: int = 1_800_000_000_000) -> Story:
    """Hours of six devices with re-sends, reorderings, conflicts, late ones, a jump, garbage, ends of files."""
    teller = Teller(seed)
    held: list[tuple[int, str, Row]] = []
    early = [("early", (HOUR + hour) * 60, teller.values("early", hour)) for hour in range(30)]
    for first in range(0, hours, 3):
        for source, devices in SOURCES.items():
            rows = _due(held, source, first)
            for device in devices:
                for hour in range(first, first + 3):
                    row = _row(teller, device, hour, hours)
                    _emit(teller, rows, held, source, row, first)
            teller.random.shuffle(rows)
            teller.send(source, rows)
            if teller.random.random() < 0.1:
                teller.bodies.append(teller.random.choice(teller.bodies))  # route repeated itself
        if first == 30:
            teller.send(EARLY_FILE, early[:20])
            teller.send(EARLY_FILE, early[20:])
            teller.end(EARLY_FILE)
        if first in (33, 90):
            teller.bodies.append(b"not a reading")
    for source in SOURCES:
        teller.send(source, [row for _, whose, row in held if whose == source])
    teller.end("file/all.csv@1")
    at = [len(teller.bodies) * part // 8 for part in (0, 1, 3, 4)]
    deployments = [
        Deployment(),
        Deployment(champion="v1"),
        Deployment(champion="v2", challenger="v1", share=0.5, salt="s", quarantine=["slow"]),
        Deployment(champion="v2"),
    ]
    return Story(teller.events(start_ms), list(zip(at, deployments, strict=True)))


def _due(held: list[tuple[int, str, Row]], source: str, now: int) -> list[Row]:
    """Rows that were held back until now."""
    found = [row for until, whose, row in held if whose == source and until <= now]
    held[:] = [item for item in held if not (item[1] == source and item[0] <= now)]
    return found


def _row(teller: Teller, device: str, hour: int, hours: int) -> Row:
    shifted = hour + 60 if device == "jumper" and hour > hours // 2 else hour
    return device, (HOUR + shifted) * 60 + len(device), teller.values(device, hour)


def _emit(teller: Teller, rows: list[Row], held: list[tuple[int, str, Row]], source: str, row: Row, now: int) -> None:
    chance = teller.random.random()
    if chance < 0.08:  # late, some of it too late
        held.append((now + teller.random.choice([3, 6, 12, 18, 36]), source, row))
        return
    rows.append(row)
    if chance < 0.16:  # the device sends again, now or later
        held.append((now + teller.random.choice([0, 3, 9]), source, row))
    elif chance < 0.20:  # and contradicts itself
        device, minute, values = row
        held.append((now + 3, source, (device, minute, [*values[:-1], 999.0])))


def telemetry(seed: int = 3, hours: int = 54, *, partitions: int = 2) -> list[list[Event]]:
    """Messages of devices as IoT Hub hands them on, by partition: singles, arrays, re-sends, late ones, garbage."""
    out: list[list[Event]] = []
    for number in range(partitions):
        teller = Teller(seed * 100 + number)
        sent: list[tuple[str | None, bytes]] = []
        for first in range(0, hours, 2):
            for device in (f"p{number}-{i}" for i in range(4)):
                sent.extend(_messages(teller, device, first))
        start_ms = (HOUR + hours + 24) * 3_600_000
        out.append([Event(i, start_ms + 25 * i, body, identity) for i, (identity, body) in enumerate(sent)])
    return out


def _messages(teller: Teller, device: str, first: int) -> Iterator[tuple[str | None, bytes]]:
    made = [_message(teller, device, hour) for hour in (first, first + 1)]
    chance = teller.random.random()
    if chance < 0.1:
        made.reverse()
    if chance < 0.3:
        yield device, json.dumps(made).encode()
    else:
        yield from ((device, json.dumps(one).encode()) for one in made)
    if chance > 0.9:
        yield device, json.dumps(made[0]).encode()
    if chance > 0.95:
        yield device, teller.random.choice([b"", b"\xff\xfe", b"{", b'{"device_id":"other","ts":1500000000,"temp":1}'])
    if chance > 0.97:
        yield device, json.dumps([{**made[0], "pm25": 998.0}, {**made[1], "temp": 999}]).encode()
    if first % 16 == 12 and chance > 0.3:
        yield device, json.dumps(_message(teller, device, first - 9) | {"ts": (HOUR + first - 9) * 3600 + 60}).encode()


def _message(teller: Teller, device: str, hour: int) -> dict[str, Any]:
    named = zip(SCENARIO.channel_names, teller.values(device, hour), strict=True)
    return {"device_id": device, "ts": (HOUR + hour) * 3600, **{n: v for n, v in named if v == v}}


@cache
def models() -> dict[str, dict[str, bytes]]:
    """Packages of two small models that see every feature and every gap, by version."""
    return {version: _package(version, weight) for version, weight in (("v1", 0.002), ("v2", 0.003))}


def _package(version: str, weight: float) -> dict[str, bytes]:
    features = Featurizer(SCENARIO).features
    weights = (np.arange(len(features)) % 7 + 1).astype(np.float32)[:, None] * np.float32(weight)
    graph = helper.make_graph(
        [
            helper.make_node("IsNaN", ["x"], ["gap"]),
            helper.make_node("Where", ["gap", "three", "x"], ["whole"]),
            helper.make_node("Abs", ["whole"], ["size"]),
            helper.make_node("MatMul", ["size", "weights"], ["y"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", len(features)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.array(3, np.float32), "three"), numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    golden = np.zeros((2, len(features)), np.float32)
    arrays = {"inputs": golden, "outputs": np.zeros(2, np.float32)}
    files = {
        "model.onnx": model.SerializeToString(deterministic=True),
        "golden.npz": package.encode_arrays(arrays),
        "baseline.npz": package.encode_arrays({"none": np.zeros(1)}),
        "card.md": version.encode(),
    }
    manifest = package.Manifest(
        version=version,
        scenario=SCENARIO.name,
        created="2026-01-01T00:00:00Z",
        run_id="",
        dataset="",
        code_version="",
        training_start="",
        training_end="",
        rows=0,
        features=[(feature.name, feature.version) for feature in features],
        interval=package.Interval(0.9, [50.0], [-5.0, -9.0], [5.0, 9.0]),
        damped=package.Damped(0.0, 1.0, 0.0),
        metrics={},
        sha256={name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()},
        size_bytes=len(files["model.onnx"]),
        latency_ms=0.0,
    )
    return {**files, "manifest.json": package.encode_manifest(manifest)}


def deploy(blobs: Blobs, wanted: Deployment) -> None:
    blobs.write(deployment.CONTAINER, deployment.NAME, deployment.encode(wanted))


def furnish(blobs: Blobs) -> None:
    """Packages, and what route would have said of the story's files."""
    for version, files in models().items():
        for name, raw in files.items():
            blobs.write(deployment.CONTAINER, f"{version}/{name}", raw)
    filing = Filing(SCENARIO, blobs, HandClock())
    for source in (EARLY_FILE, "file/all.csv@1"):
        routed = Routed(
            source=source, file=source, etag="", started_ms=0, partitions=1, rows_in=1, rows_accepted=1,
            rejected={}, devices=1, ignored=[], converted={},
        )  # fmt: skip
        filing.routed(routed)


def space(storage: str, prefix: str) -> Own:
    """Furnished containers in Azurite."""
    found = connect(storage, prefix)
    with BlobServiceClient.from_connection_string(storage) as service:
        for container in CONTAINERS:
            service.create_container(f"{prefix}-{container}")
    furnish(found)
    return found


def pipeline(blobs: Blobs, readings: Stream, devices: Stream | None = None, *, every: int = 4) -> Pipeline:
    """The real use cases on these stores; snapshots are taken at once, every so many commits."""
    settings = Settings(model_refresh_s=0.0, snapshot_commits=every)
    return assemble(settings, blobs, readings, HandClock(), lambda job: job(), devices)


def deliver(worker: Pipeline, blobs: Blobs, deliveries: Iterable[tuple[int, Deployment, list[Event]]]) -> None:
    """Batches of a story for one worker."""
    before = None
    for _, now, events in deliveries:
        if now != before:
            deploy(blobs, now)
        worker.score(0, events)
        before = now


def routed(partitions: int, size: int, wanted: Deployment) -> tuple[MemoryBlobs, list[State]]:
    """Stores and states in memory after the devices' messages were routed and scored undisturbed."""
    blobs, hub, devices = MemoryBlobs(), MemoryStream(partitions), Log(telemetry())
    furnish(blobs)
    deploy(blobs, wanted)
    worker = pipeline(blobs, hub, devices)
    for first in range(0, max(map(len, devices.logs)), size):
        for number, events in enumerate(devices.logs):
            worker.route_events(number, events[first : first + size])
    for number, events in enumerate(hub.logs):
        worker.score(number, events)
    return blobs, [recovering(worker, number) for number in range(partitions)]


def undisturbed(story: Story) -> MemoryBlobs:
    """Stores in memory after the undisturbed story."""
    blobs = MemoryBlobs()
    furnish(blobs)
    deliver(pipeline(blobs, story.hub()), blobs, story.batches())
    return blobs


def recovered(blobs: Blobs, readings: Stream, number: int = 0) -> State:
    """The state as a worker that remembers nothing finds it."""
    return recovering(pipeline(blobs, readings), number)


def recovering(worker: Pipeline, number: int = 0) -> State:
    worker.score(number, [])
    return worker.partitions[number].recovered()


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


def picture(state: State) -> dict[str, Any]:
    """Every field of a state as plain values that can be compared bit for bit, spare columns left out."""
    count = len(state.devices)
    found = {f.name: _plain(getattr(state, f.name)) for f in dataclasses.fields(state) if f.name != "columns"}
    arrays = {name: _plain(array[:, :, :count]) for name, array in state.columns.arrays().items()}
    return {**found, **arrays, "head": _plain(state.columns.ring.head[:count])}


def essence(*states: State) -> dict[str, Any]:
    """What must not depend on cuts and repetitions: rings, waiting forecasts, error sums, positions, tallies."""
    found: dict[str, Any] = {}
    for state in states:
        for place, device in enumerate(state.devices):
            found[device] = _device(state, place)
        for name, tally in state.sources.items():
            totals = dict(zip(TOTALS, tally.totals.tolist(), strict=True))
            kept = {key: value for key, value in totals.items() if key not in ("forecasts", "redelivered")}
            days = {day: np.delete(sums, 1).tolist() for day, sums in tally.daily.items()}  # 1 counts forecasts
            found[f"{state.partition} {name}"] = tally.position, kept, days, tally.first_hour, tally.last_hour
        for (day, role, model), sums in state.errors.items():
            found[f"{state.partition} {day} {role} {state.models[model]}"] = sums.tolist()
        found[f"{state.partition} expired"] = state.expired
    return found


def _device(state: State, place: int) -> dict[str, Any]:
    out: dict[str, Any] = {"head": int(state.columns.ring.head[place])}
    for name, array in state.columns.arrays().items():
        column = array[:, :, place]
        if name == "revision":
            column = column > 0
        elif name == "model":
            there = state.columns.waiting.revision[:, :, place] > 0
            out[name] = [state.models[model] for model in column[there]]
            continue
        out[name] = _plain(np.ascontiguousarray(column))
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return list(value) if isinstance(value, list | tuple) else value


class Lives:
    """The server of `crash_child`, and the lives it forks.

    Args:
        log: What the lives say on their error output.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._server = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "tests.e2e.crash_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        self._alive: set[int] = set()

    def start(self, order: Mapping[str, Any]) -> int:
        """A new life; its process id."""
        pid = int(self._ask(do="start", **order)["pid"])
        self._alive.add(pid)
        return pid

    def wait(self, pid: int, after_s: float | None = None) -> str:
        """How a life went: done, killed or stopped; it is killed after a while if one is given."""
        more = {} if after_s is None else {"after_s": after_s}
        status = str(self._ask(do="wait", pid=pid, **more)["status"])
        if status != "stopped":
            self._alive.discard(pid)
        assert status in ("done", "killed", "stopped"), f"{status}\n{self._log.read_text('utf-8')[-4000:]}"
        return status

    def go(self, pid: int) -> None:
        """Let a life that stands still go on."""
        self._ask(do="go", pid=pid)

    def live(self, order: Mapping[str, Any], after_s: float | None = None) -> str:
        """A life from beginning to end."""
        return self.wait(self.start(order), after_s)

    def said(self) -> str:
        """What the lives said so far."""
        return self._log.read_text("utf-8")

    def close(self) -> None:
        """End the server, and whatever life still stands still."""
        for pid in self._alive:
            os.kill(pid, signal.SIGKILL)
        self._server.communicate(timeout=20)

    def _ask(self, **order: Any) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        found: dict[str, Any] = json.loads(self._server.stdout.readline())
        return found


@dataclass
class Run:
    """A story told by workers that die, one after the other.

    Args:
        lives: Where they come from.
        order: What every life is ordered to do.
        folder: Notes of the run.
        seed: Of all that is random in it.
    """

    lives: Lives
    order: dict[str, Any]
    folder: Path
    seed: int = 1

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.checkpoint = self.folder / f"{self.order['prefix']}.at"

    def next(self, **more: Any) -> dict[str, Any]:
        """The order of the next life: deliveries begin at places not beyond the last checkpoint."""
        known = json.loads(self.checkpoint.read_text("utf-8")) if self.checkpoint.exists() else {}
        reborn = int(self.order.get("reborn", 0))  # what an earlier hub held cannot be delivered again
        at = {name: self.random.randint(reborn * (place >= reborn), place) for name, place in known.items()}
        return {**self.order, "checkpoint": str(self.checkpoint), "at": at, **more}

    def killed_at_every_write(self, only: str = "", odds: float = 1.0) -> list[str]:
        """Lives end before and after every write they have not ended at yet; the places, in order.

        Args:
            only: Lives end at places that contain this.
            odds: And only with this chance.
        """
        ledger = self.folder / f"{self.order['prefix']}.places"
        fate = {"ledger": str(ledger), "only": only, "odds": odds}
        while self.lives.live(self.next(**fate, luck=self.random.random())) == "killed":
            assert len(ledger.read_text("utf-8").splitlines()) < MANY, "the lives come to no end"
        return ledger.read_text("utf-8").splitlines()

    def killed_at_random(self, times: int, longest_s: float) -> int:
        """Lives end at random moments, and every one is delivered other batches; how many were killed."""
        killed = 0
        while killed < times:
            after_s = self.random.uniform(0.02, longest_s)
            if self.lives.live(self.next(cuts=self.random.random()), after_s) == "done":
                break
            killed += 1
        assert self.lives.live(self.next(cuts=self.random.random())) == "done"
        return killed


def everything(blobs: Blobs, *containers: str) -> dict[tuple[str, str], bytes | None]:
    """All blobs of some containers."""
    return {(each, name): blobs.read(each, name) for each in containers for name in blobs.names(each)}
