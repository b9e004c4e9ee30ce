"""The composition root: what stands behind the ports, and which of them each use case works with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shared.adapters.jobs.none import NoEndpoint, NoJobs, NoRegistry
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.models import onnx_model
from shared.adapters.stores import scenario_files
from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.adapters.stores.clock import WallClock, WatermarkClock
from shared.adapters.stores.event_hub import EventHubStream
from shared.adapters.tables.open import open_table
from shared.app import health as views
from shared.app.partitions import Partitions
from shared.app.route.file_books import FileBooks
from shared.app.route.files import RouteFile
from shared.app.route.messages import RoutePartition, RoutingContext
from shared.app.route.resubmit import Resubmit
from shared.app.route.sweep import Sweep
from shared.app.score.context import ScoringContext
from shared.app.score.latencies import Latencies
from shared.app.score.partition import Partition
from shared.app.score.profiles import Profiles
from shared.app.score.serving import Serving
from shared.app.score.snapshots import Snapshots
from shared.core.retrain.job_events import local_topic
from shared.core.task.state import State
from shared.core.task.task import Task
from shared.core.task.tasks import task_of
from shared.errors import ConfigError, PipelineError
from shared.ports import Blobs, Clock, Endpoint, Jobs, LoadModel, Registry, Stream
from shared.settings import Settings, from_env

if TYPE_CHECKING:
    from shared.adapters.lake.delta_lake import DeltaLake
    from shared.adapters.models.azureml_client import Workspace
    from shared.app.loop.loop import Loop

T = TypeVar("T")
CONTAINERS = (
    *("incoming", "commits", "predictions", "state", "dead-letter", "progress"),
    *("receipts", "profiles", "models", "lake", "reports", "ledger"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the use cases are given.

    Args:
        settings: Sizes, times and the places of the slow half.
        task: What is asked and answered.
        load: Loads models.
        blobs: All containers.
        stream: The hub "readings".
        clock: Says how long things took.
        in_background: Runs a job off the critical path.
        devices: The devices' hub, None where messages are not routed.
    """

    settings: Settings
    task: Task
    load: LoadModel
    blobs: Blobs
    stream: Stream
    clock: Clock
    in_background: Callable[[Callable[[], None]], object]
    devices: Stream | None = None


class wired(cached_property[T]):  # noqa: N801 - it is read as a decorator
    """A part of the application, made once: when a thread first asks for it."""

    def __get__(self, application: Application, owner: type) -> T:  # type: ignore[override]
        with application.lock:  # from Python 3.12 on a cached property has none of its own
            return super().__get__(application, owner)


