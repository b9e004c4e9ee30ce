"""Hourly history, or wide windows -> the rows a model learns from, made by the very features that serving computes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shared.adapters.tables.open import WideChunk
from shared.core.forecast.window.history import Hourly, hourly
from shared.core.intake.readings import Floats, Ints, Longs, Readings
from shared.core.model.feature import Feature
from shared.core.scenario import Scenario
from shared.core.task.task import Task

CHUNK = 1024  # windows cut at once: 4 MB, which the processor's caches still help with
UNKNOWN_HOUR = -1

History = Mapping[str, Hourly]
Advance = Callable[[float, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """Rows of features with the truth of `horizon` hours later, in the order of as_of, then device.

    Args:
        features: What the columns of `matrix` are.
        matrix: Features, NaN where missing, float32, shape (n, F).
        target: Truth, finite, shape (n,).
        as_of: Hour of the newest value in the window, steps since 1970 UTC, or -1 where rows have no time, shape (n,).
        device: Index into `devices`, shape (n,).
        devices: Device ids; of wide files the row's location.
        latest: Target at the as-of hour, NaN when missing, shape (n,).
        mean_24: Mean of the target over the last 24 hours, NaN hours left out, shape (n,).
        excluded: Hours that gave no row, by reason.
    """

    features: tuple[Feature, ...]
    matrix: Floats
    target: Floats
    as_of: Longs
    device: Ints
    devices: tuple[str, ...]
    latest: Floats
    mean_24: Floats
    excluded: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)

    @property
    def dated(self) -> bool:
        """Whether rows have a time; without one there is no forecast score."""
        return bool(len(self)) and bool(self.as_of[0] != UNKNOWN_HOUR)


def hours(scenario: Scenario, readings: Readings) -> dict[str, Hourly]:
    """Every device's hours, as serving folds its readings."""
    return hourly(scenario, readings)


def before(history: History, hour: int) -> dict[str, Hourly]:
    """History as it stood when `hour` began; devices that came later are gone."""
    cut = {name: (h, hour - h.first_hour) for name, h in history.items()}
    return {
        name: Hourly(h.first_hour, h.values[:length], h.samples[:length])
        for name, (h, length) in cut.items()
        if length > 0
    }


def dataset_hash(history: History, windows: Sequence[WideChunk] = ()) -> str:
    """Name of the data by content: the same hours give the same name however they were cut into files."""
    digest = hashlib.sha256()
    for name in sorted(history):
        hours = history[name]
        digest.update(f"{name!r} {hours.first_hour} {hours.values.shape}".encode())
        digest.update((hours.values + np.float32(0)).tobytes())  # -0.0 becomes 0.0: they are the same value
        digest.update(hours.samples.tobytes())
    for chunk in windows:
        digest.update(chunk.window.tobytes())
        digest.update(chunk.target.tobytes())
    return f"sha256:{digest.hexdigest()[:32]}"


def from_history(
    task: Task,
    history: History,
    *,
    since: int | None = None,
    advance: Advance = lambda _done, _total: None,
) -> TrainingSet:
    """Rows of every as-of hour in which a device has a sample and whose truth is in the history.

    Args:
        task: The features; its scenario's history, horizon and target.
        history: Devices' hours.
        since: Earliest as-of hour; earlier hours are only looked back upon.
        advance: Called with devices done and in all.
    """
    names = sorted(history)
    excluded: Counter[str] = Counter()
    spans = []
    for index, name in enumerate(names):
        span = _Span.of(task.scenario, history[name], index, since)
        excluded.update(span.excluded)
        spans.append(span)
    as_of = np.concatenate([np.zeros(0, np.int64), *(span.as_of for span in spans)])
    device = np.repeat(np.arange(len(names), dtype=np.int32), [len(span.as_of) for span in spans])
    rows = _Rows.empty(task, as_of, device)
    for done, span in enumerate(spans, 1):
        rows.fill(task, history[names[span.device]], span)
        advance(done, len(spans))
    return rows.finish(task, tuple(names), excluded)


def from_windows(task: Task, chunks: Iterable[WideChunk]) -> TrainingSet:
    """Rows of wide files in the order of the file: no time, no calendar, the location in place of the device."""
    matrices, targets, groups, latest, mean_24 = [], [], [], [], []
    missing = 0
    for chunk in chunks:
        known = np.isfinite(chunk.target)
        missing += int((~known).sum())
        window = np.ascontiguousarray(chunk.window[:, :, known])
        hours = np.full(window.shape[2], UNKNOWN_HOUR, dtype=np.int64)
        matrices.append(task.matrix(window, hours))
        targets.append(chunk.target[known])
        groups += [group for group, keep in zip(chunk.group, known, strict=True) if keep]
        latest.append(window[-1, task.scenario.target_column])
        mean_24.append(_mean(window[-task.scenario.cadence.day :, task.scenario.target_column]))
    devices = tuple(sorted(set(groups)))
    place = {name: index for index, name in enumerate(devices)}
    width = len(task.features)
    none = np.zeros(0, np.float32)
    return TrainingSet(
        features=task.features,
        matrix=np.concatenate([np.zeros((0, width), np.float32), *matrices]),
        target=np.concatenate([none, *targets]),
        as_of=np.full(len(groups), UNKNOWN_HOUR, dtype=np.int64),
        device=np.array([place[group] for group in groups], dtype=np.int32),
        devices=devices,
        latest=np.concatenate([none, *latest]),
        mean_24=np.concatenate([none, *mean_24]),
        excluded={"target_missing": missing} if missing else {},
    )


