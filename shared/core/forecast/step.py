"""The pure step of a partition: (state, batch, control, answers) -> what changes and the forecasts that became due.

Nothing is changed in place: `step` works on copies of the touched columns, and `Outcome.put` writes them into the state
after the batch has been committed. Recovery runs the same code over stored commits, answering from stored predictions.
"""

from __future__ import annotations

import numpy as np

from shared.core.forecast import archive, tallies
from shared.core.forecast.matured import Counted, Final, labels
from shared.core.forecast.outcome import Answered, Outcome, last_answered, predictions
from shared.core.forecast.state import State
from shared.core.forecast.window.columns import fingerprint, spread
from shared.core.forecast.window.counting import earlier_within, rank_within
from shared.core.forecast.window.due import Heads, Rows, due
from shared.core.forecast.window.ring import Ring
from shared.core.forecast.window.segments import Rules, cut, groups, running_heads
from shared.core.forecast.window.windows import Windows, spoken
from shared.core.intake.readings import Longs, Mask
from shared.core.model.scoring import BASELINE, CHAMPION, PLACES, ROLES, Control, Scored, Scorer, ScoreRequest
from shared.core.scenario import Scenario
from shared.core.stream.commit import APPLIED, CONFLICT, DISPOSITIONS, DUPLICATE, REDELIVERED, REFUSED, STORED_LATE
from shared.core.stream.events import Batch
from shared.core.task.calendar import NO_HOUR
from shared.core.task.task import Task

SEGMENT_WINDOWS = 4096


def step(task: Task, state: State, batch: Batch, control: Control, scorer: Scorer) -> Outcome:
    """Fold one batch and forecast what becomes due.

    Args:
        task: Scenario and features.
        state: The partition before the batch; left as it is.
        batch: Events from `state.next` on.
        control: Who serves and who is in quarantine.
        scorer: Answers the forecasts that become due.

    Returns:
        The change; `Outcome.put` applies it once the batch is committed.
    """
    work = _Work(task, state, batch, control, scorer)
    for number in range(int(work.segment.max(initial=-1)) + 1):
        work.fold(work.segment == number)
    return work.outcome()


