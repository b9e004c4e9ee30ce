"""The ring against a plain dictionary, and what training reads from it against what serving reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.forecast.state import State
from shared.core.forecast.task import HourlyForecast
from shared.core.forecast.window.columns import Layout, fingerprint, hour_values, spread
from shared.core.forecast.window.counting import new_hours, popcount, rank_within
from shared.core.forecast.window.history import hourly
from shared.core.forecast.window.ring import Ring
from shared.core.forecast.window.slots import Columns
from shared.core.forecast.window.waiting import Waiting
from shared.core.forecast.window.windows import CELLS_AT_ONCE, windows
from shared.core.intake.readings import Array, Longs, Readings
from shared.core.model.scoring import Control
from shared.core.scenario import parse
from shared.core.stream.events import Event, rows_of
from shared.core.stream.gathering import gather
from shared.core.stream.packing import pack
from shared.core.task.calendar import NO_HOUR
from tests.kit import small
from tests.kit.scenario import HEAD, SIZES
from tests.unit.core.forecast.plain_model import START

LEVELS = (0.1, 0.2, 12.3, 99.9)  # of which no sum is exact in float32
NAN = float("nan")
KINDS: dict[str, Callable[[list[float]], float]] = {"max": max, "min": min, "last": lambda values: values[-1]}


def readings_of(rows: Sequence[tuple[str, int, tuple[float, ...]]], width: int = 3) -> Readings:
    """Readings (device, minute, values) in the order of arrival."""
    devices = tuple(sorted({device for device, _, _ in rows}))
    return Readings(
        devices,
        np.array([devices.index(device) for device, _, _ in rows], np.int32),
        np.array([minute for _, minute, _ in rows], np.int32),
        np.arange(1, len(rows) + 1, dtype=np.int64),
        np.array([values for _, _, values in rows], np.float32).reshape(len(rows), width),
    )


def longs(*values: int) -> Longs:
    return np.array(values, np.int64)


def test_a_circular_channel_becomes_east_and_north_in_place_of_the_angle() -> None:
    layout = Layout.of(small())
    assert (layout.columns, layout.sources, layout.circular) == (4, (0, 1, 2, 2), (2,))
    assert layout.summed.tolist() == [False, True, False, False]
    out = spread(layout, np.array([[1, 2, 90], [3, 4, 180], [5, NAN, NAN]], np.float32))
    assert out.dtype == np.float32
    expected = [[1, 2, 1, 0], [3, 4, 0, -1], [5, NAN, NAN, NAN]]
    np.testing.assert_allclose(out, np.array(expected), atol=1e-7)


def test_a_reading_has_the_same_bits_alone_and_among_others() -> None:
    layout = Layout.of(small())
    values = np.random.default_rng(1).uniform(0, 360, (100, 3)).astype(np.float32)
    together = spread(layout, values)
    for row in (0, 1, 15, 16, 17, 99):
        assert spread(layout, values[row : row + 1]).tobytes() == together[row].tobytes()


@pytest.mark.parametrize(("count", "mean", "amount"), [(0, NAN, NAN), (1, 12.0, NAN), (2, 6.0, 12.0), (3, 4.0, 12.0)])
def test_an_hour_is_the_mean_of_its_samples_but_an_amount_only_counts_when_none_is_missing(
    count: int, mean: float, amount: float
) -> None:
    layout = Layout.of(small(samples_per_hour=2))
    sums = np.full((1, 4, 1), 12 if count else 0, np.float32)
    found = hour_values(layout, sums, np.full((1, 4, 1), count, np.uint8))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0, :, 0], [mean, amount, mean, mean])


@dataclass
class Book:
    """A dictionary of all samples: device, hour, minute -> (values, fingerprint)."""

    heads: list[int]
    hours: dict[tuple[int, int], dict[int, tuple[list[float], int]]] = field(default_factory=dict)

    def value(self, device: int, hour: int, column: int, samples_per_hour: int) -> np.float32:
        total, count = np.float32(0), 0
        for values, _ in self.hours.get((device, hour), {}).values():
            if not math.isnan(values[column]):
                total, count = total + np.float32(values[column]), count + 1
        if column == 1:
            return total if count >= samples_per_hour else np.float32(NAN)
        return total / np.float32(count) if count else np.float32(NAN)


def ring_and_book(raw: bytes, samples_per_hour: int) -> tuple[Ring, Book]:
    """Batches of readings folded into both; six bytes tell one reading."""
    layout = Layout.of(small(samples_per_hour=samples_per_hour))
    ring, book = Ring.empty(layout, 3), Book([NO_HOUR] * 3)
    batch: list[tuple[int, int, list[float], int]] = []
    for place in range(0, len(raw) - 5, 6):
        who, ahead, behind, minute, value, flush = raw[place : place + 6]
        device = who % 3
        step_on = (0, 0, 1, 1, 2, 9, 10, 11, 40)[ahead % 9]
        head = book.heads[device] + step_on if book.heads[device] != NO_HOUR else START + ahead
        book.heads[device] = head
        hour = head - behind % 4
        values = [(*LEVELS, NAN)[value // 5**column % 5] for column in range(3)] + [0.5]
        seen = book.hours.setdefault((device, hour), {})
        if minute % 60 not in seen:
            seen[minute % 60] = values, 1 + place
            batch.append((device, hour * 60 + minute % 60, values, 1 + place))
        if flush % 4 == 0:
            fold(ring, book.heads, batch)
            batch = []
    fold(ring, book.heads, batch)
    return ring, book


def fold(ring: Ring, heads: list[int], batch: Sequence[tuple[int, int, list[float], int]]) -> None:
    """Move the heads, then fold what the ring still holds; as a step does it."""
    moved = longs(*(place for place, head in enumerate(heads) if head != NO_HOUR))
    ring.advance(moved, longs(*heads)[moved])
    rows = [row for row in batch if row[1] // 60 > heads[row[0]] - ring.slots]
    if rows:
        device, minute, values, prints = zip(*rows, strict=True)
        ring.fold(longs(*device), longs(*minute), np.array(values, np.float32), np.array(prints, np.uint32))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 40).flatmap(lambda n: st.binary(min_size=6 * n, max_size=6 * n)), st.sampled_from([1, 2, 3]))
def test_the_ring_holds_what_a_dictionary_holds(raw: bytes, samples_per_hour: int) -> None:
    ring, book = ring_and_book(raw, samples_per_hour)
    assert ring.head.tolist() == book.heads
    values = ring.values()
    for device, head in enumerate(book.heads):
        for hour in range(head - ring.slots + 1, head + 1) if head != NO_HOUR else ():
            one, at = longs(device), longs(hour)
            known = book.hours.get((device, hour), {})
            assert ring.samples(one, at).tolist() == [len(known)]
            for column in range(4):
                expected = book.value(device, hour, column, samples_per_hour)
                np.testing.assert_array_equal(values[hour % ring.slots, column, device], expected)
                np.testing.assert_array_equal(ring.value_at(one, at, column), expected)
            minutes = longs(*range(hour * 60, hour * 60 + 60))
            seen = ring.seen(np.zeros(60, np.int64) + device, minutes).tolist()
            assert [minute for minute, there in enumerate(seen) if there] == sorted(known)
            _check_conflicts(ring, device, hour, {minute: mark for minute, (_, mark) in known.items()})


def _check_conflicts(ring: Ring, device: int, hour: int, known: dict[int, int]) -> None:
    for minute, mark in known.items():
        asked = longs(device, device), longs(hour * 60 + minute, hour * 60 + minute)
        same, other = ring.conflicts(*asked, np.array([mark, 4_000_000_001], np.uint32)).tolist()
        assert not same
        assert other == (len(known) <= ring.layout.samples_per_step)


def test_an_hour_that_the_ring_does_not_hold_is_missing_and_not_another_one() -> None:
    ring = Ring.empty(Layout.of(small()), 1)
    head = START + 5
    ring.advance(longs(0), longs(head))
    hours = np.arange(head - ring.slots + 1, head + 1)
    device = np.zeros_like(hours)
    ring.fold(device, hours * 60, np.ones((len(hours), 4), np.float32), np.ones(len(hours), np.uint32))
    asked = longs(head - ring.slots, head - ring.slots + 1, head, head + 1)
    np.testing.assert_array_equal(ring.value_at(np.zeros(4, np.int64), asked, 0), [NAN, 1, 1, NAN])
    assert ring.seen(np.zeros(2, np.int64), longs(head * 60, (head + 1) * 60)).tolist() == [True, False]


def test_advancing_clears_the_new_hours_of_the_moved_device_alone() -> None:
    ring = Ring.empty(Layout.of(small()), 3)
    everyone = longs(0, 1, 2)
    ring.advance(everyone, longs(START, START, START))
    ring.sums[:], ring.counts[:], ring.minutes[:], ring.prints[:] = 7, 1, 1, 1
    ring.advance(longs(1), longs(START + 2))
    assert ring.head.tolist() == [START, START + 2, START]
    fresh = [(START + 1) % ring.slots, (START + 2) % ring.slots]
    for array in ring.arrays().values():
        assert not array[fresh, :, 1].any()
        kept = np.delete(array, fresh, axis=0)
        assert kept[:, :, 1].all()
        assert array[:, :, [0, 2]].all()
    ring.advance(longs(1), longs(START + 500))
    assert not any(array[:, :, 1].any() for array in ring.arrays().values())


VALUE = st.sampled_from([NAN, 0.0, -0.0, 1.0, -1.0, 0.1, 90.0, 1e-30, 3e38])


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.lists(VALUE, min_size=3, max_size=3)), min_size=1, max_size=9))
def test_a_fingerprint_tells_readings_apart_and_knows_the_same_one_again(rows: list[tuple[int, list[float]]]) -> None:
    minute = np.array([minute for minute, _ in rows], np.int32)
    prints = fingerprint(minute, np.array([values for _, values in rows], np.float32))
    assert prints.dtype == np.uint32
    assert prints.all(), "0 stands for no reading"
    said = [(minute, tuple("nan" if v != v else str(v + 0.0) for v in values)) for minute, values in rows]
    for one, this in zip(said, prints.tolist(), strict=True):
        for other, that in zip(said, prints.tolist(), strict=True):
            assert (one == other) == (this == that)


def test_the_place_of_a_value_and_every_nan_of_whatever_bits_count_in_a_fingerprint() -> None:
    minute = np.array([5, 5, 5], np.int32)
    swapped = fingerprint(minute, np.array([[1, 2, NAN], [2, 1, NAN], [NAN, 1, 2]], np.float32))
    assert len(set(swapped.tolist())) == 3
    odd = np.array([[0x7FC00001], [0xFFC00000], [0x7FC00000]], np.uint32).view(np.float32)
    assert len(set(fingerprint(minute, odd).tolist())) == 1


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_popcount_counts_the_bits(masks: list[int]) -> None:
    assert popcount(np.array(masks, np.uint64)).tolist() == [mask.bit_count() for mask in masks]


@given(st.lists(st.integers(-3, 3), max_size=30))
def test_rank_within_counts_the_earlier_rows_of_the_same_key(keys: list[int]) -> None:
    assert rank_within(longs(*keys)).tolist() == [keys[:place].count(key) for place, key in enumerate(keys)]


@given(st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 9)), max_size=6), st.integers(1, 6))
def test_new_hours_lists_the_hours_a_head_moved_over_but_no_more_than_there_is_room_for(
    moves: list[tuple[int, int]], limit: int
) -> None:
    owner, hour = new_hours(longs(*(old for old, _ in moves)), longs(*(old + by for old, by in moves)), limit)
    expected = {
        (i, h) for i, (old, by) in enumerate(moves) for h in range(max(old, old + by - limit) + 1, old + by + 1)
    }
    found = list(zip(owner.tolist(), hour.tolist(), strict=True))
    assert len(found) == len(expected)
    assert set(found) == expected


ASKED = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=5)


@given(st.integers(0, 30), ASKED, st.sampled_from([1, CELLS_AT_ONCE // 9]))
def test_a_window_ends_with_its_as_of_hour_and_begins_with_its_oldest(
    turn: int, asked: list[tuple[int, int]], times: int
) -> None:
    slots, width, devices, history, head = 8, 2, 3, 5, START + turn
    values = np.full((slots, width, devices), NAN, np.float32)
    for hour in range(head - slots + 1, head + 1):
        for column in range(width):
            for who in range(devices):
                values[hour % slots, column, who] = (hour - START) * 100 + column * 10 + who
    device, as_of = longs(*(who for who, _ in asked)), longs(*(head - back for _, back in asked))
    found = windows(values, np.tile(device, times), np.tile(as_of, times), history)
    assert found.shape == (history, width, len(asked) * times)
    assert found.flags.c_contiguous
    for place, (who, back) in enumerate(asked):
        oldest = turn - back - history + 1
        expected = [[hour * 100 + who, hour * 100 + 10 + who] for hour in range(oldest, oldest + history)]
        assert found[:, :, place].tolist() == expected
        assert found[:, :, place - len(asked)].tolist() == expected


def streams(raw: bytes) -> list[tuple[str, int, tuple[float, ...]]]:
    """Readings of three devices, at most three hours late, with gaps and repeated minutes; five bytes tell one."""
    rows: list[tuple[str, int, tuple[float, ...]]] = []
    heads = dict.fromkeys("abc", START)
    for place in range(0, len(raw) - 4, 5):
        who, ahead, behind, minute, value = raw[place : place + 5]
        device = "abc"[who % 3]
        heads[device] += (0, 0, 0, 1, 1, 2, 15)[ahead % 7]
        hour = heads[device] - (behind % 4 if ahead % 2 else 0)
        first, second, third = ((*LEVELS, NAN)[value // 5**i % 5] for i in range(3))
        rows.append((device, hour * 60 + minute % 60, (first, second, third * 3)))
    return rows


def served(rows: Sequence[tuple[str, int, tuple[float, ...]]], samples_per_hour: int, size: int) -> State:
    """A partition's state after the readings came in batches of a given size."""
    scenario = small(samples_per_hour=samples_per_hour)
    task = HourlyForecast(scenario)
    state = task.empty(0)
    readings = readings_of(rows)
    for start in range(0, len(rows), size):
        part = rows_of(readings, np.arange(start, min(start + size, len(rows))))
        bodies = pack("file/x", scenario.channel_names, part)
        events = [Event(state.next + i, 0, body) for i, body in enumerate(bodies)]
        batch, _ = gather(0, 0, events, scenario.channel_names)
        task.step(state, batch, Control(), lambda _: []).put(state)
    return state


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 60).flatmap(lambda n: st.binary(min_size=5 * n, max_size=5 * n)),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 7, 1000]),
)
def test_training_reads_the_very_bits_that_serving_folded(raw: bytes, samples_per_hour: int, size: int) -> None:
    rows = streams(raw)
    state = served(rows, samples_per_hour, size)
    history = hourly(small(samples_per_hour=samples_per_hour), readings_of(rows))
    ring = state.columns.ring
    assert set(history) == set(state.devices)
    values = ring.values()
    for name, hours in history.items():
        place = state.index[name]
        mine = [minute // 60 for device, minute, _ in rows if device == name]
        assert (hours.first_hour, len(hours.values)) == (min(mine), max(mine) - min(mine) + 1)
        held = np.arange(max(min(mine), max(mine) - ring.slots + 1), max(mine) + 1)
        at = held - hours.first_hour
        assert hours.values[at].tobytes() == np.ascontiguousarray(values[held % ring.slots, :, place]).tobytes()
        assert hours.samples[at].tolist() == ring.samples(np.full(len(held), place), held).tolist()
        minutes = {(minute // 60, minute) for device, minute, _ in rows if device == name}
        assert int(hours.samples.sum()) == len(minutes)


def test_training_keeps_the_first_reading_of_a_minute_and_every_hour_of_a_gap() -> None:
    rows = [
        ("a", START * 60, (1.0, 2.0, 90.0)),
        ("a", START * 60, (5.0, 5.0, 5.0)),
        ("a", (START + 3) * 60 + 59, (4.0, NAN, NAN)),
    ]
    hours = hourly(small(), readings_of(rows))["a"]
    np.testing.assert_allclose(hours.values[:, 0], [1, NAN, NAN, 4])
    np.testing.assert_allclose(hours.values[0], [1, 2, 1, 0], atol=1e-7)
    assert hours.values.flags.c_contiguous
    assert hours.samples.tolist() == [1, 0, 0, 1]


def test_a_device_without_readings_has_no_history() -> None:
    one = readings_of([("b", START * 60, (1.0, 2.0, 90.0))])
    listed = Readings(("a", "b", "c"), one.device + np.int32(1), one.minute, one.position, one.values)
    assert list(hourly(small(), listed)) == ["b"]
    assert hourly(small(), readings_of([])) == {}


WAITING = 12  # more than the ring's slots, which a short history allows


def numbered(devices: int, heads: Sequence[int]) -> Columns:
    """Columns in which every hour of every device has its own content."""
    columns = Columns.empty(Layout.of(small()), WAITING, devices, watched=2)
    columns.ring.head[:] = heads
    columns.quality[:] = np.arange(columns.quality.size).reshape(columns.quality.shape)
    for device, head in enumerate(heads):
        for name, array in columns.hourly().items():
            for hour in range(head - len(array) + 1, head + 1) if head != NO_HOUR else ():
                array[hour % len(array), :, device] = (hour - START + 40 + 3 * device + len(name)) % 251
    return columns


def by_hour(array: Array, device: int, head: int) -> Array:
    """A copy of a device's slots, newest hour first."""
    hours: Array = array[(head - np.arange(len(array))) % len(array), :, device]
    return hours


@pytest.mark.parametrize("extra", [0, 1, 17])
@pytest.mark.parametrize("hours", [0, 1, 5, 9, 10, 11, 12, 1000])
def test_taken_columns_hold_the_same_hours_and_the_newest_come_back(extra: int, hours: int) -> None:
    heads = [START, START + 13, START + 5, START + 100]
    columns = numbered(4, heads)
    before = {name: array.copy() for name, array in columns.arrays().items()}
    chosen = longs(1, 3)
    taken = columns.take(chosen, extra)
    assert (taken.ring.slots, taken.waiting.slots) == (columns.ring.slots + extra, WAITING + extra)
    assert taken.ring.head.tolist() == [heads[1], heads[3]]
    np.testing.assert_array_equal(taken.quality, before["quality"][:, :, chosen])
    for name, array in taken.hourly().items():
        held = len(before[name])
        for place, device in enumerate(chosen.tolist()):
            here, there = by_hour(array, place, heads[device]), by_hour(before[name], device, heads[device])
            np.testing.assert_array_equal(here[:held], there)
            assert not here[held:].any(), "room for older hours is empty"
        array += 1
    taken.quality += 1
    assert_same(columns, before)
    columns.put(chosen, taken, hours)
    np.testing.assert_array_equal(columns.quality, before["quality"] + np.array([0, 1, 0, 1]), "days are not hours")
    for device, head in enumerate(heads):
        for name, array in columns.hourly().items():
            expected = by_hour(before[name], device, head)
            expected[:hours] += 1 if device in (1, 3) else 0
            np.testing.assert_array_equal(by_hour(array, device, head), expected)


def test_a_copy_is_independent_in_its_heads_too() -> None:
    columns = numbered(2, [START, START + 1])
    taken = columns.take(longs(0, 1))
    taken.ring.advance(longs(0), longs(START + 3))
    assert columns.ring.head.tolist() == [START, START + 1]


def assert_same(columns: Columns, before: Mapping[str, Array]) -> None:
    for name, array in columns.arrays().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("extra", [0, 3])
def test_devices_never_heard_of_are_taken_empty_and_put_at_the_end(extra: int) -> None:
    columns = numbered(2, [START, START + 1])
    chosen = longs(1, 2, 5)
    taken = columns.take(chosen, extra)
    assert taken.ring.head.tolist() == [START + 1, NO_HOUR, NO_HOUR]
    assert not any(array[:, :, 1:].any() for array in taken.arrays().values())
    taken.ring.advance(longs(1, 2), longs(START + 2, START + 5))
    for array in taken.arrays().values():
        array[:, :, 1:] = 5
    columns.put(chosen, taken, 1000)
    assert columns.ring.head[:6].tolist() == [START, START + 1, START + 2, NO_HOUR, NO_HOUR, START + 5]
    for array in columns.arrays().values():
        assert (array[:, :, [2, 5]] == 5).all()
        assert not array[:, :, [3, 4, *range(6, array.shape[2])]].any()
        assert array.shape[2] == len(columns.ring.head)
    same = numbered(2, [START, START + 1])
    for name, array in columns.arrays().items():
        np.testing.assert_array_equal(array[:, :, :2], same.arrays()[name])


def test_putting_nothing_changes_nothing_and_room_grows_by_half() -> None:
    columns = numbered(2, [START, START + 1])
    columns.put(longs(), columns.take(longs()), 0)
    assert len(columns.ring.head) == 2
    columns = numbered(10, [START] * 10)
    columns.put(longs(10), columns.take(longs(10)), 1)
    assert len(columns.ring.head) == 15
    assert columns.ring.head[10:].tolist() == [NO_HOUR] * 5


def test_waiting_forecasts_are_cleared_in_the_hours_a_head_moves_over() -> None:
    waiting = Waiting.empty(5, 2, 3)
    assert {name: str(array.dtype) for name, array in waiting.arrays().items()} == {
        "value": "float32",
        "lower": "float32",
        "upper": "float32",
        "revision": "uint16",
        "model": "uint16",
        "bins": "uint16",
    }
    assert waiting.bins.shape == (5, 3, 2)
    for array in waiting.arrays().values():
        array[:] = 1
    waiting.advance(longs(1), longs(START), longs(START + 2))
    gone = [(START + 1) % 5, (START + 2) % 5]
    for array in waiting.arrays().values():
        assert not array[gone, :, 1].any()
        assert np.delete(array, gone, axis=0)[:, :, 1].all()
        assert array[:, :, 0].all()


@given(
    st.lists(st.tuples(st.integers(0, 119), st.none() | st.sampled_from([-2.5, -0.0, 0.0, 1.0, 7.25])), max_size=20),
    st.randoms(use_true_random=False),
    st.integers(1, 20),
)
def test_the_largest_smallest_and_newest_sample_of_an_hour_stay_in_any_order_and_any_cut(
    drawn: list[tuple[int, float | None]], random: Random, size: int
) -> None:
    samples = list({START * 60 + minute: value for minute, value in drawn}.items())
    channels = [{"name": name, "unit": "1", "minimum": -9, "maximum": 9, "aggregate": name} for name in KINDS]
    layout = Layout.of(parse({**HEAD, **SIZES, "target": "max", "channels": channels}))
    ring = Ring.empty(layout, 1)
    ring.advance(np.zeros(1, np.int64), np.array([START + 1]))
    random.shuffle(samples)
    for first in range(0, len(samples), size):
        part = samples[first : first + size]
        minute = np.array([minute for minute, _ in part], np.int64)
        values = np.array([[NAN if value is None else value] * 3 for _, value in part], np.float32)
        ring.fold(np.zeros_like(minute), minute, values, np.ones(len(part), np.uint32))
    for hour in (START, START + 1):
        there = [value for minute, value in sorted(samples) if minute // 60 == hour and value is not None]
        wanted = [choose(there) if there else NAN for choose in KINDS.values()]
        np.testing.assert_array_equal(ring.values()[hour % ring.slots, :, 0], np.array(wanted, np.float32))
        assert not np.signbit(ring.values()[hour % ring.slots, :, 0][np.array(wanted) == 0]).any()
