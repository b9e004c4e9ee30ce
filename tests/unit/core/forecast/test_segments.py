"""Cuts into segments against a loop that reads one reading at a time, and against what a cut must never join."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.forecast.window.segments import Rules, cut, groups, running_heads
from shared.core.intake.readings import Longs
from shared.core.task.calendar import NO_HOUR


def longs(*values: int) -> Longs:
    return np.array(values, np.int64)


@dataclass(frozen=True)
class Case:
    """Readings by device, and their devices' heads before them."""

    device: Longs
    hour: Longs
    head: Longs
    lateness: int
    rules: Rules


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Readings around the running head of some devices: late by at most the lateness, sometimes far ahead."""
    lateness = draw(st.integers(0, 4))
    horizon = draw(st.integers(max(lateness, 1), 6))
    reach = lateness + draw(st.integers(0, 8))
    head: list[int] = []
    device: list[int] = []
    hour: list[int] = []
    for place in range(draw(st.integers(0, 3))):
        now = draw(st.sampled_from([NO_HOUR, 0, 30, 1000]))
        head.append(now)
        for byte in draw(st.binary(max_size=25)):
            ahead = (-5, -4, -3, -2, -1, 0, 0, 1, 1, 1, 2, 3, 5, 6, 9, 40)[byte % 16]
            at = max(now - min(-ahead, lateness), 0) if ahead < 0 else now + ahead
            now = max(now, at)
            if at >= 0:
                device.append(place)
                hour.append(at)
    return Case(longs(*device), longs(*hour), longs(*head), lateness, Rules(horizon, reach))


def naive_heads(case: Case) -> list[tuple[int, int]]:
    heads, out = case.head.tolist(), []
    for device, hour in zip(case.device.tolist(), case.hour.tolist(), strict=True):
        before, heads[device] = heads[device], max(heads[device], hour)
        out.append((before, heads[device]))
    return out


@given(cases())
def test_running_heads_are_those_of_one_reading_after_the_other(case: Case) -> None:
    before, after = running_heads(case.device, case.hour, case.head)
    assert list(zip(before.tolist(), after.tolist(), strict=True)) == naive_heads(case)


def touched(hour: int, before: int, after: int, horizon: int) -> list[int]:
    """As-of hours that a reading may make due, targets past or not."""
    if hour < before:
        return list(range(hour, after + 1))
    return [before, hour] if before != NO_HOUR and hour - before < horizon else [hour]


def naive_cut(case: Case) -> Iterator[int]:
    """The number of each reading's segment, joining as long as nothing forbids it."""
    number, oldest, previous = 0, 0, None
    horizon, reach = case.rules.horizon, case.rules.reach
    for (before, after), device, hour in zip(naive_heads(case), case.device.tolist(), case.hour.tolist(), strict=True):
        mine = min(touched(hour, before, after, horizon))
        final = hour < before and hour + horizon <= before
        if device != previous:
            number, oldest = 0, mine
        elif final or after - min(oldest, mine) > reach:
            number, oldest = number + 1, mine
        previous, oldest = device, min(oldest, mine)
        yield number


def segments_of(case: Case) -> Longs:
    before, after = running_heads(case.device, case.hour, case.head)
    grouped = groups(case.device, case.hour, before, after, case.rules.horizon)
    return cut(grouped, case.hour, before, after, case.rules)


@settings(max_examples=300)
@given(cases())
def test_segments_are_as_long_as_they_may_be(case: Case) -> None:
    assert segments_of(case).tolist() == list(naive_cut(case))


@settings(max_examples=300)
@given(cases())
def test_a_segment_never_joins_what_must_be_folded_apart(case: Case) -> None:
    heads, number = naive_heads(case), segments_of(case).tolist()
    rows = list(zip(case.device.tolist(), number, case.hour.tolist(), heads, strict=True))
    for segment in {row[:2] for row in rows}:
        mine = [(hour, *ends) for device, number, hour, ends in rows if (device, number) == segment]
        asked = [min(touched(*row, case.rules.horizon)) for row in mine]
        newest = mine[-1][2]
        # (1) the ring still holds the windows of all as-of hours; a jump of one reading alone cannot be cut
        assert len(mine) == 1 or newest - min(asked) <= case.rules.reach
        # (2) no reading changes an hour after a forecast that looks back on it became final
        for place, (hour, before, _) in enumerate(mine):
            forecast = {at for row in mine[:place] for at in touched(*row, case.rules.horizon)}
            assert not any(at >= hour and at + case.rules.horizon <= before for at in forecast)


@given(cases())
def test_groups_tell_each_devices_rows_and_the_hours_they_reach_over(case: Case) -> None:
    before, after = running_heads(case.device, case.hour, case.head)
    found = groups(case.device, case.hour, before, after, case.rules.horizon)
    heads, spans, changes = naive_heads(case), [0], [0]
    for place, device in enumerate(sorted(set(case.device.tolist()))):
        mine = [i for i, other in enumerate(case.device.tolist()) if other == device]
        assert (found.starts[place], found.ends[place]) == (mine[0], mine[-1] + 1)
        hours = [int(case.hour[i]) for i in mine]
        first = touched(hours[0], *heads[mine[0]], case.rules.horizon)
        spans.append(heads[mine[-1]][1] - min(*first, *hours))
        changes.append(heads[mine[-1]][1] - min(heads[mine[0]][0], *hours) + 1)
    assert (found.span, found.hours) == (max(spans), max(changes))


def test_nothing_read_gives_no_segment() -> None:
    none = longs()
    before, after = running_heads(none, none, none)
    found = groups(none, none, before, after, 3)
    assert (found.span, found.hours, cut(found, none, before, after, Rules(3, 3)).tolist()) == (0, 0, [])


def test_a_device_in_order_is_one_segment_as_long_as_there_is_room() -> None:
    hours = np.arange(100, 120)
    one = Case(np.zeros(20, np.int64), hours, longs(99), 2, Rules(3, 20))
    assert segments_of(one).tolist() == [0] * 20
    short = Case(np.zeros(20, np.int64), hours, longs(99), 2, Rules(3, 9))
    assert segments_of(short).tolist() == [0] * 9 + [1] * 9 + [2] * 2
