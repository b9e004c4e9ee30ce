"""From a forecast back to the decision its model came from, and from a run or dataset forward to what was forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.adapters.jobs.none import NoRegistry
from shared.adapters.lake.archive import LakeArchive
from shared.adapters.lake.commit_files import ParquetFiles
from shared.app.backoff import Backoff
from shared.app.lake.compaction import Compaction
from shared.app.ledger_store import Ledger
from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.lineage import Lineage, Made, Trace, VersionLineage
from shared.app.lookback.lineage_names import Registered
from shared.app.release.control import ControlDocument
from shared.app.release.registry_tags import RegistryTags
from shared.app.release.rollouts import Rollouts
from shared.core.model.manifest import decode_manifest, encode_manifest
from shared.errors import ConfigError, ContractBroken
from tests import kit
from tests.kit import HOUR, SCENARIO, TASK, Bench, HandClock, hourly

DAY, RUN2 = 20_000, "2f00aa11bb22cc33"


def told(bench: Bench, version: str, **facts: Any) -> None:
    """Say more in the manifest of a package."""
    kit.publish(bench.blobs, version)
    raw = bench.blobs.read("models", f"{version}/manifest.json") or b""
    bench.blobs.write(
        "models", f"{version}/manifest.json", encode_manifest(msgspec.structs.replace(decode_manifest(raw), **facts))
    )


def ledger_of(bench: Bench) -> Ledger:
    return Ledger("small", bench.blobs, bench.clock)


def trained(bench: Bench, version: str, run_id: str, dataset: str, kind: str = "promote") -> str:
    """A decision, its job, and the gate's verdict on what it made; returns the job's name."""
    ledger = ledger_of(bench)
    job = f"small-{len(ledger.entries()) or 1:06d}"
    ledger.append("decision", f"check/{job}", {"launch": True, "reason": "drift", "job": job})
    ledger.append("launched", job, {"dataset": dataset})
    ledger.append("job_ended", job, {"status": "completed", "run_id": run_id})
    data = {"job": job, "champion": None, "kind": kind, "version": version, "run_id": run_id, "dataset": dataset}
    ledger.append("gate", f"{job}/none", data)
    return job


def feed(bench: Bench, start: int, hours: int, devices: str = "ab") -> None:
    rows = [(place + start * 2, *rest) for place, *rest in hourly(devices, hours, HOUR + start)]
    bench.worker().take(bench.send("hub/0", rows))  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    """v1 is installed, v2 goes through shadow and is promoted by hand, v3 is refused by the gate."""
    bench = Bench()
    facts = {"code_version": "0123456789abcdef", "created": "2026-01-01T00:00:00Z"}
    told(bench, "v1", run_id="run-1", dataset="lake@7", **facts)
    told(bench, "v2", run_id=RUN2, dataset="lake@12", **{**facts, "created": "2026-01-02T00:00:00Z"})
    told(bench, "v3", run_id="run-3", dataset="lake@12", **{**facts, "code_version": "fedcba9876543210"})
    control = ControlDocument(bench.blobs)
    ledger = ledger_of(bench)
    tags = RegistryTags(ledger, NoRegistry(), Backoff(HandClock()))
    rollouts = Rollouts(SCENARIO, bench.blobs, ledger, control, lambda _: 1.0, tags, lambda _: None)
    trained(bench, "v1", "run-1", "lake@7")
    rollouts.begin("v1", DAY)
    feed(bench, 0, 10)
    trained(bench, "v2", RUN2, "lake@12")
    rollouts.begin("v2", DAY)
    feed(bench, 10, 5)
    rollouts.request("promote", DAY, "somebody", "r1")
    feed(bench, 15, 5)
    trained(bench, "v3", "run-3", "lake@12", "refuse")
    return bench


def trace(bench: Bench, what: str, lake: LakeArchive | None = None, **more: Registered) -> Lineage:
    return Trace(CommitHistory(TASK, bench.blobs, ParquetFiles(TASK), lake), ledger_of(bench), more)(what)


def kinds(found: VersionLineage) -> list[str]:
    return [entry.data.get("step") or entry.kind for entry in found.entries]


def counted(bench: Bench, version: str, role: str) -> int:
    return sum(model == version for _, model in bench.forecasts(role).values())


def test_a_forecast_leads_to_its_model_run_dataset_code_decision_gate_and_rollout(bench: Bench) -> None:
    found = trace(bench, "a@2017-11-30T12")
    assert (HOUR + 12) * 3600 == 1_512_043_200, "which is that hour"
    assert found.forecast is not None
    assert (found.kind, found.forecast.model, found.forecast.served) == ("forecast", "v1", True)
    assert found.commit == bench.commits()[1][0]
    (behind,) = found.versions
    assert behind.package is not None
    assert (behind.package.run_id, behind.package.dataset) == ("run-1", "lake@7")
    assert behind.package.code_version == "0123456789abcdef"
    assert behind.jobs == ["small-000001"]
    assert kinds(behind)[:6] == ["decision", "launched", "job_ended", "gate", "installed", "registered"]
    assert behind.entries[0].data["reason"] == "drift"


def test_a_version_tells_its_steps_its_place_now_and_what_it_forecast(bench: Bench) -> None:
    (found,) = trace(bench, "v2").versions
    assert kinds(found) == [
        "decision", "launched", "job_ended", "gate", "shadow", "registered", "champion", "registered"
    ]  # fmt: skip
    assert found.serves == "champion"
    shadow, champion = counted(bench, "v2", "challenger"), counted(bench, "v2", "champion")
    assert min(shadow, champion) > 0
    assert found.forecasts == {
        "champion": Made(made=champion, served=champion),
        "challenger": Made(made=shadow, served=0),
    }


def test_a_champion_that_was_replaced_has_the_step_that_did_it(bench: Bench) -> None:
    (found,) = trace(bench, "v1").versions
    steps = [entry for entry in found.entries if entry.kind != "registered"]
    assert (steps[-1].data["step"], steps[-1].data["about"]) == ("champion", "v2")
    assert found.entries[-1].data["as"] == "guard"
    assert found.serves == "challenger", "it guards the new one"


def test_what_the_gate_refused_made_no_forecast_and_has_no_rollout(bench: Bench) -> None:
    (found,) = trace(bench, "v3").versions
    assert kinds(found) == ["decision", "launched", "job_ended", "gate"]
    assert (found.forecasts, found.serves) == ({}, "")


@pytest.mark.parametrize(
    ("what", "kind", "versions"),
    [
        ("v1", "version", ["v1"]),
        ("run-1", "run", ["v1"]),
        (RUN2, "run", ["v2"]),
        (RUN2[:7], "run", ["v2"]),
        ("lake@12", "dataset", ["v3", "v2"]),
        ("lake@7", "dataset", ["v1"]),
        ("0123456", "code", ["v1", "v2"]),
        ("fedcba9876543210", "code", ["v3"]),
        ("small-000001", "job", ["v1"]),
    ],
)
def test_back_from_run_dataset_code_and_job_to_the_versions(
    bench: Bench, what: str, kind: str, versions: list[str]
) -> None:
    found = trace(bench, what)
    assert (found.kind, sorted(each.version for each in found.versions)) == (kind, sorted(versions))


@pytest.mark.parametrize("what", ["", "v", "run", RUN2[:6], "lake@1", "lake@120", "012345", "small-00000", "nobody"])
def test_what_is_not_known_is_told_with_what_is(bench: Bench, what: str) -> None:
    with pytest.raises(ConfigError, match=r"known here; newest versions: v1, v2, v3"):
        trace(bench, what)


def test_a_whole_name_goes_before_the_beginning_of_another(bench: Bench) -> None:
    told(bench, "v4", run_id=f"{RUN2}ff")
    assert [each.version for each in trace(bench, RUN2).versions] == ["v2"]


def test_versions_come_oldest_first(bench: Bench) -> None:
    told(bench, "a9", code_version="0123456789abcdef", created="2026-01-03T00:00:00Z")
    assert [each.version for each in trace(bench, "0123456789").versions] == ["v1", "v2", "a9"]


def test_a_forecast_that_is_not_there_is_told(bench: Bench) -> None:
    with pytest.raises(ContractBroken, match="no such forecast"):
        trace(bench, "a@2030-01-01T00")


def test_the_registry_s_version_stands_beside_it_and_is_known_alone(bench: Bench) -> None:
    known = Registered(number="4", run_id="r4", tags={"dataset": "lake@40"}, aliases=["champion"])
    (found,) = trace(bench, "v2", v2=known).versions
    assert found.registered == known
    (alone,) = trace(bench, "lake@40", gone=known).versions
    assert (alone.version, alone.package, alone.problem) == ("gone", None, "there is no package")


def test_a_damaged_package_keeps_its_history(bench: Bench) -> None:
    bench.blobs.write("models", "v2/manifest.json", b"{")
    (found,) = trace(bench, RUN2).versions
    assert found.package is None
    assert found.problem.startswith("manifest.json: ")
    assert "gate" in kinds(found)


def test_a_damaged_commit_is_noted_and_the_rest_counted(bench: Bench) -> None:
    name, commit, _ = bench.commits()[0]
    bench.blobs.write("commits", name, b"rubbish")
    found = trace(bench, "v1")
    assert [note.split(":")[0] for note in found.notes] == ["forecasts are not counted"]
    assert f"commits/{name}" in found.notes[0]
    assert found.versions[0].forecasts["champion"].made > 0
    assert commit.challenger is None


def test_a_broken_ledger_is_not_believed(bench: Bench) -> None:
    name = bench.blobs.names("ledger")[-1]
    raw = bench.blobs.read("ledger", name) or b""
    bench.blobs.write("ledger", name, raw.replace(b"promote", b"refuse_", 1))
    with pytest.raises(ContractBroken, match="hash is"):
        trace(bench, "v1")


def test_forecasts_in_the_lake_count_once_wherever_their_commits_are(bench: Bench, tmp_path: Path) -> None:
    plain = {version: trace(bench, version).versions[0].forecasts for version in ("v1", "v2")}
    lake = LakeArchive(TASK, str(tmp_path), group_rows=7)
    assert {version: trace(bench, version, lake).versions[0].forecasts for version in ("v1", "v2")} == plain
    compaction = Compaction(task=TASK, blobs=bench.blobs, lake=lake, clock=bench.clock)
    compaction.run()
    feed(bench, 20, 5)
    more = trace(bench, "v2").versions[0].forecasts
    assert more["champion"].made > plain["v2"]["champion"].made
    name, commit, _ = bench.commits()[0]
    bench.blobs.delete("commits", name)
    bench.blobs.delete("predictions", commit.predictions or "")
    assert trace(bench, "v2", lake).versions[0].forecasts == more
    found = trace(bench, "a@2017-11-30T05", lake)
    assert (found.commit, found.versions[0].forecasts["champion"]) == (name, plain["v1"]["champion"])


def test_rows_of_a_commit_that_the_lake_holds_in_part_count_once(bench: Bench, tmp_path: Path) -> None:
    plain = trace(bench, "v1").versions[0].forecasts
    lake = LakeArchive(TASK, str(tmp_path))
    dying = Dying(TASK, str(tmp_path))
    with pytest.raises(RuntimeError, match="died"):
        Compaction(task=TASK, blobs=bench.blobs, lake=dying, clock=bench.clock).run()
    assert lake.places("a", HOUR + 5)
    assert trace(bench, "v1", lake).versions[0].forecasts == plain


class Dying(LakeArchive):
    """A lake whose writer dies before it says what is complete."""

    def append(self, table: str, rows: Any, advances: Any) -> bool:
        if table == self.tables[-1]:
            raise RuntimeError("died")
        return super().append(table, rows, advances)


def test_everything_a_lineage_says_is_json(bench: Bench) -> None:
    raw = msgspec.json.encode(trace(bench, "a@2017-11-30T12"))
    assert msgspec.json.decode(raw, type=Lineage).versions[0].version == "v1"