@dataclass(frozen=True, slots=True)
class _Span:
    """One device's as-of hours that give a row."""

    device: int
    as_of: Longs
    excluded: dict[str, int]

    @classmethod
    def of(cls, scenario: Scenario, hours: Hourly, device: int, since: int | None) -> _Span:
        length = len(hours.values)
        index = np.arange(max(0, (since or hours.first_hour) - hours.first_hour), length)
        sampled = hours.samples[index] > 0
        ahead = index + scenario.horizon_steps
        within = ahead < length
        truth = hours.values[np.minimum(ahead, length - 1), scenario.target_column]
        known = np.isfinite(truth)
        excluded = {
            "no_sample": int((~sampled).sum()),
            "target_not_yet": int((sampled & ~within).sum()),
            "target_missing": int((sampled & within & ~known).sum()),
        }
        rows = index[sampled & within & known] + hours.first_hour
        return cls(device, rows, {reason: count for reason, count in excluded.items() if count})


@dataclass(frozen=True, slots=True)
class _Rows:
    """Arrays in final order, filled device by device so that nothing is held twice."""

    place: Longs
    as_of: Longs
    device: Ints
    matrix: Floats
    target: Floats
    latest: Floats
    mean_24: Floats
    starts: Longs

    @classmethod
    def empty(cls, task: Task, as_of: Longs, device: Ints) -> _Rows:
        order = np.lexsort((device, as_of))
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        shape = len(as_of)
        return cls(
            place, as_of[order], device[order], np.empty((shape, len(task.features)), np.float32),
            np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32),
            np.searchsorted(device, np.arange(device[-1] + 2 if shape else 1)),
        )  # fmt: skip

    def fill(self, task: Task, hours: Hourly, span: _Span) -> None:
        if not len(span.as_of):
            return
        index = span.as_of - hours.first_hour
        place = self.place[self.starts[span.device] : self.starts[span.device] + len(index)]
        self.target[place] = hours.values[index + task.scenario.horizon_steps, task.scenario.target_column]
        for first in range(int(index[0]), int(index[-1]) + 1, CHUNK):
            low, high = np.searchsorted(index, [first, first + CHUNK])
            if low < high:
                self._chunk(task, hours, index[low:high], place[low:high])

    def _chunk(self, task: Task, hours: Hourly, index: Longs, place: Longs) -> None:
        window = _windows(hours.values, task.scenario.history_steps, int(index[0]), int(index[-1]) + 1)
        rows = index - index[0]
        as_of = np.arange(window.shape[2]) + hours.first_hour + index[0]
        self.matrix[place] = task.matrix(window, as_of)[rows]
        self.latest[place] = window[-1, task.scenario.target_column, rows]
        self.mean_24[place] = _mean(window[-task.scenario.cadence.day :, task.scenario.target_column])[rows]

    def finish(self, task: Task, devices: tuple[str, ...], excluded: Mapping[str, int]) -> TrainingSet:
        return TrainingSet(
            features=task.features, matrix=self.matrix, target=self.target, as_of=self.as_of, device=self.device,
            devices=devices, latest=self.latest, mean_24=self.mean_24, excluded=dict(excluded),
        )  # fmt: skip


def _windows(values: Floats, history: int, first: int, stop: int) -> Floats:
    """Windows ending at hours first..stop-1, contiguous float32, shape (history, columns, stop - first).

    Hour h of all windows is one contiguous run of the history, so the copy runs along memory.
    """
    low = first - history + 1
    ahead = np.full((max(0, -low), values.shape[1]), np.nan, np.float32)
    stretch = np.ascontiguousarray(np.concatenate([ahead, values[max(0, low) : stop]]).T)
    view = np.lib.stride_tricks.sliding_window_view(stretch, stop - first, axis=1)
    return np.ascontiguousarray(view.transpose(1, 0, 2))


def _mean(values: Floats) -> Floats:
    """Mean over the first axis of what is not NaN; NaN where nothing is."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0).sum(axis=0, dtype=np.float64)
    mean: Floats = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0).astype(np.float32)
    return mean
