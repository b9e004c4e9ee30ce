"""What the commands do; each returns its exit code."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import threading
import uuid
from typing import Any

from rich.console import Console
from rich.markup import escape

from local import migrate as migration
from local.books import recount as bookkeeping
from local.inspect import check as checking
from local.inspect import explain as explanation
from local.inspect import forecasts as forecasting
from local.inspect import ledger as decisions
from local.inspect import letters as dead_letters
from local.inspect import lineage as origins
from local.inspect.console import new_console, write_line
from local.inspect.outlook import show_outlook
from local.inspect.show import is_empty, show_books, show_status, show_summary
from local.stack import scenario
from local.stack.addresses import Ports
from local.stack.jobs import stop_jobs
from local.stack.process import StackError, on_end
from local.stack.programs import PROJECT
from local.stack.running import await_summary, fire_function, get, new_stack, post
from local.stack.stack import Stack
from local.stack.workspace import DEVICES, READINGS, Workspace
from shared.adapters.models import package_folder
from shared.wiring import CONTAINERS

EARLY = 3


def up(given: argparse.Namespace) -> int:
    """Run the stack until Ctrl-C or SIGTERM."""
    console, stop = new_console(), threading.Event()
    made = new_stack(given.root)
    console.print("starting Azurite, the Event Hubs endpoint and the trigger host ...")
    with on_end(lambda *_: stop.set()), made as stack:
        console.print(f"host       {stack.host_url()}/api/health")
        console.print(f"blobs      {stack.storage.split('BlobEndpoint=')[1].rstrip(';')}")
        console.print(f"event hubs {stack.eventhub.split(';')[0].removeprefix('Endpoint=')}")
        console.print(f"data, logs {stack.root}")
        console.print("drop a file with `python -m local drop FILE`; stop with Ctrl-C")
        stack.wait(stop)
        console.print("stopping ...")
        stop_jobs(stack.root)
    return 0


def func(given: argparse.Namespace) -> int:
    """Run Azurite and the endpoint on their usual ports, and the app under `func start` beside them."""
    if shutil.which("func") is None:
        raise StackError("`func` was not found: install Azure Functions Core Tools 4, or use `make up`")
    settings = PROJECT / "local.settings.json"
    if not settings.exists():
        settings.write_text(scenario.TEMPLATE.read_text("utf-8"), "utf-8")
    scenario.chosen()  # of the environment, which wins over the file there too
    with Stack(given.root, app_dir=None, containers=CONTAINERS) as stack:
        usual = Ports()
        for name, port in (("azurite", usual.azurite), ("eventhub", usual.eventhub)):
            if stack.processes[name].port != port:
                raise StackError(f"port {port} is taken, but local.settings.json tells `func` to find {name} there")
        return subprocess.run(["func", "start"], cwd=PROJECT, check=False).returncode  # noqa: S607 - the user's own


def drop(given: argparse.Namespace) -> int:
    """Drop a file and wait for its summary; 1 when it was refused, or has rows and none of them was accepted."""
    if not given.file.is_file():
        why = "this is a folder; drop a file" if given.file.is_dir() else "there is no such file"
        raise StackError(f"{given.file}: {why}")
    space, console = Workspace.of(given.root), new_console()
    source = space.drop(given.file, given.name or given.file.name, given.zone, given.device, again=given.again)
    with console.status(f"reading {escape(given.file.name)}"):
        summary = await_summary(space, source)
    show_summary(console, summary, space.scenario.target, space.scenario.resolution_s)
    for name, kept in space.keep(summary).items():
        console.print(f"  {name}: {kept}", markup=False, soft_wrap=True)
    return 0 if summary.get("rows_accepted") or is_empty(summary) else 1


def check(given: argparse.Namespace) -> int:
    """Say how a file would be read; 1 when no row would be accepted."""
    return checking.check(given)


def deploy(given: argparse.Namespace) -> int:
    """Publish a package and install it: a champion of before stays beside it as its guard."""
    space = Workspace.of(given.root)
    if not given.package.is_dir():
        raise StackError(f"{given.package}: there is no such folder")
    return _rollout(space, "install", version=space.release().publish(package_folder.read(given.package)))


def rollout(given: argparse.Namespace) -> int:
    """Approve, promote, roll back, pause or resume; 1 when that makes no sense now."""
    return _rollout(Workspace.of(given.root), given.action)


def _rollout(space: Workspace, action: str, **query: str) -> int:
    console, now = new_console(), post(f"{space.host_url}/api/rollout/{action}", id=uuid.uuid4().hex, **query)
    if _refused(console, now):
        return 1
    beside = f", {now['challenger']} beside it ({now['stage']}, share {now['share']:g})" if now["challenger"] else ""
    console.print(f"{now['champion']} serves{beside}", markup=False)
    return 0


def _refused(console: Console, answer: dict[str, Any]) -> bool:
    """Whether the application refused, which is then shown."""
    if "error" in answer:
        console.print(answer["error"], markup=False)
    return "error" in answer


def retrain(given: argparse.Namespace) -> int:
    """Ask for a training job; 1 when it is refused."""
    console, space = new_console(), Workspace.of(given.root)
    found = post(f"{space.host_url}/api/retrain", reason=given.reason, dry_run=str(given.dry_run).lower())
    if _refused(console, found):
        return 1
    for reason in found["reasons"]:
        console.print(f"  {reason}", markup=False)
    state = "would start" if found["dry_run"] else "is decided"
    console.print(f"job {found['job'] or ''} {state}" if found["launch"] else "no job", markup=False)
    return 0 if found["launch"] else 1


def status(given: argparse.Namespace) -> int:
    """What runs, who serves, how far it is, what became of files."""
    space, console = Workspace.of(given.root), new_console()
    health = get(f"{space.host_url}/api/health")
    if _refused(console, health):
        return 1
    functions = get(f"{space.host_url}/admin/host/status")["functions"]
    show_status(console, health, functions, space.summaries())
    show_outlook(space, console, health, functions)
    return 0


def fire(given: argparse.Namespace) -> int:
    """Run timers now, one after the other; 1 when one fails."""
    space, console, failed = Workspace.of(given.root), new_console(), 0
    for name in given.function:
        problem = fire_function(space.host_url, name)
        write_line(console, f"{name}: {problem or 'done'}", "red" if problem else None)
        failed += problem is not None
    return 1 if failed else 0


def letters(given: argparse.Namespace) -> int:
    """Dead letters, a page of them; 1 when there are none such."""
    return dead_letters.run(Workspace.of(given.root), given)


def replay(given: argparse.Namespace) -> int:
    """Feed dead letters back through the app's admin route."""
    space, console = Workspace.of(given.root), new_console()
    done = post(f"{space.host_url}/api/replay", prefix=given.prefix, reason=",".join(given.reason or []))
    if "tried" not in done:
        raise StackError(f"nothing was fed back: {done.get('error', done)}")
    console.print(
        f"{done['tried']:,} dead letters tried, {done['accepted']:,} accepted, {done['kept']:,} refused again"
    )
    return 0


