"""stack.json: what runs on a folder, for the commands and for the next stack."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.stack.process import wait_until
from shared.adapters.processes import SYSTEM

NAME = "stack.json"
LEFTOVERS_S = 30.0  # how long an earlier stack may take to go away


def write(root: Path, described: Mapping[str, object]) -> None:
    """Replace the description as a whole."""
    fresh = root / f"{NAME}.new"
    fresh.write_text(json.dumps(described, indent=2), "utf-8")
    fresh.replace(root / NAME)


def remove(root: Path) -> None:
    """Nothing runs any more."""
    (root / NAME).unlink(missing_ok=True)


def read(root: Path) -> dict[str, Any] | None:
    """What runs on a root according to its stack.json: pid, storage, eventhub, scenario, processes and more."""
    try:
        found: dict[str, Any] = json.loads((root / NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found


def await_end(root: Path) -> None:
    """Wait until the processes of an earlier stack on a root are gone.

    Raises:
        StackError: They do not go.
    """
    problem = f"processes of an earlier stack on {root} still run: "
    wait_until(lambda: not _living(root), LEFTOVERS_S, lambda: problem + ", ".join(_living(root)))


def _living(root: Path) -> list[str]:
    """Processes in the stack.json of a root that still run."""
    processes = (read(root) or {}).get("processes", {})
    return [
        f"{name} (process {each['pid']})"
        for name, each in processes.items()
        if each["pid"] and each["identity"] and SYSTEM.identity(each["pid"]) == each["identity"]
    ]
