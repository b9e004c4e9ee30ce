"""The demo: history becomes a model, the model serves, what follows is forecast, and everything is recounted.

It runs the functions, settings and scenario of production; the few settings that differ are printed.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from local.books import recount as bookkeeping
from local.commands import SETTINGS, await_summary, get, new_stack, stop_jobs
from local.demo import days as demo_loop
from local.demo import splitting
from local.demo.days import Days
from local.demo.evaluate import Evaluation, evaluate
from local.demo.injection import Tail
from local.demo.read_once import ReadOnce
from local.demo.report import Outcomes, Phase, demo_report
from local.demo.watch import Watch
from local.fleet.__main__ import Fleet
from local.inspect.show import new_console, show_summary
from local.send import sources
from local.send.faults import Faults
from local.send.stream import Pace
from local.send.wire import Sender
from local.stack import stack as stacks
from local.stack.process import StackError
from local.stack.stack import Stack
from local.stack.workspace import DEVICES, FOLDER, PROJECT, READINGS, Workspace
from shared.adapters.stores import scenario_files
from shared.adapters.stores.clock import WallClock
from shared.app.ledger_store import Ledger
from shared.core.model.manifest import Manifest, decode_manifest
from shared.core.scenario import Scenario

ENDS = (signal.SIGINT, signal.SIGTERM)
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
    before = {number: signal.getsignal(number) for number in ENDS}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(given)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(given: argparse.Namespace) -> int:
    story = Story(new_console())
    root, out = (given.root or FOLDER) / "demo", given.out or PROJECT / "build" / "demo"
    _clear(root)
    shutil.rmtree(out, ignore_errors=True)
    story.console.print(f"settings that differ from production: {DEMO_SETTINGS}")
    parts = {name: root / "data" / f"{name}.csv.gz" for name in PARTS}
    with story.phase("the data"):
        since = _data(story, given, parts, root)
    with story.phase("start the local stack"):
        stack = new_stack(root, DEMO_SETTINGS)
        for number in ENDS:
            signal.signal(number, stack.interrupt)
        stack.start()
        story.tell("Azurite, the Event Hubs endpoint and the trigger host; nothing leaves this machine")
    try:
        with Sender(stack.eventhub, DEVICES) as sender:
            summary, evaluation, manifest = _loop(story, stack, sender, given, parts, since)
    finally:
        stop_jobs(stack.root)
        stack.stop()
    return _conclude(story, out, summary, evaluation, manifest)


def _clear(root: Path) -> None:
    """Remove what the last demo left; one that was killed may still be ending."""
    found = stacks.read(root)
    if found is not None and (Path("/proc") / str(found["pid"])).exists():
        raise StackError(f"a demo is running on {root} (process {found['pid']})")
    deadline = time.monotonic() + stacks.LEFTOVERS_S
    while alive := stacks.living(root):
        if time.monotonic() > deadline:
            raise StackError(f"processes of an earlier demo on {root} still run: {alive}")
        time.sleep(0.1)
    if root.exists():
        shutil.rmtree(root)


def _data(story: Story, given: argparse.Namespace, parts: dict[str, Path], root: Path) -> int:
    """Write the parts; returns the first hour that the training does not see."""
    path: Path | None = given.data
    if path is None:
        path = root / "data" / "generated.csv.gz"
        path.parent.mkdir(parents=True)
        fleet = Fleet(hours=GENERATED_DAYS * 24)
        rows = fleet.write_csv(path)
        story.tell(f"{rows:,} rows of {len(fleet.names)} made-up stations")
    elif not path.is_file():
        raise StackError(f"--data {path}: there is no such file")
    scenario = scenario_files.load("air_quality")
    back = (TAIL_DAYS + DROPPED_DAYS, TAIL_DAYS)
    at = splitting.cut(path, scenario, given.zone, back, list(parts.values()))
    days = [f"{datetime.fromtimestamp(hour * 3600, timezone.utc):%Y-%m-%d}" for hour in at]
    story.tell(f"history until {days[0]}, dropped until {days[1]}, the rest streamed as the story needs it")
    return at[0]


def _loop(
    story: Story, stack: Stack, sender: Sender, given: argparse.Namespace, parts: dict[str, Path], since: int
) -> tuple[dict[str, Any], Evaluation, Manifest]:
    space = Workspace.connect(stack.root, stack.storage, stack.host_url())
    tail = Tail.of(sources.file(parts["tail"], space.scenario, given.zone))
    days = Days(
        story.tell,
        space,
        stack,
        Watch(story.console, space, stack),
        sender,
        tail,
        SEED,
        GENERATED_POLLUTION if given.data is None else None,
    )
    with story.phase("drop the history"):
        first = await_summary(space, space.drop(parts["history"], parts["history"].name, given.zone), stack)
        show_summary(story.console, first)
        story.tell(f"{first['rows_accepted']:,} readings folded into hourly state")
    with story.phase("the first model: decided, trained, judged and deployed by the functions"):
        started = time.monotonic()
        made = demo_loop.bootstrap(days)
        train_seconds = time.monotonic() - started
        manifest = decode_manifest(space.blobs.read("models", f"{made['version']}/manifest.json") or b"")
        story.tell(f"{manifest.version} serves: {len(manifest.features)} features, {manifest.size_bytes / 1e3:,.0f} kB")
    with story.phase("drop what came next"):
        started = time.monotonic()
        second = await_summary(space, space.drop(parts["next"], parts["next"].name, given.zone), stack)
        score_seconds = time.monotonic() - started
        show_summary(story.console, second)
        story.tell(f"{second['rows_in'] / score_seconds:,.0f} rows/s from the drop to the summary")
    streamed = _stream(story, days)
    told = _closed(story, days, made)
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
        **told,
        "mae_by_phase": by_phase(days.spans, everything.outcomes, space.scenario.horizon),
        "until": datetime.fromtimestamp(drifted * 3600, timezone.utc).isoformat(),
        "events_sent": days.sent,
        **bookkeeping.as_json(books),
        "faults_found": _faults_found(days.expected, books),
        "since": datetime.fromtimestamp(since * 3600, timezone.utc).isoformat(),
    }
    return summary, evaluation, manifest


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
        checks = demo_loop.ordinary(days, ORDINARY_WEEKS)
    with story.phase("one sensor sticks"):
        isolated = demo_loop.stuck(days)
    days.begin("drift, old model")
    with story.phase("a new source of pollution, and all humidity sensors recalibrated: check, job, gate"):
        found = demo_loop.drift(days)
    with story.phase("the new model climbs: shadow, canary, champion"):
        promoted = demo_loop.climb(days, found["version"])
    days.begin("drift, new model")
    with story.phase("a job with a bad model"):
        days.go(6)
        refused = demo_loop.refused(days)
    days.begin("sabotaged model")
    with story.phase("a sabotaged model, put in place by hand"):
        sabotaged = demo_loop.rolled_back(days)
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


def by_phase(spans: list[tuple[str, int]], outcomes: Outcomes, horizon: int) -> dict[str, float | None]:
    """Mean absolute error of the served forecasts by part of the story, by their as-of hour; None without any."""
    hours = np.array([hour for _, hour in spans])
    part = np.searchsorted(hours, outcomes.hour - horizon, side="right") - 1
    error = np.abs(outcomes.forecast.astype(np.float64) - outcomes.truth)
    found = {name: error[part == place] for place, (name, _) in enumerate(spans)}
    return {name: round(float(each.mean()), 2) if len(each) else None for name, each in found.items()}


def _faults_found(expected: list[dict[str, Any]], books: bookkeeping.Books) -> bool:
    """Whether every injected fault ended where it had to."""
    totals = books.totals()
    rejected = sum(sum(each["rejected"].values()) + each["conflicts"] for each in expected)
    same = all(totals[name] == sum(each[name] for each in expected) for name in ("stored_late", "duplicates"))
    return same and totals["dead_lettered"] == rejected


def _conclude(story: Story, out: Path, summary: dict[str, Any], evaluation: Evaluation, manifest: Manifest) -> int:
    """Write summary and report, show the table; 0 only if the whole story happened."""
    scenario = scenario_files.load(manifest.scenario)
    summary["elapsed_seconds"] = round(time.monotonic() - story.began, 2)
    summary["gain_over_damped"] = 1 - summary["rmse"] / summary["rmse_damped"]
    page = demo_report(
        summary,
        evaluation.outcomes,
        phases=story.phases,
        title=scenario.title,
        unit=scenario.target_channel.unit,
        nominal=scenario.interval,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (out / "report.html").write_text(page, encoding="utf-8")
    _show(story.console, summary, scenario)
    story.console.print(f"{_shown(out / 'summary.json')}, {_shown(out / 'report.html')}", soft_wrap=True)
    happened = _happened(summary)
    if not happened:
        story.console.print("the story did not happen as it should: see above", style="red")
    return 0 if happened else 1


def _happened(summary: dict[str, Any]) -> bool:
    """Whether the whole story did."""
    sound = summary["books_balance"] and summary["faults_found"] and summary["gain_over_damped"] > 0
    watched = summary["drift_found"] and bool(summary["quarantined"]) and summary["refused"]
    mae = summary["mae_by_phase"]
    recovered = (mae["drift, new model"] or math.inf) < (mae["drift, old model"] or 0.0)
    return bool(sound and watched and summary["promoted_version"] and summary["rolled_back"] and recovered)


def _show(console: Console, summary: dict[str, Any], scenario: Scenario) -> None:
    unit, gain = scenario.target_channel.unit, summary["gain_over_damped"]
    title = f"{scenario.title}: {summary['rows']:,} forecasts until the drift began, and what came, from the blobs"
    console.rule(f"[bold]{title}", align="left")
    table = Table("", f"RMSE {unit}", f"MAE {unit}", box=None)
    for name, key in (("model", ""), ("damped persistence", "_damped"), ("persistence", "_persistence")):
        table.add_row(name, f"{summary['rmse' + key]:.2f}", f"{summary['mae' + key]:.2f}")
    console.print(table)
    console.print(f"the model's RMSE is {abs(gain):.1%} {'below' if gain > 0 else 'ABOVE'} that of damped persistence")
    console.print(f"{summary['interval_coverage']:.1%} of the truths lie inside the {scenario.interval:.0%} intervals")
    left = summary["excluded_no_truth"], summary["excluded_no_latest"]
    console.print(f"left out of all three: {left[0]:,} without a known truth, {left[1]:,} without a value as of then")
    dropped, streamed = summary["score_rows_per_second"], summary["events_per_second"]
    live = f"live, half of them within {summary['forecast_latency_p50_ms']} ms of the message"
    console.print(f"{dropped:,.0f} forecasts/s from a file, {streamed:,.0f}/s streamed; {live}")
    shares = ("applied", "stored_late", "duplicates", "dead_lettered")
    parts = " + ".join(f"{summary[name]:,} {name.replace('_', ' ')}" for name in shares)
    verdict = "the books balance" if summary["books_balance"] else "THE BOOKS DO NOT BALANCE"
    console.print(f"{verdict}: {summary['arrived']:,} arrived = {parts}")
    _show_phases(console, summary, unit)
    found = "every" if summary["faults_found"] else "NOT EVERY"
    console.print(f"{found} injected fault ended where it had to; {summary['elapsed_seconds']:.0f} s in all")


def _show_phases(console: Console, summary: dict[str, Any], unit: str) -> None:
    table = Table("part of the story", f"MAE {unit}", box=None)
    for name, mae in summary["mae_by_phase"].items():
        table.add_row(name, "" if mae is None else f"{mae:.2f}")
    console.print(table)
    console.print(f"isolated: {', '.join(summary['quarantined']) or 'NOBODY'}; jobs: {', '.join(summary['jobs'])}")
    console.print(f"promoted: {summary['promoted_version']}; refused: {'yes' if summary['refused'] else 'NO'}", end="")
    console.print(f"; taken back: {summary['rolled_back'] or 'NOTHING'}")


def _shown(path: Path) -> str:
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)
