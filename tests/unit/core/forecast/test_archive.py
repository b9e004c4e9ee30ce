"""Devices that fall silent are packed away and come back as they were, and nothing that anybody is told changes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.forecast import archive, snapshot
from shared.core.forecast.carrying import carry
from shared.core.forecast.losses import TOTALS
from shared.core.forecast.state import State
from shared.core.forecast.task import HourlyForecast
from shared.core.stream.events import Event
from shared.core.stream.gathering import gather
from shared.core.stream.packing import pack
from shared.core.task.calendar import NO_HOUR
from shared.errors import ContractBroken
from tests.kit import HOUR, Row, picture, readings, small
from tests.unit.core.forecast.test_step import ALONE, control, scorer_of, task

LOYAL, FORGETFUL = (task(small(silent_days=days)) for days in (3650, 1))
START = HOUR // 24 * 24
Cells = dict[str, Any]
Told = list[tuple[str, int, int, float]]


def fold(made: HourlyForecast, rows: list[Row], cuts: list[int]) -> tuple[State, Told]:
    """The state after rows that came in batches, and the forecasts that were told on the way, batch by batch sorted."""
    state, told = made.empty(0), []
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for sequence, (low, high) in enumerate(pairwise(edges)):
        (body,) = pack("file/x@1", made.scenario.channel_names, readings(rows[low:high]))
        batch, _ = gather(0, 0, [Event(sequence, 1000 + sequence, body)], made.scenario.channel_names)
        before = picture(state)
        outcome = made.step(state, batch, control(ALONE), scorer_of(ALONE))
        assert picture(state) == before, "a step leaves the state as it is"
        outcome.put(state)
        found = outcome.predictions
        told += sorted(
            zip(
                found.device,
                found.as_of.tolist(),
                found.revision.tolist(),
                found.numbers["value"].tolist(),
                strict=True,
            )
        )
    return state, told


def by_device(state: State) -> dict[str, Cells]:
    """Every device's own cells, whether it is live or packed."""
    whole = archive.awake(state, sorted(state.archive))
    assert not whole.archive
    columns = {"head": whole.columns.ring.head, **whole.columns.arrays()}
    return {
        name: {key: array[..., place].tobytes() for key, array in columns.items()}
        for place, name in enumerate(whole.devices)
    }


def sums(state: State) -> dict[str, Any]:
    found = picture(state)
    return {name: found[name] for name in ("sources", "errors", "pairs", "histograms", "forecasts", "next", "models")}


def rows_of(hours: list[tuple[str, int]]) -> list[Row]:
    return [
        (place, device, (START + hour) * 60, (float(place * 7 % 50), 1.0, 90.0))
        for place, (device, hour) in enumerate(hours, 1)
    ]


HOURS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 100)), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(HOURS, st.lists(st.integers(1, 60), max_size=8), st.booleans())
def test_leaving_changes_no_forecast_no_sum_and_no_cell(
    hours: list[tuple[str, int]], cuts: list[int], ordered: bool
) -> None:
    rows = rows_of(sorted(hours, key=lambda item: item[1]) if ordered else hours)
    kept, told = fold(LOYAL, rows, cuts)
    packed, as_told = fold(FORGETFUL, rows, cuts)
    assert not kept.archive
    assert as_told == told
    assert (by_device(packed), sums(packed)) == (by_device(kept), sums(kept))
    assert {*packed.devices, *packed.archive} == {*kept.devices}
    assert packed.known == kept.known


SILENT = [*(("a", hour) for hour in range(6)), *(("b", hour) for hour in range(60)), ("a", 61)]


def test_a_silent_device_leaves_at_a_days_turn_and_comes_back_when_it_speaks() -> None:
    rows = rows_of(SILENT)
    alone, _ = fold(FORGETFUL, rows[:-1], list(range(len(rows))))
    assert (alone.devices, list(alone.archive)) == (["b"], ["a"])
    assert len(alone.columns.ring.head) == 1
    back, _ = fold(FORGETFUL, rows, list(range(len(rows))))
    assert (back.devices, back.archive) == (["b", "a"], {})
    assert back.index == {"b": 0, "a": 1}


def test_a_device_that_spoke_once_takes_little_room() -> None:
    state, _ = fold(FORGETFUL, rows_of([("a", 0), ("b", 0), ("b", 26), ("b", 50)]), [1, 2, 3])
    live = sum(array[:, :, 0].nbytes for array in state.columns.arrays().values())
    assert len(state.archive["a"]) < live / 5


