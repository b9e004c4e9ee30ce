"""From a check to a job and its end: each step once, whoever comes twice and wherever it crashes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from shared.adapters.stores import scenario_files
from shared.app.ledger_store import Ledger
from shared.app.loop.retrain_request import retrain_request
from shared.app.loop.retraining import LOST_AFTER_MS, Retraining
from shared.core.ledger import CLOSED, Entry
from shared.core.retrain.job_spec import JobSpec, JobState
from shared.core.retrain.signals import Signals
from shared.core.scenario import RetrainRules, with_overrides
from shared.errors import ConfigError, PipelineError, TransientFailure
from tests.kit import HandClock, MemoryBlobs, MemoryJobs

HOUR = 3_600_000
RULES = RetrainRules(cooldown_h=24.0, maximum_runs_per_month=3, timeout_h=12.0)
AIR = with_overrides(scenario_files.load("air_quality"), retrain=RULES)
DRIFT = Signals(
    check="check-1", dataset="lake@12", labelled_rows=9000, champion="v1", drift="population", magnitude=2.0
)
QUIET = msgspec.structs.replace(DRIFT, drift="none", quality="inside")


class Crashing(MemoryBlobs):
    """Blobs of which conditional write number `fatal` fails, before it is stored or after."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.fatal, self.stored = 0, -1, False

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        number, self.count = self.count, self.count + 1
        if number == self.fatal and not self.stored:
            raise TransientFailure("killed")
        done = super().replace(container, name, data, etag)
        if number == self.fatal:
            raise TransientFailure("killed")
        return done


@dataclass
class World:
    """Stores and places of jobs, and use cases on them that remember nothing of each other."""

    blobs: Crashing = field(default_factory=Crashing)
    jobs: MemoryJobs = field(default_factory=MemoryJobs)
    clock: HandClock = field(default_factory=HandClock)
    wall: HandClock | None = None

    def use(self) -> Retraining:
        return Retraining(AIR, Ledger(AIR.name, self.blobs, self.clock), self.jobs, self.clock, self.wall)

    def entries(self, kind: str = "") -> list[Entry]:
        found = Ledger(AIR.name, self.blobs, self.clock).entries()
        return [entry for entry in found if entry.kind == kind or (not kind and entry.kind != CLOSED)]

    def started(self) -> str:
        """A job that was decided and launched."""
        self.use().consider(DRIFT)
        (name,) = self.use().launch()
        return name


def check(number: int, like: Signals = DRIFT) -> Signals:
    return msgspec.structs.replace(like, check=f"check-{number}")


def test_a_drift_becomes_a_decision_a_job_and_its_end() -> None:
    world = World()
    found = world.use().consider(DRIFT)
    assert found.entry is not None
    name = f"air_quality-{found.entry.position:06d}"
    assert (found.decision.launch, found.decision.reason, found.job) == (True, "drift", name)
    assert world.jobs.specs == {}, "deciding starts nothing"
    assert world.use().launch() == [name]
    assert world.jobs.specs == {
        name: JobSpec(
            name=name,
            scenario="air_quality",
            reason="drift",
            dataset="lake@12",
            champion="v1",
            tags={"decision": found.entry.hash, "check": "check-1", "actor": "airloop"},
        )
    }
    world.jobs.states[name] = "completed"
    ended = world.use().ended(name)
    assert ended is not None
    assert ended.data == {"status": "completed", "source": "event", "why": ""}
    assert [(e.kind, e.key) for e in world.entries()] == [
        ("decision", "check-1"), ("launched", name), ("job_ended", name),
    ]  # fmt: skip
    assert (world.use().launch(), world.use().poll()) == ([], [])


