"""A small scenario with a model whose answers are exact, and partitions on stores in memory: the bench of the tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.stores.memory_blobs import MemoryBlobs
from shared.adapters.stores.memory_stream import MemoryStream
from shared.app.route.file_books import Filing
from shared.app.score.latencies import Latencies
from shared.app.score.partition import Partition, Tools
from shared.app.score.profiles import Profiles
from shared.app.score.serving import Serving
from shared.app.score.snapshots import Snapshots
from shared.core.forecast.features.featurizer import Feature
from shared.core.forecast.state import State
from shared.core.forecast.step import Machine
from shared.core.intake.readings import Floats, Longs, Readings
from shared.core.model import deployment
from shared.core.model.deployment import Deployment
from shared.core.model.manifest import FILES, Damped, Interval, Manifest, encode_manifest
from shared.core.scenario import Scenario, parse
from shared.core.stream.commit import Commit
from shared.core.stream.events import Batch, Event, pack, pack_end
from shared.errors import TransientFailure
from tests.kit.plain_model import window_features

HOUR = 420_000  # an hour of 2017
CHANNELS = [
    {"name": "pm", "unit": "ug/m3", "minimum": 0, "maximum": 1000},
    {"name": "rain", "unit": "mm", "minimum": 0, "maximum": 300, "aggregate": "sum"},
    {"name": "wind", "unit": "deg", "minimum": 0, "maximum": 360, "aggregate": "circular"},
]
HEAD: dict[str, Any] = {"name": "small", "title": "small", "task": "regression", "key": "device_id", "target": "pm"}
SIZES: dict[str, Any] = {"featurizer": "hourly", "horizon": 3, "lateness": 3, "history": 7}
SCENARIO: Scenario = parse({**HEAD, **SIZES, "channels": CHANNELS})
Row = tuple[int, str, int, Sequence[float]]  # position, device, minute, values of the channels


@dataclass(frozen=True)
class WholeWindow:
    """A featurizer whose features are the window itself, so that a misplaced hour shows."""

    features: tuple[Feature, ...] = ()

    def matrix(self, window: Floats, as_of: Longs) -> Floats:
        return window.reshape(-1, len(as_of)).T.copy()


MACHINE = Machine(SCENARIO, WholeWindow(window_features(SCENARIO)))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Guess:
    """A model whose answer depends on its version, and on the place of every value and every gap; exact in float32."""

    manifest: Manifest

    def predict(self, matrix: Floats) -> Floats:
        weight = np.arange(matrix.shape[1]) % 11 + 1
        known = np.where(np.isnan(matrix), 3.0, np.rint(matrix.astype(np.float64) * 4) % 17) @ weight
        if self.manifest.version == "nan":
            known[:] = np.nan
        if self.manifest.version.startswith("nan-at-"):
            known[(matrix == float(self.manifest.version[7:])).any(axis=1)] = np.nan
        return np.asarray((known + sum(self.manifest.version.encode())) % 1000, np.float32)


def load(files: Mapping[str, bytes]) -> Guess:
    return Guess(msgspec.json.decode(files["manifest.json"], type=Manifest))


def publish(blobs: MemoryBlobs, version: str) -> None:
    manifest = Manifest(
        version=version,
        scenario=SCENARIO.name,
        created="",
        run_id="",
        dataset="",
        code_version="",
        training_start="",
        training_end="",
        rows=0,
        features=[],
        interval=Interval(0.9, [100.0], [-5.0, -9.0], [5.0, 9.0]),
        damped=Damped(0.0, 1.0, 0.0),
        metrics={},
        sha256={},
        size_bytes=0,
        latency_ms=0.0,
    )
    blobs.write("models", f"{version}/manifest.json", encode_manifest(manifest))
    for name in FILES:
        blobs.write("models", f"{version}/{name}", b"")


def deploy(
    blobs: MemoryBlobs,
    champion: str | None,
    quarantine: Sequence[str] = (),
    challenger: str | None = None,
    share: float = 0.0,
) -> None:
    """Publish what is named, and tell serving."""
    for version in (champion, challenger):
        if version is not None:
            publish(blobs, version)
    wanted = Deployment(champion=champion, challenger=challenger, share=share, quarantine=[*quarantine])
    blobs.write("models", "deployment.json", deployment.encode(wanted))


class HandClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000
        self.s = 0.0

    def now_ms(self) -> int:
        return self.ms

    def elapsed_s(self) -> float:
        return self.s


class Faulty(MemoryBlobs):
    """Blobs of which write number `fail_at` fails, before it is stored or after; each first calls `before`."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.fail_at = -1
        self.stored_anyway = False
        self.before: Callable[[int], None] = lambda _: None

    def _turn(self) -> bool:
        number = self.count
        self.count += 1
        self.before(number)
        if number == self.fail_at and not self.stored_anyway:
            raise TransientFailure("the store does not answer")
        return number == self.fail_at

    def write(self, container: str, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        failing = self._turn()
        super().write(container, name, data, metadata)
        if failing:
            raise TransientFailure("the store's answer got lost")

    def create(self, container: str, name: str, data: bytes) -> bool:
        failing = self._turn()
        created = super().create(container, name, data)
        if failing:
            raise TransientFailure("the store's answer got lost")
        return created

    def everything(self, *but: str) -> dict[tuple[str, str], bytes]:
        """All blobs, without those of some containers."""
        return {place: raw for place, (raw, _) in self._blobs.items() if place[0] not in but}


class Forgetful(MemoryStream):
    """A hub that keeps only its newest events."""

    def __init__(self, partitions: int = 1) -> None:
        super().__init__(partitions)
        self.begin = 0
        self.reads: list[tuple[int, int]] = []

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        self.reads.append((first, end))
        return super().read(partition, max(first, self.begin), max(end, self.begin))


@dataclass
class Bench:
    """One partition's stores, and workers on them.

    Args:
        every: Commits between two snapshots.
        batch_rows: Most readings in a commit, about.
    """

    every: int = 2
    batch_rows: int = 1000
    blobs: Faulty = field(default_factory=Faulty)
    stream: Forgetful = field(default_factory=Forgetful)
    clock: HandClock = field(default_factory=HandClock)

    def worker(self, number: int = 0) -> Partition:
        """A worker that remembers nothing."""
        blobs, clock = self.blobs, self.clock
        tools = Tools(
            machine=MACHINE,
            blobs=blobs,
            files=ParquetFiles(SCENARIO),
            stream=self.stream,
            serving=Serving(SCENARIO, blobs, load, clock, 0.0),
            snapshots=Snapshots(SCENARIO, blobs, self.every, lambda job: job()),
            profiles=Profiles(MACHINE, blobs, clock, lambda job: job(), interval_s=1.0),
            ended=Filing(SCENARIO, blobs, clock).ended,
            batch_rows=self.batch_rows,
            clock=clock,
            latencies=Latencies(),
        )
        return Partition(number, tools)

    def send(self, source: str, rows: Sequence[Row], end: int | None = None) -> list[Event]:
        """Readings of one source into the hub; the events that hold them."""
        before = len(self.stream.logs[0])
        if rows:
            self.stream.send(0, list(pack(source, SCENARIO.channel_names, readings(rows))))
        if end is not None:
            self.stream.send(0, [pack_end(source, end)])
        return self.stream.logs[0][before:]

    def events(self) -> list[Event]:
        return list(self.stream.logs[0])

    def commits(self) -> list[tuple[str, Commit, Batch]]:
        files = ParquetFiles(SCENARIO)
        names = self.blobs.names("commits")
        return [(name, *files.decode_commit(self.blobs.read("commits", name) or b"")) for name in names]

    def forecasts(self, role: str = "champion") -> dict[tuple[str, int, int], tuple[float, str]]:
        """Every forecast of a role that a commit names, by device, as-of hour and revision; each exactly once."""
        found: dict[tuple[str, int, int], tuple[float, str]] = {}
        for _, commit, _ in self.commits():
            if commit.predictions is None:
                continue
            rows = ParquetFiles(SCENARIO).read_predictions(self.blobs.read("predictions", commit.predictions) or b"")
            for place, device in enumerate(rows["device_id"]):
                if rows["role"][place] != role:
                    continue
                key = device, int(rows["as_of"][place]), int(rows["revision"][place])
                assert key not in found, f"{key} stands in two named blobs"
                found[key] = float(rows["value"][place]), rows["model_version"][place]
        return found


def readings(rows: Sequence[Row]) -> Readings:
    devices = sorted({device for _, device, _, _ in rows})
    return Readings(
        tuple(devices),
        np.array([devices.index(device) for _, device, _, _ in rows], np.int32),
        np.array([minute for _, _, minute, _ in rows], np.int32),
        np.array([position for position, _, _, _ in rows], np.int64),
        np.array([values for _, _, _, values in rows], np.float32).reshape(len(rows), len(CHANNELS)),
    )


def hourly(devices: str = "ab", hours: int = 12, start: int = HOUR) -> list[Row]:
    """One reading per device and hour."""
    pairs = [(hour, device) for hour in range(hours) for device in devices]
    return [
        (place + 1, device, (start + hour) * 60, (float((place * 7) % 50), 1.0, 90.0))
        for place, (hour, device) in enumerate(pairs)
    ]


def newest(found: Mapping[tuple[str, int, int], tuple[float, str]]) -> dict[tuple[str, int], tuple[float, str]]:
    """The last revision of each forecast."""
    return {(device, as_of): value for (device, as_of, _), value in sorted(found.items())}


def picture(state: State) -> dict[str, Any]:
    """Every field of a state as plain values that can be compared, spare columns left out."""
    count = len(state.devices)
    found = {f.name: _plain(getattr(state, f.name)) for f in dataclasses.fields(state) if f.name != "columns"}
    arrays = {name: _plain(array[:, :, :count]) for name, array in state.columns.arrays().items()}
    return {**found, **arrays, "head": _plain(state.columns.ring.head[:count])}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    assert isinstance(value, (int, float, str, list, tuple, type(None))), type(value)
    return list(value) if isinstance(value, (list, tuple)) else value
