"""The training job in the loop: from the lake, beside the champion, to what the gate reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from shared.adapters.models import onnx_model
from shared.app.loop.results import Result
from shared.core.drift import baseline
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.gate import evidence as gate_evidence
from shared.core.gate.evidence import Evidence
from shared.core.intake.readings import Floats
from shared.core.model.manifest import Interval, Manifest, decode_arrays, decode_manifest
from shared.core.model.scoring import bounds, clip
from shared.errors import ContractBroken, PipelineError
from tests.flow.training.test_training import write
from tests.kit import MemoryBlobs
from tests.kit.data import lake_folder
from tests.kit.data.sensor_history import FIRST_HOUR, air_quality, history, readings
from tests.unit.training.model import test_out_of_fold
from training import job
from training.data.files import DataRefused
from training.data.prepare import LakeVersion, Options, prepare
from training.model import out_of_fold
from training.model.champion import load
from training.model.fit import evaluate
from training.package import evidence
from training.report.console import Screen
from training.report.tracking import SQLITE

SCENARIO = air_quality(trials=1, folds=2, max_trees=40)
HOURS, SOME_HOURS = 60 * 24, 40 * 24
NOW = datetime(2026, 11, 20, 10, 15, tzinfo=timezone.utc)
JOB = "air_quality-000007"


def values(hours: int) -> list[Floats]:
    """Two devices' hours to two decimals, so that a file holds them exactly."""
    return [np.round(history(HOURS, seed), 2).astype(np.float32)[:hours] for seed in (1, 2)]


