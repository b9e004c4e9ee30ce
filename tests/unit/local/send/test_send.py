"""The fleet simulator: what it injects is what the pipeline finds, to the last reading."""

import argparse
import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from azure.eventhub import EventData
from rich.console import Console

from local.fleet.__main__ import Fleet, Row
from local.fleet.files import iso
from local.send import arguments as send_arguments
from local.send import plan as send_plan
from local.send import sources
from local.send.bodies import Bodies
from local.send.command import conclude, wishes
from local.send.faults import Faults
from local.send.garbage import Garbage, kinds
from local.send.plan import Plan
from local.send.record import ACCEPTED, Fault, Record, ReferenceFold
from local.send.sources import Source
from local.send.stream import Pace, stream
from local.send.wire import PARTITION_KEY, Message, encoded, place
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.stores import scenario_files
from shared.adapters.stores.clock import WallClock
from shared.core.intake import dead_letters, progress
from shared.core.intake.messages.decoding import Decoder
from shared.core.intake.reasons import REASONS
from shared.core.scenario import Names, with_overrides
from shared.core.stream.commit import DISPOSITIONS
from shared.core.stream.events import Event
from shared.core.task.tasks import task_of
from shared.errors import BadEvent
from shared.settings import Settings
from tests.kit import MemoryBlobs, MemoryStream, assemble

AIR = scenario_files.load("air_quality")
EVERYTHING = Faults(
    resend=0.05, conflict=0.03, reorder=0.06, late=0.05, garbage=0.15, skew=0.2, stuck=0.2, backlog_h=72
)
PARTITIONS = 3
MONDAY = int(np.datetime64("2024-01-01T00:00", "m").astype(np.int64))


def small_fleet(devices: int = 12, hours: int = 190) -> Source:
    return sources.fleet(devices, hours, seed=3)


def source_of(*rows: Row) -> Source:
    return Source("rows", AIR.channel_names, len(rows), lambda: iter(rows))


def row(hour: int, device: str = "a", minute: int = 0, value: float = 1.0) -> Row:
    return Row(MONDAY + hour * 60 + minute, device, (value, *[float("nan")] * 5, 30.0))


def planned(source: Source, faults: Faults, seed: int = 1) -> tuple[list[Message], Record]:
    plan = Plan(source, faults, seed, AIR)
    return list(plan), plan.record


class World:
    """The pipeline on stores in memory, which is handed messages in batches of any size."""

    def __init__(self, seed: int) -> None:
        self.blobs, self.readings = MemoryBlobs(), MemoryStream(4)
        self.pipeline = assemble(Settings(), self.blobs, self.readings, WallClock(), MemoryStream(PARTITIONS))
        self.random = random.Random(seed)

    def route(self, messages: Sequence[Message]) -> None:
        now = int(time.time() * 1000)
        for number in range(PARTITIONS):
            mine = [message for message in messages if place(message.device, PARTITIONS) == number]
            events = [Event(i, now, m.body, m.device if m.identified else None) for i, m in enumerate(mine)]
            for batch in self.cut(events):
                self.pipeline.route_events(number, batch)

    def score(self) -> None:
        for number, log in enumerate(self.readings.logs):
            for batch in self.cut(log):
                self.pipeline.score(number, batch)

    def cut(self, events: list[Event]) -> Iterator[list[Event]]:
        while events:
            size = self.random.choice((1, 7, 100, 1000))
            yield events[:size]
            events = events[size:]

    def routed(self) -> list[progress.Progress]:
        names = self.blobs.names(progress.CONTAINER)
        return [progress.decode(self.blobs.read(progress.CONTAINER, name) or b"") for name in names]

    def dispositions(self) -> Counter[tuple[str, int, str]]:
        """How often each device and minute became what."""
        files, found = ParquetFiles(task_of(AIR)), Counter[tuple[str, int, str]]()
        for name in self.blobs.names("commits"):
            raw = self.blobs.read("commits", name) or b""
            _, batch = files.decode_commit(raw)
            for place_, what in enumerate(files.dispositions(raw).tolist()):
                device = batch.devices[batch.device[place_]]
                found[device, int(batch.minute[place_]), DISPOSITIONS[what]] += 1
        return found

    def reasons(self) -> Counter[str]:
        return Counter(
            letter.reason
            for name in self.blobs.names("dead-letter")
            for letter in dead_letters.decode(self.blobs.read("dead-letter", name) or b"")
        )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_pipeline_finds_every_injected_fault_and_nothing_else(seed: int) -> None:
    messages, record = planned(small_fleet(), EVERYTHING, seed)
    world = World(seed)
    world.route(messages)
    world.score()
    routed, found, expected = world.routed(), world.dispositions(), record.expected()
    assert sum(part.messages for part in routed) == expected["messages"] == len(messages)
    assert sum(part.accepted for part in routed) == expected["accepted"]
    assert sum((Counter(part.rejected) for part in routed), Counter()) == expected["rejected"]
    for outcome in ACCEPTED:
        assert sum(count for (_, _, what), count in found.items() if what == outcome) == expected[outcome], outcome
    unusual = {key: count for key, count in found.items() if key[2] != "applied"}
    injected = Counter((f.device, int(f.minute), f.expected) for f in record.faults if f.expected in ACCEPTED[1:])
    assert unusual == injected
    assert all(found[f.device, int(f.minute), "applied"] == 1 for f in record.faults if f.expected == "applied")
    assert world.reasons() == Counter(record.rejected) + Counter(conflict=record.outcomes["conflicts"])


