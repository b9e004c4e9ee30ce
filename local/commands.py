"""What the commands do; each returns its exit code."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from local.books import recount as bookkeeping
from local.inspect.show import new_console, show_books, show_status, show_summary
from local.stack.process import StackError
from local.stack.stack import Ports, Stack
from local.stack.workspace import DEVICES, FOLDER, PROJECT, READINGS, TEMPLATE, Workspace
from shared.adapters.models import package_folder
from shared.wiring import CONTAINERS

POLL_S, LOOK_S = 0.2, 2.0
PATIENCE_S = 300.0
UPLOADED = "the file stays in incoming/ and is read when the stack goes on"
SETTINGS = {"MODEL_REFRESH_S": "1"}


def new_stack(root: Path, settings: Mapping[str, str] = SETTINGS) -> Stack:
    """The stack of a folder, not yet started."""
    return Stack(root, app_dir=PROJECT, template=TEMPLATE, settings=settings, containers=CONTAINERS)


def up(given: argparse.Namespace) -> int:
    """Run the stack until Ctrl-C or SIGTERM."""
    console, stop = new_console(), threading.Event()
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
        stop_jobs(stack.root)
    return 0


def stop_jobs(root: Path, patience_s: float = 25.0) -> None:
    """End the training jobs of a stack and wait until they are told: without its stores they could only fail later."""
    from shared.adapters.jobs.folder import SUPERVISOR, JobFolder
    from shared.adapters.jobs.local import LocalJobs
    from shared.adapters.stores.clock import WallClock

    folder = root / "jobs"
    found = [JobFolder(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    running = [job for job in found if job.is_held(SUPERVISOR)]
    for job in running:
        LocalJobs(folder, "", WallClock()).cancel(job.path.name)
    deadline = time.monotonic() + patience_s
    while any(job.is_held(SUPERVISOR) for job in running) and time.monotonic() < deadline:
        time.sleep(0.1)
    for job in running:
        if job.is_held(SUPERVISOR):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((job.path / SUPERVISOR).read_text("utf-8")), signal.SIGTERM)


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
        raise StackError(f"{path}: " + ("this is a folder; drop a file" if path.is_dir() else "there is no such file"))
    space, console = Workspace.of(given.root or FOLDER), new_console()
    source = space.drop(path, given.name or path.name, given.zone)
    with console.status(f"reading {escape(path.name)}"):
        summary = await_summary(space, source)
    show_summary(console, summary)
    for name, kept in space.keep(summary).items():
        console.print(f"  {name}: {kept}", markup=False, soft_wrap=True)
    return 1 if summary["status"] == "refused" else 0


def await_summary(
    space: Workspace, source: str, stack: Stack | None = None, patience_s: float = PATIENCE_S
) -> dict[str, Any]:
    """A dropped file's summary, once it is there.

    Args:
        space: The stack's stores.
        source: The file.
        stack: Its processes, when they are ours.
        patience_s: How long nothing at all may move.

    Raises:
        StackError: The stack ended meanwhile, or stands still.
    """
    before, moved, looked = "", time.monotonic(), 0.0
    while (folder := space.folder_of_report(source)) is None:
        if stack is not None:
            stack.check()
        time.sleep(POLL_S)
        if time.monotonic() < looked + LOOK_S:
            continue
        looked = time.monotonic()
        space.check(UPLOADED)
        now = str(get(f"{space.host_url}/api/health").get("partitions"))
        before, moved = (before, moved) if now == before else (now, looked)
        if looked - moved > patience_s:
            raise StackError(
                f"nothing moved for {patience_s:.0f} s: `python -m local status` names the last error of each "
                f"function, {space.root / 'logs' / 'host.log'} tells more; {UPLOADED}"
            )
    return {**space.summary(folder), "folder": folder}


def deploy(given: argparse.Namespace) -> int:
    """Publish a package and install it: a champion of before stays beside it as its guard."""
    space, console = Workspace.of(given.root or FOLDER), new_console()
    if not given.package.is_dir():
        raise StackError(f"{given.package}: there is no such folder")
    version = space.release().publish(package_folder.read(given.package))
    return _rollout(console, space, "install", {"version": version})


def rollout(given: argparse.Namespace) -> int:
    """Approve, promote, roll back, pause or resume; 1 when that makes no sense now."""
    return _rollout(new_console(), Workspace.of(given.root or FOLDER), given.action, {})


def _rollout(console: Console, space: Workspace, action: str, query: dict[str, str]) -> int:
    query = {**query, "id": uuid.uuid4().hex}
    stand = get(f"{space.host_url}/api/rollout/{action}?{urllib.parse.urlencode(query)}", method="POST")
    if "error" in stand:
        console.print(stand["error"], markup=False)
        return 1
    beside = (
        f", {stand['challenger']} beside it ({stand['stage']}, share {stand['share']:g})" if stand["challenger"] else ""
    )
    console.print(f"{stand['champion']} serves{beside}", markup=False)
    return 0


def retrain(given: argparse.Namespace) -> int:
    """Ask for a training job; 1 when it is refused."""
    console, space = new_console(), Workspace.of(given.root or FOLDER)
    query = urllib.parse.urlencode({"reason": given.reason, "dry_run": str(given.dry_run).lower()})
    found = get(f"{space.host_url}/api/retrain?{query}", method="POST")
    if "error" in found:
        console.print(found["error"], markup=False)
        return 1
    for reason in found["reasons"]:
        console.print(f"  {reason}", markup=False)
    told = {True: "would start", False: "is decided"}[found["dry_run"]]
    console.print(f"job {found['job'] or ''} {told}" if found["launch"] else "no job", markup=False)
    return 0 if found["launch"] else 1


def get(url: str, method: str = "GET") -> dict[str, Any]:
    """A JSON page of the host.

    Raises:
        StackError: It does not answer, or not with such a page.
    """
    request = urllib.request.Request(url, method=method)  # noqa: S310 - the host's own loopback address
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - likewise
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        return _told(error)
    except (OSError, ValueError) as error:
        raise StackError(f"the host does not answer at {url}: {error}") from error
    return found


def _told(error: urllib.error.HTTPError) -> dict[str, Any]:
    """What an answer other than 200 says, when it is one of the application's own."""
    try:
        found = json.load(error)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StackError(f"the host answered {error.code} {error.reason} at {error.url}; its log says why") from error
    return found


