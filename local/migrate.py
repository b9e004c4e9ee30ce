"""The command that lets a store go on under an edited scenario, or says what that would mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from local.inspect.console import write_line
from local.stack.workspace import Workspace
from shared.app.evolution import migrate
from shared.core.scenario import Scenario
from shared.ports import Blobs
from shared.settings import VARIABLES
from shared.wiring.ports import connect

KEPT = {
    "target": "hours are kept; forecasts that wait and error sums begin anew; models have to be trained anew",
    "horizon": "hours are kept; forecasts that wait and error sums begin anew; models have to be trained anew",
    "samples_per_hour": "hours are kept, amounts of hours with fewer samples are missing; models to be trained anew",
    "history": "the newest hours are kept; models have to be trained anew",
    "lateness": "hours are kept; forecasts between the old and the new delay are not judged; models go on",
    "channels": "hours are kept by name; models go on as long as the channels that they use are there",
    "role": "hours are kept; models have to be trained anew",
    "aggregate": "hours are kept where old and new sums are the same; models have to be trained anew",
    "minimum": "hours are kept, counts in other bins begin anew; models go on",
    "maximum": "hours are kept, counts in other bins begin anew; models go on",
}


def store_of(root: Path, environment: Mapping[str, str] = os.environ) -> tuple[Scenario, Blobs]:
    """The scenario's file and the store: those of the app whose settings stand in the environment, else the stack's.

    Raises:
        ConfigError: The environment names a store of Azure, but other settings of the app are missing or wrong.
        StackError: It does not, and no stack runs on the folder.
    """
    if environment.get(VARIABLES["blobs_url"], "").strip():
        ports = connect(environment)
        return ports.task.scenario, ports.blobs
    space = Workspace.of(root)
    return space.scenario, space.blobs


def run(console: Console, scenario: Scenario, blobs: Blobs, *, apply: bool) -> int:
    """Migrate, or say what would happen; 1 when there is nothing to do."""
    found = migrate(scenario, blobs, dry_run=not apply)
    for change in found:
        write_line(console, f"{change}")
        key = change.key if change.key in KEPT else change.key.rsplit(".", 1)[-1]
        write_line(console, f"  {KEPT.get(key, KEPT['channels'])}")
    if not found:
        write_line(console, "the store has this very scenario: there is nothing to migrate")
        return 1
    if apply:
        write_line(console, "done: the app takes it over, a new version begins with each partition's next commit")
    else:
        write_line(console, "nothing was changed: run again with --apply to begin this version")
    return 0
