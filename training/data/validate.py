"""Is this data worth a model: errors stop the run, warnings go on beside it; each says key, value and limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shared.core.intake.readings import Floats, Readings
from shared.core.scenario import Channel, Scenario
from training.data.files import DataRefused, Source
from training.data.folds import Fold
from training.model.hourly.rows import History, TrainingSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is still acceptable; shares are of hours (missing), readings (conflicts) or rows (rejected)."""

    rows: int = 200
    folds: int = 2
    conflict_share: float = 0.05
    devices: int = 3
    missing_share: float = 0.2
    rejected_share: float = 0.01
    cap_hours: int = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (error) or worth knowing (warning)."""

    level: Literal["error", "warning"]
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


def refuse(findings: Iterable[Finding]) -> None:
    """Stop when there are errors.

    Raises:
        DataRefused: Lists every error.
    """
    errors = [str(finding) for finding in findings if finding.level == "error"]
    if errors:
        raise DataRefused("\n".join(errors))


def check_sources(sources: Sequence[Source], limits: Limits) -> Iterator[Finding]:
    """What the files gave: nothing at all, rejected rows, files that ended early or could not be used."""
    rows = sum(source.rows for source in sources)
    rejected: Counter[str] = Counter()
    for source in sources:
        rejected.update(source.rejected)
        if source.problem:
            yield Finding("warning", source.name, source.problem)
    if not rows - rejected.total() > 0:
        yield Finding("error", "readings", f"0 of {rows} rows were accepted, 1 is needed{_reasons(rejected)}")
    elif rejected.total() > limits.rejected_share * rows:
        text = f"{rejected.total()} of {rows} are more than {limits.rejected_share:.0%}{_reasons(rejected)}"
        yield Finding("warning", "rejected rows", text)
    elif rejected:
        yield Finding("warning", "rejected rows", f"{rejected.total()} of {rows}{_reasons(rejected)}")


def _reasons(rejected: Counter[str]) -> str:
    return "".join(f"; {reason} {count}" for reason, count in rejected.most_common())


def check_duplicates(scenario: Scenario, readings: Readings, before: int | None, limits: Limits) -> Iterator[Finding]:
    """Readings of a tick that the device had already sent: repeated, or saying something else.

    Args:
        scenario: Its cadence.
        readings: All readings, sorted by time.
        before: Step from which on readings are not looked at.
        limits: The share of conflicts that stops.
    """
    end = len(readings) if before is None else int(np.searchsorted(readings.minute, before * scenario.cadence.ticks))
    key = readings.device[:end].astype(np.int64) << 32 | readings.minute[:end]
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(np.diff(key[order]) == 0) + 1
    if not len(again):
        return
    one, other = readings.values[order[again]], readings.values[order[again - 1]]
    same = ((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=1)
    conflicts, same_time = int((~same).sum()), f"resolution_s = {scenario.resolution_s}"
    if conflicts > limits.conflict_share * end:
        text = f"{conflicts} of {end} readings contradict another one of their device and time ({same_time})"
        yield Finding("error", "conflicts", f"{text}, limit {limits.conflict_share:.0%}")
    elif conflicts:
        text = f"{conflicts} of {end} readings contradict an earlier one, which stays ({same_time})"
        yield Finding("warning", "conflicts", text)
    if same.any():
        yield Finding("warning", "duplicates", f"{int(same.sum())} of {end} readings came twice and count once")


def check_history(scenario: Scenario, history: History, limits: Limits) -> Iterator[Finding]:
    """The hours: the target's presence and spread, missing and constant columns, caps, gaps, few devices."""
    if not history:
        yield Finding("error", "hours", "no hour of data lies before the test span")
        return
    values = np.concatenate([hours.values for hours in history.values()])
    yield from _target(scenario, values[:, scenario.target_column])
    if len(history) < limits.devices:
        yield Finding("warning", "devices", f"{len(history)} are fewer than {limits.devices}")
    for index, name in enumerate(scenario.stored):
        yield from _column(name, values[:, index], limits, is_target=name == scenario.target)
    for channel in scenario.channels:
        if channel.aggregate == "mean":
            yield from _cap(channel, values[:, scenario.stored.index(channel.name)], limits)
    yield from _gaps(scenario, history)


def _target(scenario: Scenario, values: Floats) -> Iterator[Finding]:
    there = values[np.isfinite(values)]
    if not len(there):
        yield Finding("error", scenario.target, f"the target has a value in 0 of {len(values)} hours, 1 is needed")
    elif there.min() == there.max():
        yield Finding("error", scenario.target, f"the target is {there[0]:g} in all {len(there)} hours that have it")


def _column(name: str, values: Floats, limits: Limits, *, is_target: bool) -> Iterator[Finding]:
    there = values[np.isfinite(values)]
    missing = 1 - len(there) / len(values)
    if missing > limits.missing_share and not (is_target and not len(there)):  # that is an error of its own
        yield Finding("warning", name, f"{missing:.1%} of hours are missing, limit {limits.missing_share:.0%}")
    if len(there) and not is_target and there.min() == there.max():
        yield Finding("warning", name, f"is {there[0]:g} in all {len(there)} hours that have it")


def _cap(channel: Channel, values: Floats, limits: Limits) -> Iterator[Finding]:
    """A largest value that is repeated and stands apart from the next looks like the sensor's end of scale."""
    distinct, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    if len(distinct) < 3 or distinct[-1] >= channel.maximum or distinct[-2] <= 0:
        return
    if counts[-1] >= limits.cap_hours and counts[-1] > 2 * counts[-2]:
        text = f"{counts[-1]} hours stand at the largest value {distinct[-1]:g}, which looks like a sensor's cap"
        yield Finding("warning", channel.name, text)


def _gaps(scenario: Scenario, history: History) -> Iterator[Finding]:
    longest, where, count = 0, "", 0
    for name, hours in history.items():
        sampled = np.flatnonzero(hours.samples)
        gaps = np.diff(sampled) - 1
        count += int((gaps >= scenario.history_steps).sum())
        if len(gaps) and gaps.max() > longest:
            longest, where = int(gaps.max()), name
    if count:
        stretch = f"{longest / scenario.cadence.hour:g} h"
        text = f"{count} are longer than a window of {scenario.history} h; the longest, {stretch}, is at {where!r}"
        yield Finding("warning", "gaps", text)


def check_rows(rows: TrainingSet, folds: Sequence[Fold], limits: Limits) -> Iterator[Finding]:
    """Whether there is enough to learn from and to judge by."""
    if len(rows) < limits.rows:
        excluded = "".join(f"; {reason} {count}" for reason, count in rows.excluded.items())
        yield Finding("error", "training rows", f"{len(rows)} are fewer than {limits.rows}{excluded}")
    for number, fold in enumerate(folds, 1):
        truth = rows.target[fold.train]
        if truth.min() == truth.max():
            yield Finding("error", f"fold {number}", f"the truth is {truth[0]:g} in all {len(truth)} rows to train on")
    if len(folds) < limits.folds:
        yield Finding("error", "folds", f"{len(folds)} are possible, {limits.folds} are needed: the time is too short")
