"""Counting what each source brought and how far forecasts were off, in whole numbers, so that no order matters."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shared.core.forecast.losses import DAILY, ERRORS, TOTALS, quantum
from shared.core.forecast.state import KEPT_DAYS, KEPT_SOURCES, PROFILE_DAYS, Day, State, Tally
from shared.core.intake.readings import Floats, Ints, Longs, Mask
from shared.core.model.scoring import BASELINE, CHAMPION
from shared.core.scenario import Scenario
from shared.core.stream.events import FILE_PREFIX, Batch
from shared.core.task.calendar import DAY_HOURS, NO_HOUR

_AT = {name: place for place, name in enumerate(TOTALS)}
_MADE = {CHAMPION: "forecasts", BASELINE: "first_forecasts"}
_ON = {name: place for place, name in enumerate(DAILY)}


@dataclass(frozen=True, slots=True)
class Matured:
    """Forecasts whose truth has become final, row by row, shape (n,) each.

    Args:
        as_of: As-of hours.
        truth: The target at the target hour.
        latest: The target at the as-of hour (persistence), NaN where missing.
        value: The forecast.
        lower: Lower end of its interval.
        upper: Upper end of its interval.
        model: Index of its model.
    """

    as_of: Longs
    truth: Floats
    latest: Floats
    value: Floats
    lower: Floats
    upper: Floats
    model: npt.NDArray[np.uint16]

    @property
    def covered(self) -> Mask:
        """Whether the truth lies in the interval, its ends included."""
        inside: Mask = (self.truth >= self.lower) & (self.truth <= self.upper)
        return inside


@dataclass(slots=True)
class Sums:
    """What a batch adds, on copies of its sources' tallies.

    Args:
        scenario: Limits of the target.
        batch: The batch.
        redelivered: Readings at positions their source had already passed, bool, shape (n,).
        sources: Tallies of the batch's sources.
        errors: Sums added to the state's error sums.
    """

    scenario: Scenario
    batch: Batch
    redelivered: Mask
    sources: dict[str, Tally]
    errors: dict[tuple[int, int, int], Longs] = field(default_factory=dict)

    @classmethod
    def of(cls, scenario: Scenario, state: State, batch: Batch) -> Sums:
        """Copies of the tallies, with the positions moved on."""
        sources = {name: _tally(state, name) for name in batch.sources}
        redelivered = np.zeros(len(batch), bool)
        for place, tally in enumerate(sources.values()):
            rows = np.flatnonzero(batch.source == place)
            passed = np.maximum.accumulate(np.r_[tally.position, batch.position[rows]])
            redelivered[rows] = batch.position[rows] <= passed[:-1]
            ends = [end.position for end in batch.ends if end.source == place]
            tally.position = max(int(passed[-1]), *ends, -1)
            tally.touched = batch.next
        return cls(scenario, batch, redelivered, sources)

    def _tallies(self, source: Ints) -> list[tuple[Tally, Mask, bool]]:
        sources = list(self.sources.items())
        present = np.unique(source)
        return [(sources[p][1], source == p, sources[p][0].startswith(FILE_PREFIX)) for p in present]

    def dispose(self, name: str, chosen: Mask) -> None:
        """Count readings by what became of them; `name` is one of the dispositions."""
        cadence = self.scenario.cadence
        hour = self.batch.minute.astype(np.int64) // (cadence.ticks * cadence.hour)
        for tally, mine, is_file in self._tallies(self.batch.source):
            rows = mine & chosen
            count = int(rows.sum())
            tally.totals[_AT[name]] += count
            if name == "redelivered" or not count:
                continue
            tally.totals[_AT["arrived"]] += count
            first, last = int(hour[rows].min()), int(hour[rows].max())
            tally.first_hour = first if tally.first_hour == NO_HOUR else min(tally.first_hour, first)
            tally.last_hour = max(tally.last_hour, last)
            if is_file:
                _by_day(tally, hour[rows] // DAY_HOURS, rows=np.ones(count, np.int64))

    def forecast(self, source: Ints, as_of: Longs, role: int) -> None:
        """Count forecasts that users saw; `source` brought the reading that made each due."""
        if role not in _MADE:
            return
        for tally, mine, is_file in self._tallies(source):
            tally.totals[_AT[_MADE[role]]] += int(mine.sum())
            if is_file and role == CHAMPION:
                _by_day(tally, as_of[mine] // self.scenario.cadence.day, forecasts=np.ones(int(mine.sum()), np.int64))

    def mature(self, source: Ints, role: int, found: Matured) -> None:
        """Add the errors of matured forecasts; `source` brought the reading that made each truth final."""
        unit = quantum(self.scenario)
        error = whole(found.value, unit) - whole(found.truth, unit)
        paired = ~np.isnan(found.latest)
        naive = whole(np.where(paired, found.latest, found.truth), unit) - whole(found.truth, unit)
        self._errors(role, found, error, naive)
        if role != CHAMPION:
            return
        ones = np.ones(len(error), np.int64)
        for tally, mine, is_file in self._tallies(source):
            both = mine & paired
            for name, column in {
                "matured": ones[mine],
                "paired": ones[both],
                "absolute": np.abs(error[both]),
                "squared": error[both] ** 2,
                "absolute_persistence": np.abs(naive[both]),
                "squared_persistence": naive[both] ** 2,
            }.items():
                tally.totals[_AT[name]] += int(column.sum())
            if is_file:
                _by_day(
                    tally,
                    found.as_of[mine] // self.scenario.cadence.day,
                    matured=ones[mine],
                    forecast=whole(found.value[mine], unit),
                    truth=whole(found.truth[mine], unit),
                    paired=paired[mine].astype(np.int64),
                    absolute=np.abs(error[mine]) * paired[mine],
                    absolute_persistence=np.abs(naive[mine]) * paired[mine],
                )

    def _errors(self, role: int, found: Matured, error: Longs, naive: Longs) -> None:
        paired = (~np.isnan(found.latest)).astype(np.int64)
        absolute, squared = np.abs(error), error**2
        naive_absolute, naive_squared = np.abs(naive), naive**2  # 0 where the latest value is missing
        own = (np.ones(len(error), np.int64), found.covered.astype(np.int64), error, absolute, squared)
        beside = (paired, absolute * paired, naive_absolute, squared * paired, naive_squared)
        table = np.stack((*own, *beside), axis=1)
        key = (found.as_of // self.scenario.cadence.day) << 16 | found.model
        for value in np.unique(key):
            place = (int(value >> 16), role, int(value & 0xFFFF))
            sums = self.errors.setdefault(place, np.zeros(len(ERRORS), np.int64))
            sums += table[key == value].sum(axis=0)


def whole(values: Floats, unit: float) -> Longs:
    """Values as whole numbers of `unit`, rounded half to even, int64."""
    return np.rint(values.astype(np.float64) / unit).astype(np.int64)


def _tally(state: State, name: str) -> Tally:
    return state.sources[name].copy() if name in state.sources else Tally()


def _by_day(tally: Tally, day: Longs, **columns: Longs) -> None:
    days, which = np.unique(day, return_inverse=True)
    for name, column in columns.items():
        sums = np.zeros(len(days), np.int64)
        np.add.at(sums, which, column)
        for place, total in zip(days.tolist(), sums.tolist(), strict=True):
            tally.daily.setdefault(place, np.zeros(len(DAILY), np.int64))[_ON[name]] += total


def forget(state: State) -> None:
    """Drop the oldest sources and days beyond what is kept; decided by events alone, so a replay drops the same."""
    if len(state.sources) > KEPT_SOURCES:
        oldest = sorted(state.sources, key=lambda name: (state.sources[name].touched, name))
        for name in oldest[: len(state.sources) - KEPT_SOURCES]:
            del state.sources[name]
    _keep_newest(state.errors, KEPT_DAYS)
    _keep_newest(state.pairs, KEPT_DAYS)
    _keep_newest(state.forecasts, PROFILE_DAYS)
    for day in sorted(state.histograms)[:-PROFILE_DAYS]:
        del state.histograms[day]


def _keep_newest(sums: dict[tuple[Day, int, int], Longs], days: int) -> None:
    old = set(sorted({day for day, _, _ in sums})[:-days])
    for key in [key for key in sums if key[0] in old]:
        del sums[key]
