"""A host without retries counts a batch that failed as delivered: what it skips comes back with the next one.

The retry policies are a comfort, no condition: every write fails in turn, and none of the failed batches comes again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Protocol

import pytest

from shared.core.stream.events import Event
from shared.errors import TransientFailure
from tests.flow.route.test_route_events import Hub, Stores, World, cut, traffic
from tests.flow.score.test_partition import full
from tests.kit import HOUR, Bench, InMemory, message, newest
from tests.kit.faults import Faulty


class Takes(Protocol):
    def take(self, events: Sequence[Event]) -> None: ...


def once(worker: Takes, batches: Sequence[Sequence[Event]]) -> int:
    """Give every batch once, whatever becomes of it; how many failed."""
    failed = 0
    for events in batches:
        try:
            worker.take(events)
        except TransientFailure:
            failed += 1
    return failed


def story(bench: Bench) -> list[list[Event]]:
    """Readings, a conflict, junk, an end marker, and an event after them all."""
    batches = full(bench)
    return [*batches, bench.send("hub/0.0", [(1, "c", HOUR * 60, (1.0, 1.0, 90.0))])]


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("stored_anyway", [False, True])
def test_a_batch_that_failed_at_any_write_is_folded_with_the_next_one(stored_anyway: bool, dies: bool) -> None:
    calm = Bench()
    assert once(calm.worker(), story(calm)) == 0
    failures = 0
    for number in range(40):
        bench = Bench()
        batches = story(bench)
        bench.blobs.fail_at, bench.blobs.stored_anyway = bench.blobs.count + number, stored_anyway
        if bench.blobs.fail_at >= calm.blobs.count - 3:  # the last event's own batch has nothing after it
            break
        worker = bench.worker()
        failed = once(worker, batches[:-1])
        failures += failed
        (bench.worker() if dies else worker).take(batches[-1])
        commits = [commit for _, commit, _ in bench.commits()]
        assert (commits[0].first, commits[-1].next) == (0, len(bench.events()))
        assert all(one.next == two.first == two.follows for one, two in pairwise(commits))
        assert newest(bench.forecasts()) == newest(calm.forecasts())
        for container in ("receipts", "reports"):
            assert bench.blobs.names(container) == calm.blobs.names(container)
        heir = bench.worker().recovered()
        assert heir.expired == 0
        assert applied(bench) == applied(calm)
    assert failures >= 5


def applied(bench: Bench) -> dict[str, int]:
    """Readings by what became of them."""
    found: dict[str, int] = {}
    for _, commit, _ in bench.commits():
        for name in ("applied", "conflicts", "undecodable", "duplicates"):
            found[name] = found.get(name, 0) + commit.counts[name]
    return found


@pytest.mark.parametrize("stored_anyway", [False, True])
@pytest.mark.parametrize("store", ["blobs", "hub"])
def test_a_batch_that_failed_at_any_call_is_routed_with_the_next_one(store: str, stored_anyway: bool) -> None:
    calm = World()
    assert once(calm.router(), [*cut(calm.hear(*traffic()), 5), calm.hear(message("z", 0))]) == 0
    failures = 0
    for call in range(20):
        world = World()
        faulty: Stores | Hub = world.blobs if store == "blobs" else world.readings
        faulty.fail_at, faulty.stored_anyway = call, stored_anyway
        router = world.router()
        failures += once(router, cut(world.hear(*traffic()), 5))
        faulty.fail_at = -1
        router.take(world.hear(message("z", 0)))
        assert world.folded() == calm.folded()
        assert {(item.position, item.reason) for item in world.letters()} == {
            (item.position, item.reason) for item in calm.letters()
        }
        found, expected = world.progress(), calm.progress()
        assert (found.next, found.messages, found.accepted, found.rejected, found.expired) == (
            expected.next,
            expected.messages,
            expected.accepted,
            expected.rejected,
            0,
        )
    assert failures > 5


class Unlucky(Faulty):
    """A store that fails now and then, before or after a write."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance, self.odds = Random(seed), 0.0

    def _turn(self) -> bool:
        if self.odds and self.chance.random() < self.odds:
            self.stored_anyway = self.chance.random() < 0.5
            self.fail_at = self.count
        return super()._turn()


@pytest.mark.parametrize("seed", range(12))
def test_from_the_devices_to_the_forecasts_nothing_is_lost_where_a_third_of_all_writes_fail(seed: int) -> None:
    calm, unlucky = InMemory(), InMemory(Unlucky(seed))
    chance = Random(seed)
    for app in (calm, unlucky):
        for hour in range(40):
            if app is unlucky:
                app.blobs.odds = 0.3  # type: ignore[attr-defined]
                if chance.random() < 0.1:
                    app.restart()
            live(app, message("ab"[hour % 2], hour, float(hour)), b"rubbish" if hour % 7 == 0 else message("c", hour))
        if app is unlucky:
            app.blobs.odds, app.blobs.fail_at = 0.0, -1  # type: ignore[attr-defined]
        for number in range(2):
            app.hear(message("z", 41), partition=number)
        for device in "abcz":  # one event for every partition
            app.hear(message(device, 42))
        app.score()
    assert newest(unlucky.forecasts()) == newest(calm.forecasts())
    assert {**unlucky.counts(), "redelivered": 0} | {"predictions": 0} == {
        **calm.counts(),
        "redelivered": 0,
    } | {"predictions": 0}
    assert [partition.recovered().expired for partition in unlucky.partitions] == [0, 0]


def live(app: InMemory, *bodies: bytes) -> None:
    """Messages are routed and scored once, whatever becomes of it: who failed is not asked again."""
    with contextlib.suppress(TransientFailure):
        app.hear(*bodies)
    for number, log in enumerate(app.readings.logs):
        while app.taken[number] < len(log):
            place = app.taken[number]
            app.taken[number] += 1
            try:
                app.application.score(number, log[place : place + 1])
            except TransientFailure:
                continue
