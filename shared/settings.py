"""Settings of the function app, read from its environment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Annotated, Literal, TypeAlias, get_args

from msgspec import Meta

from shared.errors import ConfigError
from shared.validation import convert, hints

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}"
Hub = Annotated[str, Meta(pattern=rf"\A{_NAME}\Z", description="the name of a hub")]
Group = Annotated[str, Meta(pattern=rf"\A(\$Default|{_NAME})\Z", description="the name of a consumer group")]
LOOKUP = "lookup"
Domain = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)+\Z", description="of the form name.domain")
]
Address = Annotated[
    str, Meta(pattern=r"\Ahttps?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9]*)?\Z", description="an address")
]
Versioned = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]+:[A-Za-z0-9._-]+\Z", description="of the form name:version")]
Endpoint = Annotated[
    str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9-]{2,31}\Z", description="a letter and 2 to 31 letters, digits or -")
]
Managed = Annotated[str, Meta(pattern=r"\A(?i:managedidentity)\Z", description="managedidentity")]
ClientId = Annotated[
    str,
    Meta(pattern=r"\A[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z", description="the client id of an identity"),
]
Rows = Annotated[int, Meta(ge=1, le=500_000)]
IncomingSource: TypeAlias = Literal["EventGrid", "LogsAndContainerScan"]

STORAGE_PARTS = {"accountname", "blobendpoint", "usedevelopmentstorage"}
HUB_PARTS = {"endpoint", "sharedaccesskeyname", "sharedaccesskey"}
AZUREML = ("subscription", "resource_group", "workspace", "compute", "component")
SERVED = ("subscription", "resource_group", "workspace", "component", "endpoint_environment", "tracking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says; names of the variables stand in `VARIABLES`.

    Args:
        scenario: Name of the scenario file, or its path, which ends in .toml.
        blobs: Connection string of the blob store; local only.
        blobs_url: Address of the blob service, reached with the app's identity.
        queues_url: Address of the same account's queue service: the host's blob trigger keeps its work there.
        blobs_credential: `managedidentity`: the address is reached with a managed identity and no other.
        blobs_client: Client id of a user-assigned one.
        readings: Connection string of the hub "readings"; local only.
        readings_namespace: Fully qualified namespace of the hub, reached with the app's identity.
        readings_credential: As `blobs_credential`.
        readings_client: As `blobs_client`.
        readings_hub: Name of the hub.
        telemetry: Connection string of the devices' hub; for IoT Hub's built-in endpoint a Key Vault reference.
        telemetry_namespace: Fully qualified namespace of the devices' hub, reached with the app's identity.
        telemetry_credential: As `blobs_credential`.
        telemetry_client: As `blobs_client`.
        telemetry_hub: Name of the devices' hub (IoT Hub: its Event Hub-compatible name).
        telemetry_group: Consumer group under which the app reads it.
        lookup_group: Consumer group of both hubs under which events are looked up beside the triggers.
        incoming_source: How dropped files are noticed.
        model_refresh_s: Seconds between two looks at the control document.
        snapshot_commits: Commits of a partition between two snapshots.
        profile_s: Seconds between two profiles of a partition, at least.
        batch_rows: Most readings in one commit, about.
        chunk_rows: Rows of a file read at once.
        file_mb: Most MB that a dropped file may hold once unpacked.
        file_ratio: Most times that a compressed file may be larger than stored, beyond its first 64 MB.
        file_disk_mb: Most MB of temporary disk that a Parquet file may take.
        file_reader_mb: Most MB of memory of the process that decodes a Parquet file, of which it needs 300 itself.
        file_reader_s: Most processor seconds of that process.
        file_letters: Dead letters that one dropped file may leave; rejected rows beyond them are counted.
        model_mb: Most MB of memory in which a model must load and run once, of which 200 are the runtime's own.
        model_s: Most processor seconds in which it must.
        retain_days: Days that commits stay after they are in the lake, 0 keeps them.
        clock: Where decisions take the time from.
        jobs: Where training jobs run.
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
    blobs: str | None = None
    blobs_url: Address | None = None
    queues_url: Address | None = None
    blobs_credential: Managed | None = None
    blobs_client: ClientId | None = None
    readings: str | None = None
    readings_namespace: Domain | None = None
    readings_credential: Managed | None = None
    readings_client: ClientId | None = None
    readings_hub: Hub = "readings"
    telemetry: str | None = None
    telemetry_namespace: Domain | None = None
    telemetry_credential: Managed | None = None
    telemetry_client: ClientId | None = None
    telemetry_hub: Hub = "telemetry"
    telemetry_group: Group = "$Default"
    lookup_group: Group = LOOKUP
    incoming_source: IncomingSource = "EventGrid"
    model_refresh_s: Annotated[float, Meta(ge=0, le=30)] = 10.0
    snapshot_commits: Annotated[int, Meta(ge=1, le=10_000)] = 64
    profile_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    batch_rows: Rows = 40_000
    chunk_rows: Rows = 50_000
    file_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    file_ratio: Annotated[int, Meta(ge=1, le=2_000)] = 200
    file_disk_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    file_reader_mb: Annotated[int, Meta(ge=400, le=1_000_000)] = 1_000
    file_reader_s: Annotated[int, Meta(ge=1, le=86_400)] = 900
    file_letters: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000
    model_mb: Annotated[int, Meta(ge=400, le=1_000_000)] = 1_000
    model_s: Annotated[int, Meta(ge=1, le=3_600)] = 60
    retain_days: Annotated[float, Meta(ge=0, le=3650)] = 0.0
    clock: Literal["wall", "watermark"] = "wall"
    jobs: Literal["none", "local", "azureml"] = "none"
    jobs_folder: str = ".airloop/jobs"
    job_events: str | None = None
    tracking: str | None = None
    subscription: str | None = None
    resource_group: str | None = None
    workspace: str | None = None
    compute: str | None = None
    component: Versioned | None = None
    endpoint: Endpoint | None = None
    endpoint_environment: Versioned | None = None
    endpoint_instance: str = "Standard_DS3_v2"
    endpoint_instances: Annotated[int, Meta(ge=1, le=20)] = 1


VARIABLES = {
    "scenario": "SCENARIO",
    "blobs": "BLOBS",
    "blobs_url": "BLOBS__blobServiceUri",
    "queues_url": "BLOBS__queueServiceUri",
    "blobs_credential": "BLOBS__credential",
    "blobs_client": "BLOBS__clientId",
    "readings": "READINGS",
    "readings_namespace": "READINGS__fullyQualifiedNamespace",
    "readings_credential": "READINGS__credential",
    "readings_client": "READINGS__clientId",
    "readings_hub": "READINGS_HUB",
    "telemetry": "TELEMETRY",
    "telemetry_namespace": "TELEMETRY__fullyQualifiedNamespace",
    "telemetry_credential": "TELEMETRY__credential",
    "telemetry_client": "TELEMETRY__clientId",
    "telemetry_hub": "TELEMETRY_HUB",
    "telemetry_group": "TELEMETRY_GROUP",
    "lookup_group": "LOOKUP_GROUP",
    "incoming_source": "INCOMING_SOURCE",
    "model_refresh_s": "MODEL_REFRESH_S",
    "snapshot_commits": "SNAPSHOT_COMMITS",
    "profile_s": "PROFILE_S",
    "batch_rows": "BATCH_ROWS",
    "chunk_rows": "CHUNK_ROWS",
    "file_mb": "FILE_MB",
    "file_ratio": "FILE_RATIO",
    "file_disk_mb": "FILE_DISK_MB",
    "file_reader_mb": "FILE_READER_MB",
    "file_reader_s": "FILE_READER_S",
    "file_letters": "FILE_LETTERS",
    "model_mb": "MODEL_MB",
    "model_s": "MODEL_S",
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
# The host takes STORAGE for its own AzureWebJobsStorage: it looks with its prefix first, and in any case.
RENAMED = {"STORAGE": "BLOBS", "STORAGE__blobServiceUri": "BLOBS__blobServiceUri"}


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
        if not raw:
            continue
        values[field.name] = raw
        try:
            values[field.name] = convert(_plain(raw, type(field.default)), hints(Settings)[field.name])
        except ValueError as error:
            problems.append(f"{VARIABLES[field.name]}: {raw[:80]!r} {error}")
    found = Settings(**values)  # type: ignore[arg-type]
    if not (found.blobs or found.blobs_url):
        problems.append(no_blobs(env))
    if found.scenario not in scenarios and not found.scenario.endswith(".toml"):
        known = f"one of {', '.join(sorted(scenarios))}, nor a path to a .toml file"
        problems.append(f"SCENARIO: {found.scenario[:80]!r} is not {known}")
    problems.extend(_problems(found))
    if problems:
        raise ConfigError("settings: " + "; ".join(problems))
    return found


def no_blobs(env: Mapping[str, str]) -> str:
    """What to say where no setting names the blob store."""
    renamed = [f"{old}, which is {new} now" for old, new in RENAMED.items() if env.get(old, "").strip()]
    missing = "BLOBS__blobServiceUri (in Azure) or BLOBS (local) is missing"
    return missing + (f"; found {' and '.join(renamed)}" if renamed else "")


def incoming_source(env: Mapping[str, str]) -> str:
    """How dropped files are noticed: needed when the triggers are declared, before the settings are checked."""
    wanted = env.get(VARIABLES["incoming_source"], "").strip()
    return wanted if wanted in get_args(IncomingSource) else Settings().incoming_source


def _plain(raw: str, kind: type) -> object:
    """A number where one is meant and one stands."""
    with suppress(ValueError):
        return kind(raw) if kind in (int, float) else raw
    return raw


def _problems(found: Settings) -> Iterable[str]:
    """What is wrong between the settings, and with those whose value, a key perhaps, is never shown."""
    if found.blobs and not _parts(found.blobs) & STORAGE_PARTS:
        yield "BLOBS: is not the connection string of a storage account"
    if found.blobs_url and not (found.blobs or found.queues_url):
        yield "BLOBS__queueServiceUri: missing, the blob trigger needs it beside BLOBS__blobServiceUri"
    if not (found.readings or found.readings_namespace):
        yield "READINGS__fullyQualifiedNamespace (in Azure) or READINGS (local) is missing"
    for name in ("blobs", "readings", "telemetry"):
        if getattr(found, f"{name}_client") and not getattr(found, f"{name}_credential"):
            variable = VARIABLES[f"{name}_client"]
            yield f"{variable}: the host heeds it only beside {VARIABLES[f'{name}_credential']}=managedidentity"
    for name in ("readings", "telemetry"):
        if getattr(found, name) and not _parts(getattr(found, name)) >= HUB_PARTS:
            yield f"{VARIABLES[name]}: is not the connection string of a namespace"
    yield from _group_problems(found)
    yield from _job_problems(found)


def _group_problems(found: Settings) -> Iterable[str]:
    if found.lookup_group.casefold() in ("$default", found.telemetry_group.casefold()):
        yield f"LOOKUP_GROUP: {found.lookup_group!r} is the group of a trigger, which has it for itself"


def _job_problems(found: Settings) -> Iterable[str]:
    needs = {
        "JOBS=azureml": AZUREML if found.jobs == "azureml" else (),
        "AZUREML_ENDPOINT": SERVED if found.endpoint else (),
    }
    for why, needed in needs.items():
        if missing := [VARIABLES[name] for name in needed if not getattr(found, name)]:
            yield f"{', '.join(missing)}: missing, {why} needs it"
    if "@" in (found.tracking or "").partition("://")[2].partition("/")[0]:
        yield "MLFLOW_TRACKING_URI: holds a user or password"
    if not (found.job_events or "http://").startswith(("http://", "https://")):
        yield "JOB_EVENTS_URL: is not an http address"


def _parts(connection: str) -> set[str]:
    """What a connection string names."""
    parts = [part.partition("=") for part in connection.split(";") if part.strip()]
    return {name.strip().casefold() for name, _, value in parts if value}
