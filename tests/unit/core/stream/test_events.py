"""Events of the stream "readings": what is packed comes back, whatever the ids; what is damaged is a bad event."""

from __future__ import annotations

import dataclasses
import math
import string
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.intake.readings import Readings, id_problem
from shared.core.intake.reasons import REASONS
from shared.core.scenario.cadence import Cadence
from shared.core.stream.events import Batch, End, Event, partition_of, rows_of, split
from shared.core.stream.gathering import gather
from shared.core.stream.packing import EVENT_BYTES, MAX_POSITION, VERSION, Packed, pack, pack_end, unpack
from shared.errors import BadEvent

CHANNELS = ("temp", "pm25")
HOSTILE = (
    "",
    " ",
    "a/../../b",
    "'; DROP TABLE x; --",
    '"',
    "\\",
    "<script>",
    "%00%2e",
    "🌡️🇩🇪",
    "Köln\u200b",
    "x" * 128,
    "\U0001f321" * 128,
    "name@etag",
    "file/",
)
Row = tuple[str, int, int, float, float]  # device, minute, position, values


def readings_of(rows: Sequence[Row]) -> Readings:
    devices = {name: place for place, name in enumerate(dict.fromkeys(row[0] for row in rows))}
    return Readings(
        tuple(devices),
        np.array([devices[row[0]] for row in rows], np.int32),
        np.array([row[1] for row in rows], np.int32),
        np.array([row[2] for row in rows], np.int64),
        np.array([row[3:] for row in rows], np.float32).reshape(len(rows), 2),
    )


def rows_in(readings: Readings) -> list[tuple[object, ...]]:
    """Rows with their device's name; NaN as a text, so that rows can be compared."""
    values = [tuple("nan" if math.isnan(v) else v for v in row) for row in readings.values.tolist()]
    columns = readings.device.tolist(), readings.minute.tolist(), readings.position.tolist(), values
    return [(readings.devices[device], *rest) for device, *rest in zip(*columns, strict=True)]


ROW = st.tuples(
    st.sampled_from(HOSTILE) | st.text(max_size=128).filter(lambda text: id_problem(text) is None),
    st.integers(0, 2**31 - 1),
    st.integers(0, 1000),
    st.floats(width=32, allow_infinity=False),
    st.floats(width=32, allow_infinity=False),
)


@st.composite
def sources(draw: st.DrawFn) -> Readings:
    """Readings of one source, positions rising."""
    rows = draw(st.lists(ROW, max_size=30))
    position, out = 0, []
    for device, minute, step, one, two in rows:
        position += 1 + step
        out.append((device, minute, position, one, two))
    return readings_of(out)


@settings(max_examples=150, deadline=None)
@given(sources(), st.integers(1, 5))
def test_readings_come_back_from_their_partitions_in_the_order_of_the_source(found: Readings, partitions: int) -> None:
    expected = rows_in(found)
    back: list[tuple[object, ...]] = []
    for partition, part in split(found, partitions):
        assert len(part), "a partition without readings gets no event"
        events = [Event(i, 1000 - i, body) for i, body in enumerate(pack("hub/0", CHANNELS, part))]
        batch, bad = gather(partition, 7, events, CHANNELS)
        assert not bad
        assert (batch.partition, batch.epoch, batch.first, batch.next) == (partition, 7, 0, len(events))
        assert batch.sources == ("hub/0",)
        joined = Readings(batch.devices, batch.device, batch.minute, batch.position, batch.values)
        mine = [row for row in expected if partition_of(str(row[0]), partitions) == partition]
        assert rows_in(joined) == mine
        back += mine
    assert sorted(map(repr, back)) == sorted(map(repr, expected)), "every reading has exactly one partition"


@given(sources(), st.data())
def test_some_rows_list_their_own_devices_only(found: Readings, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, max(len(found) - 1, 0)), unique=True, max_size=len(found)))
    part = rows_of(found, np.array(sorted(chosen), np.int64))
    assert rows_in(part) == [rows_in(found)[row] for row in sorted(chosen)]
    assert set(part.devices) == {part.devices[place] for place in part.device.tolist()}


