"""What the commands do; each returns its exit code."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from local import books as bookkeeping
from local.stack import Ports, Stack
from local.stack_process import StackError
from local.workspace import DEVICES, FOLDER, PROJECT, READINGS, TEMPLATE, Workspace
from shared.adapters import package_files
from shared.wiring import CONTAINERS

POLL_S = 0.2
SETTINGS = {"MODEL_REFRESH_S": "1"}


def new_stack(root: Path) -> Stack:
    """The stack of a folder, not yet started."""
    return Stack(root, app_dir=PROJECT, template=TEMPLATE, settings=SETTINGS, containers=CONTAINERS)


def up(given: argparse.Namespace) -> int:
    """Run the stack until Ctrl-C or SIGTERM."""
    console, stop = Console(highlight=False), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    root = given.root or FOLDER
    console.print("starting Azurite, the Event Hubs endpoint and the trigger host ...")
    with new_stack(root) as stack:
        console.print(f"host       {stack.host_url()}/api/health")
        console.print(f"blobs      {stack.storage.split('BlobEndpoint=')[1].rstrip(';')}")
        console.print(f"event hubs {stack.eventhub.split(';')[0].removeprefix('Endpoint=')}")
        console.print(f"data, logs {stack.root}")
        console.print("drop a file with `python -m local drop FILE`; stop with Ctrl-C")
        stack.wait(stop)
        console.print("stopping ...")
    return 0


def func(given: argparse.Namespace) -> int:
    """Run Azurite and the endpoint on their usual ports, and the app under `func start` beside them."""
    if shutil.which("func") is None:
        raise StackError("`func` was not found: install Azure Functions Core Tools 4, or use `make up`")
    settings = PROJECT / "local.settings.json"
    if not settings.exists():
        settings.write_text(TEMPLATE.read_text("utf-8"), "utf-8")
    with Stack(given.root or FOLDER, app_dir=None, containers=CONTAINERS) as stack:
        usual = Ports()
        for name, port in (("azurite", usual.azurite), ("eventhub", usual.eventhub)):
            if stack.processes[name].port != port:
                raise StackError(f"port {port} is taken, but local.settings.json tells `func` to find {name} there")
        return subprocess.run(["func", "start"], cwd=PROJECT, check=False).returncode  # noqa: S607 - the user's own


def drop(given: argparse.Namespace) -> int:
    """Drop a file and wait for its summary; 1 when it was refused."""
    path: Path = given.file
    if not path.is_file():
        raise StackError(f"{path}: there is no such file")
    space, console = Workspace.of(given.root or FOLDER), Console(highlight=False)
    source = space.drop(path, given.name or path.name, given.zone)
    with console.status(f"reading {path.name}"):
        summary = await_summary(space, source)
    show_summary(console, summary)
    console.print(f"report: {space.storage_url()}/reports/{summary['folder']}/report.html", soft_wrap=True)
    return 1 if summary["status"] == "refused" else 0


def await_summary(space: Workspace, source: str, stack: Stack | None = None) -> dict[str, Any]:
    """A dropped file's summary, once it is there.

    Raises:
        StackError: The stack ended meanwhile.
    """
    while (folder := space.folder_of_report(source)) is None:
        if stack is not None:
            stack.check()
        time.sleep(POLL_S)
    return {**space.summary(folder), "folder": folder}


def show_summary(console: Console, summary: dict[str, Any]) -> None:
    """A file's summary as a few lines."""
    line = f"{summary['file']}: {summary['status']}"
    if summary.get("reason"):
        console.print(f"{line}: {summary['reason']}: {summary.get('detail')}", markup=False)
    else:
        console.print(line, markup=False)
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in summary.get("rejected", {}).items())
    rows = ", ".join(f"{summary[f'rows_{what}']:,} {what}" for what in ("in", "accepted", "rejected"))
    console.print(f"  rows: {rows}" + (f" ({rejected})" if rejected else ""), markup=False)
    counted = ("applied", "duplicates", "stored_late", "conflicts", "redelivered", "forecasts")
    parts = [f"{summary[name]:,} {name.replace('_', ' ')}" for name in counted if summary.get(name)]
    if parts:
        console.print(f"  {', '.join(parts)}")
    if summary.get("rmse") is not None:
        naive = summary.get("rmse_persistence")
        beside = f", persistence {naive:.2f}" if naive is not None else ""
        console.print(f"  RMSE {summary['rmse']:.2f}{beside} where the file itself holds the later truth")
    if summary.get("answer"):
        console.print(f"  answer: {summary['answer']}", markup=False)


