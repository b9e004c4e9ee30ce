"""The demo: history becomes a model, the model serves, what follows is forecast, and everything is recounted.

It runs the functions, settings and scenario of production; the few settings that differ are printed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from local import books as bookkeeping
from local import splitting
from local.commands import SETTINGS, await_summary, get, new_stack, show_summary
from local.demo_report import Phase, demo_report
from local.evaluate import Evaluation, evaluate
from local.fleet import Fleet
from local.stack import Stack
from local.stack_process import StackError
from local.workspace import DEVICES, FOLDER, PROJECT, READINGS, Workspace
from shared.adapters import package_files, scenario_files
from shared.core.package import Manifest, decode_manifest
from shared.core.scenario import Scenario

HISTORY = 0.8


@dataclass
class Story:
    """What happened so far.

    Args:
        console: Where it is told.
        phases: Steps done, with how long each took.
    """

    console: Console
    phases: list[Phase] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def phase(self, name: str) -> Iterator[list[str]]:
        """One step; put what there is to say about it into the list."""
        self.console.rule(f"[bold]{len(self.phases) + 1}. {name}", align="left")
        start, detail = time.monotonic(), []  # type: float, list[str]
        yield detail
        seconds = time.monotonic() - start
        self.phases.append(Phase(name, "; ".join(detail), seconds))
        for line in detail:
            self.console.print(f"  {line}", markup=False)
        self.console.print(f"  {seconds:.1f} s", style="dim")


def run(given: argparse.Namespace) -> int:
    """Tell the whole story; 0 only if all of it happened."""
    story = Story(Console(highlight=False))
    root, out = (given.root or FOLDER) / "demo", given.out or PROJECT / "build" / "demo"
    _clear(root)
    shutil.rmtree(out, ignore_errors=True)
    story.console.print(f"settings that differ from production: {SETTINGS}")
    history, rest = root / "data" / "history.csv.gz", root / "data" / "rest.csv.gz"
    with story.phase("the data") as detail:
        since = _data(given, history, rest, root, detail)
    with story.phase("start Azurite, the Event Hubs endpoint and the trigger host") as detail:
        stack = new_stack(root)
        stack.start()
        detail.append(f"host at {stack.host_url()}, nothing leaves this machine")
    try:
        summary, evaluation, manifest = _loop(story, stack, given, history, rest, since)
    finally:
        stack.stop()
    return _conclude(story, out, summary, evaluation, manifest)


def _clear(root: Path) -> None:
    if root.exists():
        if _running(root):
            raise StackError(f"a demo is running on {root}")
        shutil.rmtree(root)


def _running(root: Path) -> bool:
    from local import stack

    found = stack.read(root)
    if found is None:
        return False
    return (Path("/proc") / str(found["pid"])).exists()


def _data(given: argparse.Namespace, history: Path, rest: Path, root: Path, detail: list[str]) -> int:
    """Write the two files; returns the first hour of the second."""
    path: Path | None = given.data
    if path is None:
        path = root / "data" / "generated.csv.gz"
        path.parent.mkdir(parents=True)
        fleet = Fleet()
        rows = fleet.write_csv(path)
        detail.append(f"{rows:,} rows of {len(fleet.names)} made-up stations from the built-in generator")
    elif not path.is_file():
        raise StackError(f"--data {path}: there is no such file")
    scenario = scenario_files.load("air_quality")
    since = splitting.cut(path, scenario, given.zone, HISTORY, history, rest)
    moment = datetime.fromtimestamp(since * 3600, timezone.utc)
    detail.append(f"{path.name}: history until {moment:%Y-%m-%d}, the last {1 - HISTORY:.0%} of time after it")
    return since


def _loop(
    story: Story, stack: Stack, given: argparse.Namespace, history: Path, rest: Path, since: int
) -> tuple[dict[str, Any], Evaluation, Manifest]:
    space = Workspace.connect(stack.root, stack.storage, stack.host_url())
    with story.phase("drop the history into incoming/"):
        first = await_summary(space, space.drop(history, history.name, given.zone), stack)
        show_summary(story.console, first)
    with story.phase("train on the history") as detail:
        package = stack.root / "packages" / "first"
        started = time.monotonic()
        _train(given, stack.root, history, package)
        train_seconds = time.monotonic() - started
        files = package_files.read(package)
        manifest = decode_manifest(files["manifest.json"])
        detail.append(f"package {manifest.version}: {len(manifest.features)} features, {manifest.size_bytes:,} bytes")
    with story.phase("deploy the first model") as detail:
        release = space.release()
        release.deploy(release.publish(files))
        _await_champion(stack, manifest.version)
        detail.append(f"{manifest.version} serves")
    with story.phase("drop the rest") as detail:
        started = time.monotonic()
        second = await_summary(space, space.drop(rest, rest.name, given.zone), stack)
        score_seconds = time.monotonic() - started
        show_summary(story.console, second)
        detail.append(f"{second['rows_in'] / score_seconds:,.0f} rows per second from the drop to the summary")
    with story.phase("compare forecasts with what came, and recount the books") as detail:
        evaluation = evaluate(space.blobs, space.files, manifest.damped, since)
        books = bookkeeping.recount(space.blobs, space.files, space.logs, READINGS, DEVICES)
        detail.extend(f"does not balance: {problem}" for problem in books.problems)
        detail.append(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in books.totals().items()))
    rows = {name: first[name] + second[name] for name in ("rows_in", "rows_accepted", "rows_rejected")}
    summary = {
        **rows,
        "predictions": evaluation.predictions,
        **evaluation.scores(),
        "nominal_coverage": space.scenario.interval,
        "model_version": manifest.version,
        "features": len(manifest.features),
        "train_seconds": round(train_seconds, 2),
        "score_rows_per_second": round(evaluation.predictions / score_seconds, 1),
        "books": bookkeeping.as_json(books),
        "books_balance": books.balance,
        "since": datetime.fromtimestamp(since * 3600, timezone.utc).isoformat(),
    }
    return summary, evaluation, manifest


def _train(given: argparse.Namespace, root: Path, history: Path, package: Path) -> None:
    command = [sys.executable, "-m", "training", "--scenario", "air_quality", "--readings", str(history)]
    command += ["--out", str(package), "--trials", str(given.trials)]
    command += ["--tracking-uri", f"sqlite:///{root / 'mlflow.db'}"]
    command += ["--zone", given.zone] if given.zone else []
    done = subprocess.run(command, cwd=PROJECT, check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise StackError(f"the training ended with exit code {done.returncode}; its message stands above")


def _await_champion(stack: Stack, version: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        found = get(f"{stack.host_url()}/api/health")
        if found.get("champion") == version:
            return
        if found.get("refused") or time.monotonic() > deadline:
            raise StackError(f"{version} does not serve after {timeout_s:.0f} s: {found}")
        stack.check()
        time.sleep(0.2)


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
    happened = summary["books_balance"] and summary["predictions"] > 0 and summary["gain_over_damped"] > 0
    if not happened:
        story.console.print("the story did not happen as it should: see above", style="red")
    return 0 if happened else 1


def _show(console: Console, summary: dict[str, Any], scenario: Scenario) -> None:
    unit, gain = scenario.target_channel.unit, summary["gain_over_damped"]
    console.rule(f"[bold]{scenario.title}: {summary['rows']:,} forecasts and what came, from the blobs", align="left")
    table = Table("", f"RMSE {unit}", f"MAE {unit}", box=None)
    for name, key in (("model", ""), ("damped persistence", "_damped"), ("persistence", "_persistence")):
        table.add_row(name, f"{summary['rmse' + key]:.2f}", f"{summary['mae' + key]:.2f}")
    console.print(table)
    console.print(f"the model's RMSE is {abs(gain):.1%} {'below' if gain > 0 else 'ABOVE'} that of damped persistence")
    console.print(f"{summary['interval_coverage']:.1%} of the truths lie inside the {scenario.interval:.0%} intervals")
    left = summary["excluded_no_truth"], summary["excluded_no_latest"]
    console.print(f"left out of all three: {left[0]:,} without a known truth, {left[1]:,} without a value as of then")
    console.print(f"{summary['score_rows_per_second']:,.0f} forecasts per second, from the drop to the file's summary")
    console.print(
        f"{summary['elapsed_seconds']:.0f} s in all; the books {'' if summary['books_balance'] else 'DO NOT '}balance"
    )


def _shown(path: Path) -> str:
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)
