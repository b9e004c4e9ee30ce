"""The rows a model learns from, made of twelve stations' hours: our builder against pandas' rolling windows.

12 stations, 35,000 hours. Ours computes all features; pandas computes mean, standard deviation, minimum and maximum of
each channel over each span, and the lags. Each side is a process of its own, so that its peak memory is known; both
begin with the same arrays and end with the same rows. Run it with `python -m benchmarks.bench_training_set`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.bench_features import KINDS, SPANS
from benchmarks.drift_replay import fleet_history
from benchmarks.timing import Usage
from local.fleet.__main__ import Fleet
from shared.adapters.stores import scenario_files
from shared.core.forecast.window.history import Hourly
from shared.core.intake.readings import Floats
from shared.core.scenario import Scenario
from shared.core.task.tasks import task_of
from training.model.hourly.rows import from_history

STATIONS, HOURS = 12, 35_000
GOAL, ROUNDS = 5, 2
SAMPLE = 5000
RTOL, ATOL = 1e-4, 5e-3  # pandas carries its sums along the whole series
PROJECT = Path(__file__).resolve().parents[1]
History = Mapping[str, Hourly]


class Rows(NamedTuple):
    """A training set's truths, and its matrix of float32 in the order of device, then hour."""

    target: Floats
    matrix: Floats
    names: Sequence[str]


class Built(msgspec.Struct, frozen=True):
    """What one side says of its work; memory in MB, `held` before it began."""

    seconds: float
    cpu_s: float
    rows: int
    columns: int
    held_mb: float
    peak_mb: float


def by_us(scenario: Scenario, history: History) -> Rows:
    """All features, in the order of time; only the check needs another order."""
    rows = from_history(task_of(scenario), history)
    return Rows(rows.target, rows.matrix, [feature.name for feature in rows.features])


def by_groups(scenario: Scenario, history: History) -> Rows:
    """One frame of all devices and `groupby.rolling`."""
    frame = pd.concat([_frame(scenario, hours) for hours in history.values()], keys=history.keys(), names=["device"])
    plain = frame.groupby(level="device", sort=False)[_plain(scenario)]
    built = _columns(scenario, partial(plain.rolling, min_periods=1), plain.shift, frame.index)
    target = frame.groupby(level="device", sort=False)[scenario.target].shift(-scenario.horizon)
    return _kept(built, target, history)


def by_devices(scenario: Scenario, history: History) -> Rows:
    """A frame for each device and `rolling`, put together at the end."""
    parts, targets = [], []
    for hours in history.values():
        frame = _frame(scenario, hours)
        plain = frame[_plain(scenario)]
        parts.append(_columns(scenario, partial(plain.rolling, min_periods=1), plain.shift, frame.index))
        targets.append(frame[scenario.target].shift(-scenario.horizon))
    return _kept(pd.concat(parts), pd.concat(targets), history)


WAYS: dict[str, Callable[[Scenario, History], Rows]] = {
    "ours": by_us,
    "groupby.rolling": by_groups,
    "rolling, device by device": by_devices,
}


def _plain(scenario: Scenario) -> list[str]:
    return [channel.name for channel in scenario.channels if channel.aggregate != "circular"]


def _lags(scenario: Scenario) -> list[str]:
    return [feature.name for feature in task_of(scenario).features if ".lag_" in feature.name]


def _frame(scenario: Scenario, hours: Hourly) -> pd.DataFrame:
    return pd.DataFrame(hours.values, columns=list(scenario.stored))


def _columns(
    scenario: Scenario, rolling: Callable[[int], Any], shift: Callable[[int], Any], index: pd.Index[Any]
) -> pd.DataFrame:
    """All spans and kinds of all channels, then the lags, under the names of our features."""
    found: dict[str, npt.NDArray[Any]] = {}
    for span in SPANS:
        window = rolling(span)
        for kind in KINDS:
            part = window.std(ddof=0) if kind == "std" else getattr(window, kind)()
            found |= {f"{name}.{kind}_{span}": part[name].to_numpy() for name in part}
    wanted = _lags(scenario)
    for lag in sorted({int(name.rpartition("_")[2]) for name in wanted}):
        part = shift(lag)
        found |= {f"{name}.lag_{lag}": part[name].to_numpy() for name in part if f"{name}.lag_{lag}" in wanted}
    return pd.DataFrame(found, index=index)


