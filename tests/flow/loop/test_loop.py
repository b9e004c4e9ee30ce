"""What timers, events and people reach: statuses, refusals, and calls that come twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.adapters.lake.delta_lake import DeltaLake
from shared.adapters.stores.clock import WatermarkClock
from shared.app.lake.compaction import Compaction
from shared.app.loop.loop import Loop
from shared.app.loop.monitor import Monitor
from shared.app.score.profiles import ProfileMerge, Profiles
from shared.core.forecast.state import State
from shared.core.forecast.task import HourlyForecast
from shared.core.retrain.job_events import CHANGED, COMPLETED
from shared.errors import TransientFailure
from shared.ports import BlobInfo
from tests.flow.loop.test_completion import SCENARIO, World2, evidence

TOPIC = "local/air_quality"
TASK = HourlyForecast(SCENARIO)


@dataclass
class Looped:
    """A loop on stores in memory, with a lake in a folder, one partition and no reading yet."""

    folder: Path
    world: World2 = field(default_factory=World2)
    reached: list[int] = field(default_factory=list)
    shown: list[tuple[str, str | None, float]] = field(default_factory=list)
    away: bool = False
    hour: int = -1

    def show(self, champion: str, challenger: str | None, share: float) -> None:
        """An online endpoint that notes what it is asked for."""
        if self.away:
            raise TransientFailure("the endpoint does not answer")
        self.shown.append((champion, challenger, share))

    def state(self, partition: int) -> State:
        state = TASK.empty(partition)
        if self.hour >= 0:
            state.devices, state.index = ["a"], {"a": 0}
            state.columns.grow(1)
            state.columns.ring.head[0] = self.hour
        return state

    def merging(self) -> ProfileMerge:
        profiles = Profiles(TASK, self.world.blobs, self.world.clock, lambda work: work())
        return ProfileMerge(profiles, lambda: 1, self.state, reach=self.reached.append)

    def loop(self, *, trains: bool = True) -> Loop:
        world, completion = self.world, self.world.completion()
        lake = DeltaLake(TASK, str(self.folder))
        monitor = Monitor(
            SCENARIO, world.blobs, completion.packages, completion.ledger, completion.rollouts.control,
            lambda: (3, 1000), lambda: 0,
        )  # fmt: skip
        return Loop(
            scenario=SCENARIO, merged=self.merging(), by_data=True,
            compaction=Compaction(task=TASK, blobs=world.blobs, lake=lake, clock=world.clock),
            monitor=monitor, retraining=completion.retraining, completion=completion, rollouts=completion.rollouts,
            endpoint=self, topic=TOPIC, trains=trains,
        )  # fmt: skip


@pytest.fixture
def looped(tmp_path: Path) -> Looped:
    return Looped(tmp_path / "lake")


def ended(looped: Looped, kind: str = COMPLETED, topic: str = TOPIC, **data: object) -> bool:
    told = {"experimentName": SCENARIO.name, "runId": looped.world.job, **data}
    return looped.loop().job_event(kind, topic, told)


def test_the_event_of_a_jobs_end_brings_its_model_to_the_gate(looped: Looped) -> None:
    assert ended(looped)
    assert ended(looped)  # delivered again
    assert len(looped.world.entries("gate")) == 1
    assert looped.world.served == ("v1", "v2")


@pytest.mark.parametrize(
    ("kind", "topic", "data"),
    [
        (CHANGED, TOPIC, {"runStatus": "Running"}),
        (COMPLETED, "local/other", {}),
        (COMPLETED, TOPIC, {"experimentName": "water"}),
        (COMPLETED, TOPIC, {"runId": "air_quality-000999"}),
        ("Microsoft.Storage.BlobCreated", TOPIC, {}),
    ],
)
def test_other_events_change_nothing(looped: Looped, kind: str, topic: str, data: dict[str, object]) -> None:
    assert not ended(looped, kind, topic, **data)
    assert looped.world.entries("job_ended") == []


def test_a_failed_job_is_noted(looped: Looped) -> None:
    looped.world.jobs.states[looped.world.job] = "failed"
    assert ended(looped, CHANGED, runStatus="Failed")
    assert [each["status"] for each in looped.world.entries("job_ended")] == ["failed"]
    assert looped.world.served == ("v1", None)


def request(looped: Looped, action: str, **params: str) -> tuple[int, dict[str, Any]]:
    return looped.loop().rollout(action, {"id": "r", **params}, {"x-actor": "ann"})


def test_a_person_steps_in_over_http(looped: Looped) -> None:
    ended(looped)
    status, body = request(looped, "promote", id="1")
    assert (status, body["champion"], body["challenger"]) == (200, "v2", "v1")
    assert request(looped, "promote", id="1") == (status, body)  # the same request again
    status, body = request(looped, "roll_back", id="2")
    assert (status, body["champion"], body["step"]) == (200, "v1", "rolled_back")
    steps = [entry for entry in looped.world.completion().ledger.entries() if entry.kind == "rollout"]
    assert [entry.actor for entry in steps[-2:]] == ["ann", "ann"]


@pytest.mark.parametrize(("action", "key"), [("promote", ""), ("roll_back", ""), ("install", ""), ("pause", "a b")])
def test_a_step_needs_a_name_of_its_own(looped: Looped, action: str, key: str) -> None:
    status, body = looped.loop().rollout(action, {"id": key}, {})
    assert (status, body["error"][:3]) == (400, "id:")


def test_pausing_and_resuming_need_no_name(looped: Looped) -> None:
    ended(looped)
    assert looped.loop().rollout("pause", {}, {})[0] == 200
    assert looped.loop().rollout("resume", {}, {})[0] == 200
    kinds = [e.data["action"] for e in looped.world.completion().ledger.entries() if e.kind == "pause"]
    assert kinds == ["pause", "resume"]


def test_installing_names_the_version(looped: Looped) -> None:
    looped.hour = 480_000
    status, body = request(looped, "install", version="v2")
    assert (status, body["champion"], body["challenger"], body["stage"]) == (200, "v2", "v1", "guard")
    assert body["since_day"] == 480_000 // 24


@pytest.mark.parametrize(
    ("action", "params", "why"),
    [
        ("dance", {}, "'dance' is not one of"),
        ("promote", {}, "no challenger"),
        ("pause", {}, "no challenger is on its way"),
        ("install", {}, "version ''"),
        ("install", {"version": "../v1"}, "version '../v1'"),
        ("install", {"version": "v9"}, "no package v9"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    looped: Looped, action: str, params: Mapping[str, str], why: str
) -> None:
    status, body = request(looped, action, **params)
    assert status == 409
    assert why in body["error"]


def test_a_hostile_actor_is_refused(looped: Looped) -> None:
    status, body = looped.loop().rollout("promote", {}, {"x-actor": "a\nb"})
    assert (status, "actor" in body["error"]) == (400, True)


def test_a_store_that_does_not_answer_is_a_503(looped: Looped, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = looped.loop()

    def away(container: str, prefix: str = "") -> list[tuple[str, BlobInfo]]:
        raise TransientFailure(f"{container}/{prefix} does not answer")

    monkeypatch.setattr(looped.world.blobs, "listed", away)
    status, body = loop.rollout("promote", {"id": "1"}, {})
    assert (status, body["error"]) == (503, "ledger/air_quality/ does not answer")


def test_a_request_that_somebody_else_overtook_is_a_409(looped: Looped, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(looped)
    write = looped.world.blobs.replace

    def slowly(container: str, name: str, data: bytes, etag: str | None) -> str:
        monkeypatch.undo()
        assert request(looped, "promote", id="1")[0] == 200
        return write(container, name, data, etag)

    monkeypatch.setattr(looped.world.blobs, "replace", slowly)
    status, body = request(looped, "promote", id="2")
    assert (status, body["error"]) == (409, "promote: not done, for v2 became champion meanwhile")


def test_the_newest_reading_moves_the_clock(looped: Looped) -> None:
    looped.loop().merged()
    assert looped.reached == []
    looped.hour = 480_000
    looped.world.blobs.delete("profiles", "partition=00.profile")
    assert looped.loop().merged().newest_hour == 480_000
    assert looped.reached == [480_000]


def test_the_watermark_never_goes_back() -> None:
    clock = WatermarkClock()
    wall = clock.now_ms()
    assert wall > 1_700_000_000_000
    clock.reach(480_000)
    assert clock.now_ms() == 480_001 * 3_600_000
    clock.reach(479_000)
    assert clock.now_ms() == 480_001 * 3_600_000


def test_without_a_champion_a_check_only_asks_whether_to_train(looped: Looped) -> None:
    looped.world.blobs.delete("models", "deployment.json")
    for name in looped.world.blobs.names("ledger"):
        looped.world.blobs.delete("ledger", name)
    told = looped.loop().check()
    assert told["verdict"] is None
    assert looped.world.entries("check") == []
    assert looped.world.entries("decision")[0]["reason"] == "none"


def test_without_a_place_for_jobs_decisions_are_only_told(looped: Looped) -> None:
    looped.world.blobs.delete("models", "deployment.json")
    for name in looped.world.blobs.names("ledger"):
        looped.world.blobs.delete("ledger", name)
    looped.loop(trains=False).check()
    assert looped.world.completion().ledger.entries() == []
    assert looped.loop(trains=False).watch_jobs() == []


def test_a_manual_training_is_asked_for_with_a_reason(looped: Looped) -> None:
    looped.world.jobs.states[looped.world.job] = "failed"
    assert ended(looped, CHANGED, runStatus="Failed")
    looped.world.blobs.write("models", "v1/baseline.npz", b"")
    status, body = looped.loop().retrain({"reason": ""}, {})
    assert status == 400
    assert "reason" in body["error"]
    status, body = looped.loop(trains=False).retrain({"reason": "new stations"}, {})
    assert (status, "no place" in body["error"]) == (409, True)


def test_nothing_committed_gives_an_empty_lake(looped: Looped) -> None:
    assert looped.loop().compact()["commits"] == 0


def test_a_rollout_without_labels_waits(looped: Looped) -> None:
    assert looped.loop().advance() == {}
    ended(looped)
    told = looped.loop().advance()
    assert (told["kind"], told["share"]) == ("hold", 0.0)
    assert np.isfinite(told["share"])


def test_the_online_endpoint_follows_and_stops_nothing_when_it_is_away(looped: Looped) -> None:
    looped.loop().advance()
    ended(looped)
    looped.loop().watch_jobs()
    assert looped.shown == [("v1", None, 0.0), ("v1", "v2", 0.0)]
    looped.away = True
    assert looped.loop().advance()["kind"] == "hold"


def test_the_online_endpoint_follows_a_person_at_once(looped: Looped) -> None:
    ended(looped)
    assert request(looped, "promote", id="1")[0] == 200
    assert looped.shown == [("v2", "v1", 0.0)]
    looped.away = True
    assert request(looped, "roll_back", id="2")[0] == 200


@pytest.mark.parametrize(("kind", "told"), [(COMPLETED, {}), (CHANGED, {"runStatus": "Failed"})])
def test_an_end_that_is_told_early_or_forged_changes_nothing_and_the_real_one_counts(
    tmp_path: Path, kind: str, told: dict[str, str]
) -> None:
    looped = Looped(tmp_path, World2(size=None))  # the job runs and has left nothing yet
    for _ in range(5):
        assert not ended(looped, kind, **told)
    assert looped.world.entries("job_ended") == looped.world.entries("gate") == []
    assert looped.world.jobs.cancelled == []
    looped.world.leave(evidence(0.8))  # now it ends, with a better model
    assert ended(looped, kind, **told)
    looped.loop().watch_jobs()
    assert [each["status"] for each in looped.world.entries("job_ended")] == ["completed"]
    assert [(each["kind"], each["version"]) for each in looped.world.entries("gate")] == [("promote", "v2")]
    assert looped.world.served == ("v1", "v2")


def test_a_success_that_is_told_of_a_job_that_failed_is_a_failure(tmp_path: Path) -> None:
    looped = Looped(tmp_path, World2(size=None))
    looped.world.jobs.states[looped.world.job] = "failed"
    assert ended(looped)
    assert [each["status"] for each in looped.world.entries("job_ended")] == ["failed"]
    assert looped.world.entries("gate") == []


def test_while_the_place_of_jobs_does_not_answer_an_event_is_to_come_again(looped: Looped) -> None:
    looped.world.jobs.failing = TransientFailure("away")
    with pytest.raises(TransientFailure, match="away"):
        ended(looped)
    looped.world.jobs.failing = None
    assert looped.world.entries("job_ended") == []
    assert ended(looped)
    assert len(looped.world.entries("gate")) == 1
