"""From the event of a job's end to the beginning of its model's rollout: exactly once, whatever comes how often."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import msgspec
import numpy as np
import pytest

from shared.app.backoff import Backoff
from shared.app.ledger_store import Ledger
from shared.app.loop.completion import Completion
from shared.app.loop.evidence_packs import EvidencePacks
from shared.app.loop.results import Result, Results
from shared.app.loop.retraining import Retraining
from shared.app.loop.stored_packages import StoredPackages
from shared.app.release.control import ControlDocument
from shared.app.release.registry_tags import RegistryTags
from shared.app.release.rollouts import Rollouts
from shared.app.score.serving import load_package
from shared.core.gate import evidence as gate_evidence
from shared.core.gate.evidence import Evidence
from shared.core.intake.readings import Floats
from shared.core.model.feature import Feature
from shared.core.model.manifest import FILES, Damped, Interval, Manifest, encode_manifest
from shared.core.retrain.job_spec import JobState
from shared.core.retrain.signals import Signals
from shared.core.task.tasks import task_of
from shared.errors import ContractBroken, TransientFailure
from tests.kit import Faulty, HandClock, MemoryJobs, MemoryRegistry
from tests.kit.data import gate_world
from tests.kit.data.gate_world import CHAMPION, World, scenario

SCENARIO = scenario(minimum_rows=500, maximum_latency_ms=1000.0)
FEATURES = (Feature("a", 1), Feature("b", 1))
DAY = 20_000


@cache
def evidence(size: float) -> Evidence:
    """A challenger whose errors are `size` times the champion's."""
    world = World.draw(3, devices=6, days=60)
    found = world.evidence(world.error(1, size))
    return gate_world.change(found, witness=np.full(len(found), np.nan, np.float32))


class Plain:
    """A model that says zero."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def predict(self, matrix: Floats) -> Floats:
        return np.zeros(len(matrix), np.float32)


def load(files: Mapping[str, bytes]) -> Plain:
    if files.get("model.onnx") == b"damaged":
        raise ContractBroken("model.onnx: sha256 differs")
    return Plain(msgspec.json.decode(files["manifest.json"], type=Manifest))


class Failing(Faulty):
    """Compare-and-swaps count as writes too."""

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        failing = self._turn()
        done = super().replace(container, name, data, etag)
        if failing:
            raise TransientFailure("the store's answer got lost")
        return done


class Registry(MemoryRegistry):
    """Knows what it is told of the one job's model."""

    def register(self, version: str, run_id: str, tags: Mapping[str, str]) -> str:
        assert (run_id, tags["dataset"]) == ("r1", "lake@12")
        return super().register(version, run_id, tags)


