"""What is refused after a verdict: the verdict stays, and what was refused is tried again ever later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.app.backoff import FIRST_S, LONGEST_S
from shared.app.loop.completion import Completion
from shared.app.release.control import ControlDocument
from shared.errors import ConfigError, PipelineError, TransientFailure
from tests.flow.loop.test_completion import World2, evidence

REFUSED = ConfigError("registry at sqlite:///x: HTTP 403 PERMISSION_DENIED")


def looks(world: World2, completion: Completion, count: int, every_s: float = 300.0) -> list[float]:
    """The watching timer's looks; the times at which something was raised."""
    raised = []
    for _ in range(count):
        try:
            completion.reconcile()
        except PipelineError:
            raised.append(world.clock.s)
        world.clock.s += every_s
    return raised


@pytest.mark.parametrize("size", [0.8, 1.2])
def test_a_registry_that_refuses_gets_no_second_verdict_and_ever_fewer_tries(size: float) -> None:
    world = World2(size)
    world.registry.failing = REFUSED
    completion = world.completion()
    raised = looks(world, completion, 1000)
    assert world.witnessed == ["lake@12"], "the lake was read once"
    (gate,) = world.entries("gate")
    assert gate["kind"] == ("promote" if size < 1 else "refuse")
    assert world.entries("entered") == []
    assert raised[:4] == [0.0, FIRST_S, 3 * FIRST_S, 7 * FIRST_S]
    assert raised[-1] - raised[-2] == LONGEST_S
    assert world.served == ("v1", None)
    world.registry.failing = None
    world.clock.s += LONGEST_S
    completion.reconcile()
    assert world.entries("entered") == [{"about": "v2", "number": "1"}]
    assert world.served == ("v1", "v2" if size < 1 else None)
    assert world.registry.marked["v2"] == ("shadow" if size < 1 else "refused")
    assert len(world.entries("gate")) == 1


def test_after_a_restart_what_was_refused_is_tried_at_once() -> None:
    world = World2(0.8)
    world.registry.failing = REFUSED
    looks(world, world.completion(), 5)
    world.registry.failing = None
    world.completion().reconcile()
    assert world.served == ("v1", "v2")
    assert world.witnessed == ["lake@12"]


def test_a_registry_that_is_away_is_tried_at_every_look() -> None:
    world = World2(0.8)
    world.registry.failing = TransientFailure("away")
    assert len(looks(world, world.completion(), 20)) == 20
    assert world.witnessed == ["lake@12"]


def test_a_lake_that_refuses_is_read_ever_less_often() -> None:
    world, reads = World2(0.8), []

    def refusing(*_: object) -> object:
        reads.append(world.clock.s)
        raise ConfigError("lake: HTTP 403")

    completion = replace(world.completion(), truth_source=refusing)  # type: ignore[arg-type]
    looks(world, completion, 100)
    assert reads[:4] == [0.0, FIRST_S, 3 * FIRST_S, 7 * FIRST_S]
    assert world.entries("gate") == []


def test_a_copy_of_evidence_that_is_refused_is_offered_ever_less_often_and_stops_nothing() -> None:
    world, tries = World2(0.8), []

    def refusing(*_: object) -> None:
        tries.append(world.clock.s)
        raise ConfigError("no such run")

    world.registry.keep = refusing  # type: ignore[assignment]
    assert looks(world, world.completion(), 100) == []
    assert tries[:3] == [0.0, FIRST_S, 3 * FIRST_S]
    assert world.served == ("v1", "v2")


def test_a_refused_model_is_registered_although_the_champion_changed_meanwhile() -> None:
    world = World2(1.2)
    world.registry.failing = REFUSED
    looks(world, world.completion(), 1)
    world.package("v3", "c", 0)
    world.completion().rollouts.install("v3", 20_000, "ann", "r")
    world.registry.failing = None
    world.completion().reconcile()
    assert [each["kind"] for each in world.entries("gate")] == ["refuse"]
    assert list(world.registry.entered) == ["v2"]


@pytest.mark.parametrize("registered", ["3", ""])
def test_a_verdict_of_an_older_version_is_not_registered_again(registered: str) -> None:
    world = World2(1.2)
    told = {"job": world.job, "champion": "v1", "kind": "refuse", "version": "v2", "registered": registered}
    ledger = world.completion().ledger
    ledger.append("job_ended", world.job, {"status": "completed", "run_id": "r1", "source": "poll", "why": ""})
    ledger.append("gate", f"{world.job}/v1", told)
    assert world.completion().reconcile() == []
    assert world.registry.entered == {}
    assert ControlDocument(world.blobs).read().champion == "v1"


def end(state: str, at: int, finished: int) -> Callable[[World2], None]:
    """A job's process that ends in a state, with a result written at a time."""

    def happens(world: World2) -> None:
        world.leave(evidence(0.8), finished_ms=world.clock.ms + finished)
        world.jobs.states[world.job] = state
        world.clock.ms += at

    return happens


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("happens", "status"),
    [
        (end("failed", HOUR_MS, HOUR_MS), "completed"),
        (end("running", 13 * HOUR_MS, HOUR_MS), "completed"),  # it hangs when all is done
        (end("failed", HOUR_MS, -HOUR_MS), "failed"),  # what a job of the same name left once
        (end("canceled", HOUR_MS, HOUR_MS), "canceled"),
    ],
)
def test_a_job_that_left_its_result_has_completed_however_its_process_ended(
    happens: Callable[[World2], None], status: str
) -> None:
    world = World2(None)
    happens(world)
    world.completion().reconcile()
    (ended,) = world.entries("job_ended")
    assert ended["status"] == status
    assert len(world.entries("gate")) == (status == "completed")
    assert str(ended["why"]).startswith("it left its result") == (status == "completed")


@pytest.mark.parametrize("damage", [b"", b"{", b'{"job": "other"}'])
def test_a_failed_job_whose_result_is_not_whole_has_failed(damage: bytes) -> None:
    world = World2(None)
    end("failed", 0, 0)(world)
    world.blobs.write("models", f"jobs/{world.job}.json", damage)
    world.completion().reconcile()
    assert [each["status"] for each in world.entries("job_ended")] == ["failed"]


def test_a_failed_job_whose_undated_result_is_an_older_version_s_has_failed() -> None:
    world = World2(0.8)
    world.jobs.states[world.job] = "failed"
    world.completion().reconcile()
    assert [each["status"] for each in world.entries("job_ended")] == ["failed"]
