"""The demo: history becomes a model, the model serves, what follows is forecast, and everything is recounted.

It runs the functions, settings and scenario of production; the few settings that differ are printed.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console

from local.books import recount as bookkeeping
from local.demo import splitting, steps
from local.demo.days import Days
from local.demo.injection import Tail
from local.demo.report import summary as demo_summary
from local.demo.report.evaluate import Evaluation, evaluate
from local.demo.report.page import Phase
from local.demo.report.read_once import ReadOnce
from local.demo.watch import Watch
from local.fleet.__main__ import Fleet
from local.inspect.show import new_console, show_summary
from local.send import sources
from local.send.faults import Faults
from local.send.stream import Pace
from local.send.wire import Sender
from local.stack import scenario as stack_scenario
from local.stack import stack as stacks
from local.stack.process import ENDS, StackError, on_end
from local.stack.programs import PROJECT
from local.stack.running import SETTINGS, await_summary, get, new_stack, stop_jobs
from local.stack.workspace import DEVICES, READINGS, Workspace
from shared.adapters.stores.clock import WallClock
from shared.app.ledger_store import Ledger
from shared.core.model.manifest import decode_manifest
from shared.core.scenario import Scenario

PARTS = ("history", "next", "tail")
DROPPED_DAYS, TAIL_DAYS = 14, 200
STREAM_DAYS, ORDINARY_WEEKS, LIVE_DAYS = 7, 2, 3
GENERATED_DAYS, GENERATED_POLLUTION = 560, 60.0
FAULTS = Faults(resend=0.005, garbage=0.002, late=0.01)
DEMO_SETTINGS = {**SETTINGS, "CLOCK": "watermark", "PROFILE_S": "0.2"}
LIVE_PER_S = 200.0
SEED = 7


@dataclass
class Story:
    """What happened so far.

    Args:
        console: Where it is told.
        phases: Steps done, with how long each took.
        said: What was told of the step under way.
    """

    console: Console
    phases: list[Phase] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """One step; what is told meanwhile belongs to it."""
        self.console.rule(f"[bold]{len(self.phases) + 1}. {name}", align="left")
        self.said, start = [], time.monotonic()
        yield
        seconds = time.monotonic() - start
        self.phases.append(Phase(name, self.said, seconds))
        self.console.print(f"  {seconds:.1f} s", style="dim")

    def tell(self, text: str) -> None:
        """Say what happens."""
        self.said.append(text)
        self.console.print(f"  {text}", markup=False, soft_wrap=True)


def run(given: argparse.Namespace) -> int:
    """Tell the whole story; 0 only if all of it happened; SIGTERM ends it as Ctrl-C does, and nothing stays behind."""
    with on_end(signal.default_int_handler):
        return _run(given)


def _run(given: argparse.Namespace) -> int:
    story, scenario = Story(new_console()), stack_scenario.chosen()
    _check(given.data, scenario)
    root = given.root / "demo"
    _clear(root)
    for name in demo_summary.WRITTEN:
        (given.out / name).unlink(missing_ok=True)
    story.console.print(f"settings that differ from production: {DEMO_SETTINGS}")
    parts = {name: root / "data" / f"{name}.csv.gz" for name in PARTS}
    with story.phase("the data"):
        since = _data(story, given, parts, scenario)
    with story.phase("start the local stack"):
        stack = new_stack(root, DEMO_SETTINGS)
        for number in ENDS:
            signal.signal(number, stack.interrupt)
        stack.start()
        story.tell("Azurite, the Event Hubs endpoint and the trigger host; nothing leaves this machine")
    try:
        with Sender(stack.eventhub, DEVICES) as sender:
            space = Workspace.connect(stack.root, stack.storage, stack.host_url(), scenario)
            tail = Tail.of(sources.file(parts["tail"], scenario, given.zone))
            watch = Watch(story.console, space, stack)
            pollution = GENERATED_POLLUTION if given.data is None else None
            days = Days(story.tell, space, stack, watch, sender, tail, SEED, pollution)
            summary, evaluation = _loop(story, days, parts, given.zone, since)
    finally:
        stop_jobs(stack.root)
        stack.stop()
    return _conclude(story, given.out, summary, evaluation, scenario)


def _check(data: Path | None, scenario: Scenario) -> None:
    """Refuse, before anything is touched, what the story cannot be told about."""
    steps.check(scenario)
    if data is None:
        sources.made_up(scenario)
    elif not data.is_file():
        raise StackError(f"--data {data}: there is no such file")


def _clear(root: Path) -> None:
    """Remove what the last demo left; one that was killed may still be ending."""
    found = stacks.read(root)
    if found is not None and (Path("/proc") / str(found["pid"])).exists():
        raise StackError(f"a demo is running on {root} (process {found['pid']})")
    stacks.await_end(root)
    if root.exists():
        shutil.rmtree(root)


def _data(story: Story, given: argparse.Namespace, parts: dict[str, Path], scenario: Scenario) -> int:
    """Write the parts; returns the first hour that the training does not see."""
    path: Path | None = given.data
    if path is None:
        path = parts["history"].with_name("generated.csv.gz")
        path.parent.mkdir(parents=True)
        fleet = Fleet(hours=GENERATED_DAYS * 24)
        rows = fleet.write_csv(path)
        story.tell(f"{rows:,} rows of {len(fleet.names)} made-up stations")
    back = (TAIL_DAYS + DROPPED_DAYS, TAIL_DAYS)
    at = splitting.cut(path, scenario, given.zone, back, list(parts.values()))
    days = [f"{datetime.fromtimestamp(hour * 3600, timezone.utc):%Y-%m-%d}" for hour in at]
    story.tell(f"history until {days[0]}, dropped until {days[1]}, the rest streamed as the story needs it")
    return at[0]


def _loop(
    story: Story, days: Days, parts: dict[str, Path], zone: str | None, since: int
) -> tuple[dict[str, Any], Evaluation]:
    space = days.space

    def dropped(path: Path) -> dict[str, Any]:
        summary = await_summary(space, space.drop(path, path.name, zone), days.stack)
        show_summary(story.console, summary)
        return summary

    with story.phase("drop the history"):
        first = dropped(parts["history"])
        story.tell(f"{first['rows_accepted']:,} readings folded into hourly state")
    with story.phase("the first model: decided, trained, judged and deployed by the functions"):
        started = time.monotonic()
        made = steps.bootstrap(days)
        train_seconds = time.monotonic() - started
        manifest = decode_manifest(space.blobs.read("models", f"{made['version']}/manifest.json") or b"")
        story.tell(f"{manifest.version} serves: {len(manifest.features)} features, {manifest.size_bytes / 1e3:,.0f} kB")
    with story.phase("drop what came next"):
        started = time.monotonic()
        second = dropped(parts["next"])
        score_seconds = time.monotonic() - started
        story.tell(f"{second['rows_in'] / score_seconds:,.0f} rows/s from the drop to the summary")
    streamed = _stream(story, days)
    closed = _closed(story, days, made)
    drifted = dict(days.spans)["drift, old model"]
    with story.phase("recount"):
        blobs = ReadOnce(space.blobs)
        evaluation = evaluate(blobs, space.files, manifest.damped, since, drifted)
        everything = evaluate(blobs, space.files, manifest.damped, since)
        books = bookkeeping.recount(blobs, space.files, space.logs, READINGS, DEVICES)
        entries = Ledger(space.scenario.name, space.blobs, WallClock()).verify()
        for problem in books.problems:
            story.tell(f"does not balance: {problem}")
        story.tell("forecasts against what came; every reading against log, commits and dead letters")
        story.tell(f"the ledger's {entries} entries follow on each other")
    rows = {name: first[name] + second[name] for name in ("rows_in", "rows_accepted", "rows_rejected")}
    summary = {
        **rows,
        "predictions": evaluation.predictions,
        **evaluation.scores(),
        "nominal_coverage": space.scenario.interval,
        "model_version": manifest.version,
        "features": len(manifest.features),
        "train_seconds": round(train_seconds, 2),
        "score_rows_per_second": round(second["forecasts"] / score_seconds, 1),
        **streamed,
        **closed,
        "mae_by_phase": demo_summary.by_phase(days.spans, everything.outcomes, space.scenario.horizon),
        "until": datetime.fromtimestamp(drifted * 3600, timezone.utc).isoformat(),
        "events_sent": days.sent,
        **bookkeeping.as_json(books),
        "faults_found": demo_summary.faults_found(days.expected, books),
        "since": datetime.fromtimestamp(since * 3600, timezone.utc).isoformat(),
    }
    return summary, evaluation


def _stream(story: Story, days: Days) -> dict[str, Any]:
    """Stream some days as fast as the hub takes them, with faults, then some at a steady rate."""
    days.begin("as it was")
    with story.phase("stream to the devices' hub, with faults"):
        started = time.monotonic()
        fast = days.go(STREAM_DAYS, FAULTS)
        rate = fast.sent / (time.monotonic() - started)
        injected = ", ".join(f"{count:,} {kind}" for kind, count in sorted(fast.injected.items()))
        story.tell(f"{fast.sent:,} messages, {injected} injected; {rate:,.0f} a second to the last forecast")
    with story.phase(f"live: {LIVE_PER_S:.0f} messages a second"):
        started = time.monotonic()
        days.go(LIVE_DAYS, pace=Pace(rate=LIVE_PER_S))
        window = time.monotonic() - started
        latency = get(f"{days.space.host_url}/api/health?window={window:.1f}")["latency"]
        story.tell(f"from message to committed forecast: median {latency['p50_ms']} ms, 95 % in {latency['p95_ms']} ms")
    return {
        "events_per_second": round(rate, 1),
        "forecast_latency_p50_ms": latency["p50_ms"],
        "forecast_latency_p95_ms": latency["p95_ms"],
    }


def _closed(story: Story, days: Days, made: dict[str, Any]) -> dict[str, Any]:
    """The loop closes: what the functions find, decide, train, release and take back while the days pass."""
    days.watch.quiet = True
    with story.phase("ordinary weeks"):
        checks = steps.ordinary(days, ORDINARY_WEEKS)
    with story.phase("one sensor sticks"):
        isolated = steps.stuck(days)
    days.begin("drift, old model")
    with story.phase("a new source of pollution, and all humidity sensors recalibrated: check, job, gate"):
        found = steps.drift(days)
    with story.phase("the new model climbs: shadow, canary, champion"):
        promoted = steps.climb(days, found["version"])
    days.begin("drift, new model")
    with story.phase("a job with a bad model"):
        days.go(6)
        refused = steps.refused(days)
    days.begin("sabotaged model")
    with story.phase("a sabotaged model, put in place by hand"):
        sabotaged = steps.rolled_back(days)
    days.begin("taken back")
    with story.phase("and on it goes"):
        days.go(5)
    return {
        "checks": checks,
        "quarantined": isolated,
        "drift_found": found["found"],
        "jobs": [made["job"], *found["jobs"]],
        "promoted_version": promoted,
        "refused": refused,
        "rolled_back": sabotaged,
    }


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