def test_a_day_is_over_when_the_newest_hour_passes_midnight() -> None:
    assert archive.silent_until(small(silent_days=3), START + 23, START + 24) == START + 24 - 72
    assert archive.silent_until(small(silent_days=3), START, START + 23) == NO_HOUR
    assert archive.silent_until(small(silent_days=3), NO_HOUR, START + 24) == NO_HOUR
    assert archive.silent_until(small(silent_days=3), START + 24, START + 24) == NO_HOUR


def test_a_snapshot_keeps_packed_devices_and_is_of_the_old_format_without_them() -> None:
    rows = rows_of(SILENT)
    packed, _ = fold(FORGETFUL, rows[:-1], [5, 40])
    plain, _ = fold(FORGETFUL, rows[:20], [5, 40])
    for state, form in ((packed, 3), (plain, 2)):
        raw = FORGETFUL.snapshot(state)()
        body = raw[len(snapshot.MAGIC) + snapshot.DIGEST_BYTES :]
        assert msgspec.msgpack.decode(body, type=snapshot.Head).format == form
        assert ("archive" in msgspec.msgpack.decode(body)) == (form == 3)
        assert picture(FORGETFUL.restore(raw)) == picture(state)


def test_a_packed_device_of_another_size_is_not_used() -> None:
    state, _ = fold(FORGETFUL, rows_of(SILENT[:-1]), [5, 40])
    other = task(small(silent_days=1, history=9)).empty(0)
    other.archive = state.archive
    with pytest.raises(ContractBroken, match=r"a packed device holds \d+ bytes, not \d+"):
        archive.awake(other, ["a"])


def test_packed_devices_follow_an_edit_of_the_scenario_as_live_ones_do() -> None:
    rows = rows_of(SILENT[:-1])
    packed, _ = fold(FORGETFUL, rows, [5, 40])
    kept, _ = fold(LOYAL, rows, [5, 40])
    assert list(packed.archive) == ["a"]
    for state, before in ((packed, FORGETFUL), (kept, LOYAL)):
        carry(state, before, task(small(history=9, lateness=2, samples_per_hour=2)))
    assert list(packed.archive) == ["a"]
    assert by_device(packed) == by_device(kept)


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 9])
def test_devices_beyond_the_limit_are_refused_in_the_order_of_their_first_reading(limit: int) -> None:
    rows = rows_of([("c", 0), ("a", 0), ("c", 1), ("b", 1), ("a", 2), ("d", 2)])
    (body,) = pack("file/x@1", LOYAL.scenario.channel_names, readings(rows))
    batch, _ = gather(0, 0, [Event(0, 1000, body)], LOYAL.scenario.channel_names)
    asked = control(ALONE)
    found = type(asked)(asked.champion, asked.challenger, asked.quarantine, limit)
    state = LOYAL.empty(0)
    outcome = LOYAL.step(state, batch, found, scorer_of(ALONE))
    outcome.put(state)
    welcome = "cabd"[:limit]
    assert state.devices == list(welcome)
    refused = [device not in welcome for _, device, *_ in rows]
    assert (outcome.disposition == 5).tolist() == refused
    counts = outcome.counts()
    assert (counts.get("refused", 0), counts["applied"]) == (sum(refused), 6 - sum(refused))
    assert ("refused" in counts) == any(refused)
    assert state.sources["file/x@1"].position == 6
    assert state.sources["file/x@1"].totals[TOTALS.index("refused")] == sum(refused)
    alone, _ = fold(LOYAL, [row for row in rows if row[1] in welcome], [])
    assert by_device(state) == (by_device(alone) if welcome else {})


def test_packed_devices_count_as_known() -> None:
    state, _ = fold(FORGETFUL, rows_of(SILENT[:-1]), list(range(80)))
    (body,) = pack("file/y@1", LOYAL.scenario.channel_names, readings(rows_of([("new", 60), ("a", 61)])))
    batch, _ = gather(0, 0, [Event(99, 2000, body)], LOYAL.scenario.channel_names)
    asked = control(ALONE)
    full = type(asked)(asked.champion, asked.challenger, asked.quarantine, 2)
    outcome = FORGETFUL.step(state, batch, full, scorer_of(ALONE))
    assert outcome.disposition.tolist() == [5, 0]
    outcome.put(state)
    assert (state.devices, state.archive) == (["b", "a"], {})
    assert np.array_equal(state.columns.ring.head[:2], [START + 59, START + 61])
