"""Forecasts whose truth has become final: counted for profiles, kept for their devices, and handed on as outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.core.forecast.features.watched import forecast_edges
from shared.core.forecast.losses import FORECAST, QUALITY, TRUTH, quantum
from shared.core.forecast.state import Day, State
from shared.core.forecast.tallies import Matured, whole
from shared.core.forecast.window.slots import QUALITY_DAYS, Columns
from shared.core.intake.readings import Floats, Longs, Mask
from shared.core.model.answers import Labels
from shared.core.model.scoring import BASELINE, CHALLENGER, CHAMPION, FLOOR, PLACES, ROLES
from shared.core.profile import bins
from shared.core.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Final:
    """As-of hours with a forecast that can be judged now, n rows, a column for each of `PLACES`.

    Args:
        device: Local device numbers, int64, shape (n,).
        as_of: As-of hours, int64, shape (n,).
        day: As-of days, int64, shape (n,).
        sequence: Sequence number of the event that made the truth final, int64, shape (n,).
        truth: The target at the target hour, NaN where it never came, float32, shape (n,).
        latest: The target at the as-of hour, NaN where missing, float32, shape (n,).
        baseline: Whether it is the baseline's that stands in the champion's place, bool, shape (n,).
        value: Forecasts, float32, shape (n, places); `lower` and `upper` are the ends of the intervals.
        revision: 1 + revision, 0 where there is none, uint16, shape (n, places).
        model: Index of the model, uint16, shape (n, places).
        bins: Bins of the watched features behind the champion's forecast, uint16, shape (n, W).
    """

    device: Longs
    as_of: Longs
    day: Longs
    sequence: Longs
    truth: Floats
    latest: Floats
    baseline: Mask
    value: Floats
    lower: Floats
    upper: Floats
    revision: npt.NDArray[np.uint16]
    model: npt.NDArray[np.uint16]
    bins: npt.NDArray[np.uint16]

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        columns: Columns,
        device: Longs,
        as_of: Longs,
        sequence: Longs,
        models: Sequence[str],
    ) -> Final:
        """Look up what waits for these hours, and their truth; `models` are the versions that waiting ones name."""
        ring, waiting, target = columns.ring, columns.waiting, scenario.target_column
        slot = as_of % waiting.slots
        truth = ring.value_at(device, as_of + scenario.horizon_steps, target)
        waited = {name: array[slot, :, device] for name, array in waiting.arrays().items()}
        day = as_of // scenario.cadence.day
        floor = models.index(FLOOR) if FLOOR in models else len(models)
        baseline = waited["model"][:, PLACES[BASELINE]] == floor
        return cls(device, as_of, day, sequence, truth, ring.value_at(device, as_of, target), baseline, **waited)

    def made(self, role: int) -> Mask:
        """Which hours a role forecast, shape (n,); one from before its meaning was edited has no value."""
        place = PLACES[role]
        made: Mask = (self.revision[:, place] > 0) & ~np.isnan(self.value[:, place])
        return made if role == CHALLENGER else made & (self.baseline == (role == BASELINE))

    def known(self, role: int) -> Mask:
        """Which of them have a truth, shape (n,)."""
        return self.made(role) & ~np.isnan(self.truth)

    def matured(self, role: int, rows: Mask) -> Matured:
        """One role's forecasts of some hours."""
        mine = (self.value, self.lower, self.upper, self.model)
        found = (column[rows, PLACES[role]] for column in mine)
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

    edges: bins.Edges
    unit: float
    histograms: dict[Day, Longs] = field(default_factory=dict)
    forecasts: dict[tuple[Day, int, int], Longs] = field(default_factory=dict)
    pairs: dict[tuple[Day, int, int], Longs] = field(default_factory=dict)

    @classmethod
    def of(cls, scenario: Scenario) -> Counted:
        """Nothing counted yet."""
        return cls(forecast_edges(scenario)[None], quantum(scenario))

    def add(self, final: Final) -> None:
        """Count rows, also those whose truth never came: what was forecast does not depend on what became of it."""
        champion = final.made(CHAMPION)
        bins.add_sums(self.histograms, bins.by_key(final.day[champion], final.bins[champion]))
        for role in range(len(ROLES)):
            rows = final.made(role)
            place = PLACES[role]
            key = final.day[rows] << 16 | final.model[rows, place]
            found = bins.by_key(key, bins.place(final.value[rows, place, None], self.edges))
            bins.add_sums(self.forecasts, {(k >> 16, role, k & 0xFFFF): counts[0] for k, counts in found.items()})
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
            bins.add_sums(self.pairs, {place: table[key == value].sum(axis=0)})

    def put(self, state: State) -> None:
        """Add everything to a state."""
        bins.add_sums(state.histograms, self.histograms)
        bins.add_sums(state.forecasts, self.forecasts)
        bins.add_sums(state.pairs, self.pairs)


def labels(finals: Sequence[Final], devices: list[str], models: list[str]) -> Labels:
    """All rows of a batch, in the order in which they became final."""
    every = [_labels(_NONE, CHAMPION), *(_labels(final, role) for final in finals for role in range(len(ROLES)))]
    columns = {name: np.concatenate([part[name] for part in every]) for name in every[0]}
    numbers = {name: columns.pop(name) for name in (*FORECAST, *TRUTH)}
    return Labels(devices=devices, models=models, numbers=numbers, **columns)


def _labels(final: Final, role: int) -> dict[str, npt.NDArray[Any]]:
    rows = final.made(role)
    found = final.matured(role, rows)
    return {
        "device": final.device[rows],
        "as_of": found.as_of,
        "role": np.full(len(found.as_of), role, np.int8),
        "model": found.model.astype(np.int64),
        "revision": final.revision[rows, PLACES[role]].astype(np.int64) - 1,
        "sequence": final.sequence[rows],
        **{name: getattr(found, name) for name in (*FORECAST, *TRUTH)},
    }


def _none() -> Final:
    longs, floats, shorts = np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, len(PLACES)), np.uint16)
    wide, masks = np.zeros((0, len(PLACES)), np.float32), np.zeros(0, bool)
    return Final(longs, longs, longs, longs, floats, floats, masks, wide, wide, wide, shorts, shorts, shorts)


_NONE = _none()
