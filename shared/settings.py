"""Settings of the function app, read from its environment."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

from shared.errors import ConfigError

HUB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}")
HUB_PARTS = {"endpoint", "sharedaccesskeyname", "sharedaccesskey"}
SOURCES = ("EventGrid", "LogsAndContainerScan")
CLOCKS = ("wall", "watermark")
PLACES = ("none", "local", "azureml")
COMPONENT = re.compile(r"[A-Za-z0-9._-]+:[A-Za-z0-9._-]+")
NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)+")
ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says; names of the variables stand in `VARIABLES`.

    Args:
        scenario: Name of the scenario file.
        storage: Connection string of the blob store; local only.
        storage_url: Address of the blob service, reached with the app's identity.
        readings: Connection string of the hub "readings"; local only.
        readings_namespace: Fully qualified namespace of the hub, reached with the app's identity.
        readings_hub: Name of the hub.
        telemetry: Connection string of the devices' hub; for IoT Hub's built-in endpoint a Key Vault reference.
        telemetry_namespace: Fully qualified namespace of the devices' hub, reached with the app's identity.
        telemetry_hub: Name of the devices' hub (IoT Hub: its Event Hub-compatible name).
        telemetry_group: Consumer group under which the app reads it.
        incoming_source: How dropped files are noticed, one of `SOURCES`.
        model_refresh_s: Seconds between two looks at the control document.
        snapshot_commits: Commits of a partition between two snapshots.
        profile_s: Seconds between two profiles of a partition, at least.
        batch_rows: Most readings in one commit, about.
        chunk_rows: Rows of a file read at once.
        retain_days: Days that commits stay after they are in the lake, 0 keeps them.
        clock: Where decisions take the time from, one of `CLOCKS`.
        jobs: Where training jobs run, one of `PLACES`; without it none is started.
        jobs_folder: Folder of local jobs.
        job_events: Where a local job posts the event of its end.
        tracking: Tracking store and model registry of MLflow.
        subscription: Of the Azure ML workspace.
        resource_group: Of the Azure ML workspace.
        workspace: Azure ML workspace in which jobs run.
        compute: Its compute cluster.
        component: Registered training component, `name:version`.
        endpoint: Azure ML online endpoint that follows the rollout; without it there is none.
        endpoint_environment: Its registered environment, `name:version`.
        endpoint_instance: Size of its machines.
        endpoint_instances: How many machines a deployment has.
    """

    scenario: str = "air_quality"
    storage: str | None = None
    storage_url: str | None = None
    readings: str | None = None
    readings_namespace: str | None = None
    readings_hub: str = "readings"
    telemetry: str | None = None
    telemetry_namespace: str | None = None
    telemetry_hub: str = "telemetry"
    telemetry_group: str = "$Default"
    incoming_source: str = "EventGrid"
    model_refresh_s: float = 10.0
    snapshot_commits: int = 64
    profile_s: float = 10.0
    batch_rows: int = 40_000
    chunk_rows: int = 50_000
    retain_days: float = 0.0
    clock: str = "wall"
    jobs: str = "none"
    jobs_folder: str = ".airloop/jobs"
    job_events: str | None = None
    tracking: str | None = None
    subscription: str | None = None
    resource_group: str | None = None
    workspace: str | None = None
    compute: str | None = None
    component: str | None = None
    endpoint: str | None = None
    endpoint_environment: str | None = None
    endpoint_instance: str = "Standard_DS3_v2"
    endpoint_instances: int = 1


