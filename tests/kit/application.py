"""The application as production wires it, on stores in memory, and what it committed, read as anybody would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.stores import scenario_files
from shared.app.route.files import INCOMING
from shared.core.forecast.task import HourlyForecast
from shared.core.intake import dead_letters
from shared.core.intake.dead_letters import DeadLetter
from shared.core.intake.envelopes.told import UNTOLD, Told
from shared.core.scenario import Scenario
from shared.core.stream.commit import Commit
from shared.core.stream.events import Batch, Event
from shared.core.stream.packing import unpack
from shared.core.task.task import Task
from shared.core.task.tasks import task_of
from shared.ports import Blobs, Clock, LoadModel, Stream
from shared.settings import Settings
from shared.wiring import Application, Ports, loading
from tests.kit.faults import Faulty, HandClock
from tests.kit.memory import MemoryStream
from tests.kit.model import deploy, load
from tests.kit.scenario import HOUR, SCENARIO, TASK

START_MS = (HOUR + 100) * 3_600_000
EAGER = Settings(model_refresh_s=0.0, snapshot_commits=3, batch_rows=1000)
FILES = ParquetFiles(TASK)
Forecasts = dict[tuple[str, int, int], tuple[float, str]]  # device, as-of hour, revision: value, model


def assemble(
    settings: Settings,
    blobs: Blobs,
    stream: Stream,
    clock: Clock,
    devices: Stream | None = None,
    *,
    task: Task | None = None,
    load: LoadModel | None = None,
) -> Application:
    """The application on given stores; what production does beside its work is done at once.

    Args:
        settings: Sizes and times.
        blobs: All containers.
        stream: The hub "readings".
        clock: Says how long things took.
        devices: The devices' hub.
        task: What is asked; None: that of the settings' scenario.
        load: Loads models; None: ONNX packages.
    """

    def ports() -> Ports:
        found = task or task_of(scenario_files.load(settings.scenario))
        return Ports(
            settings=settings,
            task=found,
            load=load or loading(found),
            blobs=blobs,
            stream=stream,
            clock=clock,
            in_background=lambda job: job(),
            devices=devices,
        )

    return Application(ports)


@dataclass
class InMemory:
    """The application of the small scenario: two partitions in each hub, and the model "v1" deployed.

    `hear` and `drop` route what arrives, `score` works off what that sent.

    Args:
        blobs: All containers.
        scenario: The scenario, which may change while it runs.
        clock: Moves when told.
    """

    blobs: Faulty = field(default_factory=Faulty)
    scenario: Scenario = SCENARIO
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self.readings, self.devices = MemoryStream(2), MemoryStream(2, START_MS)
        self.taken = [0, 0]
        self.now_ms = START_MS
        self.restart()
        deploy(self.blobs, "v1")

    def restart(self, scenario: Scenario | None = None) -> None:
        """New workers that remember nothing, perhaps with another scenario."""
        self.scenario = scenario or self.scenario
        task = HourlyForecast(self.scenario, TASK.featurizer)
        self.application = assemble(EAGER, self.blobs, self.readings, self.clock, self.devices, task=task, load=load)
        self.files = ParquetFiles(self.application.ports.task)
        for number in range(2):
            self.application.score(number, [])
            self.application.route_events(number, [])
        self.partitions = list(self.application.score.held.values())
        self.routers = list(self.application.route_events.held.values())
        self.resubmit = self.application.resubmit

    def hear(self, *bodies: bytes, partition: int = 0, identity: str | None = None, told: Told = UNTOLD) -> None:
        """Messages arrive at the devices' hub and are routed as one batch."""
        log = self.devices.logs[partition]
        first = len(log)
        log += [Event(first + i, self.now_ms + first + i, body, identity, told) for i, body in enumerate(bodies)]
        self.application.route_events(partition, log[first:])

    def drop(self, name: str, data: bytes | str, zone: str | None = None) -> None:
        """A file is dropped and routed."""
        raw = data.encode() if isinstance(data, str) else data
        self.blobs.write(INCOMING, name, raw, {"zone": zone} if zone else None)
        self.application.route_file(name)

    def score(self) -> None:
        """The partitions take what is new in the hub, an event at a time."""
        for number, log in enumerate(self.readings.logs):
            while self.taken[number] < len(log):
                self.application.score(number, log[self.taken[number] : self.taken[number] + 1])
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

    def forecasts(self) -> Forecasts:
        """Every forecast of the champion by device, as-of hour and revision."""
        return forecasts(self.blobs, files=self.files)


def commits(blobs: Blobs, files: ParquetFiles = FILES) -> Iterator[tuple[str, Commit, Batch]]:
    """Every commit with its name and batch, in order."""
    for name in blobs.names("commits"):
        yield name, *files.decode_commit(blobs.read("commits", name) or b"")


def forecasts(blobs: Blobs, role: str = "champion", files: ParquetFiles = FILES) -> Forecasts:
    """Every forecast of a role that a commit names; each exactly once."""
    found: Forecasts = {}
    for _, commit, _ in commits(blobs, files):
        if commit.predictions is None:
            continue
        rows = FILES.read_predictions(blobs.read("predictions", commit.predictions) or b"")
        for place, device in enumerate(rows["device_id"]):
            if rows["role"][place] != role:
                continue
            key = device, int(rows["as_of"][place]), int(rows["revision"][place])
            assert key not in found, f"{key} stands in two named blobs"
            found[key] = float(rows["value"][place]), rows["model_version"][place]
    return found


def newest(found: Mapping[tuple[str, int, int], tuple[float, str]]) -> dict[tuple[str, int], tuple[float, str]]:
    """The last revision of each forecast."""
    return {(device, as_of): value for (device, as_of, _), value in sorted(found.items())}