class Application:
    """The use cases, each wired when a trigger first needs it; a wrong setting fails every trigger, not the import.

    Args:
        connect: Gives what they work with.

    Raises:
        ConfigError: By every use case: settings or scenario are wrong; the message lists every problem.
    """

    def __init__(self, connect: Callable[[], Ports]) -> None:
        self.lock = threading.RLock()
        self._connect = connect

    @wired
    def ports(self) -> Ports:
        """What the use cases work with."""
        return self._connect()

    @wired
    def file_books(self) -> FileBooks:
        """Books of dropped files."""
        return FileBooks(self.ports.task, self.ports.blobs, self.ports.clock)

    @wired
    def context(self) -> ScoringContext:
        """What the partitions share."""
        ports, settings = self.ports, self.ports.settings
        task, blobs = ports.task, ports.blobs
        return ScoringContext(
            task=task,
            blobs=blobs,
            files=ParquetFiles(task),
            stream=ports.stream,
            serving=Serving(task, blobs, ports.load, ports.clock, settings.model_refresh_s),
            snapshots=Snapshots(task, blobs, settings.snapshot_commits, ports.in_background),
            profiles=Profiles(task, blobs, ports.clock, ports.in_background, settings.profile_s),
            ended=self.file_books.ended,
            batch_rows=settings.batch_rows,
            clock=ports.clock,
            latencies=Latencies(),
            rebuild=self._rebuilt if settings.retain_days > 0 else lambda _: None,
        )

    @wired
    def score(self) -> Partitions[Partition]:
        """Folds a batch of readings into its partition and forecasts what becomes due."""
        return Partitions(partial(Partition, context=self.context))

    @wired
    def route_events(self) -> Partitions[RoutePartition]:
        """Routes messages of devices."""
        return Partitions(self._router)

    @wired
    def route_file(self) -> RouteFile:
        """Routes a dropped file."""
        return RouteFile(
            task=self.ports.task,
            blobs=self.ports.blobs,
            stream=self.ports.stream,
            serving=self.context.serving,
            file_books=self.file_books,
            open_table=open_table,
            clock=self.ports.clock,
            chunk_rows=self.ports.settings.chunk_rows,
        )

    @wired
    def sweep(self) -> Sweep:
        """Brings files further that were left half done."""
        ports = self.ports
        return Sweep(blobs=ports.blobs, file_books=self.file_books, route_file=self.route_file, clock=ports.clock)

    @wired
    def resubmit(self) -> Resubmit:
        """Feeds dead letters back."""
        ports = self.ports
        scenario, blobs, clock = ports.task.scenario, ports.blobs, ports.clock
        return Resubmit(scenario=scenario, blobs=blobs, readings=ports.stream, open_table=open_table, clock=clock)

    @wired
    def loop(self) -> Loop:
        """Watches, decides, trains and releases: what timers, job events and people set off."""
        from shared.adapters.lake.truth import LakeTruth
        from shared.app.loop.loop import loop_of

        settings, name, lake = self.ports.settings, self.ports.task.scenario.name, self._lake()
        clock = WatermarkClock() if settings.clock == "watermark" else WallClock()
        return loop_of(
            self.context,
            self.ports.load,
            settings,
            clock=clock,
            reach=clock.reach if isinstance(clock, WatermarkClock) else None,
            lake=lake,
            truth_source=LakeTruth(self.ports.task, lake.delta),
            registry=_registry(settings, name),
            jobs=_jobs(settings),
            endpoint=_endpoint(settings, name),
            topic=_topic(settings, name),
        )

    def health(self, window: str = "") -> tuple[bool, dict[str, Any]]:
        """Whether the app can work, and what a person asks first; `window` is in seconds."""
        try:
            window_s = views.seconds(window)
            return True, views.health(self.context, self.score.held, self.route_events.held, window_s)
        except PipelineError as error:
            return False, {"error": str(error)}

    def _router(self, partition: int) -> RoutePartition:
        ports = self.ports
        if ports.devices is None:
            raise ConfigError("settings: TELEMETRY__fullyQualifiedNamespace (in Azure) or TELEMETRY (local) is missing")
        context = RoutingContext(
            scenario=ports.task.scenario, blobs=ports.blobs, devices=ports.devices, readings=ports.stream
        )
        return RoutePartition(partition, context)

    def _rebuilt(self, partition: int) -> State | None:
        """A partition's state from the lake alone, None when that holds none of its commits."""
        from shared.app.lake.compaction import rebuild

        lake = self._lake()
        return rebuild(lake, self.ports.task, partition) if lake.commits(partition) else None

    def _lake(self) -> DeltaLake:
        from shared.adapters.lake.delta_lake import DeltaLake
        from shared.adapters.lake.storage_options import storage_options

        settings = self.ports.settings
        options = storage_options(settings.storage, settings.storage_url)
        return DeltaLake(self.ports.task, options=options)


def loading(task: Task) -> LoadModel:
    """What loads models on these features."""
    return partial(onnx_model.load, featurizer_features=task.features)


def _jobs(settings: Settings) -> Jobs:
    if settings.jobs == "local":
        from shared.adapters.jobs.local import LocalJobs

        return LocalJobs(Path(settings.jobs_folder), settings.job_events or "", WallClock())
    if settings.jobs == "azureml":
        from shared.adapters.jobs.azureml import AzureMlJobs

        return AzureMlJobs(_workspace(settings), compute=str(settings.compute), component=str(settings.component))
    return NoJobs()


def _topic(settings: Settings, scenario: str) -> str:
    """Where events of our jobs come from."""
    return _workspace(settings).id if settings.jobs == "azureml" else local_topic(scenario)


def _registry(settings: Settings, scenario: str) -> Registry:
    if not settings.tracking:
        return NoRegistry()
    from shared.adapters.models.mlflow_registry import MlflowRegistry

    return MlflowRegistry(scenario, settings.tracking)


def _endpoint(settings: Settings, scenario: str) -> Endpoint:
    if not settings.endpoint:
        return NoEndpoint()
    from shared.adapters.models.azureml_endpoint import AzureMlEndpoint

    return AzureMlEndpoint(
        _workspace(settings),
        endpoint=settings.endpoint,
        model=scenario,
        component=str(settings.component),
        environment=str(settings.endpoint_environment),
        instance_type=settings.endpoint_instance,
        instance_count=settings.endpoint_instances,
    )


def _workspace(settings: Settings) -> Workspace:
    from shared.adapters.models.azureml_client import Workspace

    return Workspace(str(settings.subscription), str(settings.resource_group), str(settings.workspace))


def _connect(env: Mapping[str, str]) -> Ports:
    settings = from_env(env, scenario_files.names())
    task = task_of(scenario_files.load(settings.scenario))
    devices = None
    if settings.telemetry or settings.telemetry_namespace:
        devices = EventHubStream(settings.telemetry_hub, settings.telemetry, settings.telemetry_namespace)
    return Ports(
        settings=settings,
        task=task,
        load=loading(task),
        blobs=AzureBlobs.connect(settings.storage, settings.storage_url),
        stream=EventHubStream(settings.readings_hub, settings.readings, settings.readings_namespace),
        clock=WallClock(),
        in_background=ThreadPoolExecutor(1, "snapshots").submit,
        devices=devices,
    )


def build(env: Mapping[str, str]) -> Application:
    """The application; touches no network and loads no model."""
    return Application(partial(_connect, env))
