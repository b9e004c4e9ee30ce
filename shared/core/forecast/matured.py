"""Forecasts whose truth has become final: counted for profiles, kept for their devices, and handed on as outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shared.core.forecast.features import watched
from shared.core.forecast.ring import Bools
from shared.core.forecast.state import CHALLENGER, CHAMPION, QUALITY, QUALITY_DAYS, ROLES, Columns, Day, State, quantum
from shared.core.forecast.tallies import HOURS, Matured, add_errors, whole
from shared.core.intake.readings import Floats, Longs
from shared.core.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Final:
    """As-of hours with a forecast that can be judged now, n rows, a column for each role.

    Args:
        device: Local device numbers, int64, shape (n,).
        as_of: As-of hours, int64, shape (n,).
        sequence: Sequence number of the event that made the truth final, int64, shape (n,).
        truth: The target at the target hour, NaN where it never came, float32, shape (n,).
        latest: The target at the as-of hour, NaN where missing, float32, shape (n,).
        value: Forecasts, float32, shape (n, roles); `lower` and `upper` are the ends of the intervals.
        revision: 1 + revision, 0 where that role made none, uint16, shape (n, roles).
        model: Index of the model, uint16, shape (n, roles).
        bins: Bins of the watched features behind the champion's forecast, uint16, shape (n, W).
    """

    device: Longs
    as_of: Longs
    sequence: Longs
    truth: Floats
    latest: Floats
    value: Floats
    lower: Floats
    upper: Floats
    revision: npt.NDArray[np.uint16]
    model: npt.NDArray[np.uint16]
    bins: npt.NDArray[np.uint16]

    @classmethod
    def of(cls, scenario: Scenario, columns: Columns, device: Longs, as_of: Longs, sequence: Longs) -> Final:
        """Look up what waits for these hours, and their truth."""
        ring, waiting, target = columns.ring, columns.waiting, scenario.target_column
        slot = as_of % waiting.slots
        truth = ring.value_at(device, as_of + scenario.horizon, target)
        waited = {name: array[slot, :, device] for name, array in waiting.arrays().items()}
        return cls(device, as_of, sequence, truth, ring.value_at(device, as_of, target), **waited)

    @property
    def day(self) -> Longs:
        """As-of days, shape (n,)."""
        return self.as_of // HOURS

    def made(self, role: int) -> Bools:
        """Which hours a role forecast, shape (n,)."""
        made: Bools = self.revision[:, role] > 0
        return made

    def known(self, role: int) -> Bools:
        """Which of them have a truth, shape (n,)."""
        return self.made(role) & ~np.isnan(self.truth)

    def matured(self, role: int, rows: Bools) -> Matured:
        """One role's forecasts of some hours."""
        mine = (self.value, self.lower, self.upper, self.model)
        found = (column[rows, role] for column in mine)
        return Matured(self.as_of[rows], self.truth[rows], self.latest[rows], *found)

    def judge(self, quality: Longs, newest_day: Longs, scenario: Scenario) -> None:
        """Add the champion's errors to its devices' newest days.

        Args:
            quality: Of the devices' columns, changed in place.
            newest_day: Newest as-of day of each device, after which older ones are dropped.
            scenario: Decides on the quantum.
        """
        rows = self.known(CHAMPION) & (self.day > newest_day[self.device] - QUALITY_DAYS)
        found = self.matured(CHAMPION, rows)
        error = np.abs(_error(found, quantum(scenario)))
        table = np.stack([np.ones_like(error), error, found.covered.astype(np.int64)], axis=1)
        slot = self.day[rows] % QUALITY_DAYS
        np.add.at(quality, (slot[:, None], np.arange(len(QUALITY)), self.device[rows][:, None]), table)


def _error(found: Matured, unit: float) -> Longs:
    return whole(found.value, unit) - whole(found.truth, unit)


