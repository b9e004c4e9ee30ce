"""The programs of the local stack, ready to be started: Azurite, our Event Hubs endpoint, the trigger host."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.stack.process import Process, StackError, free_port
from shared.settings import LOOKUP

PROJECT = Path(__file__).resolve().parents[2]
AZURITE = PROJECT / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
READY = r"^ready port=(\d+)"


def azurite(root: Path, port: int) -> Process:
    """Azurite's blob service on a port, any when that is taken.

    Raises:
        StackError: Node or Azurite is not installed.
    """
    node = shutil.which("node")
    if node is None or not AZURITE.is_file():
        missing = "node is not on the PATH" if node is None else f"{AZURITE} does not exist: run `npm ci`"
        raise StackError(f"Azurite cannot run: {missing}")
    data = _folder(root, "azurite")
    flags = ["--blobHost", "127.0.0.1", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    return Process(
        "azurite",
        [node, str(AZURITE), "--location", str(data), "--blobPort", "{port}", *flags],
        ready=r"successfully listens on http://[^:\s]+:(\d+)",
        port=free_port(port),
        environment=os.environ,
        log=root / "logs" / "azurite.log",
        cwd=data,
        ready_s=60.0,
        grace_s=20.0,
    )


def endpoint(root: Path, port: int, hubs: Sequence[str]) -> Process:
    """The Event Hubs endpoint on a port, any when that is taken."""
    options = [
        "--data",
        str(_folder(root, "eventhub")),
        "--group",
        LOOKUP,
        *(part for hub in hubs for part in ("--hub", hub)),
    ]
    return Process(
        "eventhub",
        [sys.executable, "-m", "local.eventhub", "--port", "{port}", *options],
        ready=READY,
        port=free_port(port),
        environment=_environment({}),
        log=root / "logs" / "eventhub.log",
        cwd=PROJECT,
        ready_s=60.0,
        grace_s=20.0,
    )


def host(root: Path, name: str, port: int, values: Mapping[str, str], options: Sequence[str]) -> Process:
    """A trigger host."""
    return Process(
        name,
        [sys.executable, "-m", "local.host", "--port", "{port}", *options],
        ready=READY,
        port=port,
        environment=_environment(values),
        log=root / "logs" / f"{name}.log",
        cwd=PROJECT,
        ready_s=90.0,
        grace_s=25.0,
    )


def _folder(root: Path, name: str) -> Path:
    path = root / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment without what the settings file says: a real account in it must not win over Azurite."""
    found = {name: value for name, value in os.environ.items() if name not in settings}
    return found | {"PYTHONUNBUFFERED": "1"}
