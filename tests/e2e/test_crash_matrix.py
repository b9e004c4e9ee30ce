"""Workers are killed at every write and at any moment; what they leave is what an undisturbed one leaves, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.stack import ANY_PORTS, Stack
from shared.adapters.memory_blobs import MemoryBlobs
from tests.e2e import crash_world as world
from tests.e2e.crash_world import Lives, Own, Run

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
WRITTEN = ("commits", "predictions", "dead-letter", "receipts", "reports")


@dataclass
class Bench:
    """One Azurite, one endpoint and one server of lives for all tests."""

    stack: Stack
    lives: Lives
    folder: Path

    def own(self, name: str) -> Own:
        return world.space(self.stack.storage, name)

    def score(self, name: str, story: str = "plain", seed: int = 1) -> Run:
        order = {"role": "score", "story": story, "storage": self.stack.storage, "prefix": name}
        return Run(self.lives, order, self.folder, seed)

    def chain(self, name: str, hub: str, size: int = 40) -> Run:
        order: dict[str, Any] = {"role": "chain", "storage": self.stack.storage, "prefix": name, "size": size}
        place = {"hub": hub, "eventhub": self.stack.eventhub, "logs": str(self.stack.root / "eventhub")}
        return Run(self.lives, order | place, self.folder)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("crash")
    with Stack(folder / "stack", app_dir=None, ports=ANY_PORTS, hubs=["chain:2"]) as stack:
        lives = Lives(folder / "lives.log")
        try:
            yield Bench(stack, lives, folder)
        finally:
            lives.close()


@pytest.fixture(scope="module")
def quiet() -> MemoryBlobs:
    return world.undisturbed(world.story("plain"))


def both(places: list[str], what: str) -> bool:
    """Whether lives ended before and after such a write."""
    return {place.split()[0] for place in places if what in place} == {"before", "after"}


def test_killed_before_and_after_every_write_of_score_the_same_blobs_and_the_same_state_remain(
    bench: Bench, quiet: MemoryBlobs
) -> None:
    own, story = bench.own("every"), world.story("plain")
    places = bench.score("every").killed_at_every_write()
    assert len(places) >= 50
    assert all(both(places, f" {kind}/") for kind in WRITTEN)
    assert world.everything(own, *WRITTEN) == world.everything(quiet, *WRITTEN)
    state = world.recovered(own, story.hub())
    assert world.picture(state) == world.picture(world.recovered(quiet, story.hub()))


@pytest.mark.parametrize(("what", "odds"), [("write", 0.5), ("delete", 1.0)])
def test_killed_while_snapshots_come_and_go_the_same_state_remains_with_and_without_them(
    bench: Bench, quiet: MemoryBlobs, what: str, odds: float
) -> None:
    own, story = bench.own(f"copies-{what}"), world.story("plain")
    run = bench.score(f"copies-{what}")
    run.order["every"] = 1
    places = run.killed_at_every_write(f"{what} state/", odds)
    assert both(places, "state/")
    expected = world.picture(world.recovered(quiet, story.hub()))
    kept = own.names("state")
    assert len(kept) >= 3  # lives that ended before a deletion left more to the next snapshot
    assert world.picture(world.recovered(own, story.hub())) == expected
    for name in kept:
        own.delete("state", name)
    assert world.picture(world.recovered(own, story.hub())) == expected


def test_killed_at_random_moments_and_delivered_in_other_batches_the_same_values_remain(
    bench: Bench, quiet: MemoryBlobs
) -> None:
    own, story = bench.own("random"), world.story("plain")
    assert bench.score("random").killed_at_random(12, longest_s=0.4) >= 3
    same_values(own, quiet, story)


def same_values(own: Own, quiet: MemoryBlobs, story: world.Story) -> None:
    found, expected = world.recovered(own, story.hub()), world.recovered(quiet, story.hub())
    assert world.essence(found) == world.essence(expected)
    assert (found.epoch, found.next, found.enqueued_ms) == (expected.epoch, expected.next, expected.enqueued_ms)
    assert world.newest(world.forecasts(own)) == world.newest(world.forecasts(quiet))


def test_an_owner_that_was_away_until_the_hub_forgot_goes_on_from_what_the_other_committed(bench: Bench) -> None:
    own, story = bench.own("away"), world.story("steady")
    world.deploy(own, story.phases[0][1])
    here, there = (world.pipeline(own, story.hub(kept=99)) for _ in range(2))
    here.score(0, story.events[:20])
    there.score(0, story.events[:50])
    there.score(0, story.events[50:80])
    here.score(0, story.events[70:])
    assert world.recovering(here).expired == 0
    same_values(own, world.undisturbed(story), story)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_commit_that_is_gone_from_store_and_hub_is_counted_told_and_survived(
    bench: Bench, lost: int, caplog: pytest.LogCaptureFixture
) -> None:
    own, story = bench.own(f"lost-{lost}"), world.story("plain")
    deliveries = list(story.batches())
    world.deliver(world.pipeline(own, story.hub(), every=1000), own, deliveries[:6])
    own.delete("commits", own.names("commits")[lost])
    worker = world.pipeline(own, story.hub(kept=999), every=1000)
    world.deliver(worker, own, deliveries[5:])
    state = world.recovering(worker)
    assert state.expired == len(deliveries[lost][2])
    assert "are lost: no commit, no hub" in caplog.text
    assert world.picture(world.recovered(own, story.hub(kept=999))) == world.picture(state)
    assert world.forecasts(own)
