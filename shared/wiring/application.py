"""The use cases of the application: each is wired when a trigger first needs it, on what it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.stores.clock import WallClock, WatermarkClock
from shared.adapters.tables.open import open_table
from shared.app import health as views
from shared.app.evolution import continued
from shared.app.partitions import Partitions
from shared.app.route.file_books import FileBooks
from shared.app.route.files import RouteFile
from shared.app.route.messages import RoutePartition, RoutingContext
from shared.app.route.resubmit import Resubmit
from shared.app.route.sweep import Sweep
from shared.app.score import removed
from shared.app.score.context import ScoringContext
from shared.app.score.latencies import Latencies
from shared.app.score.partition import Partition
from shared.app.score.profiles import Profiles
from shared.app.score.serving import Serving
from shared.app.score.snapshots import Snapshots
from shared.core.scenario.cadence import HOURLY
from shared.core.task.state import State
from shared.errors import ConfigError, PipelineError
from shared.wiring import slow
from shared.wiring.ports import Ports, blobs_identity, file_limits

if TYPE_CHECKING:
    from shared.adapters.lake.archive import LakeArchive
    from shared.app.api.replies import Reply
    from shared.app.lookback.commit_history import CommitHistory
    from shared.app.loop.loop import Loop

T = TypeVar("T")


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
    def _connected(self) -> Ports:
        return self._connect()

    @wired
    def ports(self) -> Ports:
        """What the use cases work with; the scenario goes on from what the store holds."""
        ports = self._connected
        return replace(ports, task=continued(ports.task, ports.blobs, ParquetFiles.columns))

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
            rebuild=self._rebuilt,
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
            open_table=partial(open_table, limits=file_limits(self.ports.settings)),
            clock=self.ports.clock,
            chunk_rows=self.ports.settings.chunk_rows,
            most_letters=self.ports.settings.file_letters,
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
            registry=slow.registry(settings, name),
            jobs=slow.jobs(settings),
            endpoint=slow.endpoint(settings, name),
            topic=slow.topic(settings, name),
        )

    def health(self, window: str = "") -> tuple[bool, dict[str, Any]]:
        """Whether the app can work, and what a person asks first; `window` is in seconds."""
        try:
            window_s = views.seconds(window)
            return True, views.health(self.context, self.score.held, self.route_events.held, window_s)
        except PipelineError as error:
            return False, {"error": str(error)}

    def forecasts(self, device: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """A device's forecasts for a machine; see `shared.app.api.forecasts`."""
        from shared.app.api.forecasts import forecasts

        try:
            cadence = self.ports.task.scenario.cadence
        except PipelineError:  # of which the history tells
            cadence = HOURLY
        return forecasts(lambda: self._history, device, query, headers, cadence)

    @wired
    def _history(self) -> CommitHistory:
        from shared.app.lookback.commit_history import CommitHistory

        ports, files = self.ports, self.context.files
        return CommitHistory(ports.task, ports.blobs, files, self._lake(), ports.stream.partitions())

    def _router(self, partition: int) -> RoutePartition:
        ports = self.ports
        if ports.devices is None:
            raise ConfigError("settings: TELEMETRY__fullyQualifiedNamespace (in Azure) or TELEMETRY (local) is missing")
        context = RoutingContext(
            scenario=ports.task.scenario, blobs=ports.blobs, devices=ports.devices, readings=ports.stream
        )
        return RoutePartition(partition, context)

    def _rebuilt(self, partition: int) -> State | None:
        """A partition's state from the lake alone, None when that holds none of its commits or none were removed."""
        from shared.app.lake.compaction import rebuild

        if self.ports.settings.retain_days <= 0 and removed.mark_of(self.ports.blobs, partition) == removed.Mark():
            return None
        lake = self._lake()
        return rebuild(lake, self.ports.task, partition) if lake.commits(partition) else None

    def _lake(self) -> LakeArchive:
        from shared.adapters.lake.archive import LakeArchive
        from shared.adapters.lake.delta.storage_options import storage_options

        settings = self.ports.settings
        options = storage_options(settings.blobs, settings.blobs_url, blobs_identity(settings))
        return LakeArchive(self.ports.task, options=options)
