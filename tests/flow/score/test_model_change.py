"""Models change while two hosts fold a stream, each following the control document at its own pace."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from shared.adapters.lake.commit_files import ParquetFiles
from shared.app.release.refusals import REFUSED
from shared.app.score.partition import Partition
from shared.app.score.serving import ActiveModels, Serving, load_package
from shared.core.intake.readings import Floats
from shared.core.model.deployment import Deployment
from shared.core.model.manifest import Manifest
from shared.core.stream.commit import Commit
from shared.core.stream.packing import pack
from shared.errors import ContractBroken
from shared.settings import Settings
from tests import kit
from tests.flow.release.test_rollouts import DAY, World
from tests.kit import (
    HOUR,
    SCENARIO,
    TASK,
    Faulty,
    Guess,
    HandClock,
    MemoryStream,
    Row,
    assemble,
    picture,
    publish,
    readings,
)

REFRESH_S = 10.0
PARTITIONS, DEVICES = 2, [f"d{number}" for number in range(24)]
AT_ONCE = 4  # devices in an event
FILES = ParquetFiles(TASK)
Key = tuple[str, int, int]


def load(files: Mapping[str, bytes]) -> Guess:
    if files["model.onnx"] == b"damaged":
        raise ContractBroken("model.onnx: sha256 differs")
    return kit.load(files)


@dataclass(frozen=True)
class Slow:
    """A model that takes its time."""

    model: Guess
    clock: HandClock

    @property
    def manifest(self) -> Manifest:
        return self.model.manifest

    def predict(self, matrix: Floats) -> Floats:
        self.clock.s += 3.0
        return self.model.predict(matrix)


class Stores(Faulty):
    """Blobs that note when it was asked who answers the forecasts that are written."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_s = 0.0
        self.made_s: dict[str, list[float]] = defaultdict(list)

    def write(self, container: str, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        if container == "predictions":
            self.made_s[name].append(self.asked_s)  # before anything can happen at the other host
        super().write(container, name, data, metadata)


@dataclass
class Asked(Serving):
    """Serving that leaves the time at which it was asked."""

    def current(self) -> ActiveModels:
        assert isinstance(self.blobs, Stores)
        self.blobs.asked_s = self.clock.elapsed_s()
        return super().current()


@dataclass
class Rolling(World):
    """The rollouts, with the check that serving itself makes."""

    def check(self, version: str) -> None:
        load_package(TASK, self.blobs, load, version)

    def climb(self, share: float) -> None:
        """Days go by until the challenger's share is another one; 1 stands for its promotion."""
        while self.document.share != share and self.document.champion != "v2":
            self.tick_for(1, 0.7)


class Host:
    """Workers of all partitions with one serving."""

    def __init__(self, blobs: Stores, hub: MemoryStream, clock: HandClock) -> None:
        self.serving = Asked(TASK, blobs, lambda files: Slow(load(files), clock), clock, REFRESH_S)
        settings = Settings(snapshot_commits=5, batch_rows=1000)
        found = assemble(settings, blobs, hub, clock, task=TASK, load=load).context
        context = replace(found, serving=self.serving)
        self.partitions = [Partition(number, context) for number in range(PARTITIONS)]
        self.taken = [0] * PARTITIONS


@dataclass
class Line:
    """A prediction of a commit."""

    key: Key
    role: str
    model: str
    served: bool
    value: float


@dataclass
class Scene:
    """A stream, two hosts and the rollouts; what happens next is drawn from a seed, also in the middle of a commit."""

    random: Random
    clock: HandClock = field(default_factory=HandClock)
    history: list[tuple[float, Deployment]] = field(default_factory=list)
    position: Counter[int] = field(default_factory=Counter)
    hour: int = HOUR

    def __post_init__(self) -> None:
        self.blobs, self.hub = Stores(), MemoryStream(PARTITIONS)
        self.rolling = Rolling(self.blobs, self.clock)
        self.rolling.rollouts().begin("v1", DAY)
        self.noted()
        self.hosts = [self.host(), self.host()]

    def host(self) -> Host:
        return Host(self.blobs, self.hub, self.clock)

    def noted(self) -> None:
        """Keep what the control document says from now on."""
        if not self.history or self.history[-1][1] != self.rolling.document:
            self.history.append((self.clock.s, self.rolling.document))

    def send(self) -> None:
        """An hour of all devices; some send another minute of a past hour, which changes forecasts made before."""
        for number in range(PARTITIONS):
            mine = DEVICES[number::PARTITIONS]
            for first in range(0, len(mine), AT_ONCE):
                rows = [self._row(number, device, self.hour, 0) for device in mine[first : first + AT_ONCE]]
                late = self.random.choice(mine)
                if self.random.random() < 0.5:
                    rows.append(self._row(number, late, self.hour - self.random.randint(0, 3), 7 + first))
                events = pack(f"hub/{number}", SCENARIO.channel_names, readings(rows))
                self.hub.send(number, list(events))
        self.hour += 1

    def _row(self, number: int, device: str, hour: int, minute: int) -> Row:
        self.position[number] += 1
        return self.position[number], device, hour * 60 + minute, (float(self.random.randint(0, 200)), 1.0, 90.0)

    def pass_time(self) -> None:
        self.clock.s += self.random.choice([0.5, 3.0, 7.0])

    def take(self, place: int, most: int = 12) -> None:
        """A host gets events of a partition, perhaps some that it or the other one had before."""
        host, number = self.hosts[place], self.random.randrange(PARTITIONS)
        first = max(0, host.taken[number] - self.random.choice([0, 0, 0, 3]))
        events = self.hub.logs[number][first : first + self.random.randint(1, most)]
        if events:
            host.partitions[number].take(events)
            host.taken[number] = first + len(events)

    def turn(self) -> None:
        """Something happens, and in the middle of it perhaps something at the other host."""
        place = self.random.randrange(2)
        self.blobs.before = lambda _: self._meanwhile(1 - place)
        happenings: list[Callable[[], None]] = [self.send, self.pass_time, *[lambda: self.take(place)] * 4]
        self.random.choice(happenings)()
        self.blobs.before = lambda _: None

    def _meanwhile(self, other: int) -> None:
        if self.random.random() < 0.2:
            self.blobs.before = lambda _: None  # one at a time
            happenings: list[Callable[[], None]] = [self.pass_time, lambda: self.take(other)]
            self.random.choice(happenings)()

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.turn()

    def finish(self) -> None:
        """Both hosts get all there is, from the beginning."""
        for host in self.hosts:
            for number, log in enumerate(self.hub.logs):
                host.partitions[number].take(log)

    def commits(self) -> Iterator[tuple[Commit, list[Line]]]:
        """Every commit that made forecasts, and these."""
        for name in self.blobs.names("commits"):
            commit, _ = FILES.decode_commit(self.blobs.read("commits", name) or b"")
            if commit.predictions is not None:
                found = FILES.read_predictions(self.blobs.read("predictions", commit.predictions) or b"")
                yield commit, lines(found)

    def possible(self, made_s: float) -> list[Deployment]:
        """What a host may have known at a time: it looks again after the refresh interval at the latest."""
        ends = [*(since for since, _ in self.history[1:]), float("inf")]
        return [
            document
            for (since, document), end in zip(self.history, ends, strict=True)
            if since <= made_s and end > made_s - REFRESH_S
        ]


def lines(found: Mapping[str, Any]) -> list[Line]:
    keys = zip(found["device_id"], found["as_of"].tolist(), found["revision"].tolist(), strict=True)
    rest = (found[name] for name in ("role", "model_version", "served", "value"))
    return [
        Line(key, role, model, bool(is_served), float(value))
        for key, role, model, is_served, value in zip(keys, *rest, strict=True)
    ]


def said(document: Deployment, rows: list[Line]) -> bool:
    """Whether the rows are what a host gives that follows this document."""
    models = {(row.role, row.model) for row in rows}
    wanted = {("champion", document.champion), ("challenger", document.challenger)} - {("challenger", None)}
    return models == wanted and (document.share > 0 or all(row.served == (row.role == "champion") for row in rows))


def check_rows(scene: Scene) -> Counter[str]:
    """Every row is served or not as it should, and says a version that was named then; rows by version."""
    served: Counter[Key] = Counter()
    roles: Counter[tuple[Key, str]] = Counter()
    versions: Counter[str] = Counter()
    for commit, rows in scene.commits():
        named = {"champion": commit.champion, "challenger": commit.challenger}
        assert all(row.model == named[row.role] for row in rows)
        for made_s in scene.blobs.made_s[commit.predictions or ""]:
            assert any(said(document, rows) for document in scene.possible(made_s))
        served.update({row.key: row.served for row in rows if row.served})
        roles.update((row.key, row.role) for row in rows)
        versions.update(row.model for row in rows if row.served)
    assert set(roles.values()) == {1}
    assert set(served) == {key for key, _ in roles}
    assert set(served.values()) == {1}
    return versions


def members(scene: Scene) -> dict[tuple[str, float], tuple[set[str], set[str]]]:
    """Devices that a challenger answers and those that it does not, by challenger and share, as far as heard."""
    found: dict[tuple[str, float], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for commit, rows in scene.commits():
        document, *others = scene.possible(scene.blobs.made_s[commit.predictions or ""][0])
        if not others and document.challenger:
            inside, outside = found[document.challenger, document.share]
            inside |= {row.key[0] for row in rows if row.served and row.role == "challenger"}
            outside |= {row.key[0] for row in rows if row.served and row.role == "champion"}
    return found


def check_members(scene: Scene) -> None:
    """A device is in the canary or out for a whole rung, and who is in stays in when the share grows."""
    found = members(scene)
    assert not any(inside & outside for inside, outside in found.values())
    few, all_but_few = found["v2", 0.1]
    half, other_half = found["v2", 0.5]
    assert few
    assert all_but_few
    assert half - few
    assert other_half
    assert not few & other_half
    assert not found["v2", 0.0][0]
    assert not found["v1", 0.0][0]


def undisturbed(scene: Scene) -> dict[tuple[str, int], Line]:
    """The newest forecasts of one worker that takes the whole stream and knows v1 alone."""
    blobs = Stores()
    kit.deploy(blobs, "v1")
    alone = Host(blobs, scene.hub, scene.clock)
    for number, log in enumerate(scene.hub.logs):
        alone.partitions[number].take(log)
    raws = [blobs.read("predictions", name) or b"" for name in blobs.names("predictions")]
    rows = [row for raw in raws for row in lines(FILES.read_predictions(raw))]
    return {row.key[:2]: row for row in sorted(rows, key=lambda row: row.key)}


def check_values(scene: Scene) -> None:
    """A number is that of the model which its row names: an undisturbed worker's, moved as the bench moves versions."""
    quiet = undisturbed(scene)
    newest: dict[str, dict[tuple[str, int], Line]] = {"champion": {}, "challenger": {}}
    for row in sorted((row for _, rows in scene.commits() for row in rows), key=lambda row: row.key):
        newest[row.role][row.key[:2]] = row
    champion = newest["champion"]
    assert champion.keys() == quiet.keys()
    for role in newest.values():
        for key, row in role.items():
            if row.key == champion[key].key:  # a challenger may have left before the last revision
                moved = sum(row.model.encode()) - sum(b"v1")
                assert row.value == (quiet[key].value + moved) % 1000


@pytest.mark.parametrize("seed", range(2))
def test_a_model_climbs_and_falls_under_load_and_every_forecast_is_served_once_by_who_was_named(seed: int) -> None:
    scene = Scene(Random(seed))
    steps: list[Callable[[], object]] = [
        lambda: scene.rolling.rollouts().begin("v2", DAY),
        lambda: scene.rolling.climb(0.1),
        lambda: scene.rolling.climb(0.5),
        lambda: scene.rolling.climb(1.0),
        lambda: scene.rolling.rollouts().request("roll_back", DAY, "ann", "r"),
        lambda: None,
    ]
    for step in steps:
        scene.turns(40)
        step()
        scene.noted()
    scene.finish()
    assert [document.champion for _, document in scene.history] == ["v1", "v1", "v1", "v1", "v2", "v1"]
    assert set(check_rows(scene)) == {"v1", "v2"}
    check_members(scene)
    check_values(scene)
    fresh = scene.host()
    for number in range(PARTITIONS):
        states = [picture(host.partitions[number].recovered()) for host in (*scene.hosts, fresh)]
        assert states[0] == states[1] == states[2]


def test_after_the_refresh_interval_all_hosts_serve_who_was_rolled_back_to() -> None:
    scene = Scene(Random(1))
    scene.rolling.rollouts().install("v2", DAY, "ann", "r")
    for host in scene.hosts:
        assert host.serving.current().control.champion == "v2"
        scene.clock.s += 4
    scene.rolling.rollouts().request("roll_back", DAY, "ann", "r")
    scene.clock.s += REFRESH_S
    assert [host.serving.current().control.champion for host in scene.hosts] == ["v1", "v1"]


def test_a_package_damaged_behind_the_checks_never_answers_and_is_rolled_back_with_an_entry() -> None:
    scene = Scene(Random(2))
    scene.turns(60)
    scene.rolling.rollouts().install("v3", DAY, "ann", "r")
    scene.blobs.write("models", "v3/model.onnx", b"damaged")  # before any host has seen it
    scene.noted()
    scene.clock.s += REFRESH_S
    scene.hosts[1] = scene.host()
    scene.turns(60)
    assert {host.serving.current().control.champion for host in scene.hosts} == {"v1"}
    assert all("sha256" in host.serving.problems["v3"] for host in scene.hosts)
    scene.rolling.rollouts().tick(scene.rolling.merged)
    scene.clock.s += REFRESH_S
    scene.turns(30)
    scene.finish()
    assert scene.rolling.document.champion == "v1"
    assert not any(host.serving.problems for host in scene.hosts)
    assert {row.model for _, rows in scene.commits() for row in rows} == {"v1"}
    entries = scene.rolling.rollouts().ledger.entries()
    assert [entry.data["about"] for entry in entries if entry.kind == REFUSED] == ["v3"]
    assert scene.rolling.steps == ["installed", "installed", "rolled_back"]


def test_a_damaged_package_is_not_even_named() -> None:
    scene = Scene(Random(3))
    publish(scene.blobs, "v4")
    scene.blobs.write("models", "v4/model.onnx", b"damaged")
    with pytest.raises(ContractBroken, match="package v4 is refused"):
        scene.rolling.rollouts().install("v4", DAY, "ann", "r")
    scene.rolling.rollouts().begin("v4", DAY)
    assert (scene.rolling.document.champion, scene.rolling.document.challenger) == ("v1", None)
