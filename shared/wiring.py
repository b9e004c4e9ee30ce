"""The composition root: which adapters stand behind the ports."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.models import onnx_model
from shared.adapters.stores import scenario_files
from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.adapters.stores.clock import WallClock
from shared.adapters.stores.event_hub import EventHubStream
from shared.adapters.tables.open import open_table
from shared.app import health as views
from shared.app.route.file_books import Filing
from shared.app.route.files import RouteFile
from shared.app.route.messages import Road, RoutePartition
from shared.app.route.resubmit import Resubmit
from shared.app.route.unnoticed import MissedFiles
from shared.app.score.latencies import Latencies
from shared.app.score.partition import Partition, Tools
from shared.app.score.profiles import Profiles
from shared.app.score.serving import Serving
from shared.app.score.snapshots import Snapshots
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.forecast.state import State
from shared.core.forecast.step import Machine
from shared.core.stream.events import Event
from shared.errors import ConfigError, PipelineError
from shared.ports import Blobs, Clock, Stream
from shared.settings import Settings, from_env

if TYPE_CHECKING:
    from shared.app.loop.loop import Loop

CONTAINERS = (
    "incoming",
    "commits",
    "predictions",
    "state",
    "dead-letter",
    "progress",
    "receipts",
    "profiles",
    "models",
    "lake",
    "reports",
    "ledger",
)


@dataclass(frozen=True)
class Pipeline:
    """The use cases, wired.

    Args:
        machine: Scenario and features.
        tools: What the partitions share.
        filing: Books of dropped files.
        road: What the routing of the devices' partitions shares, None without a devices' hub.
        route_file: Routes a dropped file.
        resubmit: Feeds dead letters back.
        make_loop: Wires what timers, job events and people set off, when first needed.
    """

    machine: Machine
    tools: Tools
    filing: Filing
    route_file: RouteFile
    resubmit: Resubmit
    make_loop: Callable[[Callable[[int], State]], Loop]
    road: Road | None = None
    routes: dict[int, RoutePartition] = field(default_factory=dict)
    partitions: dict[int, Partition] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def score(self, partition: int, events: Sequence[Event]) -> None:
        """Fold a batch of readings into its partition and forecast what becomes due."""
        with self._lock:
            found = self.partitions.setdefault(partition, Partition(partition, self.tools))
        found.take(events)

    def route_events(self, partition: int, events: Sequence[Event]) -> None:
        """Route messages of devices.

        Raises:
            ConfigError: No devices' hub is configured.
        """
        if self.road is None:
            raise ConfigError("settings: TELEMETRY__fullyQualifiedNamespace (in Azure) or TELEMETRY (local) is missing")
        with self._lock:
            found = self.routes.setdefault(partition, RoutePartition(partition, self.road))
        found.take(events)

    def sweep(self) -> None:
        """Finish files whose last receipt could not finish them, send lost end markers again, read missed files.

        Raises:
            PipelineError: The first file that could not be brought further; the others are.
        """
        problems, standing = [], self.filing.standing()
        missed = MissedFiles(self.tools.blobs, self.route_file, self.tools.clock)
        steps = [partial(self._finish, key) for key in standing.unfinished] + [partial(missed.read, standing.known)]
        for step in steps:
            try:
                step()
            except PipelineError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def _finish(self, key: str) -> None:
        if not self.filing.finish(key):
            self.route_file.end_again(key)

    @cached_property
    def loop(self) -> Loop:
        """Watching, deciding, training and releasing."""
        return self.make_loop(lambda partition: Partition(partition, self.tools).recovered())

    def health(self, window_s: float = views.WINDOW_S) -> dict[str, Any]:
        """What a person asks first; see `views.health`."""
        with self._lock:
            partitions, routes = dict(self.partitions), dict(self.routes)
        return views.health(self.tools, partitions, routes, window_s)


def assemble(
    settings: Settings,
    blobs: Blobs,
    stream: Stream,
    clock: Clock,
    beside: Callable[[Callable[[], None]], object],
    devices: Stream | None = None,
) -> Pipeline:
    """Wire the use cases to given stores.

    Raises:
        ConfigError: The scenario is not usable.
    """
    scenario = scenario_files.load(settings.scenario)
    machine = Machine(scenario, Featurizer(scenario))
    load = partial(onnx_model.load, featurizer_features=machine.featurizer.features)
    serving = Serving(scenario, blobs, load, clock, settings.model_refresh_s)
    filing = Filing(scenario, blobs, clock)
    tools = Tools(
        machine=machine,
        blobs=blobs,
        files=ParquetFiles(scenario),
        stream=stream,
        serving=serving,
        snapshots=Snapshots(scenario, blobs, settings.snapshot_commits, beside),
        profiles=Profiles(machine, blobs, clock, beside, settings.profile_s),
        ended=filing.ended,
        batch_rows=settings.batch_rows,
        clock=clock,
        latencies=Latencies(),
        rebuild=partial(_rebuilt, settings, machine) if settings.retain_days > 0 else lambda _: None,
    )
    route_file = RouteFile(
        machine=machine,
        blobs=blobs,
        stream=stream,
        serving=serving,
        filing=filing,
        open_table=open_table,
        clock=clock,
        chunk_rows=settings.chunk_rows,
    )
    resubmit = Resubmit(scenario=scenario, blobs=blobs, readings=stream, open_table=open_table, clock=clock)
    road = Road(scenario=scenario, blobs=blobs, devices=devices, readings=stream) if devices else None
    return Pipeline(machine, tools, filing, route_file, resubmit, partial(_loop, settings, blobs, tools), road)


def _rebuilt(settings: Settings, machine: Machine, partition: int) -> State | None:
    from shared.wiring_loop import rebuilt  # late: it takes lost snapshots to need it

    return rebuilt(settings, machine, partition)


def _loop(settings: Settings, blobs: Blobs, tools: Tools, recover: Callable[[int], State]) -> Loop:
    from shared.wiring_loop import loop_of  # late: most workers never run a timer

    return loop_of(settings, blobs, tools, recover)


class Application:
    """The pipeline, made when the first trigger needs it; a wrong setting fails every trigger, not the import.

    Args:
        env: The environment.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The wired use cases.

        Raises:
            ConfigError: Settings or scenario are wrong; the message lists every problem.
        """
        with self._lock:
            if self._pipeline is None:
                self._pipeline = _connect(from_env(self._env, scenario_files.names()))
            return self._pipeline

    def score(self, partition: int, events: Sequence[Event]) -> None:
        """Fold a batch of readings into its partition and forecast what becomes due."""
        self.pipeline.score(partition, events)

    def route_file(self, name: str) -> None:
        """Route a dropped file."""
        self.pipeline.route_file(name)

    def route_events(self, partition: int, events: Sequence[Event]) -> None:
        """Route messages of devices."""
        self.pipeline.route_events(partition, events)

    def resubmit(self, prefix: str, reasons: Sequence[str]) -> dict[str, int]:
        """Feed dead letters back; returns records tried, accepted and kept."""
        return self.pipeline.resubmit(prefix, reasons)

    @property
    def loop(self) -> Loop:
        """Watching, deciding, training and releasing."""
        return self.pipeline.loop

    def sweep(self) -> None:
        """Finish what was left half done."""
        self.pipeline.sweep()

    def health(self, window: str = "") -> tuple[bool, dict[str, Any]]:
        """Whether the app can work, and what a person asks first; `window` is in seconds."""
        try:
            return True, self.pipeline.health(_seconds(window))
        except PipelineError as error:
            return False, {"error": str(error)}


def _seconds(window: str) -> float:
    try:
        found = float(window)
    except ValueError:
        return views.WINDOW_S
    return min(max(found, 0.0), 86_400.0) if found == found else views.WINDOW_S  # NaN differs from itself


def _connect(settings: Settings) -> Pipeline:
    blobs = AzureBlobs.connect(settings.storage, settings.storage_url)
    stream = EventHubStream(settings.readings_hub, settings.readings, settings.readings_namespace)
    beside = ThreadPoolExecutor(1, "snapshots").submit
    devices = None
    if settings.telemetry or settings.telemetry_namespace:
        devices = EventHubStream(settings.telemetry_hub, settings.telemetry, settings.telemetry_namespace)
    return assemble(settings, blobs, stream, WallClock(), beside, devices)


def build(env: Mapping[str, str] | None = None) -> Application:
    """The application; touches no network and loads no model."""
    return Application(os.environ if env is None else env)