VARIABLES = {
    "scenario": "SCENARIO",
    "storage": "STORAGE",
    "storage_url": "STORAGE__blobServiceUri",
    "readings": "READINGS",
    "readings_namespace": "READINGS__fullyQualifiedNamespace",
    "readings_hub": "READINGS_HUB",
    "telemetry": "TELEMETRY",
    "telemetry_namespace": "TELEMETRY__fullyQualifiedNamespace",
    "telemetry_hub": "TELEMETRY_HUB",
    "telemetry_group": "TELEMETRY_GROUP",
    "incoming_source": "INCOMING_SOURCE",
    "model_refresh_s": "MODEL_REFRESH_S",
    "snapshot_commits": "SNAPSHOT_COMMITS",
    "profile_s": "PROFILE_S",
    "batch_rows": "BATCH_ROWS",
    "chunk_rows": "CHUNK_ROWS",
    "retain_days": "LAKE_RETAIN_DAYS",
    "clock": "CLOCK",
    "jobs": "JOBS",
    "jobs_folder": "JOBS_FOLDER",
    "job_events": "JOB_EVENTS_URL",
    "tracking": "MLFLOW_TRACKING_URI",
    "subscription": "AZUREML_SUBSCRIPTION",
    "resource_group": "AZUREML_RESOURCE_GROUP",
    "workspace": "AZUREML_WORKSPACE",
    "compute": "AZUREML_COMPUTE",
    "component": "AZUREML_COMPONENT",
    "endpoint": "AZUREML_ENDPOINT",
    "endpoint_environment": "AZUREML_ENDPOINT_ENVIRONMENT",
    "endpoint_instance": "AZUREML_ENDPOINT_INSTANCE",
    "endpoint_instances": "AZUREML_ENDPOINT_INSTANCES",
}
LIMITS = {
    "model_refresh_s": (0.0, 30.0),
    "snapshot_commits": (1, 10_000),
    "profile_s": (0.0, 3600.0),
    "batch_rows": (1, 500_000),
    "chunk_rows": (1, 500_000),
    "retain_days": (0.0, 3650.0),
    "endpoint_instances": (1, 20),
}
AZUREML = ("subscription", "resource_group", "workspace", "compute", "component")
SERVED = ("subscription", "resource_group", "workspace", "component", "endpoint_environment", "tracking")
ENDPOINT = re.compile(r"[A-Za-z][A-Za-z0-9-]{2,31}")


def from_env(env: Mapping[str, str], scenarios: Collection[str]) -> Settings:
    """Settings from an environment.

    Args:
        env: The environment.
        scenarios: Names of the scenarios there are.

    Raises:
        ConfigError: Something is missing or out of its limits; the message lists every bad key.
    """
    problems: list[str] = []
    values: dict[str, object] = {}
    for field in fields(Settings):
        raw = env.get(VARIABLES[field.name], "").strip()
        if raw:
            values[field.name] = _number(field.name, raw, problems) if field.name in LIMITS else raw
    found = Settings(**values)  # type: ignore[arg-type]
    if found.scenario not in scenarios:
        problems.append(f"SCENARIO: {found.scenario[:80]!r} is not one of {', '.join(sorted(scenarios))}")
    problems.extend(_problems(found))
    if problems:
        raise ConfigError("settings: " + "; ".join(problems))
    return found


def incoming_source(env: Mapping[str, str]) -> str:
    """How dropped files are noticed: needed when the triggers are declared, before the settings are checked."""
    wanted = env.get(VARIABLES["incoming_source"], "").strip()
    return wanted if wanted in SOURCES else Settings().incoming_source


def _number(name: str, raw: str, problems: list[str]) -> float | int:
    low, high = LIMITS[name]
    kind = type(getattr(Settings(), name))
    try:
        value: float | int = kind(raw)
    except ValueError:
        problems.append(f"{VARIABLES[name]}: {raw[:40]!r} is not a {'whole ' if kind is int else ''}number")
        return low
    if not low <= value <= high:
        problems.append(f"{VARIABLES[name]}: {value} is outside {low} to {high}")
    return value