@dataclass(slots=True)
class Counted:
    """Sums to be added to the state's, under the same keys.

    Args:
        edges: Edges of the bins of forecasts, shape (1, BINS + 1).
        unit: Quantum of errors.
    """

    edges: watched.Edges
    unit: float
    histograms: dict[Day, Longs] = field(default_factory=dict)
    forecasts: dict[tuple[Day, int, int], Longs] = field(default_factory=dict)
    pairs: dict[tuple[Day, int, int], Longs] = field(default_factory=dict)

    @classmethod
    def of(cls, scenario: Scenario) -> Counted:
        """Nothing counted yet."""
        return cls(watched.forecast_edges(scenario)[None], quantum(scenario))

    def add(self, final: Final) -> None:
        """Count rows, also those whose truth never came: what was forecast does not depend on what became of it."""
        champion = final.made(CHAMPION)
        add_errors(self.histograms, watched.by_key(final.day[champion], final.bins[champion]))
        for role in range(len(ROLES)):
            rows = final.made(role)
            key = final.day[rows] << 16 | final.model[rows, role]
            found = watched.by_key(key, watched.place(final.value[rows, role, None], self.edges))
            add_errors(self.forecasts, {(k >> 16, role, k & 0xFFFF): counts[0] for k, counts in found.items()})
        self._add_pairs(final)

    def _add_pairs(self, final: Final) -> None:
        # Of one revision, so that both saw the same hours: a model that has left may have forecast an older one.
        same = final.revision[:, CHAMPION] == final.revision[:, CHALLENGER]
        rows = same & final.known(CHAMPION)
        if not rows.any():
            return
        one, two = (final.matured(role, rows) for role in (CHAMPION, CHALLENGER))
        errors = [_error(found, self.unit) for found in (one, two)]
        columns = [np.ones(len(one.as_of), np.int64), *map(np.abs, errors), *(error**2 for error in errors)]
        table = np.stack([*columns, *(found.covered.astype(np.int64) for found in (one, two))], axis=1)
        key = final.day[rows] << 32 | one.model.astype(np.int64) << 16 | two.model
        for value in np.unique(key):
            place = (int(value >> 32), int(value >> 16 & 0xFFFF), int(value & 0xFFFF))
            add_errors(self.pairs, {place: table[key == value].sum(axis=0)})

    def put(self, state: State) -> None:
        """Add everything to a state."""
        add_errors(state.histograms, self.histograms)
        add_errors(state.forecasts, self.forecasts)
        add_errors(state.pairs, self.pairs)


@dataclass(frozen=True, slots=True)
class Labels:
    """Matured forecasts of a batch, one row per device, as-of hour and role that forecast it.

    Args:
        devices: Device ids.
        models: Model versions.
        device: Index into `devices`, int64, shape (n,).
        as_of: As-of hours since 1970, int64, shape (n,).
        role: Index into `ROLES`, int8, shape (n,).
        model: Index into `models`, int64, shape (n,).
        revision: Revision of the forecast that counts, the newest, int64, shape (n,).
        value: The forecast, float32, shape (n,); `lower` and `upper` are the ends of its interval.
        truth: The target at the target hour, NaN where it never came, float32, shape (n,).
        latest: The target at the as-of hour, NaN where missing, float32, shape (n,).
        sequence: Sequence number of the event that made the truth final, int64, shape (n,).
    """

    devices: list[str]
    models: list[str]
    device: Longs
    as_of: Longs
    role: npt.NDArray[np.int8]
    model: Longs
    revision: Longs
    value: Floats
    lower: Floats
    upper: Floats
    truth: Floats
    latest: Floats
    sequence: Longs

    def __len__(self) -> int:
        return len(self.as_of)


def labels(finals: Sequence[Final], devices: list[str], models: list[str]) -> Labels:
    """All rows of a batch, in the order in which they became final."""
    parts = [_labels(final, role, devices, models) for final in finals for role in range(len(ROLES))]
    every = [_labels(_NONE, CHAMPION, devices, models), *parts]
    columns = {name: np.concatenate([getattr(part, name) for part in every]) for name in Labels.__slots__[2:]}
    return Labels(devices, models, **columns)


def _labels(final: Final, role: int, devices: list[str], models: list[str]) -> Labels:
    rows = final.made(role)
    found = final.matured(role, rows)
    return Labels(
        devices,
        models,
        final.device[rows],
        found.as_of,
        np.full(len(found.as_of), role, np.int8),
        found.model.astype(np.int64),
        final.revision[rows, role].astype(np.int64) - 1,
        found.value,
        found.lower,
        found.upper,
        found.truth,
        found.latest,
        final.sequence[rows],
    )


def _none() -> Final:
    longs, floats, shorts = np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, len(ROLES)), np.uint16)
    wide = np.zeros((0, len(ROLES)), np.float32)
    return Final(longs, longs, longs, floats, floats, wide, wide, wide, shorts, shorts, shorts)


_NONE = _none()
