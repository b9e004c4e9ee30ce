"""How devices behave in ordinary times: how long a value repeats, how far one departs from the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Doubles, Floats, Longs
from shared.core.profile.device_table import HOURS, NEWEST
from shared.core.task.task import Task
from training.model.hourly.rows import TrainingSet

RUN_QUANTILE = 0.999  # of runs: beyond it stand the stuck sensors that any real history holds
RUN_FACTOR = 2.0
RUN_FLOOR = 12
JUMP_QUANTILE = 0.995
JUMP_FACTOR = 1.75
MINIMUM_VALUES = 200
MINIMUM_DEVICES = 3  # with fewer there is no telling which one departs from the other


def of(task: Task, rows: TrainingSet) -> dict[str, npt.NDArray[Any]]:
    """The fields of a baseline that concern devices: columns, latest, common, runs, jumps, lonely, absent, offsets.

    Args:
        task: Columns of the device table, and the watched features.
        rows: Training rows; without times nothing is known, and no device is ever at fault.
    """
    seen, stored = task.watched, task.device_columns
    latest = [seen.newest.get(column, -1) for column in stored]
    width, devices = len(stored), len(rows.devices)
    found: dict[str, npt.NDArray[Any]] = {
        "columns": np.array(stored),
        "latest": np.array(latest, np.int64),
        "common": np.full(width, np.nan),
        "runs": np.full((2, width), np.inf),
        "jumps": np.full((2, width), np.inf),
        "lonely": np.full(width, np.inf),
        "absent": np.ones(width),
        "offsets": np.full((devices, width), np.nan),
    }
    if not rows.dated:
        return found
    hour = task.scenario.cadence.hour
    for column, place in enumerate(latest):
        if place >= 0:
            _column(found, column, rows, rows.matrix[:, seen.columns[place]], seen.edges[place], hour)
    return found


def _column(
    found: dict[str, npt.NDArray[Any]], column: int, rows: TrainingSet, values: Floats, edges: Doubles, hour: int
) -> None:
    there = np.isfinite(values)
    found["absent"][column] = 1 - there.mean()
    if there.sum() < MINIMUM_VALUES:
        return
    distinct, counts = np.unique(values[there], return_counts=True)
    found["common"][column] = distinct[counts.argmax()]
    found["runs"][:, column] = _runs(rows, values, float(distinct[counts.argmax()]))
    half, level, lonely, offsets = _departures(rows, values, edges, hour)
    found["jumps"][:, column] = _jump(half), _jump(level)
    found["lonely"][column] = _jump(lonely)
    found["offsets"][:, column] = offsets


def _runs(rows: TrainingSet, values: Floats, common: float) -> tuple[float, float]:
    """Allowed length of a run of one value, in steps: elsewhere, and at the commonest value."""
    lengths: list[Longs] = []
    at: list[Floats] = []
    for device in range(len(rows.devices)):
        own = values[rows.device == device]
        own = own[np.isfinite(own)]
        if len(own):
            starts = np.flatnonzero(np.r_[True, own[1:] != own[:-1]])
            lengths.append(np.diff(np.r_[starts, len(own)]))
            at.append(own[starts])
    length, value = np.concatenate(lengths), np.concatenate(at)
    split = (length[value != common], length[value == common])
    elsewhere, usual = (max(RUN_FLOOR, _run(part)) for part in split)
    return elsewhere, max(elsewhere, usual)


def _run(lengths: Longs) -> float:
    return RUN_FACTOR * float(np.quantile(lengths, RUN_QUANTILE)) if len(lengths) else 0.0


def _departures(
    rows: TrainingSet, values: Floats, edges: Doubles, hour: int
) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Of windows that end each day: departures of jump and level from the others, jumps alone, and usual levels."""
    devices = len(rows.devices)
    first, last = int(rows.as_of.min()), int(rows.as_of.max())
    table = np.full((last - first + 1, devices), np.nan)
    table[rows.as_of - first, rows.device] = values
    steps, day = HOURS * hour, NEWEST * hour
    newest, older, level = [], [], []
    for end in range(steps, len(table) + 1, day):
        newest.append(_mean(table[end - day : end]))
        older.append(_mean(table[end - steps : end - day]))
        level.append(_mean(table[end - steps : end]))
    if not newest:
        none = np.zeros(0)
        return none, none, none, np.full(devices, np.nan)
    jump = _places(newest, edges) - _places(older, edges)
    standing = _places(level, edges)
    standing = standing - _median(standing)
    offsets = _median(standing.T)[:, 0]
    if devices < MINIMUM_DEVICES:
        return np.zeros(0), np.zeros(0), _finite(np.abs(jump)), offsets
    return _finite(np.abs(jump - _median(jump))), _finite(np.abs(standing - offsets)), _finite(np.abs(jump)), offsets


def _mean(values: Doubles) -> Doubles:
    there = np.isfinite(values)
    count = there.sum(0)
    mean: Doubles = np.full(values.shape[1], np.nan)
    np.divide(np.where(there, values, 0).sum(0), count, out=mean, where=count > 0)
    return mean


def _places(values: list[Doubles], edges: Doubles) -> Doubles:
    return np.asarray(np.interp(np.array(values), edges, np.arange(len(edges))))


def _median(values: Doubles) -> Doubles:
    """Median of each row, NaN left out; NaN where nothing is."""
    out = np.full((len(values), 1), np.nan)
    some = np.isfinite(values).any(1)
    out[some] = np.nanmedian(values[some], axis=1, keepdims=True)
    return out


def _finite(values: Doubles) -> Doubles:
    return np.asarray(values[np.isfinite(values)])


def _jump(values: Doubles) -> float:
    return JUMP_FACTOR * float(np.quantile(values, JUMP_QUANTILE)) if len(values) >= MINIMUM_VALUES else float("inf")