def _problems(found: Settings) -> list[str]:
    storage = _parts(found.storage) & {"accountname", "blobendpoint", "usedevelopmentstorage"}
    readings, telemetry = _parts(found.readings) >= HUB_PARTS, _parts(found.telemetry) >= HUB_PARTS
    broken = {
        "STORAGE__blobServiceUri (in Azure) or STORAGE (local) is missing": not (found.storage or found.storage_url),
        "STORAGE: is not the connection string of a storage account": found.storage and not storage,
        f"STORAGE__blobServiceUri: {_shown(found.storage_url)} is not an address": _unlike(ADDRESS, found.storage_url),
        "READINGS__fullyQualifiedNamespace (in Azure) or READINGS (local) is missing": not (
            found.readings or found.readings_namespace
        ),
        "READINGS: is not the connection string of a namespace": found.readings and not readings,
        f"READINGS__fullyQualifiedNamespace: {_shown(found.readings_namespace)} is not of the form name.domain": (
            _unlike(NAMESPACE, found.readings_namespace)
        ),
        f"READINGS_HUB: {_shown(found.readings_hub)} is not the name of a hub": _unlike(HUB, found.readings_hub),
        "TELEMETRY: is not the connection string of a namespace": found.telemetry and not telemetry,
        f"TELEMETRY__fullyQualifiedNamespace: {_shown(found.telemetry_namespace)} is not of the form name.domain": (
            _unlike(NAMESPACE, found.telemetry_namespace)
        ),
        f"TELEMETRY_HUB: {_shown(found.telemetry_hub)} is not the name of a hub": _unlike(HUB, found.telemetry_hub),
        f"TELEMETRY_GROUP: {_shown(found.telemetry_group)} is not the name of a consumer group": (
            found.telemetry_group != "$Default" and _unlike(HUB, found.telemetry_group)
        ),
        f"INCOMING_SOURCE: {_shown(found.incoming_source)} is not one of {', '.join(SOURCES)}": (
            found.incoming_source not in SOURCES
        ),
    }
    return [problem for problem, holds in broken.items() if holds] + _job_problems(found)


def _job_problems(found: Settings) -> list[str]:
    missing = [VARIABLES[name] for name in AZUREML if found.jobs == "azureml" and not getattr(found, name)]
    unserved = [VARIABLES[name] for name in SERVED if found.endpoint and not getattr(found, name)]
    broken = {
        f"CLOCK: {_shown(found.clock)} is not one of {', '.join(CLOCKS)}": found.clock not in CLOCKS,
        f"JOBS: {_shown(found.jobs)} is not one of {', '.join(PLACES)}": found.jobs not in PLACES,
        f"{', '.join(missing)}: missing, JOBS=azureml needs it": bool(missing),
        f"{', '.join(unserved)}: missing, AZUREML_ENDPOINT needs it": bool(unserved),
        f"AZUREML_ENDPOINT: {_shown(found.endpoint)} is not a letter and 2 to 31 letters, digits or -": (
            _unlike(ENDPOINT, found.endpoint)
        ),
        f"AZUREML_ENDPOINT_ENVIRONMENT: {_shown(found.endpoint_environment)} is not of the form name:version": (
            _unlike(COMPONENT, found.endpoint_environment)
        ),
        f"AZUREML_COMPONENT: {_shown(found.component)} is not of the form name:version": (
            _unlike(COMPONENT, found.component)
        ),
        "MLFLOW_TRACKING_URI: holds a user or password": "@"
        in (found.tracking or "").partition("://")[2].partition("/")[0],
        "JOB_EVENTS_URL: is not an http address": not (found.job_events or "http://").startswith(
            ("http://", "https://")
        ),
    }
    return [problem for problem, holds in broken.items() if holds]


def _shown(value: str | None) -> str:
    return repr((value or "")[:80])


def _unlike(pattern: re.Pattern[str], value: str | None) -> bool:
    return value is not None and not pattern.fullmatch(value)


def _parts(connection: str | None) -> set[str]:
    """What a connection string names; its values, a key among them, are never shown."""
    parts = [part.partition("=") for part in (connection or "").split(";") if part.strip()]
    return {name.strip().casefold() for name, _, value in parts if value}
