"""A large file from the drop to the summary, through Azurite, endpoint and host, against a script a person would write.

Each run has a stack of its own, so that peaks are its own; ours and the script take turns. A quarter of the file shows
whether memory depends on its length. Run it with `python -m benchmarks.bench_files`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks import packages
from benchmarks.timing import TREES, Took, Usage
from local.fleet.__main__ import Fleet
from local.stack.addresses import ANY_PORTS
from local.stack.programs import PROJECT
from local.stack.running import SETTINGS, await_summary, get
from local.stack.scenario import TEMPLATE
from local.stack.stack import Stack
from local.stack.workspace import Workspace
from shared.adapters.models import package_folder
from shared.adapters.stores import scenario_files
from shared.wiring import CONTAINERS

SCENARIO = "air_quality"  # the one that the generator makes, whatever is chosen elsewhere
STATIONS, DAYS = 85, 500
HISTORY = Fleet(stations=10, hours=60 * 24)
ROUNDS = 2
GOAL = 2.5
OURS, SCRIPT = "AirLoop", "plain script"
PROCESSES = ("host", "eventhub", "azurite", "upload", "script")


@dataclass(frozen=True, slots=True)
class Run:
    """One line of the table."""

    name: str
    rows: int
    took: Took
    used: Mapping[str, Usage]

    @property
    def cpu_s(self) -> float:
        """Processor seconds of all its processes."""
        return sum(usage.cpu_s for usage in self.used.values())


def started(*arguments: str) -> Took:
    """Run one of our modules as a process; what it says in its last line."""
    command = [sys.executable, "-m", *arguments]
    environment = {**os.environ, "SCENARIO": SCENARIO}
    done = subprocess.run(command, cwd=PROJECT, env=environment, check=True, stdout=subprocess.PIPE)  # noqa: S603
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Took)


def ours(root: Path, package: Path, readings: Path, rows: int) -> Run:
    """Drop a file into a fresh stack on which a model serves."""
    with Stack(root, template=TEMPLATE, settings=SETTINGS, containers=CONTAINERS, ports=ANY_PORTS) as stack:
        deploy(stack, package)
        before = {name: Usage.of(process.pid) for name, process in stack.processes.items()}
        took = started("benchmarks.bench_files", "drop", str(root), str(readings))
        used = {name: Usage.of(process.pid).since(before[name]) for name, process in stack.processes.items()}
    assert took.forecasts == rows, f"{took.forecasts} forecasts of {rows} readings"
    return Run(OURS, rows, took, {**used, "upload": took.usage})


def deploy(stack: Stack, package: Path) -> None:
    """Let a package serve."""
    scenario = scenario_files.load(SCENARIO)
    release = Workspace.connect(stack.root, stack.storage, stack.host_url(), scenario).release()
    version = release.publish(package_folder.read(package))
    release.deploy(version)
    while get(f"{stack.host_url()}/api/health").get("champion") != version:
        stack.check()
        time.sleep(0.2)


def drop(root: Path, readings: Path) -> None:
    """Be the process that uploads a file and waits for its summary."""
    space = Workspace.of(root)
    start = time.perf_counter()
    summary = await_summary(space, space.drop(readings, readings.name, None))
    Took(time.perf_counter() - start, summary["forecasts"], Usage.of(os.getpid())).say()


def script(model: Path, readings: Path, rows: int) -> Run:
    """The same file through the plain script."""
    answers = readings.with_suffix(".parquet")
    took = started("benchmarks.plain_script", "predict", str(readings), str(model), str(answers))
    assert took.forecasts == rows, f"{took.forecasts} forecasts of {rows} readings"
    return Run(SCRIPT, rows, took, {"script": took.usage})


def run() -> None:
    """Make the files and the models, let both sides take turns, print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fleet, readings, quarter = Fleet(stations=STATIONS, hours=DAYS * 24), folder / "all.csv", folder / "quarter.csv"
        rows, fewer = fleet.write_csv(readings), fleet.write_csv(quarter, 0, DAYS * 24 // 4)
        model, package = models(folder)
        print(f"{rows:,} readings of {STATIONS} stations, {readings.stat().st_size / 1e6:.0f} MB of CSV; ", end="")
        print(f"{TREES['iterations']} trees of depth {TREES['depth']} on either side")
        runs = [ours(folder / "stack-quarter", package, quarter, fewer)]
        for number in range(ROUNDS):
            runs += [ours(folder / f"stack-{number}", package, readings, rows), script(model, readings, rows)]
        show(runs, rows)


def models(folder: Path) -> tuple[Path, Path]:
    """A model for the script and a package for us, of the same history."""
    history, model, package = folder / "history.csv", folder / "model.cbm", folder / "package"
    HISTORY.write_csv(history)
    command = [sys.executable, "-m", "benchmarks.plain_script", "train", str(history), str(model)]
    subprocess.run(command, cwd=PROJECT, check=True)  # noqa: S603 - our own command
    packages.train_on(package, HISTORY)
    return model, package


def show(runs: list[Run], rows: int) -> None:
    """Print a line for each run, then what they say about the goals."""
    print(f"{'':14}{'readings':>10}{'seconds':>9}{'rows/s':>9}{'CPU s':>7}{'peak MB:':>10}", end="")
    print("".join(f"{name:>10}" for name in PROCESSES))
    for each in runs:
        peaks = [f"{each.used[name].peak_mb:.0f}" if name in each.used else "-" for name in PROCESSES]
        start = f"{each.name:14}{each.rows:10,}{each.took.seconds:9.1f}{each.rows / each.took.seconds:9,.0f}"
        print(f"{start}{each.cpu_s:7.1f}{'':10}" + "".join(f"{peak:>10}" for peak in peaks))
    loop = [each for each in runs if each.rows == rows and each.name == OURS]
    plain = [each for each in runs if each.name == SCRIPT]
    time_ratio = sum(each.took.seconds for each in loop) / sum(each.took.seconds for each in plain)
    cpu_ratio = sum(each.cpu_s for each in loop) / sum(each.cpu_s for each in plain)
    print(f"the {ROUNDS} rounds: {time_ratio:.2f} times the script's time (goal: within {GOAL}), ", end="")
    print(f"{cpu_ratio:.2f} times its processor time")
    host, short = (max(each.used["host"].peak_mb for each in part) for part in (loop, runs[:1]))
    print(f"{rows / runs[0].rows:.1f} times the rows: {host / short:.2f} times the host's peak memory")


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "drop":
        drop(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        run()
