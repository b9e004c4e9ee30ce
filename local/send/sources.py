"""What a fleet sends, in the order of event time: the built-in generator's, or a file's of real readings."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from local.fleet.__main__ import START, Fleet, Row
from local.fleet.faults import CHANNELS, UNITS
from shared.adapters.tables.open import open_table
from shared.core.intake.readings import Doubles, Floats, Readings
from shared.core.intake.tables import LongTable
from shared.core.scenario import Scenario
from shared.errors import BadEvent, ConfigError

COHORT = 250  # stations that share their weather; what is computed at once stays below 100 MB for a month
ROWS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Source:
    """Readings by time.

    Args:
        name: What it is, for people.
        channels: Names of a row's values.
        total: Readings there are, about.
        rows: Begins to read them.
        left_out: Records that are not sent, by reason.
    """

    name: str
    channels: tuple[str, ...]
    total: int
    rows: Callable[[], Iterator[Row]]
    left_out: Counter[str] = field(default_factory=Counter)


def made_up(scenario: Scenario) -> tuple[str, ...]:
    """A scenario's channels, all of which the generator makes.

    Raises:
        ConfigError: It makes some not, or in another unit; the message names them.
    """
    known = dict(zip(CHANNELS, UNITS, strict=True))
    unknown = [f"{each.name} in {each.unit}" for each in scenario.channels if known.get(each.name) != each.unit]
    if unknown:
        raise ConfigError(f"the generator cannot make {', '.join(unknown)} of {scenario.name}: give a file with --data")
    return scenario.channel_names


def fleet(
    devices: int, hours: int, *, seed: int, start: datetime = START, channels: Sequence[str] = CHANNELS
) -> Source:
    """The generator's fleet; it holds 28 bytes per device and hour, whatever its size.

    The first 250 devices are those of `Fleet` with the same seed; the others stand in regions of their own.

    Args:
        devices: How many there are.
        hours: How many hours.
        seed: Seed of everything.
        start: First hour, aware.
        channels: Those that are sent, of the ones that the generator makes.

    Raises:
        ValueError: No devices, no hours, no time zone, or hours that have not passed yet.
    """
    if devices < 1 or hours < 1:
        raise ValueError(f"a fleet needs devices and hours, not {devices} and {hours}")
    if start.tzinfo is None:
        raise ValueError(f"start {start.isoformat()} has no time zone: add Z")
    if start.timestamp() + (hours - 1) * 3600 > time.time():
        raise ValueError(f"{hours} hours from {start.isoformat()} on have not passed yet: a hub refuses the future")
    sizes = [min(COHORT, devices - first) for first in range(0, devices, COHORT)]
    cohorts = [Fleet(seed=seed + 1000 * k, stations=n, hours=hours, start=start) for k, n in enumerate(sizes)]
    names = [_numbered(name, COHORT * k) for k, cohort in enumerate(cohorts) for name in cohort.names]
    first_hour = cohorts[0].first_hour
    places = [CHANNELS.index(name) for name in channels]
    values = np.empty((hours, devices, len(places)), np.float32)
    while cohorts:  # dropped one after the other: what they computed is ten times what is kept
        last = cohorts.pop()
        values[:, COHORT * len(cohorts) :][:, : last.stations] = last.values[..., places]

    def rows() -> Iterator[Row]:
        for hour in range(hours):
            minute = (first_hour + hour) * 60
            cells = np.round(values[hour].astype(np.float64), 1)
            heard = np.flatnonzero(~np.isnan(cells).all(axis=1))
            for place, row in zip(heard.tolist(), cells[heard].tolist(), strict=True):
                yield Row(minute, names[place], tuple(row))

    total = int((~np.isnan(values).all(axis=2)).sum())
    name = f"{devices:,} made-up devices, {hours:,} hours from {start:%Y-%m-%d %H:%M}Z on"
    return Source(name, tuple(channels), total, rows)


def _numbered(name: str, ahead: int) -> str:
    """A station's name as it is called behind `ahead` others.

    >>> _numbered("park-003", 250)
    'park-253'
    """
    kind, number = name.split("-")
    return f"{kind}-{int(number) + ahead:03d}"


def file(path: Path, scenario: Scenario, zone: str | None) -> Source:
    """A real file, sorted by event time; it is held in columns, 50 bytes per reading.

    Rows that are no readings are left out, and so are those that repeat a device's time: what a device sends twice is
    a fault, to be injected and recorded.

    Args:
        path: Any long form that can be dropped.
        scenario: Names and limits.
        zone: Declared zone of timestamps without one.

    Raises:
        BadEvent: The file cannot be used, or has no times.
    """
    left_out: Counter[str] = Counter()
    tick_s = scenario.resolution_s
    found = joined(_read(path, scenario, zone, left_out), len(scenario.channels))
    _, first = np.unique(found.device.astype(np.int64) << 32 | found.minute, return_index=True)
    if len(first) < len(found):
        left_out[f"repeats a time (resolution_s = {tick_s})"] = len(found) - len(first)
    order = np.sort(first)
    if not len(order):
        raise BadEvent("empty_file", f"{path.name} holds no usable reading")

    def rows() -> Iterator[Row]:
        for begin in range(0, len(order), ROWS_AT_ONCE):
            part = order[begin : begin + ROWS_AT_ONCE]
            cells = map(tuple, decimal(found.values[part]).tolist())
            seconds = found.minute[part].astype(np.int64) * tick_s
            minutes = seconds / 60 if scenario.cadence.fine else seconds // 60
            for when, who, row in zip(minutes.tolist(), found.device[part].tolist(), cells, strict=True):
                yield Row(when, found.devices[who], row)

    return Source(path.name, scenario.channel_names, len(order), rows, left_out)


def _read(path: Path, scenario: Scenario, zone: str | None, left_out: Counter[str]) -> list[Readings]:
    with path.open("rb") as stream:
        table = open_table(path.name, stream, scenario, zone=zone, not_after_minute=int(time.time() // 60))
        if not isinstance(table, LongTable):
            raise BadEvent("format", f"{path.name} is a wide file without times; it cannot be streamed")
        parts = []
        for parsed in table:
            left_out.update(rejection.reason for rejection in parsed.rejected)
            parts.append(parsed.readings)
    if table.problem is not None:
        left_out[f"truncated ({table.problem})"] += 1
    return parts


def joined(parts: Sequence[Readings], channels: int) -> Readings:
    """Readings that come in parts, as one, sorted by time.

    Args:
        parts: Of any number of readings, also none.
        channels: How many values each has.
    """
    none = np.empty(0, np.int32)
    nothing = Readings((), none, none, none.astype(np.int64), np.empty((0, channels), np.float32))
    places: dict[str, int] = {}
    device = [np.empty(0, np.int32)]
    for part in parts:
        known = np.array([places.setdefault(name, len(places)) for name in part.devices], np.int32)
        device.append(known[part.device])
    minute, position, values = (
        np.concatenate([getattr(part, name) for part in (nothing, *parts)]) for name in ("minute", "position", "values")
    )
    order = np.argsort(minute, kind="stable")
    return Readings(tuple(places), np.concatenate(device)[order], minute[order], position[order], values[order])


def decimal(values: Floats) -> Doubles:
    """The values as a person would write them, which read back as the same float32.

    >>> decimal(np.array([[1013.2, 0.1, np.nan, 1 / 3]], np.float32)).tolist()
    [[1013.2, 0.1, nan, 0.33333334]]
    """
    written = np.round(values.astype(np.float64), 3).astype(np.float64, copy=False)
    other = np.isfinite(values) & (written.astype(np.float32) != values)
    written[other] = [float(str(value)) for value in values[other]]
    return written
