"""The composition root of the loop's slow half: lake, watching, decisions, jobs and release."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from shared.adapters.jobs.none import NoEndpoint, NoJobs, NoRegistry
from shared.adapters.lake.delta_lake import DeltaLake
from shared.adapters.lake.delta_tables import storage_options
from shared.adapters.lake.schema import READINGS
from shared.adapters.lake.truth import DATASET, LakeTruth
from shared.adapters.models import onnx_model
from shared.adapters.stores.clock import WallClock, WatermarkClock
from shared.app.lake.compaction import Compaction, rebuild
from shared.app.ledger_store import Ledger
from shared.app.loop.completion import Completion
from shared.app.loop.evidence_packs import EvidencePacks
from shared.app.loop.loop import Loop
from shared.app.loop.monitor import Monitor
from shared.app.loop.retraining import Retraining
from shared.app.loop.stored_packages import Packages
from shared.app.release.control import ControlDocument
from shared.app.release.rollouts import Rollouts
from shared.app.score.partition import Tools
from shared.app.score.profiles import Merging
from shared.app.score.serving import load_package
from shared.core.forecast.state import State
from shared.core.forecast.step import Machine
from shared.core.ledger import Entry
from shared.core.retrain.history import GATE
from shared.core.scenario import Scenario
from shared.ports import Blobs, Clock, Endpoint, Jobs, Registry
from shared.settings import Settings

HOUR_MS = 3_600_000
PASSED = ("STORAGE__blobServiceUri", "MLFLOW_TRACKING_URI")  # no secrets: a job uses an identity of its own


def clock_of(settings: Settings) -> WallClock:
    """The clock that decisions take their time from."""
    return WatermarkClock() if settings.clock == "watermark" else WallClock()


def jobs_of(settings: Settings, clock: Clock) -> Jobs:
    """Where training jobs run."""
    if settings.jobs == "local":
        from shared.adapters.jobs.local import LocalJobs

        return LocalJobs(Path(settings.jobs_folder), settings.job_events or "", clock)
    if settings.jobs == "azureml":
        from shared.adapters.jobs.azureml import AzureMlJobs

        passed = {name: os.environ[name] for name in PASSED if name in os.environ}
        return AzureMlJobs(
            str(settings.subscription),
            str(settings.resource_group),
            str(settings.workspace),
            compute=str(settings.compute),
            component=str(settings.component),
            environment=passed,
        )
    return NoJobs()


def topics_of(settings: Settings, scenario: str) -> tuple[str, ...]:
    """Where events of our jobs come from."""
    if settings.jobs != "azureml":
        return (f"local/{scenario}",)
    group = f"/subscriptions/{settings.subscription}/resourceGroups/{settings.resource_group}"
    return (f"{group}/providers/Microsoft.MachineLearningServices/workspaces/{settings.workspace}",)


def registry_of(settings: Settings, scenario: str) -> Registry:
    """Where model versions are entered."""
    if not settings.tracking:
        return NoRegistry()
    from shared.adapters.models.mlflow_registry import MlflowRegistry

    return MlflowRegistry(scenario, settings.tracking)


def endpoint_of(settings: Settings, scenario: str) -> Endpoint:
    """The online endpoint that follows the rollout."""
    if not settings.endpoint:
        return NoEndpoint()
    from shared.adapters.models.azureml_endpoint import AzureMlEndpoint

    return AzureMlEndpoint(
        str(settings.subscription),
        str(settings.resource_group),
        str(settings.workspace),
        endpoint=settings.endpoint,
        model=scenario,
        component=str(settings.component),
        environment=str(settings.endpoint_environment),
        instance_type=settings.endpoint_instance,
        instance_count=settings.endpoint_instances,
    )


def lake_of(settings: Settings, scenario: Scenario) -> DeltaLake:
    """The lake."""
    return DeltaLake(scenario, options=storage_options(settings.storage, settings.storage_url))


def rebuilt(settings: Settings, machine: Machine, partition: int) -> State | None:
    """A partition's state from the lake alone, None when that holds none of its commits."""
    lake = lake_of(settings, machine.scenario)
    return rebuild(lake, machine, partition) if lake.commits(partition) else None


def dataset_of(lake: DeltaLake) -> tuple[int, int] | None:
    """Version of the lake's readings and how many there are, from the table's log alone; None without a lake."""
    view = lake.delta.opened(READINGS)
    return None if view is None else (view.version, sum(file.rows for file in view.files))


def trained_on(entries: Sequence[Entry]) -> list[int]:
    """Versions of the lake's readings that models were trained on: their files stay."""
    datasets = [str(entry.data.get("dataset")) for entry in entries if entry.kind == GATE]
    return sorted({int(found[1]) for each in datasets if (found := DATASET.fullmatch(each))})


def loop_of(settings: Settings, blobs: Blobs, tools: Tools, recover: Callable[[int], State]) -> Loop:
    """Wire the slow half to given stores; touches none of them.

    Args:
        settings: The application's.
        blobs: Its blobs.
        tools: What the partitions share.
        recover: A partition's state from its commits.
    """
    machine, clock = tools.machine, clock_of(settings)
    scenario = machine.scenario
    load = partial(onnx_model.load, featurizer_features=machine.featurizer.features)
    lake = lake_of(settings, scenario)
    ledger = Ledger(scenario.name, blobs, clock)
    control, registry = ControlDocument(blobs), registry_of(settings, scenario.name)
    # a job's own hours pass on the wall, wherever decisions take their time from
    retraining = Retraining(scenario, ledger, jobs_of(settings, WallClock()), clock, WallClock())
    reach = clock.reach if isinstance(clock, WatermarkClock) else None
    merged = Merging(tools.profiles, tools.stream.partitions, recover, reach or (lambda _: None))
    packages = Packages(blobs, load, machine.featurizer.features)
    check = partial(load_package, scenario, blobs, load)
    rollouts = Rollouts(scenario, blobs, ledger, control, packages.latency_ms, registry.mark, check)
    completion = Completion(
        scenario=scenario,
        packages=packages,
        blobs=blobs,
        ledger=ledger,
        retraining=retraining,
        rollouts=rollouts,
        registry=registry,
        packs=EvidencePacks(blobs, ledger, registry),
        witness=LakeTruth(scenario, lake.delta),
        today=lambda: max(merged().newest_hour, 0) // 24,
    )
    return Loop(
        scenario=scenario,
        merged=merged,
        by_data=reach is not None,
        compaction=Compaction(
            scenario=scenario,
            blobs=blobs,
            lake=lake,
            clock=clock,
            retain_days=settings.retain_days,
            keep=lambda: trained_on(ledger.entries()),
        ),
        monitor=Monitor(
            scenario, blobs, packages, ledger, control, partial(dataset_of, lake), lambda: clock.now_ms() // HOUR_MS
        ),
        retraining=retraining,
        completion=completion,
        rollouts=rollouts,
        endpoint=endpoint_of(settings, scenario.name),
        topics=topics_of(settings, scenario.name),
        trains=settings.jobs != "none",
    )