def _kept(built: pd.DataFrame, target: pd.Series[Any], history: History) -> Rows:
    """The hours with a sample and a truth."""
    sampled = np.concatenate([hours.samples > 0 for hours in history.values()])
    keep = sampled & target.notna().to_numpy()
    return Rows(target[keep].to_numpy(np.float32), built[keep].to_numpy(np.float32), list(built.columns))


def build(way: str, sample: Path) -> None:
    """Work of a process of its own: build, print what it took, keep some rows for the comparison."""
    scenario = scenario_files.load("air_quality")
    history = dict(sorted(fleet_history(scenario, Fleet(stations=STATIONS, hours=HOURS)).items()))
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the highest memory so far is forgotten
    before, start = Usage.of(os.getpid()), time.perf_counter()
    found = WAYS[way](scenario, history)
    seconds, used = time.perf_counter() - start, Usage.of(os.getpid()).since(before)
    rows, columns = found.matrix.shape
    built = Built(seconds, used.cpu_s, rows, columns, before.peak_mb, used.peak_mb)
    order = _by_device(scenario, history) if way == "ours" else np.arange(rows)
    chosen = order[np.random.default_rng(7).choice(rows, SAMPLE, replace=False)]
    place = np.array([found.names.index(name) for name in compared(scenario)])
    np.savez(sample, target=found.target[order], matrix=found.matrix[np.ix_(chosen, place)])
    print(msgspec.json.encode(built).decode())


def _by_device(scenario: Scenario, history: History) -> npt.NDArray[np.int64]:
    rows = from_history(task_of(scenario), history)
    return np.lexsort((rows.as_of, rows.device))


def compared(scenario: Scenario) -> list[str]:
    """Names of the features that all sides compute."""
    bulk = [f"{name}.{kind}_{span}" for span in SPANS for kind in KINDS for name in _plain(scenario)]
    return bulk + _lags(scenario)


def run() -> None:
    """Build in each way, in turns, check that all agree, print the table."""
    best: dict[str, Built] = {}
    with tempfile.TemporaryDirectory() as name:
        samples = {way: Path(name) / f"{number}.npz" for number, way in enumerate(WAYS)}
        for way, sample in list(samples.items()) * ROUNDS:
            built = apart(way, sample)
            best[way] = min(best.get(way, built), built, key=lambda one: one.seconds)
        for sample in samples.values():
            agree(samples["ours"], sample)
    print(f"{STATIONS} stations, {HOURS:,} hours each; one thread in a process of its own, the faster of {ROUNDS} runs")
    print(
        f"{'':28}{'columns':>8}{'s':>8}{'ratio':>7}{'CPU s':>8}{'ratio':>7}{'rows/s':>10}{'values/s':>13}{'peak MB':>9}"
    )
    for way, built in best.items():
        show(way, built, best["ours"])
    print(f"peak: what came on top of packages and history; goal: {GOAL} times")
    print(f"all targets are equal, the common columns of {SAMPLE:,} rows within {RTOL} and {ATOL}")


def apart(way: str, sample: Path) -> Built:
    """Build in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_training_set", way, str(sample)]
    told = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603 - our module
    return msgspec.json.decode(told, type=Built)


def agree(first: Path, other: Path) -> None:
    """Check that both made the same rows: targets exactly, features within `RTOL` and `ATOL`."""
    ours, theirs = np.load(first), np.load(other)
    np.testing.assert_array_equal(ours["target"], theirs["target"])
    np.testing.assert_allclose(ours["matrix"], theirs["matrix"], rtol=RTOL, atol=ATOL)


def show(way: str, built: Built, ours: Built) -> None:
    """Print a line; the ratios are to ours."""
    speed, values = built.rows / built.seconds, built.rows * built.columns / built.seconds
    print(f"{way:28}{built.columns:8}{built.seconds:8.2f}{built.seconds / ours.seconds:7.1f}", end="")
    print(f"{built.cpu_s:8.2f}{built.cpu_s / ours.cpu_s:7.1f}", end="")
    print(f"{speed:10,.0f}{values:13,.0f}{built.peak_mb - built.held_mb:9,.0f}")


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) > 2 else run()
