"""What the use cases are given, and what of it stands behind the ports in Azure and on one machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from shared.adapters.models import onnx_model
from shared.adapters.models.onnx_limits import ModelLimits
from shared.adapters.stores import scenario_files
from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.adapters.stores.clock import WallClock
from shared.adapters.stores.event_hub import EventHubStream
from shared.adapters.stores.identity import Identity
from shared.adapters.tables.limits import FileLimits
from shared.core.task.task import Task
from shared.core.task.tasks import task_of
from shared.ports import Blobs, Clock, LoadModel, Stream
from shared.settings import Settings, from_env

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


def loading(task: Task, trial: ModelLimits | None = None) -> LoadModel:
    """What loads models on these features, each tried within limits first."""
    return partial(onnx_model.load, featurizer_features=task.features, trial=trial)


def file_limits(settings: Settings) -> FileLimits:
    """How large a dropped file may be."""
    return FileLimits(
        unpacked_mb=settings.file_mb,
        ratio=settings.file_ratio,
        disk_mb=settings.file_disk_mb,
        reader_mb=settings.file_reader_mb,
        reader_s=settings.file_reader_s,
    )


def blobs_identity(settings: Settings) -> Identity:
    """With which the blob store is reached."""
    return Identity(bool(settings.blobs_credential), settings.blobs_client)


def connect(env: Mapping[str, str]) -> Ports:
    """What an environment says.

    Raises:
        ConfigError: Settings or scenario are wrong; the message lists every problem.
    """
    settings = from_env(env, scenario_files.names())
    task = task_of(scenario_files.load(settings.scenario))
    devices, group = None, settings.lookup_group
    if settings.telemetry or settings.telemetry_namespace:
        identity = Identity(bool(settings.telemetry_credential), settings.telemetry_client)
        where = settings.telemetry_hub, settings.telemetry, settings.telemetry_namespace
        devices = EventHubStream(*where, identity, group)
    identity = Identity(bool(settings.readings_credential), settings.readings_client)
    where = settings.readings_hub, settings.readings, settings.readings_namespace
    return Ports(
        settings=settings,
        task=task,
        load=loading(task, ModelLimits(memory_mb=settings.model_mb, seconds=settings.model_s)),
        blobs=AzureBlobs.connect(settings.blobs, settings.blobs_url, blobs_identity(settings), CONTAINERS),
        stream=EventHubStream(*where, identity, group),
        clock=WallClock(),
        in_background=ThreadPoolExecutor(1, "snapshots").submit,
        devices=devices,
    )
