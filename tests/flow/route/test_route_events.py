"""Messages of devices: where they go, and that repetitions, crashes, gaps and rivals change nothing in the result."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest

from shared.app.route.messages import POISON_TRIES, RoutePartition, RoutingContext
from shared.core.intake import dead_letters, progress
from shared.core.intake.dead_letters import DeadLetter
from shared.core.intake.messages import decoding, json_bodies
from shared.core.intake.progress import Progress
from shared.core.intake.reasons import REASONS
from shared.core.stream.events import Event, partition_of
from shared.core.stream.packing import unpack
from shared.errors import StateConflict, TransientFailure
from tests.kit import HOUR, SCENARIO, Bench, Faulty, Forgetful, deploy, newest

START_MS = (HOUR + 100) * 3_600_000


class Stores(Faulty):
    """Blobs of which write number `fail_at` fails, the progress included."""

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        failing = self._turn()
        found = super().replace(container, name, data, etag)
        if failing:
            raise TransientFailure("the store's answer got lost")
        return found


class Hub(Forgetful):
    """A hub of which send number `fail_at` fails, before it is stored or after."""

    def __init__(self, partitions: int = 1) -> None:
        super().__init__(partitions)
        self.count, self.fail_at, self.stored_anyway = 0, -1, False

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        number, self.count = self.count, self.count + 1
        if number == self.fail_at and not self.stored_anyway:
            raise TransientFailure("the hub does not answer")
        super().send(partition, bodies)
        if number == self.fail_at:
            raise TransientFailure("the hub's answer got lost")


@dataclass
class World:
    """A devices' hub with one partition, the hub "readings", and routers between them."""

    partitions: int = 1
    blobs: Stores = field(default_factory=Stores)
    devices: Forgetful = field(default_factory=Forgetful)
    minute: int = HOUR * 60

    def __post_init__(self) -> None:
        self.readings = Hub(self.partitions)

    def router(self) -> RoutePartition:
        """A router that remembers nothing."""
        context = RoutingContext(scenario=SCENARIO, blobs=self.blobs, devices=self.devices, readings=self.readings)
        return RoutePartition(0, context)

    def hear(self, *bodies: bytes, identity: str | None = None, after_ms: int = 0) -> list[Event]:
        """Messages arrive at the devices' hub."""
        log = self.devices.logs[0]
        first = len(log)
        log += [Event(first + i, START_MS + after_ms + first + i, body, identity) for i, body in enumerate(bodies)]
        return log[first:]

    def progress(self) -> Progress:
        return progress.decode(self.blobs.read(progress.CONTAINER, progress.name_of(0)) or b"{}")

    def sent(self) -> list[tuple[str, int, str, int, float]]:
        """Every reading in the hub "readings": source, position, device, minute, pm."""
        found = []
        for event in (event for log in self.readings.logs for event in log):
            packed, rows = unpack(event.body, SCENARIO.channel_names)
            for device, minute, position, values in zip(
                rows.device.tolist(), rows.minute.tolist(), rows.position.tolist(), rows.values.tolist(), strict=True
            ):
                found.append((packed.source, position, rows.devices[device], minute, values[0]))
        return found

    def letters(self) -> list[DeadLetter]:
        names = self.blobs.names("dead-letter")
        return [item for name in names for item in dead_letters.decode(self.blobs.read("dead-letter", name) or b"")]

    def folded(self) -> tuple[Any, ...]:
        """What a partition makes of everything in the hub: newest forecasts, and readings by what became of them."""
        bench = Bench(blobs=Faulty(), stream=self.readings)
        deploy(bench.blobs, "v1")
        bench.worker().take(bench.events())
        counts: dict[str, int] = {}
        for _, commit, _ in bench.commits():
            for name, count in commit.counts.items():
                counts[name] = counts.get(name, 0) + count
        counts.pop("redelivered", None)
        return newest(bench.forecasts()), counts


def body(device: str | None = "a", hour: int = 0, pm: Any = 5.0, **more: Any) -> bytes:
    found = {"device_id": device, "timestamp": (HOUR + hour) * 3600, "pm": pm, **more}
    return json.dumps({name: value for name, value in found.items() if value is not None}).encode()