def test_a_no_is_written_with_its_reasons_and_inputs_but_once_for_a_check() -> None:
    world = World()
    first = world.use().consider(QUIET)
    world.clock.ms += 40 * 24 * HOUR
    again = world.use().consider(msgspec.structs.replace(DRIFT, check=QUIET.check))
    assert (again.decision, again.entry, again.job) == (first.decision, first.entry, None)
    (entry,) = world.entries()
    assert (entry.kind, entry.key, entry.data["launch"], entry.data["reason"]) == (
        "decision", "check-1", False, "none",
    )  # fmt: skip
    assert entry.data["inputs"]["signals"]["quality"] == "inside"
    assert "drift: none, magnitude 2" in entry.data["reasons"]
    assert (world.use().launch(), world.jobs.submissions) == ([], [])


def test_a_refused_wish_is_an_entry_too() -> None:
    world = World()
    world.started()
    found = world.use().consider(check(2))
    assert (found.decision.launch, found.decision.refusals) == (False, ("running", "cooldown"))
    assert world.entries("decision")[-1].data["refusals"] == ["running", "cooldown"]
    assert world.use().launch() == []


@pytest.mark.parametrize("same", [True, False])
def test_timers_at_once_start_one_job(same: bool) -> None:
    world, failures = World(), []
    start = threading.Barrier(4)

    def timer(number: int) -> None:
        use = world.use()
        try:
            start.wait(timeout=30)
            use.consider(check(1 if same else number))
            use.launch()
        except Exception as error:  # noqa: BLE001 - told by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=timer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert len(world.jobs.specs) == 1
    assert len(world.entries("decision")) == (1 if same else 4)
    assert [entry.data["launch"] for entry in world.entries("decision")].count(True) == 1
    assert [entry.key for entry in world.entries("launched")] == [*world.jobs.specs]


def test_a_timer_that_decides_between_another_s_reading_and_writing_makes_it_decide_again() -> None:
    world = World()

    class Slow(Ledger):
        def decide(self, kind: str, make: Any, actor: str = "airloop") -> Entry | None:
            def late(entries: Any) -> Any:
                made = make(entries)
                if not world.entries("decision"):
                    world.use().consider(check(2))
                return made

            return super().decide(kind, late, actor)

    slow = Retraining(AIR, Slow(AIR.name, world.blobs, world.clock), world.jobs, world.clock)
    assert slow.consider(check(1)).decision.refusals == ("running", "cooldown")
    assert [(e.key, e.data["launch"]) for e in world.entries("decision")] == [("check-2", True), ("check-1", False)]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("fatal", range(4))
def test_a_crash_at_any_write_ends_in_one_job_whose_steps_stand_there_once(fatal: int, stored: bool) -> None:
    world = World()
    world.blobs.fatal, world.blobs.stored = fatal, stored

    def life() -> None:
        use = world.use()
        use.consider(DRIFT)
        for name in [*use.launch(), *world.jobs.specs]:
            world.jobs.states[name] = "completed"
        use.poll()

    with pytest.raises(TransientFailure):
        life()
    for _ in range(2):
        world.clock.ms += HOUR
        life()
    (name,) = world.jobs.specs
    assert [(e.kind, e.key) for e in world.entries()][:2] == [("decision", "check-1"), ("launched", name)]
    assert [e.data["status"] for e in world.entries("job_ended")] == ["completed"]
    assert len(world.entries()) == 3


def test_a_place_of_jobs_that_fails_or_refuses_is_asked_again_and_the_next_check_starts_no_second_job() -> None:
    world = World()
    world.use().consider(DRIFT)
    for failing in (TransientFailure("away"), ConfigError("no such environment")):
        world.jobs.failing = failing
        with pytest.raises(PipelineError, match=str(failing)):
            world.use().launch()
    world.clock.ms += 30 * HOUR
    assert world.use().consider(check(2)).decision.refusals == ("running",)
    world.jobs.failing = None
    assert len(world.use().launch()) == len(world.jobs.specs) == len(world.entries("launched")) == 1


@pytest.mark.parametrize("status", ["queued", "running"])
def test_a_job_that_goes_on_has_not_ended(status: JobState) -> None:
    world = World()
    name = world.started()
    world.jobs.states[name] = status
    assert world.use().ended(name) is None
    assert world.use().poll() == []
    assert world.entries("job_ended") == []


