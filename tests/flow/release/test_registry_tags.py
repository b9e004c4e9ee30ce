"""What the registry is told of versions: the newest that the ledger says, whoever tells it when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from shared.app.ledger_store import Ledger
from shared.app.release.registry_tags import RegistryTags
from shared.errors import TransientFailure
from tests.kit import HandClock, MemoryBlobs


@dataclass
class World:
    """A ledger and a registry that remembers each version's newest mark."""

    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    clock: HandClock = field(default_factory=HandClock)
    registry: dict[str, str] = field(default_factory=dict)
    marked: list[tuple[str, str]] = field(default_factory=list)

    def ledger(self) -> Ledger:
        return Ledger("small", self.blobs, self.clock)

    def tag(self, version: str, status: str) -> None:
        self.marked.append((version, status))
        self.registry[version] = status

    def sync(self, tag: Callable[[str, str], None] | None = None) -> None:
        """As another worker would."""
        RegistryTags(self.ledger(), tag or self.tag).sync()

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
        seen.append(dict(world.registry))
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
    before = len(world.marked)
    world.sync()
    assert len(world.marked) == before


def test_a_verdict_is_told_until_a_rollout_says_more() -> None:
    world = World()
    for version, kind in (("v1", "promote"), ("v2", "refuse"), ("v3", "not enough data"), (None, "refuse")):
        world.ledger().append("gate", f"job-{version}", {"job": "job", "version": version, "kind": kind})
    world.sync()
    assert world.registry == {"v1": "passed", "v2": "refused", "v3": "undecided"}


@pytest.mark.parametrize("told", [False, True])
def test_a_slow_worker_does_not_bring_an_older_mark_back(told: bool) -> None:
    world = World()
    world.step("shadow", "shadow", "v1", "v2", "v2")

    def slow(version: str, status: str) -> None:
        if (version, status) == ("v2", "shadow") and "v2" not in world.registry:
            if told:
                world.sync()
            world.step("refused", "none", "v1", None, "v2")
            world.sync()
            assert world.registry["v2"] == "refused"
        world.tag(version, status)

    world.sync(slow)
    assert world.registry == {"v1": "champion", "v2": "refused"}


def test_a_registry_that_is_away_is_told_the_newest_later() -> None:
    world = World()

    def away(version: str, status: str) -> None:
        raise TransientFailure(f"{version} {status}")

    world.step("shadow", "shadow", "v1", "v2", "v2")
    world.sync(away)
    world.step("canary", "canary", "v1", "v2", "v2")
    world.sync()
    assert world.marked == [("v1", "champion"), ("v2", "canary")]