@dataclass
class World2:
    """A champion that serves, a job that was decided and started, and what it left."""

    size: float | None = 0.8
    blobs: Failing = field(default_factory=Failing)
    clock: HandClock = field(default_factory=HandClock)
    jobs: Any = field(default_factory=MemoryJobs)
    registry: Registry = field(default_factory=Registry)
    witnessed: list[str] = field(default_factory=list)
    job: str = ""

    def __post_init__(self) -> None:
        self.package("v1", "a", CHAMPION.trained_until)
        self.package("v2", "b", 0)
        rollouts = self.completion().rollouts
        rollouts.begin("v1", DAY - 100)
        signals = Signals(check="c1", dataset="lake@12", labelled_rows=90_000, champion="v1", drift="population")
        retraining = self.completion().retraining
        retraining.consider(signals)
        (self.job,) = retraining.launch()
        if self.size is not None:
            self.leave(evidence(self.size))

    def package(
        self, version: str, digest: str, until: int, features: tuple[tuple[str, int], ...] = (("a", 1),)
    ) -> None:
        manifest = Manifest(
            version=version, scenario=SCENARIO.name, created="", run_id="", dataset="", code_version="",
            training_start="", training_end="", rows=0, features=[*features], interval=Interval(0.9, [], [-1.0], [1.0]),
            damped=Damped(0.0, 1.0, 0.0), metrics={}, sha256={"model.onnx": digest * 64}, size_bytes=0, latency_ms=0.0,
            trained_until=until,
        )  # fmt: skip
        self.blobs.write("models", f"{version}/manifest.json", encode_manifest(manifest))
        for name in FILES:
            self.blobs.write("models", f"{version}/{name}", b"x")

    def leave(self, found: Evidence, version: str = "v2", job: str = "", finished_ms: int = 0) -> None:
        """What the training job leaves behind."""
        name = job or self.job
        if isinstance(self.jobs, MemoryJobs):
            self.jobs.states[name] = "completed"
        result = Result(
            job=name, version=version, run_id="r1", dataset="lake@12", trained_until=0, parity=1e-6,
            finished_ms=finished_ms,
        )  # fmt: skip
        self.blobs.write("models", f"jobs/{name}.npz", gate_evidence.encode(found))
        self.blobs.write("models", f"jobs/{name}.json", msgspec.json.encode(result))

    def truth_source(self, found: Evidence, dataset: str) -> Floats:
        self.witnessed.append(dataset)
        return found.truth

    def completion(self) -> Completion:
        """As another worker would make it."""
        ledger = Ledger(SCENARIO.name, self.blobs, self.clock)
        packages = StoredPackages(self.blobs, load, FEATURES)
        control = ControlDocument(self.blobs)
        check = partial(load_package, task_of(SCENARIO), self.blobs, load)
        backoff = Backoff(self.clock)
        tags = RegistryTags(ledger, self.registry, backoff)
        rollouts = Rollouts(SCENARIO, self.blobs, ledger, control, packages.latency_ms, tags, check)
        retraining = Retraining(SCENARIO, ledger, self.jobs, self.clock, left=Results(self.blobs).left)
        return Completion(
            scenario=SCENARIO, packages=packages, blobs=self.blobs, ledger=ledger, retraining=retraining,
            rollouts=rollouts, registry=self.registry, packs=EvidencePacks(self.blobs, ledger, self.registry, backoff),
            backoff=backoff, truth_source=self.truth_source, today=lambda: DAY,
        )  # fmt: skip

    def entries(self, kind: str) -> list[dict[str, object]]:
        return [entry.data for entry in self.completion().ledger.entries() if entry.kind == kind]

    def pack(self) -> dict[str, bytes]:
        """The evidence that the gate's only entry names."""
        names = self.blobs.names("reports", f"{folder(self)}/")
        return {name.rpartition("/")[2]: self.blobs.read("reports", name) or b"" for name in names}

    @property
    def served(self) -> tuple[str | None, str | None]:
        now = ControlDocument(self.blobs).read()
        return now.champion, now.challenger


def folder(world: World2) -> str:
    """Where the gate's only entry says that its evidence stands."""
    (entry,) = world.entries("gate")
    return str(entry["evidence"])


def test_a_better_model_is_registered_and_begins_in_shadow() -> None:
    world = World2(0.8)
    entry = world.completion().ended(world.job)
    assert entry is not None
    (gate,) = world.entries("gate")
    assert (gate["kind"], gate["version"], gate["champion"]) == ("promote", "v2", "v1")
    assert world.served == ("v1", "v2")
    assert world.registry.entered == {"v2": "1"}
    assert world.registry.told == [("v2", "shadow")]
    assert world.witnessed == ["lake@12"]
    pack = {f"r1/{folder(world)}/{name}": data for name, data in world.pack().items()}
    assert len(pack) == 2
    assert world.registry.kept == pack