@pytest.mark.parametrize("name", ["air_quality-000009", "air_quality-000000", "other-000001", "", "../x", "x" * 500])
def test_the_end_of_a_job_that_nobody_decided_changes_nothing(name: str) -> None:
    world = World()
    world.started()
    world.jobs.states[name] = "completed"
    assert world.use().ended(name) is None
    assert world.entries("job_ended") == []


def test_an_end_that_is_told_again_or_differently_stays_as_it_was_first_told() -> None:
    world = World()
    name = world.started()
    world.jobs.states[name] = "completed"
    first = world.use().ended(name)
    world.jobs.states[name] = "failed"
    assert world.use().ended(name, "late") == first
    assert world.use().poll() == []
    assert world.entries("job_ended") == [first]


def test_ends_that_are_told_at_once_are_one_entry() -> None:
    world, found = World(), []
    name, start = world.started(), threading.Barrier(5)

    world.jobs.states[name] = "completed"

    def tell() -> None:
        use = world.use()
        start.wait(timeout=30)
        found.append(use.ended(name))

    threads = [threading.Thread(target=tell) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == world.entries("job_ended") * 5


@pytest.mark.parametrize("status", ["completed", "failed", "canceled"])
def test_a_job_that_ended_silently_is_noticed(status: JobState) -> None:
    world = World()
    name = world.started()
    world.jobs.states[name] = status
    (entry,) = world.use().poll()
    assert (entry.key, entry.data["status"], entry.data["source"]) == (name, status, "poll")
    assert world.jobs.cancelled == []


@pytest.mark.parametrize(("after_ms", "ends"), [(LOST_AFTER_MS - 1, False), (LOST_AFTER_MS, True)])
def test_a_launched_job_that_nobody_knows_has_failed_after_a_while(after_ms: int, ends: bool) -> None:
    world = World()
    name = world.started()
    del world.jobs.states[name]
    world.clock.ms += after_ms
    found = [(e.data["status"], e.data["why"]) for e in world.use().poll()]
    assert found == ([("failed", "lost: unknown where it should run")] if ends else [])


def test_a_job_that_was_decided_but_not_launched_is_not_lost_however_long_ago() -> None:
    world = World()
    world.use().consider(DRIFT)
    world.clock.ms += 12 * HOUR - 1
    assert world.use().poll() == []
    assert len(world.use().launch()) == 1


@pytest.mark.parametrize("launched", [True, False])
@pytest.mark.parametrize(("after_ms", "ends"), [(12 * HOUR - 1, False), (12 * HOUR, True)])
def test_a_job_that_takes_too_long_is_cancelled_and_has_failed(after_ms: int, ends: bool, launched: bool) -> None:
    world = World()
    found = world.use().consider(DRIFT)
    if launched:
        world.use().launch()
    world.clock.ms += after_ms
    ended = [(e.data["status"], e.data["why"]) for e in world.use().poll()]
    assert ended == ([("failed", "timed out after 12 h")] if ends else [])
    assert world.jobs.cancelled == ([found.job] if ends else [])
    assert world.use().launch() == ([] if ends or launched else [found.job])


def test_the_time_of_a_job_is_the_one_of_its_decision_here_and_where_it_runs() -> None:
    world = World()
    decided = replace(world.use(), scenario=with_overrides(AIR, retrain=replace(RULES, timeout_h=7.0)))
    decided.consider(DRIFT)
    (name,) = world.use().launch()  # of a scenario that was edited meanwhile
    assert world.jobs.specs[name].timeout_h == 7.0
    world.clock.ms += 7 * HOUR - 1
    assert world.use().poll() == []
    world.clock.ms += 1
    assert [entry.data["why"] for entry in world.use().poll()] == ["timed out after 7 h"]


def test_the_time_of_a_job_counts_from_its_launch_however_long_that_took() -> None:
    world = World()
    world.use().consider(DRIFT)
    world.clock.ms += 11 * HOUR
    world.use().launch()
    world.clock.ms += 12 * HOUR - 1
    assert world.use().poll() == []
    world.clock.ms += 1
    assert [entry.data["why"] for entry in world.use().poll()] == ["timed out after 12 h"]


def test_a_job_that_completes_while_it_is_cancelled_has_completed() -> None:
    world = World()
    world.started()
    cancel = world.jobs.cancel

    def late(name: str) -> None:
        world.jobs.states[name] = "completed"
        cancel(name)

    world.jobs.cancel = late  # type: ignore[method-assign]
    world.clock.ms += 13 * HOUR
    (entry,) = world.use().poll()
    assert entry.data["status"] == "completed"


def test_a_job_that_timed_out_while_it_was_submitted_is_cancelled() -> None:
    world = World()
    world.use().consider(DRIFT)
    submit = world.jobs.submit

    def slow(spec: JobSpec) -> None:
        world.clock.ms += 13 * HOUR
        world.use().poll()
        submit(spec)

    world.jobs.submit = slow  # type: ignore[method-assign]
    (name,) = world.use().launch()
    assert world.jobs.states[name] == "canceled"
    assert [e.data["status"] for e in world.entries("job_ended")] == ["failed"]


def test_data_of_many_hours_that_arrive_while_a_job_is_submitted_do_not_end_it() -> None:
    world = World(wall=HandClock())
    assert world.wall is not None
    world.use().consider(DRIFT)
    submit, wall = world.jobs.submit, world.wall

    def slow(spec: JobSpec) -> None:
        world.clock.ms += 13 * HOUR
        wall.ms += 1000
        assert world.use().poll() == []
        submit(spec)

    world.jobs.submit = slow  # type: ignore[method-assign]
    world.use().launch()
    assert world.use().poll() == []
    wall.ms += 12 * HOUR
    assert [entry.data["why"] for entry in world.use().poll()] == ["timed out after 12 h"]


def test_a_job_that_an_older_version_decided_ages_by_the_time_of_its_decision() -> None:
    world = World(wall=HandClock())
    ledger = Ledger(AIR.name, world.blobs, world.clock)
    data = {**msgspec.to_builtins(world.use().consider(DRIFT, dry_run=True).decision), "cost": 1.0}
    ledger.append("decision", DRIFT.check, data)
    world.clock.ms += 12 * HOUR - 1
    assert world.use().poll() == []
    world.clock.ms += 1
    assert [entry.data["why"] for entry in world.use().poll()] == ["timed out after 12 h"]


def test_a_person_who_asks_again_gets_a_new_answer_while_the_data_stand_still() -> None:
    world = World(wall=HandClock())
    assert world.wall is not None
    name = world.started()
    assert world.use().consider(DRIFT, "ann", "new sensors").decision.refusals == ("running",)
    world.jobs.states[name] = "completed"
    world.use().ended(name)
    world.wall.ms += 1000
    assert world.use().consider(DRIFT, "ann", "new sensors").decision.launch


def test_a_dry_run_tells_the_decision_and_writes_nothing() -> None:
    world = World()
    for manual in (None, "new sensors"):
        found = world.use().consider(DRIFT, "ann", manual, dry_run=True)
        assert (found.decision.launch, found.entry, found.job) == (True, None, None)
    assert (world.blobs.writes, world.use().launch()) == ([], [])


def test_a_person_need_not_wait_but_is_bound_by_one_at_a_time_and_the_budget() -> None:
    world = World()
    for turn in range(3):
        found = world.use().consider(check(turn), "ann", f"reason {turn}")
        assert (found.decision.launch, found.decision.reason) == (True, "manual")
        busy = world.use().consider(check(turn), "ann", "again")
        assert busy.decision.refusals[0] == "running"
        (name,) = world.use().launch()
        world.jobs.states[name] = "failed"
        world.use().ended(name)
        world.clock.ms += 1
    assert world.use().consider(check(9), "ann", "one more").decision.refusals == ("run_budget",)
    assert {entry.actor for entry in world.entries("decision")} == {"ann"}


def test_a_person_may_ask_while_a_check_of_the_same_id_was_already_decided() -> None:
    world = World()
    assert not world.use().consider(QUIET).decision.launch
    assert world.use().consider(QUIET, "ann", "new sensors").decision.launch


Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ask(world: World) -> Ask:
    """Asks over HTTP."""

    def asked(headers: dict[str, str] | None = None, **params: str) -> tuple[int, dict[str, Any]]:
        return retrain_request(world.use(), lambda: QUIET, params, headers or {})

    return asked


def test_a_request_starts_a_job_in_the_name_of_who_asked(world: World, ask: Ask) -> None:
    status, body = ask({"x-actor": "ann", "x-other": "bob"}, reason="  new sensors ", code="key")
    (name,) = world.jobs.specs
    assert (status, body["launch"], body["job"], body["submitted"]) == (202, True, name, True)
    assert body["reasons"][0] == "manual: new sensors"
    (decision,) = world.entries("decision")
    assert (decision.actor, decision.position) == ("ann", body["position"])
    assert msgspec.json.decode(msgspec.json.encode(body))["refusals"] == []
    status, body = ask(reason="again")
    assert (status, body["launch"], body["refusals"], body["job"]) == (409, False, ("running",), None)
    assert world.entries("decision")[-1].actor == "http"


def test_the_platform_s_sign_in_comes_before_what_a_caller_says_of_itself(world: World, ask: Ask) -> None:
    ask({"x-ms-client-principal-name": "ann@example.org", "x-actor": "root"}, reason="x")
    assert world.entries("decision")[0].actor == "ann@example.org"


def test_a_dry_request_answers_and_changes_nothing(world: World, ask: Ask) -> None:
    status, body = ask(reason="what if", dry_run="true")
    assert (status, body["launch"], body["dry_run"], body["job"], body["position"]) == (200, True, True, None, None)
    assert (world.blobs.writes, world.jobs.specs) == ([], {})


@pytest.mark.parametrize("failing", [TransientFailure("away"), ConfigError("no environment")])
def test_a_job_that_cannot_be_submitted_now_is_decided_all_the_same(
    failing: PipelineError, world: World, ask: Ask
) -> None:
    world.jobs.failing = failing
    status, body = ask(reason="x")
    assert (status, body["launch"], body["submitted"]) == (202, True, False)
    world.jobs.failing = None
    assert world.use().launch() == [body["job"]]


@pytest.mark.parametrize("reason", ["x", "x" * 200, "Fühler getauscht"])
def test_reasons_within_the_limits_are_taken(reason: str, ask: Ask) -> None:
    assert ask(reason=reason, dry_run="false")[0] == 202


@pytest.mark.parametrize(
    ("headers", "params", "error"),
    [
        ({}, {}, "reason: needs 1 to 200 printable characters"),
        ({}, {"reason": " "}, "reason: "),
        ({}, {"reason": "x" * 201}, "reason: "),
        ({}, {"reason": "a\nb"}, "reason: "),
        ({}, {"reason": "a\x1b[31m"}, "reason: "),
        ({}, {"reason": "\ud800"}, "reason: "),
        ({}, {"reason": "x", "dry_run": "yes"}, "dry_run: is neither true nor false"),
        ({}, {"reason": "x", "dry_run": ""}, "dry_run: "),
        ({"x-actor": "a\x00"}, {"reason": "x"}, "actor: needs 1 to 200 printable characters"),
        ({"x-actor": "a" * 201}, {"reason": "x"}, "actor: "),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong_and_changes_nothing(
    headers: dict[str, str], params: dict[str, str], error: str, world: World, ask: Ask
) -> None:
    status, body = ask(headers, **params)
    assert status == 400
    assert body["error"].startswith(error)
    assert world.blobs.writes == []


def test_every_mistake_of_a_request_is_told_at_once(ask: Ask) -> None:
    _, body = ask({"x-actor": "\n"}, dry_run="maybe")
    assert body["error"].count("; ") == 2
