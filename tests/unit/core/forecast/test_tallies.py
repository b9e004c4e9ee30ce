"""Counts and error sums: whole numbers by source, day, role and model, the same in whatever order they are added."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.stores.scenario_files import load
from shared.core.forecast.losses import DAILY, ERRORS, TOTALS, quantum
from shared.core.forecast.state import KEPT_DAYS, KEPT_SOURCES, PROFILE_DAYS, Tally
from shared.core.forecast.tallies import Matured, Sums, forget, whole
from shared.core.forecast.task import HourlyForecast
from shared.core.intake.readings import Longs
from shared.core.model.scoring import CHALLENGER, CHAMPION
from shared.core.profile.bins import add_sums
from shared.core.scenario import Channel, with_overrides
from shared.core.stream.events import Batch, End
from tests.kit import small
from tests.unit.core.forecast.plain_model import START

SCENARIO = small()
UNIT = quantum(SCENARIO)
DAY = START // 24
SOURCES = ("file/x@1", "hub/0", "file/y@1")


def longs(*values: int) -> Longs:
    return np.array(values, np.int64)


def batch_of(
    rows: Sequence[tuple[int, int, int]], ends: Sequence[tuple[int, int]] = (), sources: Sequence[str] = SOURCES
) -> Batch:
    """Readings (source, position, hours after START) of one device."""
    source, position, hour = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    return Batch(
        partition=0,
        epoch=0,
        first=50,
        next=53,
        enqueued_ms=1,
        sources=tuple(sources),
        devices=("d",),
        source=source.astype(np.int32),
        device=np.zeros(len(rows), np.int32),
        minute=((hour + START) * 60 + 59).astype(np.int32),
        position=position,
        sequence=np.full(len(rows), 50, np.int64),
        values=np.zeros((len(rows), 3), np.float32),
        ends=tuple(End(*end) for end in ends),
    )


def sums_of(batch: Batch, **known: Tally) -> Sums:
    state = HourlyForecast(SCENARIO).empty(0)
    state.sources = {name.replace("__", "/"): tally for name, tally in known.items()}
    return Sums.of(SCENARIO, state, batch)


def totals(tally: Tally) -> dict[str, int]:
    """Totals by name, without those that are 0."""
    return {name: n for name, n in zip(TOTALS, tally.totals.tolist(), strict=True) if n}


def daily(tally: Tally) -> dict[int, dict[str, int]]:
    """The same by day."""
    return {day: {n: v for n, v in zip(DAILY, sums.tolist(), strict=True) if v} for day, sums in tally.daily.items()}


def test_what_is_not_beyond_the_position_of_its_source_is_redelivered() -> None:
    rows = [(0, 3, 0), (1, 1, 0), (0, 5, 0), (0, 4, 0), (0, 5, 0), (1, 8, 0), (0, 6, 0), (1, 7, 0)]
    sums = sums_of(batch_of(rows), hub__0=Tally(position=1))
    assert sums.redelivered.tolist() == [False, True, False, True, True, False, False, True]
    assert [tally.position for tally in sums.sources.values()] == [6, 8, -1]
    assert [tally.touched for tally in sums.sources.values()] == [53, 53, 53]


def test_an_end_marker_moves_a_position_forward_but_never_back() -> None:
    sums = sums_of(batch_of([(0, 3, 0)], ends=[(0, 9), (1, 4), (1, 2)]), **{"file__y@1": Tally(position=7)})
    assert not sums.redelivered.any()
    assert {name: tally.position for name, tally in sums.sources.items()} == {"file/x@1": 9, "hub/0": 4, "file/y@1": 7}
    behind = sums_of(batch_of([(0, 9, 0)], ends=[(0, 4)]))
    assert behind.sources["file/x@1"].position == 9


def test_the_tallies_of_the_state_are_left_alone() -> None:
    known = Tally(position=1, totals=np.ones(len(TOTALS), np.int64), daily={DAY: np.ones(len(DAILY), np.int64)})
    sums = sums_of(batch_of([(0, 3, 0)]), **{"file__x@1": known})
    sums.dispose("applied", np.ones(1, bool))
    sums.mature(np.zeros(1, np.int32), CHAMPION, matured((0, 1.0, 2.0, 3.0, 0)))
    assert (known.position, known.touched, known.first_hour) == (1, -1, -1)
    assert known.totals.tolist() == [1] * len(TOTALS)
    assert {day: sums.tolist() for day, sums in known.daily.items()} == {DAY: [1] * len(DAILY)}
    assert totals(sums.sources["file/x@1"])["applied"] == 2


def test_readings_are_counted_by_source_and_those_of_files_by_their_day_too() -> None:
    rows = [(0, 1, 0), (0, 2, 25), (1, 1, 30), (0, 3, -30), (0, 4, 1), (1, 2, 2)]
    sums = sums_of(batch_of(rows))
    for name, chosen in {
        "applied": [True, True, True, False, False, False],
        "stored_late": [False, False, False, True, False, False],
        "duplicates": [False, False, False, False, False, True],
        "redelivered": [False, False, False, False, True, False],
        "conflicts": [False] * 6,
    }.items():
        sums.dispose(name, np.array(chosen))
    one, hub, silent = sums.sources.values()
    assert totals(one) == {"arrived": 3, "applied": 2, "stored_late": 1, "redelivered": 1}
    assert totals(hub) == {"arrived": 2, "applied": 1, "duplicates": 1}
    assert totals(silent) == {}
    assert (one.first_hour, one.last_hour) == (START - 30, START + 25), "what is redelivered brings no hour"
    assert (hub.first_hour, hub.last_hour) == (START + 2, START + 30)
    assert (silent.first_hour, silent.last_hour) == (-1, -1)
    assert daily(one) == {(START + h) // 24: {"rows": 1} for h in (-30, 0, 25)}
    assert (daily(hub), daily(silent)) == ({}, {}), "a hub has no end, so its days would be kept for ever"


def test_the_span_of_a_source_grows_to_both_sides() -> None:
    sums = sums_of(batch_of([(1, 5, 3), (1, 6, 4)]), hub__0=Tally(first_hour=START + 1, last_hour=START + 9))
    sums.dispose("applied", np.ones(2, bool))
    assert (sums.sources["hub/0"].first_hour, sums.sources["hub/0"].last_hour) == (START + 1, START + 9)


def test_forecasts_are_counted_for_the_champion_alone() -> None:
    sums = sums_of(batch_of([(0, 1, 0)]))
    source, as_of = np.array([0, 0, 1], np.int32), longs(START, START + 24, START)
    sums.forecast(source, as_of, CHAMPION)
    sums.forecast(source, as_of, CHALLENGER)
    assert [totals(tally) for tally in sums.sources.values()] == [{"forecasts": 2}, {"forecasts": 1}, {}]
    assert daily(sums.sources["file/x@1"]) == {DAY: {"forecasts": 1}, DAY + 1: {"forecasts": 1}}


Row = tuple[int, float, float, float, int]  # hours after START, truth, latest, value, model


def matured(*rows: Row) -> Matured:
    """Matured forecasts with an interval of one to either side."""
    hours, truth, latest, value, model = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    values = np.array(value, np.float32)
    return Matured(
        longs(*hours) + START,
        np.array(truth, np.float32),
        np.array(latest, np.float32),
        values,
        values - 1,
        values + 1,
        np.array(model, np.uint16),
    )


def test_errors_are_summed_by_day_role_and_model_with_what_the_interval_covered() -> None:
    sums = sums_of(batch_of([]))
    rows: list[Row] = [(0, 5, 7, 8, 0), (1, 5, math.nan, 4, 0), (2, 5, 5, 6, 1), (24, 5, 5, 5, 65_535)]
    sums.mature(np.zeros(4, np.int32), CHALLENGER, matured(*rows))
    q = round(1 / UNIT)
    told = {key: dict(zip(ERRORS, found.tolist(), strict=True)) for key, found in sums.errors.items()}
    assert {key: {n: v for n, v in found.items() if v} for key, found in told.items()} == {
        (DAY, 1, 0): {
            "matured": 2,
            "covered": 1,
            "signed": 2 * q,
            "absolute": 4 * q,
            "squared": 10 * q * q,
            "paired": 1,
            "absolute_paired": 3 * q,
            "squared_paired": 9 * q * q,
            "absolute_persistence": 2 * q,
            "squared_persistence": 4 * q * q,
        },
        (DAY, 1, 1): {
            "matured": 1,
            "covered": 1,
            "signed": q,
            "absolute": q,
            "squared": q * q,
            "paired": 1,
            "absolute_paired": q,
            "squared_paired": q * q,
        },
        (DAY + 1, 1, 65_535): {"matured": 1, "covered": 1, "paired": 1},
    }
    assert not any(totals(tally) for tally in sums.sources.values()), "sources are told what users saw"


@pytest.mark.parametrize(
    ("truth", "covered"), [(3.0, 1), (np.nextafter(np.float32(3), -np.inf), 0), (5.0, 1), (np.nextafter(5, 9), 1)]
)
def test_the_ends_of_an_interval_belong_to_it(truth: float, covered: int) -> None:
    sums = sums_of(batch_of([]))
    sums.mature(np.zeros(1, np.int32), CHAMPION, matured((0, truth, 0, 4, 0)))
    assert sums.errors[DAY, 0, 0].tolist()[1] == covered


def test_a_source_is_told_its_error_beside_persistence_on_the_same_rows() -> None:
    sums = sums_of(batch_of([]))
    rows: list[Row] = [(0, 5, 7, 8, 0), (1, 5, math.nan, 4, 0), (24, 5, 4, 6, 1), (0, 5, 5, 9, 0)]
    sums.mature(np.array([0, 0, 0, 1], np.int32), CHAMPION, matured(*rows))
    q = round(1 / UNIT)
    assert totals(sums.sources["file/x@1"]) == {
        "matured": 3,
        "paired": 2,
        "absolute": (3 + 1) * q,
        "squared": (9 + 1) * q * q,
        "absolute_persistence": (2 + 1) * q,
        "squared_persistence": (4 + 1) * q * q,
    }
    assert daily(sums.sources["file/x@1"]) == {
        DAY: {
            "matured": 2,
            "forecast": 12 * q,
            "truth": 10 * q,
            "paired": 1,
            "absolute": 3 * q,
            "absolute_persistence": 2 * q,
        },
        DAY + 1: {
            "matured": 1,
            "forecast": 6 * q,
            "truth": 5 * q,
            "paired": 1,
            "absolute": q,
            "absolute_persistence": q,
        },
    }
    assert totals(sums.sources["hub/0"]) == {
        "matured": 1,
        "paired": 1,
        "absolute": 4 * q,
        "squared": 16 * q * q,
    }
    assert daily(sums.sources["hub/0"]) == {}


VALUE = st.floats(0, 1000, width=32)
ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 60), VALUE, VALUE | st.just(math.nan), VALUE, st.integers(0, 2)),
    max_size=25,
)


def added(rows: Sequence[tuple[int, int, float, float, float, int]], size: int) -> tuple[object, ...]:
    """Tallies and error sums after rows were added so many at a time."""
    errors: dict[tuple[int, int, int], Longs] = {}
    state = HourlyForecast(SCENARIO).empty(0)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        sums = Sums.of(SCENARIO, state, batch_of([]))
        sums.mature(np.array([row[0] for row in part], np.int32), CHAMPION, matured(*(row[1:] for row in part)))
        add_sums(errors, sums.errors)
        state.sources.update(sums.sources)
    told = {name: (totals(tally), daily(tally)) for name, tally in state.sources.items()}
    return {key: found.tolist() for key, found in errors.items()}, told


@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 25))
def test_sums_do_not_depend_on_the_order_nor_on_how_rows_are_added(
    rows: list[tuple[int, int, float, float, float, int]], order: random.Random, size: int
) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert added(shuffled, size) == added(rows, max(len(rows), 1))


def test_adding_error_sums_changes_neither_what_is_added_nor_the_other_keys() -> None:
    one, two = {(1, 0, 0): longs(1, 2), (2, 0, 0): longs(5, 5)}, {(1, 0, 0): longs(10, 20), (3, 0, 0): longs(7, 7)}
    add_sums(one, two)
    add_sums(one, two)
    assert {key: sums.tolist() for key, sums in one.items()} == {
        (1, 0, 0): [21, 42],
        (2, 0, 0): [5, 5],
        (3, 0, 0): [14, 14],
    }
    assert {key: sums.tolist() for key, sums in two.items()} == {(1, 0, 0): [10, 20], (3, 0, 0): [7, 7]}


@given(st.lists(VALUE, max_size=9))
def test_whole_numbers_of_the_quantum_are_as_near_as_can_be(values: list[float]) -> None:
    found = whole(np.array(values, np.float32), UNIT)
    assert found.dtype == np.int64
    for value, number in zip(values, found.tolist(), strict=True):
        exact = Fraction(value) / Fraction(UNIT)
        assert abs(number - exact) <= Fraction(1, 2)
        if abs(number - exact) == Fraction(1, 2):
            assert number % 2 == 0


def test_the_quantum_is_a_power_of_two_about_a_millionth_of_the_targets_range() -> None:
    assert quantum(load("air_quality")) == 2.0**-10
    for low, high in [(0, 1), (-60, 60), (0, 1024), (0, 1025), (5, 5.001), (0, 3e5)]:
        channel = with_overrides(SCENARIO, channels=(changed(low, high), *SCENARIO.channels[1:]))
        unit = quantum(channel)
        assert math.log2(unit).is_integer()
        assert 2**19 < (high - low) / unit <= 2**20


def changed(low: float, high: float) -> Channel:
    return dataclasses.replace(SCENARIO.channels[0], minimum=low, maximum=high)


def test_only_the_sources_last_heard_of_are_kept_and_ties_are_decided_by_name() -> None:
    state = HourlyForecast(SCENARIO).empty(0)
    state.sources = {f"s{i:05d}": Tally(touched=100) for i in range(KEPT_SOURCES - 1)}
    state.sources |= {"old": Tally(touched=3), "older": Tally(touched=2)}
    forget(state)
    assert "older" not in state.sources
    assert len(state.sources) == KEPT_SOURCES
    forget(state)
    assert len(state.sources) == KEPT_SOURCES, "as many as are kept is not too many"
    state.sources |= {"new": Tally(touched=101), "young": Tally(touched=100)}
    forget(state)
    assert {"old", "s00000"}.isdisjoint(state.sources)
    assert {"new", "young", "s00001"} <= set(state.sources)


def test_only_the_newest_days_of_errors_are_kept_for_every_role_and_model() -> None:
    state = HourlyForecast(SCENARIO).empty(0)
    one: Longs = longs(1)
    state.errors = {(day, role, 0): one for day in range(KEPT_DAYS) for role in (0, 1)}
    forget(state)
    assert len(state.errors) == 2 * KEPT_DAYS
    state.errors[KEPT_DAYS + 5, 0, 3] = one
    forget(state)
    assert {day for day, _, _ in state.errors} == {*range(1, KEPT_DAYS), KEPT_DAYS + 5}
    assert len(state.errors) == 2 * (KEPT_DAYS - 1) + 1


def test_histograms_are_kept_for_nine_weeks_and_pairs_as_long_as_errors() -> None:
    state, one = HourlyForecast(SCENARIO).empty(0), longs(1)
    state.histograms = dict.fromkeys(range(PROFILE_DAYS), one)
    state.forecasts = {(day, role, 0): one for day in range(PROFILE_DAYS) for role in (0, 1)}
    state.pairs = {(day, 0, model): one for day in range(KEPT_DAYS) for model in (1, 2)}
    forget(state)
    assert (len(state.histograms), len(state.forecasts), len(state.pairs)) == (63, 126, 2 * KEPT_DAYS)
    state.histograms[99], state.forecasts[99, 1, 1], state.pairs[999, 0, 1] = one, one, one
    forget(state)
    assert set(state.histograms) == {*range(1, PROFILE_DAYS), 99}
    assert {day for day, _, _ in state.forecasts} == {*range(1, PROFILE_DAYS), 99}
    assert {day for day, _, _ in state.pairs} == {*range(1, KEPT_DAYS), 999}


def test_a_copied_tally_is_independent() -> None:
    one = Tally(4, 5, np.ones(len(TOTALS), np.int64), {3: np.ones(len(DAILY), np.int64)}, 6, 7)
    two = one.copy()
    assert (two.position, two.touched, two.first_hour, two.last_hour) == (4, 5, 6, 7)
    two.totals += 1
    two.daily[3] += 1
    two.daily[4] = two.daily[3]
    assert one.totals.tolist() == [1] * len(TOTALS)
    assert {day: sums.tolist() for day, sums in one.daily.items()} == {3: [1] * len(DAILY)}
