"""The hour that clocks show twice, told by the order of rows: against zoneinfo of the standard library."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.intake.times import clock_turns
from shared.core.intake.times.clock_turns import ClockTurns
from shared.core.intake.times.zones import zone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
TURNS = {
    "Europe/Berlin": datetime(2025, 10, 26, 1, tzinfo=timezone.utc),
    "America/New_York": datetime(2025, 11, 2, 6, tzinfo=timezone.utc),
    "Australia/Lord_Howe": datetime(2025, 4, 5, 15, tzinfo=timezone.utc),
}


def minute(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(minutes=1)


def local(instant: int, name: str) -> int:
    """Minutes on the zone's clocks at an instant."""
    moment = (EPOCH + timedelta(minutes=instant)).astimezone(ZoneInfo(name))
    return minute(moment.replace(tzinfo=timezone.utc))


def instants(turns: ClockTurns, rows: list[tuple[str, int]], name: str, cuts: list[int] | None = None) -> list[int]:
    """Instants of (device, local minute) rows, read in stretches that end at the cuts."""
    found: list[int] = []
    edges = [0, *sorted({cut % (len(rows) + 1) for cut in cuts or ()}), len(rows)]
    for low, high in pairwise(edges):
        names = sorted({device for device, _ in rows[low:high]}, reverse=True)
        device = np.array([names.index(name_) for name_, _ in rows[low:high]], np.int32)
        clock = np.array([minute_ for _, minute_ in rows[low:high]], np.int64)
        later = turns.later(names, device, zone(name), np.arange(high - low), clock)
        found += (clock - zone(name).offsets(clock) + later).tolist()
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["Europe/Berlin", "America/New_York"]),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from([60, 30, 20, 15, 10, 5, 1]), min_size=1),
    st.booleans(),
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_devices_of_any_step_in_any_mixture_and_stretches_keep_their_instants(
    name: str,
    steps: dict[str, int],
    newest_first: bool,
    source: random.Random,
    cuts: list[int],
) -> None:
    turn = minute(TURNS[name])
    series = {
        device: [turn + k * step for k in range(-300 // step, 240 // step)][:: -1 if newest_first else 1]
        for device, step in steps.items()
    }
    order = [device for device, times in series.items() for _ in times]
    source.shuffle(order)
    places = {device: iter(times) for device, times in series.items()}
    rows = [(device, next(places[device])) for device in order]
    written = [(device, local(instant, name)) for device, instant in rows]
    assert instants(ClockTurns(60), written, name, cuts) == [instant for _, instant in rows]


def test_half_an_hour_that_comes_twice_is_told_as_well() -> None:
    name, turn = "Australia/Lord_Howe", minute(TURNS["Australia/Lord_Howe"])
    rows = list(range(turn - 120, turn + 120, 10))
    assert instants(ClockTurns(60), [("a", local(each, name)) for each in rows], name) == rows


@pytest.mark.parametrize(
    ("clock", "expected", "step"),
    [
        ("01:00 02:00 03:00", "23:00 00:00 02:00", 60),  # one of the two is missing: the first
        ("02:00 02:00 03:00", "00:00 01:00 02:00", 60),  # nothing before: the step of the scenario
        ("02:00 02:10 02:20", "00:00 00:10 00:20", 60),
        ("01:50 02:00 02:20 02:10 02:30", "23:50 00:00 00:20 00:10 00:30", 60),  # out of order
        ("02:57 02:58 02:58 02:58 02:59", "00:57 00:58 00:58 00:58 00:59", 60),  # many a minute
        ("02:59 02:59 02:59 02:00 02:00 02:01", "00:59 00:59 00:59 01:00 01:00 01:01", 1),
        ("00:00 00:10 02:00 02:10", "22:00 22:10 00:00 00:10", 60),  # behind a gap
    ],
)
def test_order_tells_the_second_time_only(clock: str, expected: str, step: int) -> None:
    def of(texts: str) -> list[int]:
        day = minute(datetime(2025, 10, 26, tzinfo=timezone.utc))
        found = [int(text[:2]) * 60 + int(text[3:]) for text in texts.split()]
        return [day + each - (1440 if each >= 22 * 60 else 0) for each in found]

    assert instants(ClockTurns(step), [("a", each) for each in of(clock)], "Europe/Berlin") == of(expected)


def test_rows_without_a_device_and_far_from_any_turn_cost_nothing() -> None:
    turns, noon = ClockTurns(60), np.full(3, minute(datetime(2025, 7, 1, 12, tzinfo=timezone.utc)))
    assert (
        turns.later(["a"], np.array([0, 0, -1], np.int32), zone("Europe/Berlin"), np.arange(3), noon).tolist()
        == [0] * 3
    )
    assert (len(turns._ids), len(turns._device)) == (0, 0)


def test_what_is_kept_does_not_grow_beyond_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_turns, "_MOST_DEVICES", 20)
    turns, turn = ClockTurns(60), local(minute(TURNS["Europe/Berlin"]), "Europe/Berlin")
    for k in range(200):
        instants(turns, [(f"device {k}", turn - 60), (f"device {k}", turn)], "Europe/Berlin")
        assert len(turns._device) <= 3 * 22
        assert len(turns._ids) <= 22