class _Work:
    """The copies a batch works on."""

    def __init__(self, task: Task, state: State, batch: Batch, control: Control, scorer: Scorer) -> None:
        self.task, self.state, self.batch, self.control, self.scorer = task, state, batch, control, scorer
        self.scenario = task.scenario
        self.sums = tallies.Sums.of(self.scenario, state, batch)
        self.back = self._returning()
        self.state = archive.awake(state, self.back)
        self.models = list(state.models)
        self.answers: list[Answered] = []
        self.counted = Counted.of(self.scenario)
        self.finals: list[Final] = []
        self.disposition = np.full(len(batch), APPLIED, np.uint8)
        self.disposition[self.sums.redelivered] = REDELIVERED
        self.new_devices: list[str] = []
        self.touched, local = self._devices()
        self.rows, self.segment, extra = self._classify(local)
        self.columns = self.state.columns.take(self.touched, extra)
        everyone = self.state.devices, self.new_devices
        known = len(self.state.devices)
        self.newest_day = np.zeros(len(self.touched), np.int64)
        self.names = [everyone[place >= known][place - known * (place >= known)] for place in self.touched.tolist()]

    @property
    def ring(self) -> Ring:
        return self.columns.ring

    def _heard(self) -> Longs:
        """The batch's devices with fresh readings, in the order of the first of these."""
        used, first = np.unique(self.batch.device[~self.sums.redelivered], return_index=True)
        return used[np.argsort(first)].astype(np.int64)

    def _returning(self) -> list[str]:
        """Devices that left and speak again."""
        if not self.state.archive:
            return []
        return [name for place in self._heard() if (name := self.batch.devices[place]) in self.state.archive]

    def _devices(self) -> tuple[Longs, Longs]:
        """Global indices of the touched devices, rising, and for each of the batch's devices its place among them."""
        everywhere = np.full(len(self.batch.devices), -1, np.int64)
        room = len(everywhere) if self.control.devices is None else self.control.devices - self.state.known
        for place in self._heard():  # new devices are numbered in the order of their first reading
            name = self.batch.devices[place]
            known = self.state.index.get(name)
            if known is None and len(self.new_devices) < room:
                known = len(self.state.devices) + len(self.new_devices)
                self.new_devices.append(name)
            everywhere[place] = -1 if known is None else known
        refused = (everywhere < 0)[self.batch.device] & ~self.sums.redelivered
        self.disposition[refused] = REFUSED
        touched = np.sort(everywhere[everywhere >= 0])
        return touched, np.searchsorted(touched, everywhere)

    def _classify(self, local: Longs) -> tuple[Rows, Longs, int]:
        """Tell what becomes of each reading; returns the ones to fold by device, their segment, and extra hours."""
        batch = self.batch
        place = np.flatnonzero(self.disposition == APPLIED)
        device = local[batch.device[place]]
        order = np.argsort(device, kind="stable")
        place, device = place[order], device[order]
        minute = batch.minute[place].astype(np.int64)
        hour = minute // self.scenario.cadence.ticks
        heads = _heads(self.state, self.touched)
        before, after = running_heads(device, hour, heads)
        columns = spread(self.state.columns.ring.layout, batch.values[place])
        prints = fingerprint(minute.astype(np.int32), columns)
        rows = Rows(place, device, minute, hour, columns, prints, before, after)
        late = hour < before - self.scenario.lateness_steps
        self.disposition[place[late]] = STORED_LATE
        rows = rows.at(~late)
        rows = rows.at(self._first_of_tick(rows))
        by = groups(rows.device, rows.hour, rows.before, rows.after, self.scenario.horizon_steps)
        self.hours = by.hours
        extra = _extra(self.scenario, len(self.touched), by.span)
        rules = Rules(self.scenario.horizon_steps, self.scenario.lateness_steps + extra)
        return rows, cut(by, rows.hour, rows.before, rows.after, rules), extra

    def _first_of_tick(self, rows: Rows) -> Longs:
        """Which readings are the first of their tick; the others are marked duplicates or conflicts.

        A conflict is told while the hour has no more ticks than the ring remembers, counted when the reading came:
        whatever stood in an earlier batch and whatever stands in this one is treated alike.
        """
        key = rows.device << 32 | rows.minute
        _, first, which = np.unique(key, return_index=True, return_inverse=True)
        again = first[which] != np.arange(len(key))
        differs = rows.prints != rows.prints[first[which]]
        device, ring = self.touched[rows.device], self.state.columns.ring
        known = np.flatnonzero(device < len(ring.head))
        seen = np.zeros(len(key), bool)
        seen[known] = ring.seen(device[known], rows.minute[known])
        differs[seen] = ring.conflicts(device[seen], rows.minute[seen], rows.prints[seen])
        repeated = again | seen
        if (differs & repeated).any():
            held = known[rows.hour[known] <= ring.head[device[known]]]
            ticks = earlier_within(rows.device << 32 | rows.hour, ~repeated)
            ticks[held] += ring.samples(device[held], rows.hour[held])
            differs &= ticks <= ring.layout.remembered
        self.disposition[rows.place[repeated]] = np.where(differs[repeated], CONFLICT, DUPLICATE)
        return np.flatnonzero(~repeated)

    def fold(self, chosen: Mask) -> None:
        """One segment: mature what a jump leaves behind, fold, forecast, mature the rest."""
        rows = self.rows.at(chosen)
        starts = np.flatnonzero(np.r_[True, rows.device[1:] != rows.device[:-1]])
        ends = np.r_[starts[1:], len(rows.device)]
        device, old = rows.device[starts], self.ring.head[rows.device[starts]]
        first, new = rows.after[starts], rows.after[ends - 1]
        known = old != NO_HOUR
        day = self.scenario.cadence.day
        self.newest_day[device] = (new - self.wait) // day
        self.columns.forget_days(device, (old - self.wait) // day, self.newest_day[device])
        self._mature(rows, device[known], old[known], np.minimum(first, old + self.wait)[known])
        heads = Heads.of(self.ring, rows, device, old)
        self.columns.waiting.advance(device, old, new)
        self.ring.advance(device, new)
        self.ring.fold(rows.device, rows.minute, rows.columns, rows.prints)
        self._forecast(rows, *due(self.scenario, self.ring, rows, heads))
        self._mature(rows, device, np.maximum(first, old), new)

    @property
    def wait(self) -> int:
        """Hours from an as-of hour until its truth cannot change any more."""
        return self.scenario.horizon_steps + self.scenario.lateness_steps + 1

    def _forecast(self, rows: Rows, device: Longs, as_of: Longs) -> None:
        free = np.array([name not in self.control.quarantine for name in self.names], bool)[device]
        if self.control.minimum_hours:
            free &= spoken(self.scenario, self.ring, device, as_of) >= self.control.minimum_hours
        device, as_of = device[free], as_of[free]
        if not len(device):
            return
        behind = Windows(self.task, self.ring, device, as_of)
        last = np.zeros(len(self.touched), np.int64)
        last[rows.device] = rows.place  # grouped and in order of arrival: the last one stays
        # One count for all roles: a challenger that joins late would otherwise repeat revisions users have seen.
        revision = self.columns.waiting.revision[as_of % self.columns.waiting.slots, :, device].max(axis=1)
        names = [self.names[place] for place in device]
        asked = ScoreRequest(names, as_of, behind.matrix, behind.inputs, behind.spoken, behind.baseline)
        for scored in self.scorer(asked):
            answered = np.arange(len(device)) if scored.rows is None else scored.rows
            if scored.role == CHAMPION:
                slots = as_of[answered] % self.columns.waiting.slots
                self.columns.waiting.bins[slots, :, device[answered]] = behind.bins(answered)
            issued = revision[answered].astype(np.int64) if scored.revision is None else scored.revision
            self._wait_for_truth(device[answered], as_of[answered], scored, last[device[answered]], issued)

    def _wait_for_truth(self, device: Longs, as_of: Longs, scored: Scored, place: Longs, revision: Longs) -> None:
        if scored.model not in self.models:
            self.models.append(scored.model)
        waiting = self.columns.waiting
        spot = (as_of % waiting.slots, PLACES[scored.role], device)
        waiting.value[spot] = scored.numbers["value"]
        waiting.lower[spot], waiting.upper[spot] = scored.numbers["lower"], scored.numbers["upper"]
        waiting.revision[spot] = revision + 1
        waiting.model[spot] = self.models.index(scored.model)
        source = self.batch.source[place]
        self.answers.append(Answered(device, as_of, revision, self.batch.sequence[place], source, scored))
        if scored.role != BASELINE:
            self.sums.forecast(source, as_of, scored.role)

    def _mature(self, rows: Rows, device: Longs, old: Longs, new: Longs) -> None:
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
        final = Final.of(self.scenario, self.columns, who, as_of, self.batch.sequence[place], self.models)
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
        self.sums.forecast(*last_answered(self.answers, BASELINE), BASELINE)
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
            self.back,
            self._silent_until(),
        )

    def _silent_until(self) -> int:
        before = archive.newest(self.state)
        after = int(self.ring.head.max(initial=before))
        return archive.silent_until(self.scenario, before, after)


def _heads(state: State, touched: Longs) -> Longs:
    heads = np.full(len(touched), NO_HOUR, np.int64)
    known = touched < len(state.columns.ring.head)
    heads[known] = state.columns.ring.head[touched[known]]
    return heads


def _extra(scenario: Scenario, devices: int, span: int) -> int:
    """Hours of room that let one segment hold many as-of hours of few devices, but never too many windows at once.

    An hour that the next one closes late may lie a horizon back, more than the lateness: that much room there must be.
    """
    room = SEGMENT_WINDOWS // max(devices, 1)
    return int(np.clip(span - scenario.lateness_steps, 0, max(room, scenario.horizon_steps)))
