"""Workers are killed at every write and at any moment; they leave what an undisturbed one leaves, bit for bit."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import msgspec
import pytest

from shared.adapters.stores.event_hub import EventHubStream
from shared.core.forecast import snapshot
from shared.core.forecast.losses import TOTALS
from shared.core.forecast.task import HourlyForecast
from shared.core.intake import progress
from shared.core.stream.commit import commit_name
from shared.core.stream.events import Event
from shared.errors import TransientFailure
from shared.ports import Blobs
from shared.wiring import Application
from tests.e2e.crash import crash_story as story
from tests.e2e.crash import crash_world as world
from tests.e2e.crash.crash_lives import Bench, opened
from tests.e2e.crash.crash_story import SCENARIO, V1, Log
from tests.e2e.crash.crash_world import Own
from tests.kit import HandClock, MemoryBlobs, picture

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
TEN_MINUTES_S = 600.0
WRITTEN = ("commits", "predictions", "dead-letter", "receipts", "reports")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with opened(tmp_path_factory.mktemp("crash")) as found:
        yield found


@pytest.fixture(scope="module")
def quiet() -> MemoryBlobs:
    return world.undisturbed(story.named("plain"))


def both(places: list[str], what: str) -> bool:
    """Whether lives ended before and after such a write."""
    return {place.split()[0] for place in places if what in place} == {"before", "after"}


def test_killed_before_and_after_every_write_of_score_the_same_blobs_and_the_same_state_remain(
    bench: Bench, quiet: MemoryBlobs
) -> None:
    own, told = bench.own("every"), story.named("plain")
    places = bench.score("every").killed_at_every_write()
    assert len(places) >= 50
    assert all(both(places, f" {kind}/") for kind in WRITTEN)
    world.same(world.everything(own, *WRITTEN), world.everything(quiet, *WRITTEN))
    state = world.recovered(own, told.hub())
    world.same(picture(state), picture(world.recovered(quiet, told.hub())))


@pytest.mark.parametrize(("what", "odds"), [("write", 0.5), ("delete", 1.0)])
def test_killed_while_snapshots_come_and_go_the_same_state_remains_with_and_without_them(
    bench: Bench, quiet: MemoryBlobs, what: str, odds: float
) -> None:
    own, told = bench.own(f"copies-{what}"), story.named("plain")
    run = bench.score(f"copies-{what}")
    run.order["every"] = 1
    places = run.killed_at_every_write(f"{what} state/", odds)
    assert both(places, "state/")
    expected = picture(world.recovered(quiet, told.hub()))
    kept = own.names("state")
    assert len(kept) >= 3  # lives that ended before a deletion left more to the next snapshot
    world.same(picture(world.recovered(own, told.hub())), expected)
    for name in kept:
        own.delete("state", name)
    world.same(picture(world.recovered(own, told.hub())), expected)


def test_killed_at_random_moments_and_delivered_in_other_batches_the_same_values_remain(
    bench: Bench, quiet: MemoryBlobs
) -> None:
    own, told = bench.own("random"), story.named("plain")
    assert bench.score("random").killed_at_random(12, longest_s=0.4) >= 3
    world.same_values(own, quiet, told)


def test_killed_on_the_road_from_the_devices_hub_to_the_forecasts_nothing_is_lost_and_nothing_double(
    bench: Bench,
) -> None:
    own, size = bench.own("chain"), 80
    world.deploy(own, V1)
    places = bench.chain("chain", size).killed_at_every_write()
    for what in (" send hub/0.0 ", " send hub/1.0 ", " dead-letter/hub/", " progress/", " predictions/", " commits/"):
        assert both(places, what), what
    states = world.same_chain(own, bench.hub("chain"))
    accepted = sum(progress.decode(raw or b"").accepted for raw in world.everything(own, "progress").values())
    arrived = TOTALS.index("arrived")
    assert accepted == sum(int(tally.totals[arrived]) for state in states for tally in state.sources.values())


def test_two_owners_that_pass_a_partition_to_and_fro_make_one_history(bench: Bench) -> None:
    own, told, chance = bench.own("fro"), story.named("steady"), random.Random(5)
    world.deploy(own, V1)
    owners = [world.pipeline(own, told.hub()) for _ in range(2)]
    place = 0
    while place < len(told.events):
        first = chance.randint(max(0, place - 20), place)
        place = max(place, first + chance.randint(1, 16))
        chance.choice(owners).score(0, told.events[first:place])
    world.same_values(own, world.undisturbed(told), told)


def test_two_owners_at_once_make_one_history(bench: Bench) -> None:
    own, told = bench.own("race"), story.named("steady")
    run = bench.score("race", "steady")
    racing = [bench.lives.start(run.next(cuts=seed)) for seed in (1, 2)]
    assert [bench.lives.wait(pid) for pid in racing] == ["done", "done"]
    world.same_values(own, world.undisturbed(told), told)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("cuts", [None, 3])
def test_a_zombie_that_wakes_up_at_its_commit_changes_nothing(bench: Bench, moment: str, cuts: int | None) -> None:
    name = f"zombie-{moment}-{cuts or 'same'}"
    own, told, run = bench.own(name), story.named("steady"), bench.score(name, "steady")
    place = commit_name(0, 0, 2 * told.size)
    zombie = bench.lives.start(run.next(stop=f"{moment} create commits/{place}"))
    assert bench.lives.wait(zombie) == "stopped"
    owner = run.next() if cuts is None else run.next(cuts=cuts)
    assert bench.lives.live(owner) == "done"
    committed = world.everything(own, "commits")
    bench.lives.go(zombie)
    assert bench.lives.wait(zombie) == "done"
    world.same(world.everything(own, "commits"), committed)
    world.same_values(own, world.undisturbed(told), told)
    named = {commit.predictions for commit, _ in world.commits(own)}
    unnamed = [name for name in own.names("predictions") if name not in named]
    assert len(unnamed) == (cuts is not None)  # what no commit names does not exist


def test_a_zombie_that_wakes_up_after_others_routed_its_messages_sends_nothing_new(bench: Bench) -> None:
    own, size = bench.own("late-route"), 80
    world.deploy(own, V1)
    run = bench.chain("late-route", size)
    zombie = bench.lives.start(run.next(stop="before replace progress/partition=01.json"))
    assert bench.lives.wait(zombie) == "stopped"
    assert bench.lives.live(run.next()) == "done"
    written = world.everything(own, "progress")
    bench.lives.go(zombie)
    assert bench.lives.wait(zombie) == "done"
    world.same(world.everything(own, "progress"), written)
    world.same_chain(own, bench.hub("late-route"))


def test_a_router_that_was_away_sends_nothing_again(bench: Bench) -> None:
    own, hub = bench.own("fro-route"), bench.hub("fro-route")
    world.deploy(own, V1)
    devices = Log(story.telemetry())
    routers = [world.pipeline(own, hub, devices) for _ in range(2)]
    for number, events in enumerate(devices.logs):
        for turn, first in enumerate(range(0, len(events), 50)):
            routers[turn % 2].route_events(number, events[first : first + 50])
    for number in range(hub.count):
        routers[0].score(number, list(hub.read(number, 0, 10**9)))
    states = world.same_chain(own, hub)
    redelivered = TOTALS.index("redelivered")
    assert not any(tally.totals[redelivered] for state in states for tally in state.sources.values())


def test_a_hub_that_was_created_anew_goes_on_in_a_new_epoch_through_every_death(bench: Bench) -> None:
    own, told = bench.own("reborn"), story.named("reborn")
    run = bench.score("reborn", "reborn")
    run.order["reborn"] = len(told.events) // 2
    places = run.killed_at_every_write("epoch=00001")
    assert both(places, " commits/")
    assert both(places, " predictions/")
    quiet = world.undisturbed(told)
    world.same(world.everything(own, *WRITTEN), world.everything(quiet, *WRITTEN))
    state = world.recovered(own, told.hub())
    assert state.epoch == 1
    world.same(picture(state), picture(world.recovered(quiet, told.hub())))


@pytest.mark.parametrize("how", ["truncated", "empty", "older format", "all truncated", "gone"])
def test_a_snapshot_that_cannot_be_used_is_told_and_passed_over(
    bench: Bench, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    own, told = bench.own(f"bad-{how.replace(' ', '-')}"), story.named("plain")
    worker = world.pipeline(own, told.hub(), every=2)
    world.deliver(worker, own, told.batches())
    alive = world.recovering(worker)
    *older, newest = own.names("state")
    for name in [*older, newest] if how.startswith("all") else [newest]:
        raw = own.read("state", name) or b""
        if "truncated" in how:
            own.write("state", name, raw[: len(raw) // 2])
        elif how == "empty":
            own.write("state", name, b"")
        elif how == "older format":
            body = msgspec.structs.replace(snapshot.copied(HourlyForecast(SCENARIO), alive), format=0)
            own.write("state", name, snapshot.pack(body))
        else:
            own.delete("state", name)
    world.same(picture(world.recovered(own, told.hub())), picture(alive))
    assert ("is not used" in caplog.text) == (how != "gone")


def test_a_commit_that_is_gone_is_made_again_from_the_hub(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    own, told = bench.own("again"), story.named("steady")
    worker = world.pipeline(own, told.hub(), every=1000)
    world.deliver(worker, own, told.batches())
    before = world.everything(own, *WRITTEN)
    own.delete("commits", own.names("commits")[3])
    state = world.recovered(own, told.hub())
    world.same(picture(state), picture(world.recovering(worker)))
    world.same(world.everything(own, *WRITTEN), before)
    assert f"16 of events {3 * told.size} to {4 * told.size - 1} read back" in caplog.text


def test_events_that_the_trigger_skips_are_read_back_from_the_hub(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    own, told = bench.own("skipped"), story.named("steady")
    world.deploy(own, V1)
    with closing(EventHubStream("skipped", bench.stack.eventhub, None)) as hub:
        hub.send(0, [event.body for event in told.events])
        events = list(hub.read(0, 0, len(told.events)))
        worker = world.pipeline(own, hub)
        worker.score(0, events[:20])
        worker.score(0, events[50:])
    assert "30 of events 20 to 49 read back" in caplog.text
    quiet = world.undisturbed(told)
    world.same(world.essence(world.recovering(worker)), world.essence(world.recovered(quiet, told.hub())))
    world.same(world.newest(world.forecasts(own)), world.newest(world.forecasts(quiet)))


def test_an_owner_that_was_away_until_the_hub_forgot_goes_on_from_what_the_other_committed(bench: Bench) -> None:
    own, told = bench.own("away"), story.named("steady")
    world.deploy(own, told.phases[0][1])
    here, there = (world.pipeline(own, told.hub(kept=99)) for _ in range(2))
    here.score(0, told.events[:20])
    there.score(0, told.events[:50])
    there.score(0, told.events[50:80])
    here.score(0, told.events[70:])
    assert world.recovering(here).expired == 0
    world.same_values(own, world.undisturbed(told), told)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_commit_that_is_gone_from_store_and_hub_is_counted_told_and_survived(
    bench: Bench, lost: int, caplog: pytest.LogCaptureFixture
) -> None:
    own, told = bench.own(f"lost-{lost}"), story.named("plain")
    deliveries = list(told.batches())
    world.deliver(world.pipeline(own, told.hub(), every=1000), own, deliveries[:6])
    own.delete("commits", own.names("commits")[lost])
    worker = world.pipeline(own, told.hub(kept=999), every=1000)
    world.deliver(worker, own, deliveries[5:])
    state = world.recovering(worker)
    assert state.expired == len(deliveries[lost][2])
    assert "are lost: no commit, no hub" in caplog.text
    world.same(picture(world.recovered(own, told.hub(kept=999))), picture(state))
    assert world.forecasts(own)


class Outage:
    """Blobs that do not answer for a while.

    Args:
        blobs: The blobs.
        clock: Tells the time.
        begin: Number of the call with which it begins; it ends ten minutes later.
    """

    def __init__(self, blobs: Own, clock: HandClock, begin: int) -> None:
        self._blobs, self._clock = blobs, clock
        self._left = begin
        self._until_s = -1.0

    def __getattr__(self, name: str) -> Any:
        self._left -= 1
        if self._left == 0:
            self._until_s = self._clock.s + TEN_MINUTES_S
        if self._clock.s < self._until_s:
            raise TransientFailure("the store does not answer")
        return getattr(self._blobs, name)


@pytest.mark.parametrize("begin", [1, 23, 34, 47])
def test_a_store_that_is_out_for_ten_minutes_stalls_the_partition_and_loses_nothing(bench: Bench, begin: int) -> None:
    own, told, clock = bench.own(f"outage-{begin}"), story.named("steady"), HandClock()
    world.deploy(own, V1)
    worker = world.pipeline(cast("Blobs", Outage(own, clock, begin)), told.hub())
    begun_s = clock.s
    for _, _, events in told.batches():
        while not taken(worker, events):
            clock.s += 60  # the trigger tries again after a minute at the latest
    assert clock.s - begun_s == TEN_MINUTES_S
    world.same_values(own, world.undisturbed(told), told)


def taken(worker: Application, events: list[Event]) -> bool:
    try:
        worker.score(0, events)
    except TransientFailure:
        return False
    return True


def test_a_store_that_restarts_is_waited_for(bench: Bench) -> None:
    own, told = bench.own("restart"), story.named("steady")
    world.deploy(own, V1)
    worker = world.pipeline(own, told.hub())
    deliveries = [events for _, _, events in told.batches()]
    worker.score(0, deliveries[0])
    restarting = threading.Thread(target=bench.stack.restart, args=("azurite",))
    restarting.start()
    while taken(worker, deliveries[0]):
        assert restarting.is_alive(), "nobody noticed the restart"
        worker.score.held.clear()  # whoever remembers nothing must ask the store
    for events in deliveries[1:]:
        deadline = time.monotonic() + 60
        while not taken(worker, events):
            assert time.monotonic() < deadline
    restarting.join()
    world.same_values(own, world.undisturbed(told), told)