def test_evidence_that_the_registry_did_not_take_is_copied_later_and_stops_nothing() -> None:
    world = World2(0.8)
    keep = world.registry.keep

    def away(run_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        raise TransientFailure(f"the registry takes no {len(files)} files of {run_id}/{folder}")

    world.registry.keep = away  # type: ignore[method-assign]
    world.completion().ended(world.job)
    assert world.served == ("v1", "v2")
    assert world.registry.kept == {}
    world.registry.keep = keep  # type: ignore[method-assign]
    world.completion().reconcile()
    assert len(world.registry.kept) == 2
    assert world.entries("copied") == [{"about": "v2", "report": folder(world)}]
    world.registry.kept.clear()
    world.completion().reconcile()
    assert world.registry.kept == {}
    assert b'"kind": "promote"' in world.pack()["verdict.json"]
    assert b"<svg" in world.pack()["report.html"]


def test_a_worse_model_is_refused_with_evidence_and_the_champion_stays() -> None:
    world = World2(1.2)
    world.completion().ended(world.job)
    (gate,) = world.entries("gate")
    assert gate["kind"] == "refuse"
    assert "improvement" in str(gate["reasons"])
    assert world.served == ("v1", None)
    assert world.registry.told == [("v2", "refused")]
    assert b'"kind": "refuse"' in world.pack()["verdict.json"]


@pytest.mark.parametrize("state", ["failed", "canceled"])
def test_a_job_that_did_not_complete_is_noted_and_nothing_more(state: JobState) -> None:
    world = World2(0.8)
    world.jobs.states[world.job] = state
    world.completion().ended(world.job)
    assert [each["status"] for each in world.entries("job_ended")] == [state]
    assert world.entries("gate") == []
    assert world.served == ("v1", None)


def test_an_unknown_job_is_none_of_ours() -> None:
    world = World2(0.8)
    assert world.completion().ended("air_quality-000999") is None
    assert world.entries("job_ended") == []


def test_a_job_that_left_nothing_is_refused_with_the_missing_name() -> None:
    world = World2(None)
    world.jobs.states[world.job] = "completed"
    world.completion().ended(world.job)
    (gate,) = world.entries("gate")
    assert (gate["kind"], gate["reasons"]) == ("refuse", ["evidence"])
    assert f"models/jobs/{world.job}.json is missing" in str(gate["text"])


@pytest.mark.parametrize(
    ("blob", "raw", "why"),
    [
        ("jobs/JOB.json", b"{", "jobs/JOB.json"),
        (
            "jobs/JOB.json",
            b'{"job":"other","version":"v2","run_id":"","dataset":"","trained_until":0,"parity":0}',
            "of",
        ),
        ("jobs/JOB.npz", b"PK", "evidence.npz"),
    ],
)
def test_what_a_job_left_damaged_is_refused(blob: str, raw: bytes, why: str) -> None:
    world = World2(0.8)
    world.blobs.write("models", blob.replace("JOB", world.job), raw)
    world.completion().ended(world.job)
    (gate,) = world.entries("gate")
    assert gate["kind"] == "refuse"
    assert why.replace("JOB", world.job) in str(gate["text"])
    assert world.served == ("v1", None)


@pytest.mark.parametrize(("change", "reason"), [("damaged", "files"), ("features", "features"), ("same", "sha256")])
def test_a_package_that_cannot_be_trusted_is_refused(change: str, reason: str) -> None:
    world = World2(0.8)
    if change == "damaged":
        world.blobs.write("models", "v2/model.onnx", b"damaged")
    else:
        world.package("v2", "a" if change == "same" else "b", 0, (("a", 2),) if change == "features" else (("a", 1),))
    world.completion().ended(world.job)
    (gate,) = world.entries("gate")
    assert (gate["kind"], reason in str(gate["reasons"])) == ("refuse", True)


def test_truths_that_the_lake_does_not_confirm_are_refused() -> None:
    world = World2(0.8)
    completion = world.completion()
    object.__setattr__(completion, "truth_source", lambda found, _: np.roll(found.truth, 1))
    completion.ended(world.job)
    (gate,) = world.entries("gate")
    assert gate["reasons"] == ["aligned"]


def test_five_deliveries_at_once_are_one_of_everything() -> None:
    world = World2(0.8)
    together = threading.Barrier(5)

    def deliver(_: int) -> None:
        together.wait()
        world.completion().ended(world.job)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(deliver, range(5)))
    for _ in range(3):
        world.completion().ended(world.job)
    world.completion().reconcile()
    assert len(world.entries("job_ended")) == 1
    assert len(world.entries("gate")) == 1
    assert [each["step"] for each in world.entries("rollout")] == ["installed", "shadow"]
    assert world.registry.entered == {"v2": "1"}
    assert world.served == ("v1", "v2")


def test_a_crash_after_any_write_is_finished_by_the_next_look() -> None:
    done = World2(0.8)
    before = done.blobs.count
    done.completion().ended(done.job)
    writes = done.blobs.count - before
    assert writes >= 6
    for at, stored in itertools.product(range(writes), (False, True)):
        world = World2(0.8)
        world.jobs.states[world.job] = "completed"
        world.blobs.count, world.blobs.fail_at, world.blobs.stored_anyway = 0, at, stored
        with pytest.raises(TransientFailure):
            world.completion().ended(world.job)
        world.blobs.fail_at = -1
        world.completion().reconcile()
        assert len(world.entries("gate")) == 1, at
        assert [each["step"] for each in world.entries("rollout")] == ["installed", "shadow"], at
        assert world.registry.entered == {"v2": "1"}, at
        assert len(world.registry.kept) == 2, at
        assert world.served == ("v1", "v2"), at


def test_a_job_that_ended_silently_is_found() -> None:
    world = World2(0.8)
    world.jobs.states[world.job] = "completed"
    done = world.completion().reconcile()
    assert done == [f"{world.job} ended: completed", f"{world.job} judged or begun"]
    assert world.served == ("v1", "v2")
    assert world.completion().reconcile() == []


