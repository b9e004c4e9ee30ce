"""Profiles as blobs: when they are written, what they hold, and how a lost one comes back."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import pytest

from shared.app.score import recovery
from shared.app.score.partition import Partition
from shared.app.score.profiles import CONTAINER, Profiles, name_of
from shared.core.forecast.state import own
from shared.core.forecast.task import HourlyForecast
from shared.core.profile import merged as profile
from shared.core.scenario import with_overrides
from shared.core.task.state import State
from shared.errors import ContractBroken, TransientFailure
from tests.kit import SCENARIO, TASK, Bench, HandClock, MemoryBlobs, Row, deploy, hourly

NAME = name_of(0)
DAY = 24


@dataclass
class Later:
    """Jobs that run when told."""

    jobs: list[Callable[[], None]] = field(default_factory=list)

    def __call__(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def run(self) -> None:
        """Run what waits."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()


class Broken(MemoryBlobs):
    """Blobs that cannot be written while `broken`, and call `before` at each write."""

    broken = False
    before: Callable[[], object] = staticmethod(lambda: None)

    def write(self, container: str, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        if self.broken:
            raise TransientFailure("the store does not answer")
        self.before()
        super().write(container, name, data, metadata)


@dataclass
class Desk:
    """Profiles on stores in memory, with states to hand in."""

    blobs: Broken = field(default_factory=Broken)
    clock: HandClock = field(default_factory=HandClock)
    later: Later = field(default_factory=Later)

    def __post_init__(self) -> None:
        self.profiles = Profiles(TASK, self.blobs, self.clock, self.later, interval_s=1.0)

    def hand_in(self, hours: int, *, due: bool = False, partition: int = 0) -> State:
        """A state after some hours, just committed."""
        found = dataclasses.replace(own(state_after(hours)), partition=partition)
        self.profiles.consider(found, due=due)
        return found

    def stamps(self, number: int = 0) -> list[int]:
        """Next sequence number of the stored profile, if any."""
        raw = self.blobs.read(CONTAINER, name_of(number))
        return [] if raw is None else [profile.decode(raw, TASK.losses).next]


def worker_after(hours: int) -> tuple[Bench, Partition]:
    bench = Bench(every=1000)
    deploy(bench.blobs, "v1")
    worker = bench.worker()
    for hour in range(0, hours, 10):
        end = min(hour + 10, hours)
        worker.take(bench.send("hub/0", hourly(hours=end)[2 * hour : 2 * end]))
    return bench, worker


def state_after(hours: int) -> State:
    return worker_after(hours)[1].recovered()


def test_the_blob_says_what_the_state_says_and_up_to_where() -> None:
    bench, worker = worker_after(60)
    state = worker.recovered()
    found = profile.decode(bench.blobs.read(CONTAINER, NAME) or b"", TASK.losses)
    assert (found.partition, found.epoch) == (0, 0)
    assert 0 < found.next <= state.next
    desk = Desk()
    desk.profiles.consider(state, due=True)
    desk.later.run()
    assert desk.blobs.read(CONTAINER, NAME) == profile.encode(profile.of(TASK, state))


def test_one_is_written_when_the_newest_hour_moves_on_and_when_it_is_due_anyhow() -> None:
    desk, written = Desk(), []
    for hours, due in [(5, False), (5, False), (5, True), (20, False), (20, False), (43, False), (43, False)]:
        desk.clock.s += 1
        desk.hand_in(hours, due=due)
        written.append(len(desk.later.jobs))
        desk.later.run()
    assert written == [1, 0, 1, 1, 0, 1, 0]
    assert desk.stamps() == [state_after(43).next]


def test_profiles_that_take_long_are_made_less_often() -> None:
    desk = Desk()
    desk.hand_in(5)
    desk.blobs.before = lambda: setattr(desk.clock, "s", desk.clock.s + 2)  # two seconds to store one
    desk.later.run()
    desk.clock.s += 17
    desk.hand_in(20)
    assert not desk.later.jobs
    desk.clock.s += 1
    desk.hand_in(20)
    assert len(desk.later.jobs) == 1


def test_there_are_never_two_on_their_way_and_the_next_commit_tries_again() -> None:
    desk = Desk()
    desk.hand_in(20, due=True)
    desk.clock.s += 60
    desk.hand_in(40, due=True)
    desk.hand_in(20, partition=1)
    assert len(desk.later.jobs) == 2, "another partition does not wait"
    desk.later.run()
    assert desk.stamps() == [state_after(20).next]
    last = desk.hand_in(40)
    desk.later.run()
    assert desk.stamps() == [last.next]
    desk.clock.s += 60
    desk.hand_in(40)
    assert not desk.later.jobs, "what was due was done"


def test_none_is_written_within_a_second_of_the_one_before_but_it_stays_due() -> None:
    desk = Desk()
    desk.hand_in(20, due=True)
    desk.later.run()
    desk.clock.s += 0.99
    desk.hand_in(20, due=True)
    assert not desk.later.jobs
    desk.clock.s += 0.01
    desk.hand_in(20)
    assert len(desk.later.jobs) == 1


def test_a_profile_that_is_not_stored_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.hand_in(20, due=True)
    desk.blobs.broken = True
    desk.later.run()
    assert "profiles/partition=00.profile was not stored" in caplog.text
    desk.blobs.broken = False
    desk.clock.s += 1
    last = desk.hand_in(20)
    desk.later.run()
    assert desk.stamps() == [last.next]


def test_a_job_that_cannot_be_given_away_does_not_block_the_next() -> None:
    desk = Desk()

    def refuse(_: Callable[[], None]) -> None:
        raise RuntimeError("the worker is shutting down")

    desk.profiles.in_background = refuse
    with pytest.raises(RuntimeError):
        desk.hand_in(20, due=True)
    desk.profiles.in_background = desk.later
    desk.clock.s += 1
    desk.hand_in(20)
    assert len(desk.later.jobs) == 1


def test_what_happens_after_a_profile_was_taken_is_not_in_it() -> None:
    bench, worker = worker_after(30)
    later = Later()
    profiles = Profiles(TASK, bench.blobs, bench.clock, later)
    expected = profile.encode(profile.of(TASK, worker.recovered()))
    profiles.consider(worker.recovered(), due=True)
    worker.take(bench.send("hub/0", hourly(hours=60)[60:]))
    later.run()
    assert bench.blobs.read(CONTAINER, NAME) == expected
    assert profile.encode(profile.of(TASK, worker.recovered())) != expected


def damaged(raw: bytes) -> bytes:
    return raw[:90] + bytes([raw[90] ^ 1]) + raw[91:]


def of_partition_one(raw: bytes) -> bytes:
    return profile.encode(dataclasses.replace(profile.decode(raw, TASK.losses), partition=1))


def of_other_rules(raw: bytes) -> bytes:
    return profile.encode(dataclasses.replace(profile.decode(raw, TASK.losses), rules=["pm in mg/m3"]))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (None, "is missing"),
        (damaged, "checksum differs"),
        (lambda raw: raw[:-1], "checksum differs"),
        (lambda _: b"", "not a profile"),
        (of_partition_one, "it is of partition 1"),
        (of_other_rules, "it belongs to pm in mg/m3"),
    ],
)
def test_a_profile_that_is_lost_or_spoilt_is_made_anew(
    spoil: Callable[[bytes], bytes] | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench, worker = worker_after(60)
    expected = profile.encode(profile.of(TASK, worker.recovered()))
    raw = bench.blobs.read(CONTAINER, NAME) or b""
    bench.blobs.delete(CONTAINER, NAME) if spoil is None else bench.blobs.write(CONTAINER, NAME, spoil(raw))
    asked: list[int] = []

    def recover(number: int) -> State:
        asked.append(number)
        return bench.worker(number).recovered()

    for _ in range(2):
        (found,) = worker.context.profiles.read_all([0], recover)
        assert profile.encode(found) == expected
    assert asked == [0], "it was stored"
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert said in caplog.text


def test_profiles_are_read_in_order_and_partitions_without_commits_have_an_empty_one() -> None:
    bench, worker = worker_after(60)
    found = worker.context.profiles.read_all(range(2), lambda number: bench.worker(number).recovered())
    assert [one.partition for one in found] == [0, 1]
    merged = profile.merge(TASK, found)
    assert set(merged.stamps) == {0, 1}
    assert merged.devices.device == ["a", "b"]


def test_a_profile_whose_commits_are_unreadable_too_is_an_error_not_a_number() -> None:
    bench, worker = worker_after(30)
    bench.blobs.delete(CONTAINER, NAME)
    for name in bench.blobs.names("commits"):
        bench.blobs.write("commits", name, b"nonsense")
    with pytest.raises(ContractBroken, match="commits/partition=00"):
        worker.context.profiles.read_all([0], lambda number: bench.worker(number).recovered())


def test_profiles_of_another_scenario_are_made_anew() -> None:
    """After a change of the scenario the snapshots are refused too, so all is folded again under the new rules."""
    bench, worker = worker_after(60)
    other = with_overrides(SCENARIO, lateness=2)
    task = HourlyForecast(other, TASK.featurizer)
    context = dataclasses.replace(
        worker.context,
        task=task,
        profiles=Profiles(task, bench.blobs, bench.clock, Later()),
        snapshots=dataclasses.replace(worker.context.snapshots, task=task),
    )
    (found,) = context.profiles.read_all([0], lambda number: Partition(number, context).recovered())
    assert "lateness 2" in found.rules
    one = profile.decode(bench.blobs.read(CONTAINER, NAME) or b"", TASK.losses)
    assert sum(int(c[0].sum()) for c in one.histograms.values()) == 2 * (60 - 6), "matures after horizon + lateness + 1"


def test_every_commit_of_a_partition_is_considered() -> None:
    bench = Bench(every=2)
    deploy(bench.blobs, "v1")
    worker = bench.worker()
    stamps = []
    for hour in range(6):
        bench.clock.s += 1
        worker.take(bench.send("hub/0", hourly(hours=hour + 1)[2 * hour :]))
        raw = bench.blobs.read(CONTAINER, NAME)
        stamps.append(raw and profile.decode(raw, TASK.losses).next)
    assert stamps == [1, 2, 3, 4, 5, 6]


def within(rows: list[Row]) -> list[Row]:
    """The same readings ten minutes later."""
    return [(position, device, minute + 10, values) for position, device, minute, values in rows]


def test_a_profile_that_a_stream_left_behind_is_made_anew() -> None:
    """A stream that is faster than profiles and then ends: nothing else would bring its last days to the check."""
    bench, worker = worker_after(30)
    worker.context.profiles.interval_s = 0.0
    worker.context.profiles.consider(worker.recovered(), due=True)
    worker.context.profiles.interval_s = 3600.0
    raw = bench.blobs.read(CONTAINER, NAME)
    worker.take(bench.send("hub/0", within(hourly(hours=30)[-2:])))

    def looked() -> profile.Profile:
        recover, outrun = lambda number: bench.worker(number).recovered(), partial(recovery.outrun, worker.context)
        (found,) = worker.context.profiles.read_all([0], recover, outrun)
        return found

    assert profile.encode(looked()) == raw, "its hour is the newest"
    worker.take(bench.send("hub/0", hourly(hours=200)[60:]))
    worker.take(bench.send("hub/0", within(hourly(hours=199)[-2:])))
    assert profile.encode(looked()) == profile.encode(profile.of(TASK, worker.recovered())) != raw
    stored, newest = bench.blobs.read(CONTAINER, NAME), bench.blobs.names("commits")[-1]
    assert stored == profile.encode(looked())
    bench.blobs.write(CONTAINER, NAME, raw or b"")
    bench.blobs.write("commits", newest, b"nonsense")
    with pytest.raises(ContractBroken, match=newest):
        looked()
    bench.blobs.write(CONTAINER, NAME, stored or b"")
    assert profile.encode(looked()) == stored
