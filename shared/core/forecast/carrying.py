"""A state of one version of a scenario as one of the next: what still means the same is kept, the rest is missing."""

from __future__ import annotations

import numpy as np

from shared.core.forecast import archive
from shared.core.forecast.losses import DAILY, ERRORS, FORECAST, PAIRS, QUALITY, TOTALS, quantum
from shared.core.forecast.state import State
from shared.core.forecast.window import shorter
from shared.core.forecast.window.columns import CHOSEN, Layout
from shared.core.forecast.window.ring import Ring
from shared.core.forecast.window.slots import Columns, move
from shared.core.forecast.window.waiting import Waiting, waiting_slots
from shared.core.intake.readings import Array, Doubles, Longs
from shared.core.model.scoring import CHAMPION
from shared.core.profile.bins import CELLS, MISSING
from shared.core.scenario import Channel, Scenario
from shared.core.stream.commit import DISPOSITIONS
from shared.core.task.task import Task

COUNTED_ANYWAY = {"arrived", *DISPOSITIONS, "forecasts", "first_forecasts", "rows"}


def carry(state: State, before: Task, after: Task) -> None:
    """Move a state to the next version of its scenario, in place.

    Hours are kept column by column, forecasts that wait as long as they forecast the same, error sums in the new
    quantum. What new columns would have held is missing; bins that have changed count what was before as missing.
    """
    old, new = before.scenario, after.scenario
    same = _asks_the_same(old, new)
    picks = _watched(before, after)
    ratio = quantum(old) / quantum(new)

    def moved(columns: Columns) -> Columns:
        out = _columns(columns, old, new, picks, keep_waiting=same)
        for slot in range(len(out.quality)):
            out.quality[slot] = _rescaled(out.quality[slot], QUALITY, ratio, same)
        return out

    archive.replace_columns(state, moved)
    state.columns = moved(state.columns)
    state.histograms = {day: _rows(counts, picks) for day, counts in state.histograms.items()}
    for tally in state.sources.values():
        tally.totals = _rescaled(tally.totals, TOTALS, ratio, same)
        tally.daily = {day: _rescaled(sums, DAILY, ratio, same) for day, sums in tally.daily.items()}
    state.errors = {key: _rescaled(sums, ERRORS, ratio, same) for key, sums in state.errors.items() if same}
    state.pairs = {key: _rescaled(sums, PAIRS, ratio, same) for key, sums in state.pairs.items() if same}
    if not same or not np.array_equal(before.answer_edges, after.answer_edges):
        state.forecasts = {}


def _asks_the_same(old: Scenario, new: Scenario) -> bool:
    """Whether a forecast of before, its truth and its error mean the same."""
    same = (old.target, old.horizon_steps) == (new.target, new.horizon_steps)
    return same and old.target_channel.aggregate == new.target_channel.aggregate


def _watched(before: Task, after: Task) -> list[int]:
    """For each watched feature its place among the ones of before, -1 where it is new or counted in other bins."""
    known = {name: place for place, name in enumerate(before.watched.names)}
    aggregates = {c.name: c.aggregate for c in before.scenario.channels}
    changed = {c.name for c in after.scenario.channels if aggregates.get(c.name, c.aggregate) != c.aggregate}
    picks = []
    for place, name in enumerate(after.watched.names):
        there = known.get(name, -1)
        same = there >= 0 and np.array_equal(before.watched.edges[there], after.watched.edges[place])
        picks.append(there if same and changed.isdisjoint(after.watched.rests_on(name[0])) else -1)
    return picks


def _rows(counts: Longs, picks: list[int]) -> Longs:
    missing = np.zeros(CELLS, np.int64)
    missing[MISSING] = counts[0].sum() if len(counts) else 0
    return np.array([counts[place] if place >= 0 else missing for place in picks], np.int64).reshape(-1, CELLS)


def _rescaled(sums: Longs, names: tuple[str, ...], ratio: float, same: bool) -> Longs:
    """Sums in another quantum; those of errors that mean something else are 0. `names` name the first axis."""
    powers = np.array([2 if "squared" in name else 0 if name in _COUNTS else 1 for name in names])
    kept = np.array([same or name in COUNTED_ANYWAY for name in names])
    factor: Doubles = np.where(kept, float(ratio) ** powers, 0.0)
    shaped = factor.reshape(-1, *[1] * (sums.ndim - 1))
    found: Longs = sums if ratio == 1 and same else np.rint(sums * shaped).astype(np.int64)
    return found


_COUNTS = COUNTED_ANYWAY | {"matured", "paired", "covered", "covered_champion", "covered_challenger"}


def _columns(columns: Columns, old: Scenario, new: Scenario, picks: list[int], *, keep_waiting: bool) -> Columns:
    ring, devices = columns.ring, len(columns.ring.head)
    out = Columns.empty(Layout.of(new), waiting_slots(new), devices, watched=len(picks))
    out.ring.head[:] = ring.head
    out.quality[:] = columns.quality
    every = np.arange(devices)
    for name, array in _hours(ring, old, new).items():
        target = out.ring.arrays()[name]
        move(array, every, target, every, ring.head, len(target))
    wait = min(old.lateness_steps, new.lateness_steps) + min(old.horizon_steps, new.horizon_steps) + 1
    for name, array in _waiting(columns.waiting, picks, void=not keep_waiting).items():
        move(array, every, out.waiting.arrays()[name], every, ring.head, min(wait, out.waiting.slots))
    return out


def _hours(ring: Ring, old: Scenario, new: Scenario) -> dict[str, Array]:
    """The arrays of a ring with the columns of another; a fingerprint of other columns is unknown."""
    lost = {c.name for c in new.channels if _chosen_otherwise(old, c)}
    places = [old.stored.index(name) if name in old.stored and name not in lost else -1 for name in new.stored]
    found: dict[str, Array] = {"minutes": shorter.marks(ring.minutes, old.cadence, new.cadence)}
    counts = shorter.newest(ring.layout, ring.counts, old.cadence, new.cadence)
    for name, array in (("sums", ring.sums), ("counts", counts)):
        found[name] = np.concatenate([array, np.zeros_like(array[:, :1])], axis=1)[:, places]
    prints = (len(ring.prints), Layout.of(new).remembered, ring.prints.shape[2])
    alike = (old.stored, old.samples_per_step, old.cadence) == (new.stored, new.samples_per_step, new.cadence)
    found["prints"] = ring.prints if alike else np.zeros(prints, ring.prints.dtype)
    return found


def _chosen_otherwise(old: Scenario, channel: Channel) -> bool:
    """Whether a channel's hours were made by another rule, and hold one of the samples or are to."""
    before = {c.name: c.aggregate for c in old.channels}.get(channel.name, channel.aggregate)
    return before != channel.aggregate and bool({before, channel.aggregate} & set(CHOSEN))


def _waiting(waiting: Waiting, picks: list[int], *, void: bool) -> dict[str, Array]:
    """The arrays of waiting forecasts; void ones have no value, only their revisions count on."""
    made = waiting.revision[:, CHAMPION] > 0
    missing = np.where(made, MISSING, 0).astype(waiting.bins.dtype)
    columns = [waiting.bins[:, place] if place >= 0 else missing for place in picks]
    bins = np.stack(columns, axis=1) if columns else np.zeros_like(waiting.bins[:, :0])
    found = {**waiting.arrays(), "bins": bins}
    if void:
        found |= {name: np.full_like(found[name], np.nan) for name in FORECAST}
    return found
