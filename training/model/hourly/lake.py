"""Training history from the lake: a version of the readings is a dataset, read a bounded number of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from shared.adapters.lake import rows as lake_rows
from shared.adapters.lake.delta.files import View
from shared.adapters.lake.delta.tables import DeltaTables
from shared.adapters.lake.schema import READINGS
from shared.core.forecast.window.columns import Counts
from shared.core.forecast.window.history import Hourly, hourly
from shared.core.intake.readings import Floats
from shared.core.scenario import Scenario
from shared.core.scenario.cadence import Cadence
from training.data.files import DataRefused

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 1_000_000


def history(
    scenario: Scenario,
    uri: str,
    options: Callable[[], Mapping[str, str]],
    version: int,
    *,
    rows_at_once: int = ROWS_AT_ONCE,
) -> tuple[dict[str, Hourly], int]:
    """Every device's hours from the applied readings of one version, as serving folded them, and how many these are.

    Args:
        scenario: Channels and rules of aggregation.
        uri: Where the lake's tables are, `az://lake` or a folder.
        options: From `delta/storage_options.py`.
        version: Version of the readings.
        rows_at_once: About how many readings are held at once; never less than the fleet sends in an hour.

    Raises:
        ContractBroken: There is no such version, or a file of it is gone or damaged.
        DataRefused: It holds no applied reading.
    """
    view = DeltaTables(uri, options).opened(READINGS, version)
    gathered = _Gathered(scenario)
    if view is None:  # never, when a version is named
        raise DataRefused(f"lake@{version}: there is no lake")
    for first, stop, wanted in _spans(_rows_by_day(view), rows_at_once):
        for low, high in _parts(scenario.cadence, first, stop, wanted, rows_at_once):
            gathered.add([lake_rows.applied(rows, low, high) for rows in view.read(days=(first, stop))])
    if not gathered.rows:
        raise DataRefused(f"lake@{version}: holds no applied reading")
    return gathered.hours(), gathered.rows


def _spans(days: Mapping[int, int], limit: int) -> Iterator[tuple[int, int, int]]:
    """Runs of days with no more than `limit` rows, or single days: first day, day after the last, rows."""
    run: list[int] = []
    for day in sorted(days):
        if run and sum(days[held] for held in run) + days[day] > limit:
            yield run[0], run[-1] + 1, sum(days[held] for held in run)
            run = []
        run.append(day)
    if run:
        yield run[0], run[-1] + 1, sum(days[held] for held in run)


def _parts(cadence: Cadence, first: int, stop: int, rows: int, limit: int) -> list[tuple[int, int]]:
    """A run as it is, a day with too many rows by steps: a step must not be cut, for its samples are one sum."""
    count = min(cadence.day, -(-rows // limit)) if stop == first + 1 else 1
    steps = [(stop - first) * cadence.day * part // count for part in range(count + 1)]
    edges = [(first * cadence.day + step) * cadence.step_us for step in steps]
    return list(pairwise(edges))


def _rows_by_day(view: View) -> dict[int, int]:
    found: dict[int, int] = {}
    for file in view.files:
        found[file.day] = found.get(file.day, 0) + file.rows
    return found


@dataclass(slots=True)
class _Gathered:
    scenario: Scenario
    rows: int = 0
    devices: dict[str, _Growing] = field(default_factory=dict)

    def add(self, pieces: list[pa.Table]) -> None:
        """Fold applied readings, of hours that no other call has."""
        import pyarrow as pa

        found = pa.concat_tables(pieces, promote_options="default") if pieces else None
        if found is not None and len(found):
            self._fold(found)

    def _fold(self, rows: pa.Table) -> None:
        readings = lake_rows.readings_of(self.scenario.channel_names, self.scenario.cadence, rows)
        self.rows += len(rows)
        for name, hours in hourly(self.scenario, readings).items():
            self.devices.setdefault(name, _Growing(hours.first_hour)).put(hours)

    def hours(self) -> dict[str, Hourly]:
        return {name: self.devices.pop(name).hourly() for name in sorted(self.devices)}  # never all of them twice


@dataclass(slots=True)
class _Growing:
    """One device's hours, appended to in the order of time."""

    first_hour: int
    length: int = 0
    values: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))
    samples: Counts = field(default_factory=lambda: np.empty(0, np.uint8))

    def put(self, hours: Hourly) -> None:
        start = hours.first_hour - self.first_hour
        self.length = start + len(hours.values)
        if self.length > len(self.values):
            self._grow(max(self.length, 2 * len(self.values)), hours)
        self.values[start : self.length] = hours.values
        self.samples[start : self.length] = hours.samples

    def _grow(self, size: int, like: Hourly) -> None:
        width = like.values.shape[1]
        values, samples = np.full((size, width), np.nan, np.float32), np.zeros(size, like.samples.dtype)
        values[: len(self.values)] = self.values.reshape(-1, width)
        samples[: len(self.samples)] = self.samples
        self.values, self.samples = values, samples

    def hourly(self) -> Hourly:
        return Hourly(self.first_hour, self.values[: self.length].copy(), self.samples[: self.length].copy())
