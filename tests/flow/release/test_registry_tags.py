"""What the registry is told of versions: the newest that the ledger says, whoever tells it when."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from shared.app.backoff import FIRST_S, LONGEST_S, Backoff
from shared.app.ledger_store import Ledger
from shared.app.release.registry_tags import MARKED, RegistryTags
from shared.errors import ConfigError, TransientFailure
from tests.kit import HandClock, MemoryBlobs, MemoryRegistry


class Interrupted(MemoryRegistry):
    """A registry at which something happens right before a mark is made, or right behind it."""

    def __init__(self, *versions: str) -> None:
        super().__init__(*versions)
        self.before: dict[tuple[str, str], Callable[[], object]] = {}
        self.behind: dict[tuple[str, str], Callable[[], object]] = {}

    def tag(self, version: str, status: str) -> None:
        self.before.pop((version, status), lambda: None)()
        super().tag(version, status)
        self.behind.pop((version, status), lambda: None)()


@dataclass
class World:
    """A ledger and a registry that has some versions."""

    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    clock: HandClock = field(default_factory=HandClock)
    registry: Interrupted = field(default_factory=lambda: Interrupted("v1", "v2", "v3", "v4"))

    def __post_init__(self) -> None:
        self.backoff = Backoff(self.clock)

    def ledger(self) -> Ledger:
        return Ledger("small", self.blobs, self.clock)

    def sync(self, *, look: bool = False) -> None:
        """As another worker would."""
        RegistryTags(self.ledger(), self.registry, self.backoff).sync(look=look)

    def step(self, step: str, stage: str, champion: str | None, challenger: str | None, about: str) -> None:
        told = {"step": step, "stage": stage, "champion": champion, "challenger": challenger, "about": about}
        self.ledger().append("rollout", f"{len(self.ledger().entries())}", told)


def test_every_version_has_the_mark_of_its_newest_step() -> None:
    world = World()
    seen = []
    for step in (
        ("installed", "none", "v1", None, "v1"),
        ("shadow", "shadow", "v1", "v2", "v2"),
        ("canary", "canary", "v1", "v2", "v2"),
        ("champion", "guard", "v2", "v1", "v2"),
        ("guarded", "none", "v2", None, "v2"),
        ("shadow", "shadow", "v2", "v3", "v3"),
        ("installed", "guard", "v4", "v2", "v4"),
        ("rolled_back", "none", "v2", None, "v4"),
    ):
        world.step(*step)
        world.sync()
        seen.append(dict(world.registry.marked))
    assert seen == [
        {"v1": "installed"},
        {"v1": "champion", "v2": "shadow"},
        {"v1": "champion", "v2": "canary"},
        {"v1": "guard", "v2": "champion"},
        {"v1": "superseded", "v2": "guarded"},
        {"v1": "superseded", "v2": "champion", "v3": "shadow"},
        {"v1": "superseded", "v2": "guard", "v3": "superseded", "v4": "installed"},
        {"v1": "superseded", "v2": "champion", "v3": "superseded", "v4": "rolled_back"},
    ]
    before = len(world.registry.told)
    world.sync(look=True)
    assert len(world.registry.told) == before


def test_a_verdict_is_told_once_the_version_is_entered_and_until_a_rollout_says_more() -> None:
    world = World()
    for version, kind in (("v1", "promote"), ("v2", "refuse"), ("v3", "not enough data"), (None, "refuse")):
        world.ledger().append("gate", f"job-{version}", {"job": "job", "version": version, "kind": kind})
    world.sync()
    assert world.registry.marked == {}
    for version in ("v1", "v2", "v3"):
        world.ledger().append("entered", version, {"about": version, "number": "1"})
    world.sync()
    assert world.registry.marked == {"v1": "passed", "v2": "refused", "v3": "undecided"}


def test_a_verdict_that_an_older_version_entered_with_its_number_is_told_too() -> None:
    world = World()
    world.ledger().append("gate", "job/v1", {"job": "job", "version": "v2", "kind": "refuse", "registered": "4"})
    world.sync()
    assert world.registry.marked == {"v2": "refused"}


@pytest.mark.parametrize("told", [False, True])
def test_a_slow_worker_does_not_bring_an_older_mark_back(told: bool) -> None:
    world = World()
    world.step("shadow", "shadow", "v1", "v2", "v2")

    def meanwhile() -> None:
        if told:
            world.sync()
        world.step("refused", "none", "v1", None, "v2")
        world.sync()
        assert world.registry.marked["v2"] == "refused"

    world.registry.before["v2", "shadow"] = meanwhile
    world.sync()
    assert world.registry.marked == {"v1": "champion", "v2": "refused"}


class Killed(Exception):
    """The worker is gone."""


def test_a_mark_of_a_worker_that_died_before_its_entry_follows_the_ledger_again() -> None:
    world = World()
    world.step("shadow", "shadow", "v1", "v2", "v2")

    def meanwhile() -> None:
        world.step("refused", "none", "v1", None, "v2")
        world.sync()

    def killed() -> None:
        raise Killed

    world.registry.before["v2", "shadow"], world.registry.behind["v2", "shadow"] = meanwhile, killed
    with pytest.raises(Killed):
        world.sync()
    assert world.registry.marked["v2"] == "shadow"
    world.sync()
    assert world.registry.marked["v2"] == "shadow", "the ledger alone cannot tell"
    world.sync(look=True)
    assert world.registry.marked == {"v1": "champion", "v2": "refused"}


def test_a_mark_whose_entry_was_not_written_is_made_once() -> None:
    world = World()
    world.step("installed", "none", "v1", None, "v1")

    def killed() -> None:
        raise Killed

    world.registry.behind["v1", "installed"] = killed
    with pytest.raises(Killed):
        world.sync()
    world.sync()
    assert world.registry.told == [("v1", "installed")]
    assert [entry.data["as"] for entry in world.ledger().entries() if entry.kind == MARKED] == ["installed"]


def test_a_mark_that_somebody_changed_by_hand_is_set_right() -> None:
    world = World()
    world.step("installed", "none", "v1", None, "v1")
    world.sync()
    world.registry.marked["v1"] = "archived"
    world.sync(look=True)
    assert world.registry.marked == {"v1": "installed"}


def test_while_nothing_is_missing_the_registry_is_not_asked() -> None:
    world = World()
    world.step("installed", "none", "v1", None, "v1")
    world.sync()
    world.registry.failing = AssertionError("asked")  # type: ignore[assignment]
    world.sync()
    assert world.registry.marked == {"v1": "installed"}


def test_a_registry_that_is_away_is_told_the_newest_later() -> None:
    world = World()
    world.registry.failing = TransientFailure("away")
    world.step("shadow", "shadow", "v1", "v2", "v2")
    world.sync()
    world.step("canary", "canary", "v1", "v2", "v2")
    world.registry.failing = None
    world.sync()
    assert world.registry.told == [("v1", "champion"), ("v2", "canary")]


def test_one_refused_mark_holds_no_other_up_and_is_tried_again_ever_later() -> None:
    world = World()
    tries: list[float] = []
    world.registry.refusing["v1"] = ConfigError("HTTP 403")
    world.step("shadow", "shadow", "v1", "v2", "v2")
    for _ in range(1000):
        world.registry.before["v1", "champion"] = lambda: tries.append(world.clock.s)
        world.sync(look=True)
        world.clock.s += 300.0
    assert world.registry.marked == {"v2": "shadow"}
    waits = [later - before for before, later in itertools.pairwise(tries)]
    assert waits[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert set(waits[6:]) == {LONGEST_S}
    world.registry.refusing.clear()
    world.clock.s += LONGEST_S
    world.sync()
    assert world.registry.marked == {"v1": "champion", "v2": "shadow"}


def test_a_mark_that_fails_for_now_is_tried_at_the_next_look() -> None:
    world = World()
    world.registry.refusing["v1"] = TransientFailure("busy")
    world.step("shadow", "shadow", "v1", "v2", "v2")
    world.sync()
    world.registry.refusing.clear()
    world.sync()
    assert world.registry.marked == {"v1": "champion", "v2": "shadow"}