def books(given: argparse.Namespace) -> int:
    """Recount; 1 when something does not balance, 3 when it is too early to say."""
    space, console = Workspace.of(given.root), new_console()
    found = bookkeeping.recount(space.blobs, space.files, space.logs, READINGS, DEVICES, lake=space.lake())
    if given.json:
        console.print_json(json.dumps(bookkeeping.as_json(found)))
    else:
        show_books(console, found)
    return 0 if found.balance else EARLY if found.waiting else 1


def ledger(given: argparse.Namespace) -> int:
    """The decision log: show it, or verify its chain."""
    return decisions.run(Workspace.of(given.root), given.action, given.kind)


def explain(given: argparse.Namespace) -> int:
    """What stood behind a forecast; 1 when it does not come out again."""
    return explanation.run(Workspace.of(given.root), given)


def forecasts(given: argparse.Namespace) -> int:
    """What was forecast; 1 when there is nothing."""
    return forecasting.run(Workspace.of(given.root), given)


def migrate(given: argparse.Namespace) -> int:
    """Let the store go on under an edited scenario, or say what that would mean; 1 when there is nothing to do."""
    scenario_file, blobs = migration.store_of(given.root)
    return migration.run(new_console(), scenario_file, blobs, apply=given.apply)


def lineage(given: argparse.Namespace) -> int:
    """Where a model came from and what became of it."""
    return origins.run(Workspace.of(given.root), given)


def demo(given: argparse.Namespace) -> int:
    """The loop from a file to forecasts."""
    from local.demo import story  # late, like `send`: no other command needs what trains, or the hub's client

    return story.run(given)


def send(given: argparse.Namespace) -> int:
    """A fleet streams to a hub."""
    from local.send import command as simulator

    return simulator.run(given)