def deploy(given: argparse.Namespace) -> int:
    """Publish a package and let it serve."""
    space, console = Workspace.of(given.root or FOLDER), Console(highlight=False)
    if not given.package.is_dir():
        raise StackError(f"{given.package}: there is no such folder")
    release = space.release()
    version = release.publish(package_files.read(given.package))
    release.deploy(version)
    console.print(f"model {version} serves from now on")
    return 0


def get(url: str, method: str = "GET") -> dict[str, Any]:
    """A JSON page of the host."""
    request = urllib.request.Request(url, method=method)  # noqa: S310 - the host's own loopback address
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - likewise
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        found = json.load(error)
    except OSError as error:
        raise StackError(f"the host does not answer at {url}: {error}") from error
    return found


def status(given: argparse.Namespace) -> int:
    """What runs, who serves, how far it is, what became of files."""
    space, console = Workspace.of(given.root or FOLDER), Console(highlight=False)
    health = get(f"{space.host_url}/api/health")
    if "error" in health:
        console.print(health["error"], markup=False)
        return 1
    console.print(f"scenario {health['scenario']}, champion {health['champion'] or 'none yet'}")
    for version, why in health["refused"].items():
        console.print(f"refused {version}: {why}", style="red", markup=False)
    functions = Table("function", "kind", "invocations", "failures", "last error", box=None)
    for item in get(f"{space.host_url}/admin/host/status")["functions"]:
        error = item.get("last_error") or ""
        functions.add_row(item["name"], item["type"], str(item["invocations"]), str(item["failures"]), str(error))
    console.print(functions)
    partitions = Table("partition", "next event", "devices", box=None)
    for number, found in health["partitions"].items():
        partitions.add_row(str(number), f"{found['next']:,}", f"{found['devices']:,}")
    console.print(partitions)
    for name in space.blobs.names("receipts"):
        if name.endswith("/done"):
            folder = (space.blobs.read("receipts", name) or b"").decode()
            show_summary(console, space.summary(folder))
    return 0


def replay(given: argparse.Namespace) -> int:
    """Feed dead letters back through the app's admin route."""
    space, console = Workspace.of(given.root or FOLDER), Console(highlight=False)
    query = urllib.parse.urlencode({"prefix": given.prefix, "reason": ",".join(given.reason or [])})
    done = get(f"{space.host_url}/api/replay?{query}", method="POST")
    console.print(
        f"{done['tried']:,} dead letters tried, {done['accepted']:,} accepted, {done['kept']:,} refused again"
    )
    return 0


def books(given: argparse.Namespace) -> int:
    """Recount; 1 when something does not balance."""
    space, console = Workspace.of(given.root or FOLDER), Console(highlight=False)
    found = bookkeeping.recount(space.blobs, space.files, space.logs, READINGS, DEVICES)
    if given.json:
        console.print_json(json.dumps(bookkeeping.as_json(found)))
    else:
        show_books(console, found)
    return 0 if found.balance else 1


def show_books(console: Console, found: bookkeeping.Books) -> None:
    """The books as a table, and what does not balance."""
    names = ("applied", "stored_late", "duplicates", "conflicts", "redelivered", "predictions")
    table = Table("", "records", *(name.replace("_", " ") for name in names), "dead letters", box=None)
    for account in (*found.partitions, *found.sources):
        counts = (f"{account.counts[name]:,}" for name in names)
        table.add_row(account.name, f"{account.logged:,}", *counts, f"{account.dead:,}")
    console.print(table)
    for problem in found.problems:
        console.print(f"does not balance: {problem}", style="red", markup=False)
    if found.balance:
        sums = found.totals()
        shares = ("applied", "stored_late", "duplicates", "dead_lettered")
        parts = " + ".join(f"{sums[name]:,} {name.replace('_', ' ')}" for name in shares)
        console.print(f"the books balance: {sums['arrived']:,} arrived = {parts}")
        console.print(f"beside it: {sums['redelivered']:,} redelivered, {sums['expired']:,} expired")


def demo(given: argparse.Namespace) -> int:
    """The loop from a file to forecasts."""
    from local import demo as story

    return story.run(given)


def send(given: argparse.Namespace) -> int:
    """A fleet streams to a hub."""
    from local import send as simulator

    return simulator.run(given)
