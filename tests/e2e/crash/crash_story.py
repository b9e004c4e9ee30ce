"""Stories that the crash tests tell: events of one partition, messages of devices, and the models that answer."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from shared.adapters.stores import scenario_files
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.intake.readings import Readings
from shared.core.model import manifest as package
from shared.core.model.deployment import Deployment
from shared.core.scenario import Scenario
from shared.core.stream.events import Event
from shared.core.stream.packing import pack, pack_end

SCENARIO: Scenario = scenario_files.load("air_quality")
HOUR = 420_000  # an hour of 2017
START_MS = 1_800_000_000_000
STEP_MS = 40  # from one event to the next
CUT = 8  # most events of a delivery whose size is drawn
Row = tuple[str, int, Sequence[float]]  # device, minute, values of the channels
Delivery = tuple[int, Deployment, list[Event]]  # the place after it, who serves meanwhile, its events
V1 = Deployment(champion="v1")


@dataclass
class Log:
    """A hub's partitions as lists of events; of each only `kept` and later ones can still be read."""

    logs: list[list[Event]]
    kept: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)

    def partitions(self) -> int:
        return len(self.logs)

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        raise AssertionError(f"nobody sends {len(bodies)} events to partition {partition} of a story")

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        self.asked.append((first, end))
        return (event for event in self.logs[partition] if max(first, self.kept) <= event.sequence < end)

    def oldest(self, partition: int) -> Event | None:
        return next((event for event in self.logs[partition] if event.sequence >= self.kept), None)


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

    def batches(self, first: int = 0, cuts: random.Random | None = None) -> Iterator[Delivery]:
        """Deliveries from a place on.

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

    def events(self) -> list[Event]:
        """All that was told, one event after the other."""
        return [Event(i, START_MS + STEP_MS * i, body) for i, body in enumerate(self.bodies)]


EARLY, ALL = FILES_TOLD = ("file/early.csv@2", "file/all.csv@1")
SOURCES = {
    "hub/0.0": ("plain", "a/../b", "früh \N{THERMOMETER}"),
    "hub/1.0": ("jumper", "slow"),
    ALL: ("filed",),
}


@cache
def named(name: str) -> Story:
    """A story by its name: of one hub, of one that was created anew, or of one model from the first event on."""
    if name == "reborn":
        return reborn(score_story())
    if name == "steady":
        return Story(score_story().events, [(0, V1)])
    return score_story()


def reborn(told: Story) -> Story:
    """The same events, from the middle on in a hub that was created anew."""
    half = len(told.events) // 2
    begin, start_ms = told.events[:half], told.events[-1].enqueued_ms + 1000
    again = [Event(i, start_ms + STEP_MS * i, event.body) for i, event in enumerate(told.events[half:])]
    now = [deployment for first, deployment in told.phases if first <= half][-1]
    return Story([*begin, *again], sorted([*told.phases, (half, now)], key=lambda phase: phase[0]), told.size)


@cache
def score_story(seed: int = 7, hours: int = 90) -> Story:
    """Hours of six devices with re-sends, reorderings, conflicts, late ones, a jump, garbage, ends of files."""
    teller = Teller(seed)
    held: list[tuple[int, str, Row]] = []
    for first in range(0, hours, 3):
        for source in SOURCES:
            _hours(teller, held, source, first, hours)
        if first == 30:
            _early(teller)
        if first in (33, 90):
            teller.bodies.append(b"not a reading")
    for source in SOURCES:
        teller.send(source, [row for _, whose, row in held if whose == source])
    teller.end(ALL)
    deployments = (
        Deployment(),
        V1,
        Deployment(champion="v2", challenger="v1", share=0.5, salt="s", quarantine=["slow"]),
        Deployment(champion="v2"),
    )
    at = (len(teller.bodies) * part // 8 for part in (0, 1, 3, 4))
    return Story(teller.events(), list(zip(at, deployments, strict=True)))


def _hours(teller: Teller, held: list[tuple[int, str, Row]], source: str, first: int, hours: int) -> None:
    """Three hours of one source's devices as one event; route repeats an event now and then."""
    rows = _due(held, source, first)
    for device in SOURCES[source]:
        for hour in range(first, first + 3):
            _emit(teller, rows, held, source, _row(teller, device, hour, hours), first)
    teller.random.shuffle(rows)
    teller.send(source, rows)
    if teller.random.random() < 0.1:
        teller.bodies.append(teller.random.choice(teller.bodies))


def _early(teller: Teller) -> None:
    """A file of its own device, as two events and an end."""
    rows = [("early", (HOUR + hour) * 60, teller.values("early", hour)) for hour in range(30)]
    teller.send(EARLY, rows[:20])
    teller.send(EARLY, rows[20:])
    teller.end(EARLY)


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
