"""The demo: history becomes a model, the model serves, what follows is forecast, and everything is recounted.

It runs the functions, settings and scenario of production; the few settings that differ are printed.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from local.demo import loop, splitting, steps
from local.demo.given import files
from local.demo.injection import Remaining
from local.demo.phases import Story
from local.demo.playback import Playback
from local.demo.progress import Progress
from local.demo.report import summary as demo_summary
from local.demo.report.evaluate import Evaluation
from local.fleet.__main__ import Fleet
from local.inspect.console import new_console
from local.send import sources
from local.send.wire import Sender
from local.stack import scenario as stack_scenario
from local.stack import state
from local.stack.jobs import stop_jobs
from local.stack.process import StackError, on_end
from local.stack.programs import PROJECT
from local.stack.running import SETTINGS, new_stack
from local.stack.workspace import DEVICES, Workspace
from shared.adapters.processes import ENDS, SYSTEM
from shared.core.scenario import Scenario

PARTS = ("history", "next", "tail")
DROPPED_DAYS, TAIL_DAYS = 14, 200
GENERATED_DAYS, GENERATED_POLLUTION = 560, 60.0
DEMO_SETTINGS = {**SETTINGS, "CLOCK": "watermark", "PROFILE_S": "0.2"}
SEED = 7


def run(given: argparse.Namespace) -> int:
    """Tell the whole story; 0 only if all of it happened; SIGTERM ends it as Ctrl-C does, and nothing stays behind."""
    with on_end(signal.default_int_handler):
        return _run(given)


def _run(given: argparse.Namespace) -> int:
    story, scenario = Story(new_console()), stack_scenario.chosen()
    data = _checked(given.data, scenario)
    root = given.root / "demo"
    _clear(root)
    for name in demo_summary.WRITTEN:
        (given.out / name).unlink(missing_ok=True)
    story.console.print(f"settings that differ from production: {DEMO_SETTINGS}")
    parts = {name: root / "data" / f"{name}.csv.gz" for name in PARTS}
    with story.phase("the data"):
        since = _data(story, data, given.zone, parts, scenario)
    with story.phase("start the local stack"):
        stack = new_stack(root, DEMO_SETTINGS)
        for number in ENDS:
            signal.signal(number, stack.interrupt)
        stack.start()
        story.note("Azurite, the Event Hubs endpoint and the trigger host; nothing leaves this machine")
    try:
        with Sender(stack.eventhub, DEVICES) as sender:
            space = Workspace.connect(stack.root, stack.storage, stack.host_url(), scenario)
            remaining = Remaining.of(sources.file(parts["tail"], scenario, given.zone))
            progress = Progress(story.console, space, stack)
            pollution = None if data else GENERATED_POLLUTION
            playback = Playback(story.note, space, stack, progress, sender, remaining, SEED, pollution)
            summary, evaluation = loop.whole(story, playback, parts, given.zone, since)
    finally:
        stop_jobs(stack.root)
        stack.stop()
    return _conclude(story, given.out, summary, evaluation, scenario)


def _checked(data: Sequence[str], scenario: Scenario) -> list[Path]:
    """The files of the data, none for made-up ones; what the story cannot be told about is refused before it begins."""
    steps.check(scenario)
    if not data:
        sources.made_up(scenario)
    return files(data)


def _clear(root: Path) -> None:
    """Remove what the last demo left; one that was killed may still be ending."""
    found = state.read(root)
    if found is not None and SYSTEM.identity(found["pid"]) is not None:
        raise StackError(f"a demo is running on {root} (process {found['pid']})")
    state.await_end(root)
    if root.exists():
        shutil.rmtree(root)


def _data(story: Story, data: Sequence[Path], zone: str | None, parts: dict[str, Path], scenario: Scenario) -> int:
    """Write the parts; returns the first hour that the training does not see."""
    if not data:
        path = parts["history"].with_name("generated.csv.gz")
        path.parent.mkdir(parents=True)
        fleet = Fleet(hours=GENERATED_DAYS * 24)
        rows = fleet.write_csv(path)
        story.note(f"{rows:,} rows of {len(fleet.names)} made-up stations")
        data = [path]
    back = (TAIL_DAYS + DROPPED_DAYS, TAIL_DAYS)
    at = splitting.cut(data, scenario, zone, back, list(parts.values()))
    days = [f"{datetime.fromtimestamp(hour * 3600, timezone.utc):%Y-%m-%d}" for hour in at]
    story.note(f"history until {days[0]}, dropped until {days[1]}, the rest streamed as the story needs it")
    return at[0]


def _conclude(story: Story, out: Path, summary: dict[str, Any], evaluation: Evaluation, scenario: Scenario) -> int:
    """Write summary and report, show the table; 0 only if the whole story happened."""
    summary["elapsed_seconds"] = round(time.monotonic() - story.began, 2)
    summary["gain_over_damped"] = 1 - summary["rmse"] / summary["rmse_damped"]
    written = demo_summary.write(out, summary, evaluation.outcomes, story.phases, scenario)
    demo_summary.show(story.console, summary, scenario)
    story.console.print(f"{', '.join(map(_shown, written))}", soft_wrap=True)
    happened = demo_summary.happened(summary)
    if not happened:
        story.console.print("the story did not happen as it should: see above", style="red")
    return 0 if happened else 1


def _shown(path: Path) -> str:
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)