def test_each_kind_of_fault_has_its_own_outcome() -> None:
    _, record = planned(small_fleet(40, 250), EVERYTHING)
    found = {kind: {f.expected for f in record.faults if f.kind == kind} for kind in record.injected}
    garbage = found.pop("garbage")
    assert found == {
        "resend": {"duplicates"},
        "conflict": {"conflicts"},
        "reorder": {"applied"},
        "late": {"stored_late"},
        "skew": {"future"},
        "stuck": {"applied"},
        "backlog": {"applied"},
    }
    assert garbage == {kind.reason for kind in kinds(AIR)}


OTHER = with_overrides(AIR, key="pump", names=Names(device=("pump_no",), time=("clock", "timestamp")))


def test_readings_carry_device_and_time_under_the_scenarios_own_names() -> None:
    messages = list(Plan(small_fleet(2, 5), Faults(), 1, OTHER))
    assert {tuple(json.loads(message.body))[:2] for message in messages} == {("pump", "clock")}
    parsed = Decoder(OTHER).decode_many(
        [message.body for message in messages],
        positions=list(range(len(messages))),
        identities=[message.device for message in messages],
        not_after_minutes=[int(time.time() // 60)] * len(messages),
    )
    assert len(parsed.readings) == len(messages)


@pytest.mark.parametrize("garbage", kinds(OTHER), ids=lambda garbage: garbage.name)
def test_garbage_of_another_scenario_is_refused_for_its_reason_too(garbage: Garbage) -> None:
    now, identity = int(time.time() // 60), "town-001" if garbage.identified else None
    body = garbage.body("town-001", MONDAY)
    parsed = Decoder(OTHER).decode(body, position=0, identity=identity, not_after_minute=now)
    assert [rejection.reason for rejection in parsed.rejected] == [garbage.reason]


@pytest.mark.parametrize("device", ["town-001", "Dongsi", "a 'b' <c> \N{THERMOMETER}"])
@pytest.mark.parametrize("garbage", kinds(AIR), ids=lambda garbage: garbage.name)
def test_garbage_is_refused_for_the_reason_it_was_made_for(garbage: Garbage, device: str) -> None:
    now = int(time.time() // 60)
    identity = device if garbage.identified else None
    parsed = Decoder(AIR).decode(garbage.body(device, MONDAY), position=0, identity=identity, not_after_minute=now)
    assert [rejection.reason for rejection in parsed.rejected] == [garbage.reason]
    assert len(parsed.readings) == 0


def test_garbage_knows_every_reason_that_a_message_can_have() -> None:
    of_files = {"columns", "missing_id", "duplicate_id", "window", "truncated", "empty_file", "format", "header"}
    of_files |= {"no_answer", "unreadable", "replaced", "duplicate"}
    elsewhere = {"zone", "no_model", "poison", "conflict", "too_many_devices", "not_telemetry"}
    elsewhere |= {"sentinel"}  # the scenario knows none
    elsewhere |= {"unknown_station", "no_zone"}  # all stations are welcome, and the scenario has a zone
    strict = with_overrides(AIR, time_fallback=False)
    assert {kind.reason for kind in kinds(strict)} == REASONS.keys() - of_files - elsewhere
    assert {kind.reason for kind in kinds(AIR)} == {kind.reason for kind in kinds(strict)} - {"missing_time"}


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    first, again, other = (planned(small_fleet(), EVERYTHING, seed)[0] for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_without_faults_every_reading_is_sent_once_in_the_order_of_time() -> None:
    source = small_fleet()
    messages, record = planned(source, Faults())
    assert record.expected()["applied"] == len(messages) == source.total
    assert [message.minute for message in messages] == sorted(message.minute for message in messages)
    assert record.faults == []


def test_shares_are_kept() -> None:
    shares = Faults(resend=0.02, garbage=0.01, late=0.03, reorder=0.04)
    source = sources.fleet(100, 200, seed=3)
    _, record = planned(source, shares)
    for kind, share in {"resend": 0.02, "garbage": 0.01, "reorder": 0.04}.items():
        assert record.injected[kind] == pytest.approx(share * source.total, rel=0.25), kind
    assert 0.02 * source.total < record.injected["late"] <= 0.035 * source.total


def test_a_backlog_comes_in_one_go_in_order_after_its_silence() -> None:
    rows = [row(hour, device) for hour in range(120) for device in "ab"]
    messages, record = planned(source_of(*rows), Faults(backlog_h=72))
    mine = [(m.minute, m.body) for m in messages if m.device == "a"]
    arrays = [(minute, [r["timestamp"] for r in json.loads(body)]) for minute, body in mine if body[:1] == b"["]
    start = MONDAY + send_plan.SILENT_FROM * 60
    assert {minute for minute, _ in arrays} == {start + 72 * 60}
    assert [len(stamps) for _, stamps in arrays] == [24, 24, 24]
    held = [stamp for _, stamps in arrays for stamp in stamps]
    assert held == [iso(start + hour * 60) for hour in range(72)]
    assert not [minute for minute, body in mine if body[:1] != b"[" and start <= minute < start + 72 * 60]
    assert record.injected == {"backlog": 72}
    assert len([m for m in messages if m.device == "b"]) == 120


def test_what_is_late_waits_until_its_device_is_ahead_even_when_that_is_silent() -> None:
    rows = [row(0), *(row(hour, "b") for hour in range(60)), row(60), row(61), row(62)]
    plans = (planned(source_of(*rows), Faults(late=0.02), seed) for seed in range(1000))
    messages = next(sent for sent, record in plans if [f.minute for f in record.faults if f.device == "a"] == [MONDAY])
    said = [json.loads(m.body)["timestamp"] for m in messages if m.device == "a"]
    assert said == [iso(MONDAY + hour * 60) for hour in (60, 0, 61, 62)]


def test_readings_still_held_back_at_the_end_are_sent_and_named_for_what_they_became() -> None:
    messages, record = planned(source_of(*(row(hour) for hour in range(10))), Faults(late=1.0))
    assert len(messages) == 10
    assert record.injected == {"reorder": 10}
    assert record.expected()["applied"] == 10


def test_a_stuck_sensor_repeats_its_target_and_nothing_else() -> None:
    rows = [
        Row(MONDAY + hour * 60, device, (float(hour), *[1.0] * 5, float(hour)))
        for hour in range(60)
        for device in "abc"
    ]
    messages, record = planned(source_of(*rows), Faults(stuck=0.1))
    said = [json.loads(m.body) for m in messages if m.device == "c"]
    assert [s["pm25"] for s in said] == [0.0, 1.0, 2.0, *[3.0] * 48, *map(float, range(51, 60))]
    assert [s["temp"] for s in said] == list(map(float, range(60)))
    assert record.injected == {"stuck": 48}


def test_an_hour_of_many_samples_gets_no_conflict_that_the_pipeline_could_not_tell() -> None:
    rows = [row(hour, minute=minute) for hour in range(24) for minute in (0, 10, 20)]
    messages, record = planned(source_of(*rows), Faults(conflict=0.5), seed=2)
    world = World(2)
    world.route(messages)
    world.score()
    assert (
        sum(count for (_, _, what), count in world.dispositions().items() if what == "conflicts")
        == (record.outcomes["conflicts"])
    )
    assert record.expected()["duplicates"] == 0


def test_the_walk_tells_what_becomes_of_readings() -> None:
    fold = ReferenceFold(AIR)
    arrivals = [
        (100, 0, b"x", "applied"),
        (100, 0, b"x", "duplicates"),
        (100, 0, b"y", "conflicts"),
        (124, 0, b"x", "applied"),
        (100, 1, b"x", "applied"),
        (125, 59, b"x", "applied"),
        (101, 0, b"x", "applied"),
        (100, 0, b"x", "stored_late"),
        (400, 0, b"x", "applied"),
        (376, 0, b"x", "applied"),
        (375, 59, b"x", "stored_late"),
    ]
    assert [fold.take("a", hour * 60 + minute, body) for hour, minute, body, _ in arrivals] == [a[3] for a in arrivals]
    assert fold.take("b", 0, b"x") == "applied"


def test_what_the_walk_remembers_of_a_device_is_bounded() -> None:
    fold = ReferenceFold(AIR)
    for hour in range(2000):
        fold.take("a", hour * 60, b"x")
    assert len(fold._hours["a"]) < 60


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resend": -0.1}, "resend -0.1 is not a share"),
        ({"garbage": 1.5}, "garbage 1.5 is not a share"),
        ({"late": float("nan")}, "late nan is not a share"),
        ({"late": 0.6, "reorder": 0.6}, "more than 1 together"),
        ({"backlog_h": -1}, "backlog of -1 hours"),
    ],
)
def test_impossible_faults_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Faults(**wrong)  # type: ignore[arg-type]


def test_a_fleet_says_what_the_generator_says_and_goes_on_beyond_a_cohort() -> None:
    rows = list(sources.fleet(260, 3, seed=3).rows())
    alone = list(Fleet(seed=3, stations=250, hours=3).rows())
    assert str([r for r in rows if int(r.device.split("-")[1]) <= 250]) == str(alone)  # a NaN equals none
    beyond = {r.device for r in rows if int(r.device.split("-")[1]) > 250}
    assert beyond <= {f"{kind}-{n}" for kind in ("town", "kerb", "park", "hill") for n in range(251, 261)}
    assert len(beyond) >= 8
    assert [r.minute for r in rows] == sorted(r.minute for r in rows)


@pytest.mark.parametrize(
    ("devices", "hours", "start", "message"),
    [
        (0, 1, datetime(2024, 1, 1, tzinfo=timezone.utc), "needs devices and hours"),
        (1, 1, datetime(2024, 1, 1), "no time zone"),  # noqa: DTZ001
        (1, 1, datetime(2199, 1, 1, tzinfo=timezone.utc), "have not passed yet"),
    ],
)
def test_an_impossible_fleet_is_refused(devices: int, hours: int, start: datetime, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sources.fleet(devices, hours, seed=1, start=start)


def test_a_file_is_sent_in_the_order_of_time_without_what_is_no_reading(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    lines = ("x,2024-01-01 09:00,1.25,0.1", "x,2024-01-01 08:30,,7", "y,2024-01-01 08:00,,1e999", "y,soon,1,1")
    again = ("y,2024-01-01 08:10,0.333333343,2", "x,2024-01-01 09:00,9,9", "y,2099-01-01 00:00,1,1")
    path.write_text("\n".join(("site,time,temp,pm25", *lines, *again)) + "\n", encoding="utf-8")
    source = sources.file(path, AIR, "+08:00")
    said = [json.loads(Bodies(AIR).of(r)) for r in source.rows()]
    assert [(s["device_id"], s["timestamp"], s.get("temp"), s["pm25"]) for s in said] == [
        ("y", "2024-01-01T00:10:00Z", 0.33333334, 2.0),
        ("x", "2024-01-01T00:30:00Z", None, 7.0),
        ("x", "2024-01-01T01:00:00Z", 1.25, 0.1),
    ]
    assert source.total == 3
    assert source.left_out == {"bad_time": 1, "bad_value": 1, "future": 1, "repeats a time (resolution_s = 60)": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("site,time,temp\nx,soon,1\n", "holds no usable reading"),
        ('ID,temp,pm25\na,"1,2","3,4"\n', "wide file without times"),
    ],
)
def test_a_file_that_cannot_be_streamed_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadEvent, match=message):
        sources.file(path, AIR, None)


def test_a_body_reads_back_as_the_reading_it_was_made_of() -> None:
    source = small_fleet(30, 60)
    bodies, rows = Bodies(AIR), list(source.rows())
    raw = [bodies.of(r) for r in rows]
    n = len(rows)
    parsed = Decoder(AIR).decode_many(
        raw, positions=range(n), identities=[r.device for r in rows], not_after_minutes=[MONDAY + 10**6] * n
    )
    assert parsed.rejected == []
    assert parsed.readings.minute.tolist() == [r.minute for r in rows]
    np.testing.assert_array_equal(parsed.readings.values, np.array([r.values for r in rows], np.float32))
    gaps = [json.loads(b) for b in raw if len(json.loads(b)) < 9 or None in json.loads(b).values()]
    assert {None in gap.values() for gap in gaps} == {True, False}


def test_the_clients_own_decoder_reads_a_message_as_iot_hubs() -> None:
    for body in (b"", b"{}", b"x" * 255, b"y" * 256, b"\x00\xff" * 40_000):
        event = EventData.from_bytes(encoded(Message("dev/1 'ü'", body, 0), 1_795_163_400_123))
        device = "dev/1 'ü'".encode()
        system = event.system_properties
        assert system[b"iothub-connection-device-id"] == event.partition_key == device
        assert system[b"iothub-message-source"] == b"Telemetry"
        assert system[b"iothub-enqueuedtime"] == 1_795_163_400_123
        assert json.loads(system[b"iothub-connection-auth-method"])["scope"] == "device"
        assert event.content_type == "application/json"
        assert b"".join(event.body) == body  # type: ignore[arg-type]


def test_a_message_that_the_hub_does_not_vouch_for_names_no_device() -> None:
    event = EventData.from_bytes(encoded(Message("a", b"{}", 0, identified=False), 1))
    assert {key for key in event.system_properties if key.startswith(b"iothub-connection")} == set()
    assert event.system_properties[PARTITION_KEY.encode()] == b"a"


class Basket:
    """Where messages go when there is no hub; what is not flushed is not acknowledged."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self.sent = 0

    def put(self, message: Message) -> None:
        self.waiting.append(message)

    def flush(self) -> None:
        self.sent += len(self.waiting)
        self.waiting.clear()


def test_a_run_that_is_stopped_has_a_record_of_what_was_sent_and_no_more() -> None:
    stop, basket = threading.Event(), Basket()
    plan = Plan(small_fleet(), EVERYTHING, 1, AIR)
    shown: list[int] = []

    def show(record: Record) -> None:
        shown.append(record.sent)
        stop.set()

    record = stream(plan, basket, pace=Pace(rate=200), on_progress=show, stop=stop)
    assert shown
    assert record.messages == record.sent == basket.sent < 2000
    assert sum(record.outcomes.values()) + record.unsent <= small_fleet().total + record.injected["garbage"]
    assert json.loads(list(record.lines())[-1])["expected"]["messages"] == record.sent


def wished(*options: str) -> Faults:
    parser = argparse.ArgumentParser()
    send_arguments.add(parser.add_subparsers())
    return wishes(parser.parse_args(["send", *options]))[0]


def test_real_data_are_sent_as_they_are_unless_faults_are_asked_for() -> None:
    usual = wished()
    assert (usual.resend, usual.late, usual.garbage) == (0.005, 0.01, 0.002)
    assert wished("--data", "x.csv") == Faults()
    assert wished("--data", "x.csv", "--late", "0.1") == Faults(late=0.1)
    assert wished("--late", "0") == replace(usual, late=0.0)


@pytest.mark.parametrize(("sent", "told"), [(0, False), (3, True)])
def test_nothing_is_expected_of_what_no_hub_has_taken(sent: int, told: bool) -> None:
    out, record = io.StringIO(), Record(messages=5, sent=sent)
    record.outcomes["applied"] = 5
    conclude(Console(file=out, width=100), record, None)
    assert ("expected" in out.getvalue()) == told
    assert f"{5 - sent} more were not acknowledged" in out.getvalue()


def test_a_pace_says_when_a_message_is_due() -> None:
    assert Pace().due_s(1000, 600) == 0.0
    assert Pace(rate=50).due_s(100, 600) == 2.0
    assert Pace(speed=3600).due_s(100, 600) == 10.0


def test_a_record_is_lines_of_json_that_end_with_the_summary() -> None:
    _, record = planned(small_fleet(), EVERYTHING)
    *faults, summary = [json.loads(line) for line in record.lines()]
    assert len(faults) == sum(summary["injected"].values())
    first = record.faults[0]
    assert faults[0] == {
        key: value
        for key, value in {
            "kind": first.kind,
            "device": first.device,
            "time": iso(first.minute),
            "expected": first.expected,
            "detail": first.detail,
        }.items()
        if value
    }
    assert Fault("resend", "a", MONDAY, "duplicates").as_json() == (
        '{"kind": "resend", "device": "a", "time": "2024-01-01T00:00:00Z", "expected": "duplicates"}'
    )
    told = summary["expected"]
    assert told["readings"] == told["accepted"] + sum(told["rejected"].values())
    assert told["accepted"] == sum(told[outcome] for outcome in ACCEPTED)