def test_the_owner_of_a_device_is_the_same_for_ever() -> None:
    known = {"Dongsi": 1, "": 0, "🌡️": 0, "a": 3, "b": 1, "\ud800": 0}
    assert {device: partition_of(device, 4) for device in known} == known
    counts = np.bincount([partition_of(f"device-{i}", 4) for i in range(4000)], minlength=4)
    assert counts.min() > 900


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (1, "d{i}"),
        (20_000, "d"),
        (20_000, "d{i}"),
        (3_000, "\U0001f321" * 120 + "{i:08d}"),
        (3_000, string.printable[:-6].replace("{", "").replace("}", "") + "{i:032d}"),
    ],
)
def test_no_event_is_larger_than_the_limit_and_few_are_needed(rows: int, name: str) -> None:
    found = readings_of([(name.format(i=i), i, i + 1, 1.0, 2.0) for i in range(rows)])
    bodies = list(pack("file/" + "n" * 1024 + "@0x8D", CHANNELS, found))
    assert max(map(len, bodies)) <= EVENT_BYTES
    assert len(bodies) <= 1 + 2 * sum(map(len, bodies)) / EVENT_BYTES, "a halved event may be half full, not less"
    batch, bad = gather(0, 0, [Event(i, 0, body) for i, body in enumerate(bodies)], CHANNELS)
    assert (len(batch), bad) == (rows, [])
    assert batch.position.tolist() == list(range(1, rows + 1))
    assert [batch.devices[d] for d in batch.device.tolist()] == [name.format(i=i) for i in range(rows)]
    assert batch.sequence.tolist() == sorted(batch.sequence.tolist())
    assert set(batch.sequence.tolist()) == set(range(len(bodies)))


@pytest.mark.parametrize("channels", [1, 3, 4, 7, 40])
def test_events_are_full_whatever_the_number_of_channels(channels: int) -> None:
    rows = 20_000
    one = np.zeros(rows, np.int32)
    found = Readings(("d",), one, one, np.arange(rows), np.zeros((rows, channels), np.float32))
    bodies = list(pack("hub/0.0", [f"c{i}" for i in range(channels)], found))
    assert max(map(len, bodies)) <= EVENT_BYTES
    assert len(bodies) == math.ceil(rows * (14 + 4 * channels) / (EVENT_BYTES - 2_000))


def test_readings_of_several_sources_and_end_markers_become_one_batch() -> None:
    bodies = [
        *pack("hub/0", CHANNELS, readings_of([("b", 5, 3, 1.0, 2.0), ("a", 6, 4, 3.0, 4.0)])),
        *pack("file/x", CHANNELS, readings_of([("a", 7, 1, 5.0, 6.0)])),
        pack_end("file/x", 2),
        pack_end("file/y", 9),
        *pack("hub/0", CHANNELS, readings_of([("c", 8, 5, 7.0, 8.0)])),
    ]
    events = [Event(40 + i, 900 - abs(i - 2), body) for i, body in enumerate(bodies)]
    batch, bad = gather(2, 1, events, CHANNELS)
    assert not bad
    assert (batch.first, batch.next, batch.enqueued_ms) == (40, 45, 900)
    assert batch.sources == ("hub/0", "file/x", "file/y")
    assert batch.devices == ("b", "a", "c")
    assert batch.source.tolist() == [0, 0, 1, 0]
    assert batch.device.tolist() == [0, 1, 1, 2]
    assert batch.minute.tolist() == [5, 6, 7, 8]
    assert batch.position.tolist() == [3, 4, 1, 5]
    assert batch.sequence.tolist() == [40, 40, 41, 44]
    assert batch.values.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert batch.ends == (End(1, 2), End(2, 9))
    assert kinds_of(batch) == ["int32", "int32", "int32", "int64", "int64", "float32"]


def kinds_of(batch: Batch) -> list[str]:
    names = ("source", "device", "minute", "position", "sequence", "values")
    return [str(getattr(batch, name).dtype) for name in names]


def test_a_batch_without_readings_has_columns_of_the_right_kind() -> None:
    batch, bad = gather(0, 0, [Event(3, 5, b"\xc1")], CHANNELS)
    assert [(event.sequence, error.reason) for event, error in bad] == [(3, "format")]
    assert (len(batch), batch.first, batch.next, batch.values.shape) == (0, 3, 4, (0, 2))
    assert kinds_of(batch) == ["int32", "int32", "int32", "int64", "int64", "float32"]
    assert (batch.sources, batch.devices, batch.ends) == ((), (), ())


