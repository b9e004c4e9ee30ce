"""The rows a model learns from, made of twelve stations' hours: our builder against pandas' rolling windows.

12 stations, 35,000 hours. Ours computes all features; pandas mean, standard deviation, minimum and maximum of each
channel over each span, and lags. Each side is a process of its own, so that its peak memory is known; both take the
same history and keep the same rows. Run it with `python -m benchmarks.bench_training_set`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from benchmarks.bench_features import KINDS, SPANS
from benchmarks.drift_replay import fleet_history
from benchmarks.timing import Usage
from local.fleet import Fleet
from shared.adapters import scenario_files
from shared.core.features import Featurizer
from shared.core.readings import Floats
from shared.core.ring import Hourly
from shared.core.scenario import Scenario
from training.data import from_history

STATIONS, HOURS = 12, 35_000
GOAL = 5
SAMPLE = 5000
RTOL, ATOL = 1e-4, 1e-2  # pandas carries its sums along the whole series, which costs digits
PROJECT = Path(__file__).resolve().parents[1]
History = Mapping[str, Hourly]


class Built(msgspec.Struct, frozen=True):
    """What one side says of its work; memory in MB, `held` before it began."""

    seconds: float
    rows: int
    columns: int
    held: float
    peak: float


def by_us(scenario: Scenario, history: History, names: Sequence[str]) -> tuple[Floats, int, Callable[[], Floats]]:
    """All features; the columns that are compared come out on call."""
    rows = from_history(scenario, Featurizer(scenario), history)
    place = {feature.name: index for index, feature in enumerate(rows.features)}
    order = np.lexsort((rows.as_of, rows.device))
    chosen = [place[name] for name in names]
    return rows.target[order], rows.matrix.shape[1], lambda: rows.matrix[np.ix_(order[_sample(len(order))], chosen)]


def by_groups(scenario: Scenario, history: History, names: Sequence[str]) -> tuple[Floats, int, Callable[[], Floats]]:
    """One frame of all devices, `groupby.rolling`."""
    ordered = dict(sorted(history.items()))
    frame = pd.concat([_frame(scenario, hours) for hours in ordered.values()], keys=list(ordered), names=["device"])
    groups = frame.groupby(level="device", sort=False)
    built = _columns(names, lambda span: groups.rolling(span, min_periods=1), groups.shift, frame.index)
    target = groups[scenario.target].shift(-scenario.horizon)
    sampled = np.concatenate([hours.samples > 0 for _, hours in sorted(history.items())])
    return _kept(built, target, sampled)


def by_devices(scenario: Scenario, history: History, names: Sequence[str]) -> tuple[Floats, int, Callable[[], Floats]]:
    """A frame for each device, `rolling` without groups."""
    parts, targets = [], []
    for _, hours in sorted(history.items()):
        frame = _frame(scenario, hours)
        parts.append(_columns(names, lambda span, f=frame: f.rolling(span, min_periods=1), frame.shift, frame.index))
        targets.append(frame[scenario.target].shift(-scenario.horizon))
    sampled = np.concatenate([hours.samples > 0 for _, hours in sorted(history.items())])
    return _kept(pd.concat(parts), pd.concat(targets), sampled)


WAYS = {
    "ours": by_us,
    "pandas, groupby.rolling": by_groups,
    "pandas, rolling device by device": by_devices,
}


def _frame(scenario: Scenario, hours: Hourly) -> pd.DataFrame:
    return pd.DataFrame(hours.values, columns=list(scenario.stored))


def _columns(names: Sequence[str], rolling: Callable, shift: Callable, index: pd.Index) -> pd.DataFrame:
    """All spans and kinds of all channels, then the lags, under the names of our features."""
    wanted, found = set(names), {}
    for span in SPANS:
        window = rolling(span)
        for kind in KINDS:
            part = window.std(ddof=0) if kind == "std" else getattr(window, kind)()
            found |= {f"{c}.{kind}_{span}": part[c].to_numpy() for c in part if f"{c}.{kind}_{span}" in wanted}
    for lag in sorted({int(name.rpartition("_")[2]) for name in names if ".lag_" in name}):
        part = shift(lag)
        found |= {f"{c}.lag_{lag}": part[c].to_numpy() for c in part if f"{c}.lag_{lag}" in wanted}
    return pd.DataFrame(found, index=index)[list(names)]


def _kept(built: pd.DataFrame, target: pd.Series, sampled: np.ndarray) -> tuple[Floats, int, Callable[[], Floats]]:
    keep = sampled & target.notna().to_numpy()
    matrix = built[keep].to_numpy(np.float32)
    truth = target[keep].to_numpy(np.float32)
    return truth, matrix.shape[1], lambda: matrix[_sample(len(matrix))]


def _sample(rows: int) -> np.ndarray:
    return np.sort(np.random.default_rng(7).choice(rows, SAMPLE, replace=False))


def compared(scenario: Scenario) -> list[str]:
    """Names of the features that both sides compute."""
    plain = [c.name for c in scenario.channels if c.aggregate != "circular"]
    known = [feature.name for feature in Featurizer(scenario).features]
    bulk = [f"{name}.{kind}_{span}" for span in SPANS for kind in KINDS for name in plain]
    return bulk + [name for name in known if ".lag_" in name]
