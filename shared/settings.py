"""Settings of the function app, read from its environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from shared.errors import ConfigError

HUB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}")
SOURCES = ("EventGrid", "LogsAndContainerScan")


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
        incoming_source: How dropped files are noticed, one of `SOURCES`.
        model_refresh_s: Seconds between two looks at the control document.
        snapshot_commits: Commits of a partition between two snapshots.
        batch_rows: Most readings in one commit, about.
        chunk_rows: Rows of a file read at once.
    """

    scenario: str = "air_quality"
    storage: str | None = None
    storage_url: str | None = None
    readings: str | None = None
    readings_namespace: str | None = None
    readings_hub: str = "readings"
    incoming_source: str = "EventGrid"
    model_refresh_s: float = 10.0
    snapshot_commits: int = 64
    batch_rows: int = 40_000
    chunk_rows: int = 50_000


VARIABLES = {
    "scenario": "SCENARIO",
    "storage": "STORAGE",
    "storage_url": "STORAGE__blobServiceUri",
    "readings": "READINGS",
    "readings_namespace": "READINGS__fullyQualifiedNamespace",
    "readings_hub": "READINGS_HUB",
    "incoming_source": "INCOMING_SOURCE",
    "model_refresh_s": "MODEL_REFRESH_S",
    "snapshot_commits": "SNAPSHOT_COMMITS",
    "batch_rows": "BATCH_ROWS",
    "chunk_rows": "CHUNK_ROWS",
}
LIMITS = {
    "model_refresh_s": (0.0, 30.0),
    "snapshot_commits": (1, 10_000),
    "batch_rows": (1, 500_000),
    "chunk_rows": (1, 500_000),
}


def from_env(env: Mapping[str, str]) -> Settings:
    """Settings from an environment.

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
    problems = []
    if not (found.storage or found.storage_url):
        problems.append("STORAGE__blobServiceUri (in Azure) or STORAGE (local) is missing")
    if not (found.readings or found.readings_namespace):
        problems.append("READINGS__fullyQualifiedNamespace (in Azure) or READINGS (local) is missing")
    if not HUB.fullmatch(found.readings_hub):
        problems.append(f"READINGS_HUB: {found.readings_hub[:80]!r} is not the name of a hub")
    if found.incoming_source not in SOURCES:
        problems.append(f"INCOMING_SOURCE: {found.incoming_source[:40]!r} is not one of {', '.join(SOURCES)}")
    return problems