def test_a_bad_event_takes_nothing_of_its_neighbours() -> None:
    (good,) = pack("hub/0", CHANNELS, readings_of([("a", 7, 1, 5.0, 6.0)]))
    batch, bad = gather(0, 0, [Event(0, 1, good), Event(1, 9, good[:-1]), Event(2, 3, good)], CHANNELS)
    assert [event.sequence for event, _ in bad] == [1]
    assert batch.sequence.tolist() == [0, 2]
    assert (batch.next, batch.enqueued_ms) == (3, 9)


def test_channels_are_found_by_name_and_a_missing_one_is_missing() -> None:
    (body,) = pack("s", ("pm25", "noise", "temp"), wide([1.0, 2.0, 3.0]))
    _, found = unpack(body, ("temp", "rain", "pm25"))
    np.testing.assert_array_equal(found.values, [[3.0, math.nan, 1.0]])
    assert found.values.dtype == np.float32
    _, same = unpack(body, ("pm25", "noise", "temp"))
    assert same.values.tolist() == [[1.0, 2.0, 3.0]]


def wide(values: list[float]) -> Readings:
    one = np.ones(1, np.int32)
    return Readings(("d",), one - 1, one, one.astype(np.int64), np.array([values], np.float32))


def test_the_birth_of_events_is_told_where_it_is_known() -> None:
    one = readings_of([("a", 7, 1, 5.0, 6.0)])
    bodies = [*pack("hub/0", CHANNELS, one, 17), *pack("hub/0", CHANNELS, one), *pack("hub/0", CHANNELS, one, 0)]
    batch, _ = gather(0, 0, [Event(i, 0, body) for i, body in enumerate(bodies)], CHANNELS)
    assert batch.born_ms == (17, 0)


def test_an_event_of_a_writer_that_knew_no_birth_is_read() -> None:
    body = damaged()
    older = b"\x99" + body[1:].removesuffix(b"\xff")
    assert rows_in(unpack(older, ["a"])[1]) == rows_in(unpack(body, ["a"])[1])


@pytest.mark.parametrize(("written", "wanted", "found"), [
    (60, 60, [120, 121]), (60, 10, [720, 726]), (10, 60, [20, 20]), (1, 10, [12, 12]), (3600, 1, [432_000, 435_600]),
])  # fmt: skip
def test_ticks_of_an_event_are_told_and_become_those_of_whoever_reads_it(
    written: int, wanted: int, found: list[int]
) -> None:
    """Written before an edit of the resolution, read after it."""
    (body,) = pack("hub/0", CHANNELS, readings_of([("a", 120, 1, 5.0, 6.0), ("a", 121, 2, 5.0, 6.0)]), tick_s=written)
    batch, bad = gather(0, 0, [Event(0, 1, body)], CHANNELS, Cadence(tick_s=wanted))
    assert not bad
    assert batch.minute.tolist() == found
    assert batch.minute.dtype == (np.int64 if wanted < 60 else np.int32)
    (plain,) = pack("hub/0", CHANNELS, readings_of([("a", 120, 1, 5.0, 6.0), ("a", 121, 2, 5.0, 6.0)]))
    assert (body == plain) == (written == 60)


@pytest.mark.parametrize(
    ("ticks", "written", "wanted"),
    [(2**31 - 1, 60, 1), (2**31 - 1, 3600, 60), (5, 0, 60), (5, 3601, 60), (5, -1, 10)],
)
def test_ticks_that_nobody_can_have_are_a_bad_event(ticks: int, written: int, wanted: int) -> None:
    (body,) = pack("hub/0", CHANNELS, readings_of([("a", ticks, 1, 5.0, 6.0)]), tick_s=written)
    with pytest.raises(BadEvent, match=r"beyond|outside 1 to 3600"):
        unpack(body, CHANNELS, wanted)


def test_seconds_of_the_year_2100_fit() -> None:
    at = int(np.datetime64("2100-06-01T12:00:01", "s").astype(np.int64))
    one = dataclasses.replace(readings_of([("a", 0, 1, 5.0, 6.0)]), minute=np.array([at]))
    (body,) = pack("hub/0", CHANNELS, one, tick_s=1)
    assert unpack(body, CHANNELS, 1)[1].minute.tolist() == [at]


