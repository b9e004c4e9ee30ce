"""The pure step of a partition: (state, batch, control, answers) -> what changes and the forecasts that became due.

Nothing is changed in place: `step` works on copies of the touched columns, and `Outcome.put` writes them into the state
after the batch has been committed. Recovery runs the same code over stored commits, answering from stored predictions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shared.core.forecast import tallies
from shared.core.forecast.features import watched
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.forecast.features.watched import Watched
from shared.core.forecast.matured import Counted, Final, labels
from shared.core.forecast.outcome import (
    APPLIED,
    CONFLICT,
    DISPOSITIONS,
    DUPLICATE,
    REDELIVERED,
    STORED_LATE,
    Answered,
    Outcome,
    predictions,
)
from shared.core.forecast.ring import MINUTES, NO_HOUR, Bools, Ring, fingerprint, rank_within, spread, windows
from shared.core.forecast.state import CHAMPION, ROLES, State
from shared.core.forecast.stretches import Rules, cut, groups, running_heads
from shared.core.intake.readings import Floats, Longs
from shared.core.model.scoring import Ask, Control, Scored, Scorer
from shared.core.scenario import Scenario
from shared.core.stream.events import Batch

HOURS = tallies.HOURS
WINDOWS_AT_ONCE = 1024
STRETCH_WINDOWS = 4096


@dataclass(frozen=True, slots=True)
class Machine:
    """What a step needs to know beforehand: the scenario and the feature code, the same in serving and training."""

    scenario: Scenario
    featurizer: Featurizer
    watched: Watched = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "watched", Watched.of(self.scenario, self.featurizer))


@dataclass(slots=True)
class _Rows:
    """Readings of a batch that are not redelivered, grouped by device in order of arrival."""

    place: Longs
    device: Longs
    minute: Longs
    hour: Longs
    columns: Floats
    prints: npt.NDArray[np.uint32]
    before: Longs
    after: Longs

    def at(self, keep: Bools | Longs) -> _Rows:
        return _Rows(*(getattr(self, name)[keep] for name in self.__slots__))


def step(machine: Machine, state: State, batch: Batch, control: Control, scorer: Scorer) -> Outcome:
    """Fold one batch and forecast what becomes due.

    Args:
        machine: Scenario and features.
        state: The partition before the batch; left as it is.
        batch: Events from `state.next` on.
        control: Who serves and who is in quarantine.
        scorer: Answers the forecasts that become due.

    Returns:
        The change; `Outcome.put` applies it once the batch is committed.
    """
    work = _Work(machine, state, batch, control, scorer)
    for number in range(int(work.stretch.max(initial=-1)) + 1):
        work.fold(work.stretch == number)
    return work.outcome()


class _Work:
    """The copies a batch works on."""

    def __init__(self, machine: Machine, state: State, batch: Batch, control: Control, scorer: Scorer) -> None:
        self.machine, self.state, self.batch, self.control, self.scorer = machine, state, batch, control, scorer
        self.scenario = machine.scenario
        self.sums = tallies.Sums.of(self.scenario, state, batch)
        self.models = list(state.models)
        self.answers: list[Answered] = []
        self.counted = Counted.of(self.scenario)
        self.finals: list[Final] = []
        self.disposition = np.full(len(batch), APPLIED, np.uint8)
        self.disposition[self.sums.redelivered] = REDELIVERED
        self.new_devices: list[str] = []
        self.touched, local = self._devices()
        self.rows, self.stretch, extra = self._classify(local)
        self.columns = state.columns.take(self.touched, extra)
        everyone = state.devices, self.new_devices
        known = len(state.devices)
        self.newest_day = np.zeros(len(self.touched), np.int64)
        self.names = [everyone[place >= known][place - known * (place >= known)] for place in self.touched.tolist()]

    @property
    def ring(self) -> Ring:
        return self.columns.ring

    def _devices(self) -> tuple[Longs, Longs]:
        """Global indices of the touched devices, rising, and for each of the batch's devices its place among them."""
        fresh = self.batch.device[~self.sums.redelivered]
        used, first = np.unique(fresh, return_index=True)
        everywhere = np.full(len(self.batch.devices), -1, np.int64)
        for place in used[np.argsort(first)]:  # new devices are numbered in the order of their first reading
            name = self.batch.devices[place]
            known = self.state.index.get(name)
            if known is None:
                known = len(self.state.devices) + len(self.new_devices)
                self.new_devices.append(name)
            everywhere[place] = known
        touched = np.sort(everywhere[used])
        return touched, np.searchsorted(touched, everywhere)

    def _classify(self, local: Longs) -> tuple[_Rows, Longs, int]:
        """Tell what becomes of each reading; returns the ones to fold by device, their stretch, and extra hours."""
        batch = self.batch
        place = np.flatnonzero(~self.sums.redelivered)
        device = local[batch.device[place]]
        order = np.argsort(device, kind="stable")
        place, device = place[order], device[order]
        minute = batch.minute[place].astype(np.int64)
        hour = minute // MINUTES
        heads = _heads(self.state, self.touched)
        before, after = running_heads(device, hour, heads)
        columns = spread(self.state.columns.ring.layout, batch.values[place])
        prints = fingerprint(minute.astype(np.int32), columns)
        rows = _Rows(place, device, minute, hour, columns, prints, before, after)
        late = hour < before - self.scenario.lateness
        self.disposition[place[late]] = STORED_LATE
        rows = rows.at(~late)
        rows = rows.at(self._first_of_minute(rows))
        by = groups(rows.device, rows.hour, rows.before, rows.after, self.scenario.horizon)
        self.hours = by.hours
        extra = _extra(self.scenario, len(self.touched), by.span)
        rules = Rules(self.scenario.horizon, self.scenario.lateness + extra)
        return rows, cut(by, rows.hour, rows.before, rows.after, rules), extra

    def _first_of_minute(self, rows: _Rows) -> Longs:
        """Which readings are the first of their minute; the others are marked duplicates or conflicts."""
        key = rows.device << 32 | rows.minute
        _, first, which = np.unique(key, return_index=True, return_inverse=True)
        again = first[which] != np.arange(len(key))
        differs = rows.prints != rows.prints[first[which]]
        device = self.touched[rows.device]
        known = device < len(self.state.columns.ring.head)
        seen = np.zeros(len(key), bool)
        ring = self.state.columns.ring
        seen[known] = ring.seen(device[known], rows.minute[known])
        differs[seen] = ring.conflicts(device[seen], rows.minute[seen], rows.prints[seen])
        repeated = again | seen
        self.disposition[rows.place[repeated]] = np.where(differs[repeated], CONFLICT, DUPLICATE)
        return np.flatnonzero(~repeated)

    def fold(self, chosen: Bools) -> None:
        """One stretch: mature what a jump leaves behind, fold, forecast, mature the rest."""
        rows = self.rows.at(chosen)
        starts = np.flatnonzero(np.r_[True, rows.device[1:] != rows.device[:-1]])
        ends = np.r_[starts[1:], len(rows.device)]
        device, old = rows.device[starts], self.ring.head[rows.device[starts]]
        first, new = rows.after[starts], rows.after[ends - 1]
        known = old != NO_HOUR
        self.newest_day[device] = (new - self.wait) // HOURS
        self.columns.forget_days(device, (old - self.wait) // HOURS, self.newest_day[device])
        self._mature(rows, device[known], old[known], np.minimum(first, old + self.wait)[known])
        counted = self._in_order(rows, device, old)
        self.columns.waiting.advance(device, old, new)
        self.ring.advance(device, new)
        self.ring.fold(rows.device, rows.minute, rows.columns, rows.prints)
        self._forecast(rows, *self._due(rows, counted))
        self._mature(rows, device, np.maximum(first, old), new)

    @property
    def wait(self) -> int:
        """Hours from an as-of hour until its truth cannot change any more."""
        return self.scenario.horizon + self.scenario.lateness + 1

    def _in_order(self, rows: _Rows, device: Longs, old: Longs) -> tuple[Longs, Longs, Longs]:
        """Hours that were a head in this stretch (the one before it included), and their samples while they were.

        Returns:
            Device, hour and samples, sorted by device and hour, each of shape (heads,).
        """
        order = rows.hour == rows.after
        before = old != NO_HOUR
        pairs = np.r_[device[before] << 32 | old[before], rows.device[order] << 32 | rows.hour[order]]
        key, inverse = np.unique(pairs, return_inverse=True)
        count = np.bincount(inverse, minlength=len(key)) - np.isin(key, pairs[: int(before.sum())])
        who, hour = key >> 32, key & 0xFFFFFFFF
        carried = hour == self.ring.head[who]
        count[carried] += self.ring.samples(who[carried], hour[carried])
        return who, hour, count

    def _due(self, rows: _Rows, heads: tuple[Longs, Longs, Longs]) -> tuple[Longs, Longs]:
        """As-of hours to be forecast: (device, hour), sorted, without repetition."""
        who, hour, count = heads
        full = count >= self.scenario.samples_per_hour
        follows = np.r_[who[1:] == who[:-1], False]
        gap = np.where(follows, np.r_[hour[1:], 0] - hour, 0)
        closed = follows & (gap < self.scenario.horizon)
        changed = np.isin(who << 32 | hour, rows.device << 32 | rows.hour)
        was_full = ~changed & full  # the head before the stretch, complete and forecast then
        due = (full | closed) & ~was_full
        late = rows.hour < rows.after
        keys = [who[due] << 32 | hour[due], self._touched_by_late(rows.at(late), who << 32 | hour, full)]
        key = np.unique(np.concatenate(keys))
        return key >> 32, key & 0xFFFFFFFF

    def _touched_by_late(self, rows: _Rows, heads: Longs, full: Bools) -> Longs:
        """Keys of complete as-of hours, targets still ahead, whose window a late reading changed."""
        oldest = np.maximum(rows.hour, rows.after - self.scenario.horizon + 1)
        count = np.maximum(rows.after - oldest + 1, 0)
        owner = np.repeat(np.arange(len(count)), count)
        as_of = oldest[owner] + rank_within(owner)
        key = rows.device[owner] << 32 | as_of
        has_samples = self.ring.samples(rows.device[owner], as_of) > 0
        complete = (as_of < rows.after[owner]) | np.isin(key, heads[full])
        return key[has_samples & complete]

    def _forecast(self, rows: _Rows, device: Longs, as_of: Longs) -> None:
        free = np.array([name not in self.control.quarantine for name in self.names], bool)
        device, as_of = device[free[device]], as_of[free[device]]
        if not len(device):
            return
        features = _Features(self.machine, self.ring, device, as_of)
        last = np.zeros(len(self.touched), np.int64)
        last[rows.device] = rows.place  # grouped and in order of arrival: the last one stays
        # One count for all roles: a challenger that joins late would otherwise repeat revisions users have seen.
        revision = self.columns.waiting.revision[as_of % self.columns.waiting.slots, :, device].max(axis=1)
        for scored in self.scorer(Ask([self.names[place] for place in device], as_of, features.matrix)):
            answered = np.arange(len(device)) if scored.rows is None else scored.rows
            if scored.role == CHAMPION:
                slots = as_of[answered] % self.columns.waiting.slots
                self.columns.waiting.bins[slots, :, device[answered]] = features.bins(answered)
            issued = revision[answered].astype(np.int64) if scored.revision is None else scored.revision
            self._wait_for_truth(device[answered], as_of[answered], scored, last[device[answered]], issued)

    def _wait_for_truth(self, device: Longs, as_of: Longs, scored: Scored, place: Longs, revision: Longs) -> None:
        if scored.model not in self.models:
            self.models.append(scored.model)
        waiting = self.columns.waiting
        spot = (as_of % waiting.slots, scored.role, device)
        waiting.value[spot], waiting.lower[spot], waiting.upper[spot] = scored.value, scored.lower, scored.upper
        waiting.revision[spot] = revision + 1
        waiting.model[spot] = self.models.index(scored.model)
        self.answers.append(Answered(device, as_of, revision, self.batch.sequence[place], scored))
        self.sums.forecast(self.batch.source[place], as_of, scored.role)

    def _mature(self, rows: _Rows, device: Longs, old: Longs, new: Longs) -> None:
        """Count forecasts whose target hour became final while the rows moved heads from `old` to `new`."""
        low, high = old - self.wait, new - self.wait
        span = np.minimum(high - low, self.columns.waiting.slots)
        owner = np.repeat(np.arange(len(span)), np.maximum(span, 0))
        who, as_of = device[owner], high[owner] - rank_within(owner)
        waiting = self.columns.waiting
        issued = waiting.revision[as_of % waiting.slots, :, who]
        held = issued.any(axis=1)
        who, as_of = who[held], as_of[held]
        if not len(who):
            return
        # Heads never fall, so the rows' keys rise: the first not below an hour is the reading that made it final.
        closer = np.searchsorted(rows.device << 32 | rows.after, who << 32 | (as_of + self.wait))
        place = rows.place[closer]
        final = Final.of(self.scenario, self.columns, who, as_of, self.batch.sequence[place])
        for role in range(len(ROLES)):
            known = final.known(role)
            self.sums.mature(self.batch.source[place[known]], role, final.matured(role, known))
        final.judge(self.columns.quality, self.newest_day, self.scenario)
        self.counted.add(final)
        self.finals.append(final)

    def outcome(self) -> Outcome:
        """The finished change."""
        for place, name in enumerate(DISPOSITIONS):
            self.sums.dispose(name, self.disposition == place)
        return Outcome(
            self.batch,
            self.disposition,
            predictions(self.answers, self.names.__getitem__),
            self.touched,
            self.columns,
            self.hours,
            self.new_devices,
            self.sums.sources,
            self.models[len(self.state.models) :],
            self.sums.errors,
            self.counted,
            labels(self.finals, self.names, self.models),
        )


class _Features:
    """Features of the as-of hours that are due, computed when somebody needs them."""

    def __init__(self, machine: Machine, ring: Ring, device: Longs, as_of: Longs) -> None:
        self._machine, self._ring, self._device, self._as_of = machine, ring, device, as_of
        self._matrix: Floats | None = None

    def matrix(self) -> Floats:
        """All features of all rows, float32, shape (n, features)."""
        if self._matrix is None:
            self._matrix = self._of(slice(None))
        return self._matrix

    def bins(self, rows: Longs) -> watched.Places:
        """Bins of the watched features of some rows, shape (rows, W); answers may be stored, so all may be missing."""
        seen = self._machine.watched
        known = self._of(rows)[:, seen.columns] if self._matrix is None else self._matrix[:, seen.columns][rows]
        return watched.place(known, seen.edges)

    def _of(self, rows: Longs | slice) -> Floats:
        return matrix_of(self._machine, self._ring.values(), self._device[rows], self._as_of[rows])


def _heads(state: State, touched: Longs) -> Longs:
    heads = np.full(len(touched), NO_HOUR, np.int64)
    known = touched < len(state.columns.ring.head)
    heads[known] = state.columns.ring.head[touched[known]]
    return heads


def _extra(scenario: Scenario, devices: int, span: int) -> int:
    """Hours of room that let one stretch hold many as-of hours of few devices, but never too many windows at once.

    An hour that the next one closes late may lie a horizon back, more than the lateness: that much room there must be.
    """
    room = STRETCH_WINDOWS // max(devices, 1)
    return int(np.clip(span - scenario.lateness, 0, max(room, scenario.horizon)))


def matrix_of(machine: Machine, values: Floats, device: Longs, as_of: Longs) -> Floats:
    """Features of as-of hours, a bounded number of windows at a time, float32, shape (n, features)."""
    history = machine.scenario.history
    out = np.empty((len(device), len(machine.featurizer.features)), np.float32)
    for start in range(0, len(device), WINDOWS_AT_ONCE):
        part = slice(start, start + WINDOWS_AT_ONCE)
        window = windows(values, device[part], as_of[part], history)
        out[part] = machine.featurizer.matrix(window, as_of[part])
    return out