BAD: dict[str, bytes] = {
    "encoding": b'{"device_id": "\xff\xfe"}',
    "not_json": b"{not json",
    "not_an_object": b"17",
    "empty": b"",
    "too_large": b'{"x": "' + b"x" * 300_000 + b'"}',
    "too_deep": b'{"pm":' * 5000 + b"1" + b"}" * 5000,
    "missing_device": body(None),
    "device_id": body("a\tb"),
    "bad_time": b'{"device_id": "a", "timestamp": "yesterday", "pm": 1}',
    "future": body(hour=1000),
    "ancient": b'{"device_id": "a", "timestamp": "1999-01-01T00:00Z", "pm": 1}',
    "bad_value": body(pm="much"),
    "out_of_range": body(pm=-1),
    "no_values": body(pm=None),
    "duplicate_header": b'{"device_id": "a", "timestamp": 1512000000, "pm": 1, "PM": 2}',
    "unit": b'{"device_id": "a", "timestamp": 1512000000, "pm [furlong]": 1}',
}


def test_every_reason_ends_in_the_dead_letter_and_takes_nothing_with_it() -> None:
    world = World()
    bodies = [part for i, bad in enumerate(BAD.values()) for part in (bad, body("good", i))]
    world.router().take(world.hear(*bodies))
    letters = world.letters()
    assert [(item.reason, item.position >> 16) for item in letters] == [(r, 2 * i) for i, r in enumerate(BAD)]
    assert [item.original() for item in letters] == list(BAD.values())
    assert {item.source for item in letters} == {"hub/0.0"}
    assert all(item.attempt == 1 and item.not_after_minute == START_MS // 60_000 for item in letters)
    assert [(device, minute // 60 - HOUR) for _, _, device, minute, _ in world.sent()] == [
        ("good", i) for i in range(len(BAD))
    ]
    found = world.progress()
    assert (found.messages, found.accepted, found.rejected) == (2 * len(BAD), len(BAD), dict.fromkeys(BAD, 1))
    assert found.rejected.keys() <= REASONS.keys()


def test_identity_comes_from_the_hub_and_stays_with_the_letter() -> None:
    world = World()
    world.router().take(world.hear(body(None, pm=1), body("me", 1), body("other", 2), identity="me"))
    assert [(device, pm) for _, _, device, _, pm in world.sent()] == [("me", 1.0), ("me", 5.0)]
    assert [(item.reason, item.identity) for item in world.letters()] == [("identity_mismatch", "me")]


def test_the_elements_of_an_array_have_positions_of_their_own() -> None:
    world = World()
    array = b"[" + b",".join([body("a", 0), body("a", 1, pm=-1), body("a", 2)]) + b"]"
    world.router().take(world.hear(body("b"), array))
    assert [position for _, position, *_ in world.sent()] == [0, 1 << 16, (1 << 16) + 2]
    assert [item.position for item in world.letters()] == [(1 << 16) + 1]


def test_readings_of_a_device_keep_their_order_in_the_partition_that_owns_it() -> None:
    world = World(partitions=3)
    names = [f"device {i}" for i in range(9)]
    router = world.router()
    for start in range(0, 30, 10):
        router.take(world.hear(*(body(names[i % 9], i) for i in range(start, start + 10))))
    for number, log in enumerate(world.readings.logs):
        rows = [(p.source, r) for p, r in (unpack(event.body, SCENARIO.channel_names) for event in log)]
        assert all(partition_of(d, 3) == number for _, r in rows for d in r.devices)
        positions = [position for _, r in rows for position in r.position.tolist()]
        assert positions == sorted(positions)
    assert len(world.sent()) == 30


def test_a_batch_costs_one_write_and_one_more_for_its_dead_letters() -> None:
    world = World()
    router = world.router()
    router.take(world.hear(*(body(f"d{i}", 1) for i in range(500))))
    assert world.blobs.writes == [("progress", "partition=00.json")]
    router.take(world.hear(*(body(f"d{i}", 2, pm=-1 if i % 2 else 1) for i in range(500))))
    assert [container for container, _ in world.blobs.writes[1:]] == ["dead-letter", "progress"]


@pytest.mark.parametrize("limit", [1, 20, 60, 10_000])
def test_messages_with_many_values_are_decoded_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    whole, cut = World(), World()
    bodies = [b"[" + b",".join(body(hour=hour, pm=pm) for pm in range(5)) + b"]" for hour in range(6)]  # 15 values each
    whole.router().take(whole.hear(*bodies, b"garbage"))
    monkeypatch.setattr(json_bodies, "VALUES_AT_ONCE", limit)
    cut.router().take(cut.hear(*bodies, b"garbage"))
    assert sorted(cut.sent()) == sorted(whole.sent())
    assert [letter.reason for letter in cut.letters()] == ["not_json"]
    assert cut.progress() == whole.progress()
    steps = [name for container, name in cut.blobs.writes if container == progress.CONTAINER]
    assert len(steps) == {1: 7, 20: 6, 60: 2, 10_000: 1}[limit]


@pytest.mark.parametrize(("limit", "steps"), [(1, 7), (20, 4), (10_000, 1)])
def test_messages_with_many_readings_in_their_envelopes_are_routed_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch, limit: int, steps: int
) -> None:
    """What such an envelope holds is seen only once it is open."""
    whole, cut = World(), World()
    inner = [b"[" + b",".join(body(hour=hour, pm=pm) for pm in range(5)) + b"]" for hour in range(6)]
    sent = [
        json.dumps({"Properties": {}, "SystemProperties": {}, "Body": base64.b64encode(each).decode()}).encode()
        for each in inner
    ]
    whole.router().take(whole.hear(*sent, b"garbage"))
    monkeypatch.setattr(decoding, "VALUES_AT_ONCE", limit)
    cut.router().take(cut.hear(*sent, b"garbage"))
    assert len(cut.sent()) == 30
    assert sorted(cut.sent()) == sorted(whole.sent())
    assert cut.progress() == whole.progress()
    assert sum(container == progress.CONTAINER for container, _ in cut.blobs.writes) == steps


def test_a_batch_that_comes_again_changes_nothing() -> None:
    world = World()
    events = world.hear(*(body("a", i) for i in range(4)), b"garbage")
    for router in (world.router(), world.router()):
        router.take(events)
        router.take(events[2:])
        router.take([])
        assert len(world.sent()) == 4
        assert len(world.letters()) == 1
    more = world.hear(body("a", 9))
    router.take([*events[3:], *more])
    assert len(world.sent()) == 5
    assert world.progress().messages == 6


def traffic() -> list[bytes]:
    bodies = [body("ab"[i % 2], i // 2, pm=(i * 7) % 50) for i in range(24)]
    return [*bodies[:7], b"garbage", *bodies[7:15], body("a", 2, pm=-1), *bodies[15:]]


@pytest.mark.parametrize("stored_anyway", [False, True])
@pytest.mark.parametrize("again", [5, 3])
def test_a_crash_at_any_write_or_send_is_made_good_whatever_the_next_batches_are(
    stored_anyway: bool, again: int
) -> None:
    """The first router dies at its k-th call; a second one gets everything again, cut in the same way or otherwise."""
    calm = World()
    for batch in cut(calm.hear(*traffic()), 5):
        calm.router().take(batch)
    expected = calm.folded()
    assert len(expected[0]) > 20
    died = 0
    for store in ("blobs", "hub"):
        for call in range(20):
            world = World()
            faulty: Stores | Hub = world.blobs if store == "blobs" else world.readings
            faulty.fail_at, faulty.stored_anyway = call, stored_anyway
            events = world.hear(*traffic())
            try:
                first = world.router()
                for batch in cut(events, 5):
                    first.take(batch)
            except TransientFailure:
                died += 1
            faulty.fail_at = -1
            second = world.router()
            for batch in cut(events, again):
                second.take(batch)
            assert world.folded() == expected
            assert {(item.position, item.reason) for item in world.letters()} == {
                (item.position, item.reason) for item in calm.letters()
            }
            assert world.progress() == calm.progress()
    assert died > 10


def cut(events: list[Event], size: int) -> list[list[Event]]:
    return [events[i : i + size] for i in range(0, len(events), size)]


def test_a_failure_leaves_a_router_able_to_go_on_itself() -> None:
    world = World()
    router = world.router()
    world.blobs.fail_at = 0
    events = world.hear(body("a", 0), body("a", 1))
    with pytest.raises(TransientFailure):
        router.take(events)
    assert router.status() == {}
    router.take(events)
    assert router.status()["next"] == 2
    assert world.folded()[1]["applied"] == 2


def test_many_skipped_messages_are_read_back_and_routed_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.app.route.messages.READ_BACK", 3)
    world = World()
    events = world.hear(*(body("a", hour) for hour in range(12)))
    router = world.router()
    router.take(events[:1])
    world.devices.begin = 4  # the hub has forgotten the first ones
    router.take(events[10:])
    assert [minute // 60 - HOUR for *_, minute, _ in world.sent()] == [0, *range(4, 12)]
    found = world.progress()
    assert (found.next, found.messages, found.expired) == (12, 9, 3)
    assert len(world.devices.reads) == 2, "what is lost costs no read of its own"


def test_a_new_application_begins_with_what_an_old_hub_still_has_and_misses_nothing_before() -> None:
    world = World()
    events = world.hear(*(body("a", hour) for hour in range(6)))
    world.devices.begin = 3
    world.router().take(events[5:])
    assert [minute // 60 - HOUR for *_, minute, _ in world.sent()] == [3, 4, 5]
    assert (world.progress().next, world.progress().expired) == (6, 0)


def test_messages_of_a_hub_that_is_gone_do_not_take_the_places_of_the_new_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    sleeper, rival = world.router(), world.router()
    old = world.hear(*(body("a", hour) for hour in range(8)))
    sleeper.take(old[:3])
    rival.take(old[:4])
    world.devices.logs[0].clear()
    new = world.hear(*(body("b", hour) for hour in range(8)), after_ms=3_600_000)
    rival.take(new[:2])
    sleeper.take(old[4:])  # asleep with these in its hands since before
    sleeper.take(new[2:])
    assert [device for _, _, device, *_ in world.sent()].count("b") == 8
    found = world.progress()
    assert (found.epoch, found.next, found.expired) == (1, 8, 0)
    assert "4 events from 4 on are dropped" in caplog.text


def test_a_message_that_the_hub_still_has_is_routed_though_its_clock_says_that_it_is_older() -> None:
    world = World()
    router = world.router()
    router.take(world.hear(*(body("a", hour) for hour in range(3))))
    world.devices.logs[0].clear()
    router.take(world.hear(body("a", 3), body("a", 4), after_ms=3_600_000))
    router.take(world.hear(body("a", 5), after_ms=3_599_000))
    assert [minute // 60 - HOUR for *_, minute, _ in world.sent()] == list(range(6))


def test_a_router_that_gets_a_partition_back_just_where_it_stood_sees_that_the_hub_was_created_anew() -> None:
    world = World()
    old_owner, rival = world.router(), world.router()
    old_owner.take(world.hear(*(body("a", hour) for hour in range(5))))
    world.devices.logs[0].clear()
    rival.take(world.hear(*(body("a", 5 + hour) for hour in range(5)), after_ms=3_600_000))
    old_owner.take(world.hear(body("a", 10), after_ms=3_600_000))
    assert [source for source, *_ in world.sent()] == ["hub/0.0"] * 5 + ["hub/0.1"] * 6
    found = world.progress()
    assert (found.epoch, found.next, found.accepted) == (1, 6, 11)


def test_skipped_messages_are_read_back_before_the_batch(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    router = world.router()
    router.take(world.hear(body("a", 0)))
    world.hear(body("a", 1), b"garbage", body("a", 2))
    with caplog.at_level(logging.WARNING):
        router.take(world.hear(body("a", 3)))
    assert world.devices.reads == [(1, 4)]
    assert "3 messages from 1 on were skipped" in caplog.text
    assert [minute // 60 - HOUR for *_, minute, _ in world.sent()] == [0, 1, 2, 3]
    assert [item.position >> 16 for item in world.letters()] == [2]
    found = world.progress()
    assert (found.next, found.messages, found.expired) == (5, 5, 0)


@pytest.mark.parametrize(("begin", "lost"), [(3, 2), (6, 5)])
def test_what_the_hub_no_longer_has_is_counted_and_loud(
    begin: int, lost: int, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    router = world.router()
    router.take(world.hear(body("a", 0)))
    events = world.hear(*(body("a", hour) for hour in range(1, 8)))
    world.devices.begin = begin
    router.take(events[5:])
    assert [record.levelname for record in caplog.records if "are lost" in record.message] == ["ERROR"]
    assert f"messages 1 to {lost} are lost" in caplog.text
    found = world.progress()
    assert (found.expired, found.next, found.messages) == (lost, 8, 8 - lost)
    assert [minute // 60 - HOUR for *_, minute, _ in world.sent()] == [0, *range(lost + 1, 8)]
    router.take(events[5:])
    assert world.progress() == found, "a loss counts once"


def test_a_first_batch_that_does_not_begin_at_zero_is_completed_too() -> None:
    world = World()
    world.hear(body("a", 0), body("a", 1))
    world.router().take(world.hear(body("a", 2)))
    assert len(world.sent()) == 3


def test_a_hub_created_anew_begins_an_epoch_with_a_source_of_its_own() -> None:
    world = World()
    world.router().take(world.hear(*(body("a", hour) for hour in range(6)), b"garbage"))
    world.devices.logs[0].clear()
    fresh = world.hear(*(body("a", hour) for hour in range(6, 9)), b"rubbish", after_ms=60_000)
    router = world.router()
    router.take(fresh)
    found = world.progress()
    assert (found.epoch, found.next, found.messages) == (1, 4, 11)
    assert [source for source, *_ in world.sent()] == ["hub/0.0"] * 6 + ["hub/0.1"] * 3
    assert world.folded()[1]["applied"] == 9, "low positions of a new source are no repetition"
    assert [item.source for item in world.letters()] == ["hub/0.0", "hub/0.1"]
    router.take(fresh)
    assert world.progress() == found


def test_messages_of_a_hub_that_is_gone_are_dropped_wherever_they_were_held_up() -> None:
    world = World()
    slow, rival = world.router(), world.router()
    old = world.hear(*(body("a", hour) for hour in range(6)))
    rival.take(old)
    world.devices.logs[0].clear()
    rival.take(world.hear(*(body("a", hour) for hour in range(6, 8)), after_ms=60_000))
    slow.take(old[3:])
    found = world.progress()
    assert (found.epoch, found.next, found.accepted, found.expired) == (1, 2, 8, 0)
    slow.take(world.hear(body("a", 8)))
    assert [source for source, *_ in world.sent()] == ["hub/0.0"] * 6 + ["hub/0.1"] * 3


def test_a_message_of_a_hub_that_is_gone_is_dropped_where_the_new_one_has_the_same_again() -> None:
    world = World()
    old = world.hear(*(body("a", hour) for hour in range(6)))
    world.router().take(old)
    world.devices.logs[0].clear()
    rival = world.router()
    rival.take(world.hear(*(body("a", hour) for hour in range(6, 8)), after_ms=60_000))
    new = world.hear(*(body("a", hour) for hour in range(8, 11)), body("a", 5), after_ms=60_000)
    world.router().take(old[3:])  # the last of them says what the new hub's message at its place says
    found = world.progress()
    assert (found.epoch, found.next, found.expired) == (1, 2, 0)
    rival.take(new)
    found = world.progress()
    assert (found.epoch, found.next, found.expired) == (1, 6, 0)


@pytest.mark.parametrize("skipped", [3, 5])
def test_a_new_hub_whose_beginning_was_skipped_is_no_continuation_of_the_old_one(skipped: int) -> None:
    world = World()
    world.router().take(world.hear(*(body("a", hour) for hour in range(3))))
    world.devices.logs[0].clear()
    fresh = world.hear(*(body("a", hour) for hour in range(3, 9)), after_ms=60_000)
    world.router().take(fresh[skipped:])
    found = world.progress()
    assert (found.epoch, found.next, found.accepted, found.expired) == (1, 6, 9, 0)
    assert [source for source, *_ in world.sent()] == ["hub/0.0"] * 3 + ["hub/0.1"] * 6


def test_a_rival_makes_the_slower_router_start_over_from_what_is_durable() -> None:
    world = World()
    zombie, rival = world.router(), world.router()
    events = world.hear(*(body("a", hour) for hour in range(8)), b"garbage")
    zombie.take(events[:2])
    rival.take(events[:6])
    with pytest.raises(StateConflict):
        zombie.take(events[2:4])
    assert world.progress().next == 6, "the rival's progress stands"
    zombie.take(events[2:4])
    zombie.take(events[4:])
    found = world.progress()
    assert (found.next, found.messages, found.accepted) == (9, 9, 8)
    with pytest.raises(StateConflict):
        rival.take(events[6:])
    rival.take(events[6:])
    assert world.progress() == found
    assert world.folded()[1]["applied"] == 8


class Hostile(bytes):
    """A body that makes any decoder stumble."""

    def lstrip(self, *_: Any) -> NoReturn:
        raise ZeroDivisionError("a bug")


@pytest.mark.parametrize("bad", [{1}, {0, 5}, {2, 3, 4}, set(range(6))], ids=str)
def test_of_a_batch_that_keeps_failing_for_one_reason_only_the_messages_that_fail_alone_are_poison(
    bad: set[int],
) -> None:
    world = World()
    bodies = [body("a", hour) if hour != 5 else body("a", hour, pm=-1) for hour in range(6)]
    events = world.hear(*(Hostile(raw) if i in bad else raw for i, raw in enumerate(bodies)))
    router = world.router()
    for _ in range(POISON_TRIES - 1):
        with pytest.raises(ZeroDivisionError):
            router.take(events)
        assert not world.letters()
    router.take(events)
    letters = {item.position >> 16: (item.reason, item.detail) for item in world.letters()}
    out = {5: ("out_of_range", letters.get(5, ("", ""))[1])} if 5 not in bad else {}
    assert letters == {**dict.fromkeys(bad, ("poison", "ZeroDivisionError: a bug")), **out}
    assert [item.original() for item in world.letters()] == [bytes(bodies[i]) for i in letters]
    assert [minute // 60 - HOUR for *_, minute, _ in world.sent()] == sorted(set(range(5)) - bad)
    assert world.progress().rejected.get("poison") == len(bad)
    router.take(world.hear(body("a", 6)))
    assert world.progress().next == 7


def test_failures_for_different_reasons_or_of_a_store_are_no_poison() -> None:
    world = World()
    router = world.router()
    good = world.hear(body("a", 0))
    for _ in range(2 * POISON_TRIES):
        world.blobs.fail_at = world.blobs.count
        with pytest.raises(TransientFailure):
            router.take(good)
    world.blobs.fail_at = -1
    router.take(good)
    assert not world.letters()
    assert world.folded()[1]["applied"] == 1


def test_the_count_of_failures_begins_anew_with_another_batch() -> None:
    world = World()
    router = world.router()
    first = world.hear(Hostile(body("a", 0)))
    for _ in range(POISON_TRIES - 1):
        with pytest.raises(ZeroDivisionError):
            router.take(first)
    other = world.router()
    for _ in range(POISON_TRIES - 1):
        with pytest.raises(ZeroDivisionError):
            other.take(first)
    assert not world.letters()


def test_a_damaged_progress_blob_stops_the_partition_instead_of_beginning_anew() -> None:
    world = World()
    world.blobs.write(progress.CONTAINER, progress.name_of(0), b"{")
    with pytest.raises(Exception, match="progress: "):
        world.router().take(world.hear(body("a", 0)))
    assert not world.sent()


def test_it_tells_how_far_it_is() -> None:
    world = World()
    router = world.router()
    assert router.status() == {}
    router.take(world.hear(body("a", 0), b"garbage"))
    status: Mapping[str, object] = router.status()
    assert {name: status[name] for name in ("next", "messages", "accepted", "rejected", "expired")} == {
        "next": 2,
        "messages": 2,
        "accepted": 1,
        "rejected": {"not_json": 1},
        "expired": 0,
    }


def test_a_router_alone_reads_the_progress_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world, reads = World(), []
    read = world.blobs.read_changed

    def counted(container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:
        reads.append(name)
        return read(container, name, etag)

    monkeypatch.setattr(world.blobs, "read_changed", counted)
    router = world.router()
    for minute in range(3):
        router.take(world.hear(body("a", minute)))
    assert reads == [progress.name_of(0)]