@dataclass
class World:
    """One place for everything that runs of a module leave."""

    root: Path
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    shown: StringIO = field(default_factory=StringIO)

    @property
    def uri(self) -> str:
        return f"{SQLITE}{self.root / 'mlflow.db'}"

    def lake(self, name: str = "lake", version: int = 0) -> LakeVersion:
        return LakeVersion(version=version, uri=str(self.root / name))

    def options(self, name: str, **changes: Any) -> Options:
        base = Options(scenario=SCENARIO, out=self.root / name, tracking_uri=self.uri, now=NOW, blobs=self.blobs)
        return replace(base, **changes)

    def train(self, name: str, **changes: Any) -> dict[str, Any]:
        return job.run(self.options(name, **changes), Screen(Console(file=self.shown, width=200)))

    def result(self, name: str = JOB) -> Result:
        raw = self.blobs.read("models", f"jobs/{name}.json")
        assert raw is not None
        return msgspec.json.decode(raw, type=Result)

    def evidence(self, name: str = JOB) -> Evidence:
        raw = self.blobs.read("models", f"jobs/{name}.npz")
        assert raw is not None
        return gate_evidence.decode(raw)

    def manifest(self, version: str) -> Manifest:
        raw = self.blobs.read("models", f"{version}/manifest.json")
        assert raw is not None
        return decode_manifest(raw)

    def run(self, run_id: str) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri).get_run(run_id)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A champion trained on 40 days, and after it a challenger on 60, both from a lake."""
    found = World(tmp_path_factory.mktemp("loop"))
    lake_folder.write(str(found.root / "lake"), SCENARIO, readings(*values(SOME_HOURS)))
    later = [np.where(np.arange(HOURS)[:, None] < SOME_HOURS, np.nan, device) for device in values(HOURS)]
    lake_folder.write(str(found.root / "lake"), SCENARIO, readings(*(device.astype(np.float32) for device in later)))
    found.blobs.write("models", "deployment.json", b"{}")
    found.train("first", lake=found.lake(version=0), job="air_quality-000001", publish=True)
    found.train(
        "second",
        lake=found.lake(version=1),
        champion=found.result("air_quality-000001").version,
        job=JOB,
        publish=True,
        now=NOW + timedelta(minutes=1),
    )
    return found


def test_the_same_history_from_files_and_from_the_lake_gives_the_same_rows_and_the_same_model(world: World) -> None:
    files = world.root / "fleet.csv"
    write(files, {f"d{index}": device for index, device in enumerate(values(SOME_HOURS))})
    screen = Screen(Console(file=StringIO()))
    one = prepare(world.options("x", readings=[files]), screen)
    other = prepare(world.options("x", lake=world.lake(version=0)), screen)
    np.testing.assert_array_equal(one.rows.matrix, other.rows.matrix)
    for name in ("target", "as_of", "device", "latest", "mean_24"):
        np.testing.assert_array_equal(getattr(one.rows, name), getattr(other.rows, name))
    assert (one.content, one.rows.devices, one.rows.excluded) == (
        other.content,
        other.rows.devices,
        other.rows.excluded,
    )
    assert (one.dataset, other.dataset) == (one.content, "lake@0")
    world.train("from-files", readings=[files])
    for name in ("model.onnx", "golden.npz", "baseline.npz"):
        assert (world.root / "from-files" / name).read_bytes() == (world.root / "first" / name).read_bytes(), name


def test_the_dataset_is_named_by_version_and_by_content_wherever_one_looks(world: World) -> None:
    result = world.result()
    manifest = world.manifest(result.version)
    assert result.dataset == manifest.dataset == "lake@1"
    assert manifest.content.startswith("sha256:")
    card = (world.blobs.read("models", f"{result.version}/card.md") or b"").decode()
    assert "`lake@1`" in card
    assert manifest.content in card
    tags = world.run(result.run_id).data.tags
    champion = world.result("air_quality-000001").version
    wanted = {"dataset": "lake@1", "content": manifest.content, "lake.version": "1", "champion": champion, "job": JOB}
    assert tags.items() >= wanted.items()


def test_the_champion_is_judged_on_all_rows_after_its_training_and_on_none_before(world: World) -> None:
    found, end = world.evidence(), FIRST_HOUR + SOME_HOURS - 1
    champion = world.result("air_quality-000001")
    assert champion.trained_until == world.manifest(champion.version).trained_until == end
    answered = np.isfinite(found.champion)
    np.testing.assert_array_equal(answered, found.as_of >= end)
    assert answered.sum() == 2 * (HOURS - SOME_HOURS + 1 - SCENARIO.horizon)
    assert np.isfinite(found.challenger).all()
    rows = prepare(world.options("x", lake=world.lake(version=1)), Screen(Console(file=StringIO()))).rows
    files = {name: world.blobs.read("models", f"{champion.version}/{name}") or b"" for name in ALL_FILES}
    model = onnx_model.load(files, Featurizer(SCENARIO).features)
    place = {(device, hour): index for index, (device, hour) in enumerate(zip(rows.device, rows.as_of, strict=True))}
    chosen = [place[key] for key in zip(found.device, found.as_of, strict=True)]
    said = clip(SCENARIO, model.predict(rows.matrix[chosen]))
    np.testing.assert_array_equal(found.champion[answered], said[answered])
    np.testing.assert_array_equal(found.truth, rows.target[chosen])
    np.testing.assert_array_equal(found.persistence, rows.latest[chosen])


ALL_FILES = ("manifest.json", "model.onnx", "baseline.npz", "golden.npz", "card.md")


def test_no_forecast_of_the_evidence_comes_from_a_model_that_had_seen_its_truth(world: World) -> None:
    found = world.evidence()
    assert (found.trained_until <= found.as_of).all()
    newest = found.as_of >= found.as_of.max() - 80
    assert (found.as_of - found.trained_until)[newest].max() < 84  # and the newest come from models trained just before
    assert np.isnan(found.witness).all()
    assert (found.lower <= found.challenger).all()
    assert (found.challenger <= found.upper).all()
    shipped = bounds(SCENARIO, world.manifest(world.result().version).interval, found.challenger)
    assert (found.lower != shipped[0]).mean() > 0.5  # those have seen the errors of the very rows
    covered = (found.lower <= found.truth) & (found.truth <= found.upper)
    assert covered.mean() == pytest.approx(0.9, abs=0.1)


def test_a_large_fleets_evidence_takes_every_few_hours() -> None:
    rows = test_out_of_fold.world()
    split, fitted = test_out_of_fold.searched(rows)
    found = out_of_fold.gather(SCENARIO, rows, split, fitted, None)
    zeros = np.zeros(len(found.rows), np.float32)
    interval = Interval(nominal=0.9, edges=[], lower=[-1.0], upper=[1.0])
    evaluation = evaluate(SCENARIO, rows, found.rows, found.forecast[found.rows], zeros, interval)
    trained: Any = SimpleNamespace(evaluation=evaluation, out_of_fold=found, lower=zeros, upper=zeros)
    whole = evidence.gather(rows, trained, None)
    some = evidence.gather(rows, trained, None, limit=len(whole) // 4)
    kept = whole.as_of % 5 == 0
    assert kept.sum() < len(whole) / 4
    for name in ("device", "as_of", "trained_until", "truth", "challenger"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[kept])


def test_a_publish_ends_with_the_result_and_leaves_the_deployment_alone(world: World) -> None:
    written = [name for container, name in world.blobs.writes if container == "models" and name != "deployment.json"]
    assert world.blobs.read("models", "deployment.json") == b"{}"
    version = world.result().version
    assert written[-3:] == [
        f"history/{(NOW + timedelta(minutes=1)):%Y%m%dT%H%M%SZ}-{version}.json",
        f"jobs/{JOB}.npz",
        f"jobs/{JOB}.json",
    ]
    assert {name for name in written if name.startswith(version)} == {f"{version}/{name}" for name in ALL_FILES}
    assert world.result().metrics["rmse"] > 0
    assert world.result().parity <= SCENARIO.gate.maximum_parity


def test_a_job_that_runs_again_replaces_its_result(world: World) -> None:
    blobs = MemoryBlobs()
    for minute in (0, 1):
        world.train(
            "again",
            lake=world.lake(version=0),
            job="twice",
            publish=True,
            now=NOW + timedelta(minutes=minute),
            blobs=blobs,
        )
    found = msgspec.json.decode(blobs.read("models", "jobs/twice.json") or b"", type=Result)
    assert found.version.startswith("20261120T101600")
    versions = [name for name in blobs.names("models") if name.endswith("/manifest.json")]
    assert len(versions) == 2
    names = [name for _, name in blobs.writes]
    assert names.count("jobs/twice.json") == 2


def test_the_historic_profile_tells_how_the_training_data_were_distributed(world: World) -> None:
    result = world.result()
    (name,) = [name for name in world.blobs.names("models", "history/") if result.version in name]
    row = json.loads(world.blobs.read("models", name) or b"")
    rows = prepare(world.options("x", lake=world.lake(version=1)), Screen(Console(file=StringIO()))).rows
    column = rows.matrix[:, [f.name for f in rows.features].index("temp.latest")].astype(float)
    assert row["temp.latest/mean"] == pytest.approx(np.nanmean(column))
    assert row["temp.latest/std"] == pytest.approx(np.nanstd(column))
    assert row["temp.latest/missing"] == pytest.approx(np.isnan(column).mean())
    assert (row["target.pm25/minimum"], row["target.pm25/maximum"]) == (rows.target.min(), rows.target.max())
    assert (row["dataset"], row["rows"], row["version"]) == ("lake@1", len(rows), result.version)
    assert "vapour.deficit/mean" in row


def test_the_package_carries_the_limits_of_the_drift_check(world: World) -> None:
    raw = world.blobs.read("models", f"{world.result().version}/baseline.npz") or b""
    arrays = decode_arrays("baseline.npz", raw)
    assert "oof_forecast" in arrays
    assert baseline.Baseline.from_arrays(arrays).counts.sum() > 0


def spoiled(world: World, name: str, raw: bytes | None) -> tuple[MemoryBlobs, str]:
    """The champion's package with one file replaced or left out."""
    version = world.result("air_quality-000001").version
    blobs = MemoryBlobs()
    for other in ALL_FILES:
        content = raw if other == name else world.blobs.read("models", f"{version}/{other}")
        if content is not None:
            blobs.create("models", f"{version}/{other}", content)
    return blobs, version


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("model.onnx", None, "model.onnx: listed in manifest.json, missing"),
        ("manifest.json", None, "manifest.json: missing from the package"),
        ("golden.npz", b"x", "golden.npz: sha256"),
    ],
)
def test_a_champion_is_loaded_as_serving_loads_it(world: World, name: str, raw: bytes | None, words: str) -> None:
    with pytest.raises(ContractBroken, match=words):
        load(*spoiled(world, name, raw), Featurizer(SCENARIO).features, SCENARIO.cadence)