def test_a_promotion_waits_while_another_challenger_climbs_and_begins_when_that_fell() -> None:
    world = World2(0.8)
    world.package("v3", "c", 0)
    world.completion().rollouts.begin("v3", DAY)
    world.completion().ended(world.job)
    assert world.served == ("v1", "v3")
    world.completion().rollouts.request("roll_back", DAY, "ann", "r")
    world.completion().reconcile()
    assert [(each["champion"], each["kind"]) for each in world.entries("gate")] == [("v1", "promote")]
    assert world.served == ("v1", "v2")


def test_evidence_about_a_champion_that_has_gone_is_not_enough() -> None:
    world = World2(0.8)
    world.package("v3", "c", 0)
    world.completion().rollouts.install("v3", DAY, "ann", "r")
    world.completion().ended(world.job)
    (gate,) = world.entries("gate")
    assert (gate["kind"], gate["champion"]) == ("not enough data", "v3")
    assert "about v1, but v3 serves" in str(gate["text"])
    assert world.served == ("v3", "v1")


def test_one_job_that_cannot_be_judged_does_not_hold_the_others_up() -> None:
    world = World2(0.8)
    world.jobs.states[world.job] = "completed"
    world.registry.failing = TransientFailure("the registry does not answer")
    world.blobs.write("models", "deployment.json", b'{"champion": null}')
    with pytest.raises(TransientFailure, match="the registry does not answer"):
        world.completion().reconcile()
    world.registry.failing = None
    assert ControlDocument(world.blobs).read().champion == "v1"  # the ledger was followed all the same
    world.completion().reconcile()
    assert world.served == ("v1", "v2")


def test_a_model_that_became_champion_is_not_judged_against_itself() -> None:
    world = World2(0.8)
    world.completion().ended(world.job)
    world.completion().rollouts.request("promote", DAY, "ann", "r")
    assert world.served == ("v2", "v1")
    world.completion().reconcile()
    assert len(world.entries("gate")) == 1


def test_a_number_that_is_not_finite_is_refused_and_its_page_is_drawn() -> None:
    for name in ("truth", "challenger"):
        world = World2(size=None)
        values = np.array(getattr(evidence(0.8), name))
        values[3] = np.nan
        world.leave(gate_world.change(evidence(0.8), **{name: values}))
        world.completion().ended(world.job)
        (gate,) = world.entries("gate")
        assert gate["kind"] == "refuse"
        assert "finite" in str(gate["reasons"])
        assert b"<svg" in world.pack()["report.html"]


def test_two_workers_that_judge_at_once_tell_one_verdict() -> None:
    world = World2(0.8)
    first = world.completion()
    strict = scenario(minimum_rows=500, maximum_latency_ms=0.0)
    meanwhile = [replace(world.completion(), scenario=strict)]

    def slow(found: Evidence, _: str) -> Floats:
        if meanwhile:
            meanwhile.pop().ended(world.job)
        return found.truth

    replace(first, truth_source=slow).ended(world.job)
    (gate,) = world.entries("gate")
    assert (gate["kind"], gate["reasons"]) == ("refuse", ["latency"])
    assert b'"kind": "refuse"' in world.pack()["verdict.json"]
    assert world.registry.told == [("v2", "refused")]
    assert world.served == ("v1", None)


def test_an_idle_look_costs_the_same_however_many_jobs_there_were() -> None:
    def requests(jobs: int) -> int:
        world = World2(1.2)
        world.completion().ended(world.job)
        ledger = world.completion().ledger
        for number in range(jobs):
            name = f"{SCENARIO.name}-{len(ledger.entries()):06d}"
            told = {"job": name, "launch": True, "reason": "manual", "cost": 0.0, "inputs": {"signals": {}}}
            ledger.append("decision", f"d{number}", told)
            ledger.append("job_ended", name, {"job": name, "status": "completed", "run_id": None, "source": "event"})
            ledger.append("gate", f"{name}/none", {"job": name, "kind": "refuse", "version": None, "champion": None})
        worker = world.completion()
        worker.reconcile()
        counted = [0]
        for method in ("read", "read_changed", "names", "listed", "info"):
            plain = getattr(world.blobs, method)

            def count(*place: str, plain: Callable[..., object] = plain) -> object:
                counted[0] += 1
                return plain(*place)

            setattr(world.blobs, method, count)
        worker.reconcile()
        return counted[0]

    assert requests(0) == requests(20)
