"""`python -m local lineage`: from a forecast to what its model came from, and back."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from rich.console import Console

from local.inspect import ledger as log
from local.inspect.console import cell, facts, new_console, write_line
from local.inspect.explain import history_of
from local.stack.workspace import Workspace
from shared.adapters.stores.clock import WallClock
from shared.app.ledger_store import Ledger
from shared.app.lookback.forecast_id import time_text
from shared.app.lookback.lineage import Lineage, Trace, VersionLineage
from shared.app.lookback.lineage_names import Registered
from shared.errors import PipelineError

LONGEST = 200


def run(space: Workspace, given: argparse.Namespace) -> int:
    """Show a lineage.

    Raises:
        ConfigError: Nothing is known by that name.
        ContractBroken: The ledger or a blob of the forecast is damaged.
    """
    notes: list[str] = []
    uri = given.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _own_store(space)
    registered = registry_of(space.scenario.name, uri, notes)
    ledger = Ledger(space.scenario.name, space.blobs, WallClock())
    return trace_back(Trace(history_of(space), ledger, registered), notes, given)


def _own_store(space: Workspace) -> str | None:
    store = space.root.resolve() / "mlflow.db"
    return f"sqlite:///{store}" if store.exists() else None


def trace_back(trace: Trace, notes: list[str], given: argparse.Namespace) -> int:
    """Show a lineage, beside notes on what could not be looked at."""
    found, console = trace(given.what), new_console()
    found = msgspec.structs.replace(found, notes=[*notes, *found.notes])
    if given.json:
        console.print_json(msgspec.json.encode(found).decode())
    else:
        show(console, found)
    return 0


def registry_of(scenario: str, uri: str | None, notes: list[str]) -> Mapping[str, Registered]:
    """The registry's versions by package version; why there are none goes into the notes."""
    if not uri:
        notes.append("the registry was not looked into: give --tracking-uri or set MLFLOW_TRACKING_URI")
        return {}
    if urlsplit(uri).scheme.lower() not in {"sqlite", "http", "https", "file", "azureml", "postgresql", "mysql"}:
        notes.append("the registry was not looked into: the tracking URI has no scheme such as sqlite:///")
        return {}
    from shared.adapters.models.mlflow_registry import VERSION, MlflowRegistry  # late: it takes seconds

    try:
        rows = MlflowRegistry(scenario, uri).versions()
    except PipelineError as error:
        notes.append(f"the registry was not looked into: {error}")
        return {}
    return by_version(rows, VERSION)


def by_version(rows: Sequence[Mapping[str, Any]], tag: str) -> dict[str, Registered]:
    """The registry's rows by the package version that a tag holds."""
    return {row["tags"][tag]: msgspec.convert(row, Registered) for row in rows if tag in row["tags"]}


def show(console: Console, found: Lineage) -> None:
    """A lineage as a page of a terminal."""
    if found.forecast is not None:
        made = found.forecast
        seen = "users saw it" if made.served else "users did not see it"
        write_line(
            console,
            f"{made.device} as of {made.as_of}: {made.value:.6g}, {made.role}, revision {made.revision}, {seen}",
        )
        write_line(console, f"  made by {made.model} in commits/{found.commit}")
    else:
        count = len(found.versions)
        write_line(console, f"{found.kind} {found.what}: {count} model version{'' if count == 1 else 's'}")
    for each in found.versions:
        console.print()
        _version(console, each)
    if found.notes:
        console.print()
    for note in found.notes:
        write_line(console, f"note: {note}", "yellow")


def _version(console: Console, each: VersionLineage) -> None:
    role = f", {each.serves} now" if each.serves else ""
    console.print(f"model {each.version}{role}", style="bold", markup=False)
    known = facts()
    for name, text in _facts(each).items():
        known.add_row(f"  {name}", cell(text))
    console.print(known)
    if each.entries:
        lines = facts()
        for entry in each.entries:
            what = cell(log.summary(entry), LONGEST).plain
            cells = (f"  {entry.position}", time_text(entry.at_ms), entry.kind, f"{entry.actor}: {what}")
            lines.add_row(*(cell(text) for text in cells))
        write_line(console, "  ledger")
        console.print(lines)


def _facts(each: VersionLineage) -> dict[str, str]:
    package, known = each.package, {"package": each.problem}
    if package is not None:
        known = {
            "MLflow run": package.run_id,
            "dataset": package.dataset,
            "code": package.code_version,
            "trained": f"{package.created}, {package.rows:,} rows, {package.training_start} to {package.training_end}",
            "metrics": ", ".join(f"{name} {value:.4g}" for name, value in package.metrics.items()),
        }
    if each.jobs:
        known["job"] = ", ".join(each.jobs)
    if each.registered is not None:
        known["registered"] = ", ".join([f"number {each.registered.number}", *each.registered.aliases])
    made = [f"{sums.made:,} as {role} ({sums.served:,} seen by users)" for role, sums in each.forecasts.items()]
    return {name: text for name, text in known.items() if text} | {"forecasts": ", ".join(made) or "none"}