def test_a_champion_that_cannot_be_used_is_told_and_the_training_goes_on(world: World) -> None:
    blobs, version = spoiled(world, "model.onnx", b"x")
    content = world.train("alone", lake=world.lake(version=0), champion=version, blobs=blobs)
    told = f"champion {version}: model.onnx: sha256"
    assert f"warning: {told}" in world.shown.getvalue()
    found = gate_evidence.decode(evidence.path_of(world.root / "alone").read_bytes())
    assert np.isnan(found.champion).all()
    assert np.isfinite(found.challenger).all()
    manifest = decode_manifest((world.root / "alone" / "manifest.json").read_bytes())
    assert told in world.run(manifest.run_id).data.tags["champion.problem"]
    assert content["version"] == manifest.version


def no_such_version(world: World) -> LakeVersion:
    return LakeVersion(version=99, uri=str(world.root / "lake"))


def no_lake(world: World) -> LakeVersion:
    return LakeVersion(version=0, uri=str(world.root / "nothing"))


def empty(world: World) -> LakeVersion:
    lake_folder.write(str(world.root / "empty"), SCENARIO, readings(values(24)[0][:0]))
    return LakeVersion(version=0, uri=str(world.root / "empty"))


def damaged(world: World) -> LakeVersion:
    lake_folder.write(str(world.root / "damaged"), SCENARIO, readings(*values(SOME_HOURS)))
    file = lake_folder.data_files(world.root / "damaged")[3]
    raw = bytearray(file.read_bytes())
    raw[200 : len(raw) // 2] = bytes(len(raw) // 2 - 200)
    file.write_bytes(raw)
    return LakeVersion(version=0, uri=str(world.root / "damaged"))


def gone(world: World) -> LakeVersion:
    lake_folder.write(str(world.root / "gone"), SCENARIO, readings(*values(SOME_HOURS)))
    lake_folder.data_files(world.root / "gone")[3].unlink()
    return LakeVersion(version=0, uri=str(world.root / "gone"))


def short(world: World) -> LakeVersion:
    lake_folder.write(str(world.root / "short"), SCENARIO, readings(*values(60)))
    return LakeVersion(version=0, uri=str(world.root / "short"))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (no_such_version, ContractBroken, "lake readings@99"),
        (no_lake, ContractBroken, "lake readings@0"),
        (empty, DataRefused, "lake@0: holds no applied reading"),
        (damaged, PipelineError, "lake readings@0"),
        (gone, ContractBroken, "lake readings@0"),
        (short, DataRefused, "training rows: 72 are fewer than 200"),
    ],
)
def test_a_lake_that_cannot_be_trained_on_fails_the_run_and_leaves_no_package(
    world: World, make: Callable[[World], LakeVersion], error: type[Exception], words: str
) -> None:
    from mlflow import MlflowClient

    with pytest.raises(error, match=words):
        world.train("refused", lake=make(world), job="refused", publish=True)
    client = MlflowClient(world.uri)
    experiment = client.get_experiment_by_name(SCENARIO.name)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"], max_results=1)
    assert run.info.status == "FAILED"
    assert words in run.data.tags["error"]
    assert not (world.root / "refused").exists()
    assert world.blobs.read("models", "jobs/refused.json") is None


def test_rows_without_a_time_are_not_published(world: World, tmp_path: Path) -> None:
    path = tmp_path / "Train.csv"
    cells = ['"' + ",".join(f"{v:.2f}" for v in column) + '"' for column in history(121, 5)[:, :6].T]
    header = "ID,location,temp,precip,rel_humidity,wind_dir,wind_spd,atmos_press,target"
    path.write_text("\n".join([header, *(f"ID_{n},A,{','.join(cells)},{n}" for n in range(3))]) + "\n")
    with pytest.raises(DataRefused, match="leave --publish out"):
        world.train("wide", readings=[path], job="wide", publish=True)
