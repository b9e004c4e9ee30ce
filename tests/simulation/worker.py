"""One process of the application, as production wires it, on the world's stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from shared.adapters.lake.commit_files import ParquetFiles
from shared.app.loop.loop import Loop, loop_of
from shared.app.loop.stored_packages import StoredPackages
from shared.app.score.context import ScoringContext
from shared.app.score.partition import Partition
from shared.core.gate.evidence import Evidence
from shared.core.intake.readings import Floats
from shared.core.task.task import Task
from shared.ports import LoadModel
from shared.settings import Settings
from shared.wiring import Application, Ports
from shared.wiring.application import wired
from tests.simulation.lake import Lake
from tests.simulation.ports import Blobs, Clock, Endpoint, Hub, Jobs, Registry, Time
from tests.simulation.schedule import Process, Schedule, share_locks

PARTITIONS = 2
READINGS, DEVICES = "readings", "telemetry"
TOPIC = "local/small"


class Remembered(ParquetFiles):
    """Reads the same bytes once: the same bytes give the same values."""

    def __init__(self, task: Task, seen: dict[tuple[int, str, bytes], Any]) -> None:
        super().__init__(task)
        self.seen = seen

    def decode_commit(self, raw: bytes) -> Any:
        return self._once("commit", raw, super().decode_commit)

    def read_predictions(self, raw: bytes) -> Any:
        return self._once("predictions", raw, super().read_predictions)

    def dispositions(self, raw: bytes) -> Any:
        return self._once("dispositions", raw, super().dispositions)

    def _once(self, what: str, raw: bytes, read: Callable[[bytes], Any]) -> Any:
        key = self.task.version, what, raw
        if key not in self.seen:
            self.seen[key] = read(raw)
        return self.seen[key]


class Steady(StoredPackages):
    """Packages whose forecasts always take a millisecond: a measured time would stand in the ledger."""

    def timed(self, files: Mapping[str, bytes]) -> float:
        self.load(files)
        return 1.0


@dataclass
class Stores:
    """What the processes share.

    Args:
        schedule: Decides what befalls a call.
        time: The world's.
        task: What is asked.
        load: Loads models.
    """

    schedule: Schedule
    time: Time
    task: Task
    load: LoadModel

    def __post_init__(self) -> None:
        self.seen: dict[tuple[int, str, bytes], Any] = {}
        self.files = Remembered(self.task, self.seen)
        self.blobs = Blobs(self.schedule, self.time)
        self.hubs = {name: Hub(self.schedule, self.time, name, PARTITIONS) for name in (READINGS, DEVICES)}
        self.lake = Lake(self.schedule, self.files)
        self.jobs = Jobs(self.schedule)
        self.registry = Registry(self.schedule)


class Simulated(Application):
    """The application of one process.

    Args:
        stores: What stands behind its ports.
        process: Where its background work runs.
        settings: Sizes and times.
        beside: Whether background work is done beside the rest, or at once.
    """

    def __init__(self, stores: Stores, process: Process, settings: Settings, *, beside: bool = True) -> None:
        super().__init__(self._given)
        self.stores, self.process, self.settings, self.beside = stores, process, settings, beside
        self.clock, self.task = Clock(stores.time), stores.task
        self.files = Remembered(self.ports.task, stores.seen)
        for number in range(PARTITIONS):
            self.score(number, [])
            self.route_events(number, [])
        share_locks(vars(self), stores.schedule)

    @wired
    def context(self) -> ScoringContext:
        return replace(super().context, files=self.files)

    @wired
    def loop(self) -> Loop:
        stores = self.stores
        found = loop_of(
            self.context,
            stores.load,
            self.settings,
            clock=self.clock,
            reach=None,
            lake=self._lake(),
            truth_source=_truth,
            registry=stores.registry,
            jobs=stores.jobs,
            endpoint=Endpoint(stores.schedule),
            topic=TOPIC,
        )
        packages = Steady(stores.blobs, stores.load, self.ports.task.features)
        rollouts = replace(found.rollouts, latency_ms=packages.latency_ms)
        completion = replace(found.completion, packages=packages, rollouts=rollouts)
        return replace(found, completion=completion, rollouts=rollouts)

    def partition(self, number: int) -> Partition:
        return self.score.held[number]

    def take(self, hub: str, number: int, events: Any) -> None:
        """A batch of a hub's partition."""
        (self.score if hub == READINGS else self.route_events)(number, events)

    def _given(self) -> Ports:
        stores = self.stores
        spawn = partial(stores.schedule.spawn, self.process, "beside")
        return Ports(
            settings=self.settings,
            task=self.task,
            load=stores.load,
            blobs=stores.blobs,
            stream=stores.hubs[READINGS],
            clock=self.clock,
            in_background=spawn if self.beside else lambda job: job(),
            devices=stores.hubs[DEVICES],
        )

    def _lake(self) -> Any:
        return self.stores.lake.under(self.files)


def _truth(found: Evidence, _: str) -> Floats:
    return found.truth