def damaged(**changes: Any) -> bytes:
    """An event of two readings with some fields replaced."""
    right = Packed(
        VERSION,
        "s",
        ["a"],
        ["d", "e"],
        b"\0\0\1\0",
        b"\1\0\0\0\2\0\0\0",
        b"\1" + b"\0" * 7 + b"\2" + b"\0" * 7,
        b"\0" * 8,
    )
    return msgspec.msgpack.encode(msgspec.structs.replace(right, **changes))


def test_the_right_event_of_the_next_test_is_right() -> None:
    packed, found = unpack(damaged(), ["a"])
    assert packed.end is None
    assert rows_in(found) == [("d", 1, 1, (0.0,)), ("e", 2, 2, (0.0,))]
    assert unpack(damaged(end=MAX_POSITION), ["a"])[0].end == MAX_POSITION
    assert unpack(damaged(end=0), ["a"])[0].end == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 3}, "event version 3 is not 1 or 2"),
        ({"devices": ["d"]}, "a device index is out of range"),
        ({"position": b"\1" + b"\0" * 7 + b"\1" + b"\0" * 7}, "positions do not rise"),
        ({"position": b"\2" + b"\0" * 7 + b"\1" + b"\0" * 7}, "positions do not rise"),
        ({"position": b"\xff" * 8 + b"\1" + b"\0" * 7}, "is negative"),
        ({"minute": b"\xff" * 8}, "is negative"),
        ({"end": -1}, "is negative"),
        ({"end": MAX_POSITION + 1}, "beyond 63 bits"),
        ({"minute": b"\0" * 4, "position": b"\0" * 8}, "columns of 2, 1 and 1 rows"),
        ({"minute": b"\0" * 4}, "columns of 2, 1 and 2 rows"),
        ({"position": b"\0" * 8}, "columns of 2, 2 and 1 rows"),
        ({"device": b"\0" * 5}, "not a readings event"),
        ({"minute": b"\0" * 7}, "not a readings event"),
        ({"position": b"\0" * 15}, "not a readings event"),
        ({"values": b"\0" * 9}, "not a readings event"),
        ({"values": b"\0" * 12}, "not a readings event"),
        ({"channels": ["a", "b"]}, "not a readings event"),
        ({"source": 5}, "not a readings event"),
        ({"values": "text"}, "not a readings event"),
    ],
)
def test_a_damaged_event_is_a_bad_event_that_says_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadEvent, match=said) as caught:
        unpack(damaged(**changes), ["a"])
    assert caught.value.reason == "format"
    assert caught.value.reason in REASONS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xc1",
        b"\x9b" + damaged()[1:] + b"\x91" * 100_000,  # an element more, nested without end
        b"\x99\x01\xa1s\xdd\xff\xff\xff\xff",  # a list of four billion names
        b"\x99\x01\xa1s\x90\x90\xc6\xff\xff\xff\xff",
        b"\x99\x01\xa3\xed\xa0\x80\x90\x90" + b"\xc4\0" * 4 + b"\xc0",  # a surrogate in the source's name
    ],
)
def test_a_hostile_body_is_a_bad_event(body: bytes) -> None:
    with pytest.raises(BadEvent, match=f"not a readings event of {len(body)} bytes"):
        unpack(body, CHANNELS)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 10**6), st.sampled_from(["random", "cut", "flip", "insert"]))
def test_random_and_mutated_bytes_are_readings_or_a_bad_event_but_nothing_else(
    noise: bytes, place: int, how: str
) -> None:
    (body,) = pack("file/x@1", CHANNELS, readings_of([("a", 5, 3, 1.0, 2.0), ("b", 6, 4, 3.0, math.nan)]))
    at = place % len(body)
    changed = {
        "random": noise,
        "cut": body[:at],
        "flip": body[:at] + bytes([body[at] ^ (noise[0] if noise else 1)]) + body[at + 1 :],
        "insert": body[:at] + noise + body[at:],
    }[how]
    batch, bad = gather(0, 0, [Event(0, 0, changed)], CHANNELS)
    assert all(error.reason == "format" for _, error in bad)
    assert not bad or len(batch) == 0
    assert len(batch) == len(batch.values) == len(batch.device)
