"""Hundreds of deaths at random moments; run by `make soak`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.crash import crash_story as story
from tests.e2e.crash import crash_world as world
from tests.e2e.crash.crash_lives import Bench, Run, opened
from tests.e2e.crash.crash_story import V1
from tests.e2e.crash.test_crash_hosts import kill_hosts

DEATHS = 12
MOST_RUNS = 20
pytestmark = [pytest.mark.emulator, pytest.mark.slow]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with opened(tmp_path_factory.mktemp("soak")) as found:
        yield found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("told", ["plain", "reborn"])
def test_score_killed_at_random_moments(bench: Bench, told: str, seed: int) -> None:
    quiet = world.undisturbed(story.named(told))
    killed = 0
    for name in names(f"score-{told}-{seed}"):
        own, run = bench.own(name), bench.score(name, told, seed)
        run.order["reborn"] = len(story.named(told).events) // 2 if told == "reborn" else 0
        killed += run.killed_at_random(DEATHS, longest_s=0.25 + 0.05 * seed)
        world.same_values(own, quiet, story.named(told))
        if killed >= DEATHS:
            break


@pytest.mark.parametrize("seed", range(6))
def test_route_and_score_killed_at_random_moments(bench: Bench, seed: int) -> None:
    killed = 0
    for name in names(f"chain-{seed}"):
        own, run = bench.own(name), bench.chain(name, size=20 + 5 * seed, seed=seed)
        world.deploy(own, V1)
        killed += run.killed_at_random(DEATHS, longest_s=0.3)
        world.same_chain(own, bench.hub(name))
        if killed >= DEATHS:
            break


@pytest.mark.parametrize("seed", range(4))
def test_two_owners_at_once_both_killed_at_random_moments(bench: Bench, seed: int) -> None:
    told = story.named("steady")
    killed = 0
    for name in names(f"race-{seed}"):
        own, run = bench.own(name), bench.score(name, "steady", seed)
        killed += sum(_race(bench, run) for _ in range(DEATHS // 2))
        assert bench.lives.live(run.next(cuts=run.random.random())) == "done"
        world.same_values(own, world.undisturbed(told), told)
        if killed >= DEATHS:
            break


def names(name: str) -> Iterator[str]:
    """A name for each of the runs that a number of deaths takes; a run that ends early leaves some to the next."""
    yield from (f"{name}-{number}" for number in range(MOST_RUNS))
    raise AssertionError(f"{MOST_RUNS} runs were too short for {DEATHS} deaths")


def _race(bench: Bench, run: Run) -> int:
    """Two lives at once, from places of their own and in batches of their own; how many of them were killed."""
    pids = [bench.lives.start(run.next(cuts=run.random.random())) for _ in range(2)]
    ends = [bench.lives.wait(pid, run.random.uniform(0.02, 0.3)) for pid in pids]
    return ends.count("killed")


@pytest.mark.parametrize("seed", range(3))
def test_hosts_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    kill_hosts(tmp_path, seed=100 + seed, more=4)


@pytest.mark.parametrize(("seed", "weather"), [(200, 7), (201, 8)])
def test_hosts_killed_fifty_times_while_the_lines_to_the_store_are_cut_slow_and_refused(
    tmp_path: Path, seed: int, weather: int
) -> None:
    told = kill_hosts(tmp_path, seed=seed, more=47, weather_seed=weather, pause_s=0.25)
    print(  # noqa: T201 - what the run came to
        f"{len(told.killed)} hosts killed, {told.hours} hours, {told.forecasts} forecasts, {dict(told.weather)}"
    )
    assert len(told.killed) >= 50
    assert all(told.weather[kind] > 50 for kind in ("reset", "cut", "slow", "fair", "ended", "refusing")), told.weather