def status(given: argparse.Namespace) -> int:
    """What runs, who serves, how far it is, what became of files."""
    space, console = Workspace.of(given.root or FOLDER), new_console()
    health = get(f"{space.host_url}/api/health")
    if "error" in health:
        console.print(health["error"], markup=False)
        return 1
    functions = get(f"{space.host_url}/admin/host/status")["functions"]
    show_status(console, health, functions, space.summaries())
    return 0


def replay(given: argparse.Namespace) -> int:
    """Feed dead letters back through the app's admin route."""
    space, console = Workspace.of(given.root or FOLDER), new_console()
    query = urllib.parse.urlencode({"prefix": given.prefix, "reason": ",".join(given.reason or [])})
    done = get(f"{space.host_url}/api/replay?{query}", method="POST")
    if "tried" not in done:
        raise StackError(f"nothing was fed back: {done.get('error', done)}")
    console.print(
        f"{done['tried']:,} dead letters tried, {done['accepted']:,} accepted, {done['kept']:,} refused again"
    )
    return 0


def books(given: argparse.Namespace) -> int:
    """Recount; 1 when something does not balance."""
    space, console = Workspace.of(given.root or FOLDER), new_console()
    found = bookkeeping.recount(space.blobs, space.files, space.logs, READINGS, DEVICES, lake=space.lake())
    if given.json:
        console.print_json(json.dumps(bookkeeping.as_json(found)))
    else:
        show_books(console, found)
    return 0 if found.balance else 1


def ledger(given: argparse.Namespace) -> int:
    """The decision log: show it, or verify its chain."""
    from local.inspect import ledger as log

    return log.run(Workspace.of(given.root or FOLDER), given.action, given.kind or [])


def explain(given: argparse.Namespace) -> int:
    """What stood behind a forecast; 1 when it does not come out again."""
    from local.inspect import explain as looking

    return looking.run(Workspace.of(given.root or FOLDER), given)


def lineage(given: argparse.Namespace) -> int:
    """Where a model came from and what became of it."""
    from local.inspect import lineage as looking

    return looking.run(Workspace.of(given.root or FOLDER), given)


def demo(given: argparse.Namespace) -> int:
    """The loop from a file to forecasts."""
    from local.demo import story

    return story.run(given)


def send(given: argparse.Namespace) -> int:
    """A fleet streams to a hub."""
    from local.send import command as simulator

    return simulator.run(given)
