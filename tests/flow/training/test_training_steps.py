"""The training job in steps, with files in between: the same package as in one run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from shared.adapters.models import package_folder
from shared.adapters.stores import scenario_files
from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.core.model.manifest import decode_arrays
from shared.errors import ContractBroken
from tests.flow.training.test_training import fleet, write
from tests.kit import MemoryBlobs
from training import __main__ as whole
from training import steps
from training.data import step_files
from training.package import publish

FLAGS = ("--scenario", "air_quality", "--trials", "1", "--seed", "3")


class Chain:
    """Folders of the steps of one pipeline."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.flags = [*FLAGS, "--readings", str(write(place / "fleet.csv", fleet()))]
        self.flags += ["--tracking-uri", f"sqlite:///{place / 'mlflow.db'}"]

    def run(self, step: str, *flags: str, **folders: str) -> int:
        given = [part for name, folder in folders.items() for part in (f"--{name}", str(self.place / folder))]
        out = ["--job", "air_quality-000007", "--to", str(self.place / step)]
        return steps.main([step, *out, *given, *flags, *self.flags])

    def facts(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.place / path).read_text())
        return found


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The steps before the last one, run."""
    made = Chain(tmp_path_factory.mktemp("steps"))
    assert made.run("validate") == 0
    assert made.run("prepare", checked="validate") == 0
    assert made.run("train", prepared="prepare") == 0
    assert made.run("evaluate", prepared="prepare", trained="train") == 0
    return made


def test_the_steps_make_the_model_that_one_run_makes(chain: Chain) -> None:
    out = chain.place / "whole" / "package"
    assert whole.main([*chain.flags, "--out", str(out)]) == 0
    one, other = (package_folder.read(folder) for folder in (out, chain.place / "train" / "package"))
    first, second = (decode_arrays("golden.npz", files["golden.npz"]) for files in (one, other))
    np.testing.assert_array_equal(first["inputs"], second["inputs"])
    np.testing.assert_array_equal(first["outputs"], second["outputs"])


def test_the_steps_say_what_they_found(chain: Chain) -> None:
    checked, evaluated = chain.facts("validate/validation.json"), chain.facts("evaluate/evaluation.json")
    manifest = chain.facts("train/package/manifest.json")
    assert checked["dataset"] == manifest["dataset"]
    assert evaluated["version"] == manifest["version"]
    assert evaluated["metrics"] == manifest["metrics"]
    assert 0 <= evaluated["lowest"] <= evaluated["highest"] <= 1000


def test_prepared_rows_come_back_bit_for_bit(chain: Chain, tmp_path: Path) -> None:
    found = step_files.load(chain.place / "prepare")
    step_files.save(tmp_path, found)
    again = step_files.load(tmp_path)
    assert msgspec.msgpack.encode(again, enc_hook=step_files._pack) == msgspec.msgpack.encode(
        found, enc_hook=step_files._pack
    )
    assert again.rows.matrix.dtype == np.float32
    assert again.rows.features == found.rows.features
    assert np.isnan(again.rows.matrix).any()
    assert again.rows.matrix.flags.writeable


def test_data_that_changed_after_its_validation_is_refused(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(chain.place / "validate", chain.place / "other", dirs_exist_ok=True)
    (chain.place / "other" / "validation.json").write_text('{"dataset": "another"}')
    assert chain.run("prepare", checked="other") == 1
    assert "is not the validated one, another" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("step", "folders", "code", "said"),
    [
        ("prepare", {}, 2, "--checked is missing"),
        ("train", {"prepared": "nowhere"}, 1, "nowhere/prepared.msgpack"),
        ("evaluate", {"trained": "nowhere", "prepared": "prepare"}, 1, "package"),
        ("register", {"evaluated": "nowhere", "trained": "train"}, 1, "nowhere/evaluation.json"),
    ],
)
def test_a_step_without_what_it_needs_says_so(
    chain: Chain, step: str, folders: dict[str, str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chain.run(step, **folders) == code
    assert said in capsys.readouterr().err


def test_damaged_rows_are_refused(chain: Chain, tmp_path: Path) -> None:
    raw = (chain.place / "prepare" / step_files.FILE).read_bytes()
    for broken in (raw[: len(raw) // 2], b"", b"\x00" + raw):
        (tmp_path / step_files.FILE).write_bytes(broken)
        with pytest.raises(ContractBroken, match=step_files.FILE):
            step_files.load(tmp_path)


def test_a_package_whose_metric_is_not_a_number_is_refused(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(chain.place / "train", chain.place / "broken", dirs_exist_ok=True)
    path = chain.place / "broken" / "package" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["metrics"]["rmse"] = None
    path.write_text(json.dumps(manifest))
    assert chain.run("evaluate", prepared="prepare", trained="broken") == 1
    assert capsys.readouterr().err.startswith("training evaluate: ")


def test_a_trial_logs_the_error_that_the_sweep_compares(chain: Chain) -> None:
    assert chain.run("trial", "--param", "depth=4", "--param", "learning_rate=0.08", prepared="prepare") == 0
    facts = chain.facts("trial/trial.json")
    assert facts["params"]["depth"] == 4
    assert facts["params"]["l2_leaf_reg"] == 20.0
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{chain.place / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("air_quality")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "params.learning_rate = '0.08'")
    assert [run.data.metrics["rmse"] for run in runs] == [pytest.approx(facts["rmse"])]


def test_a_trial_of_an_unknown_parameter_is_refused(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert chain.run("trial", "--param", "depht=4", prepared="prepare") == 2
    assert "depht" in capsys.readouterr().err


def test_publishing_twice_is_publishing_once_and_leaves_the_control_document_alone(chain: Chain) -> None:
    blobs, scenario = MemoryBlobs(), scenario_files.load("air_quality")
    out = chain.place / "train" / "package"
    version = publish.publish(blobs, scenario, out, "air_quality-000007")
    assert publish.publish(blobs, scenario, out, "air_quality-000007") == version
    names = set(blobs.names("models"))
    assert {f"{version}/{name}" for name in package_folder.NAMES} | {"jobs/air_quality-000007.json"} <= names
    assert "deployment.json" not in names
    note = json.loads(blobs.read("models", "jobs/air_quality-000007.json") or b"")
    assert {"job", "version", "run_id", "dataset", "metrics"} <= set(note)
    assert (note["job"], note["version"]) == ("air_quality-000007", version)


def test_a_refused_package_leaves_no_note(chain: Chain, tmp_path: Path) -> None:
    out = tmp_path / "package"
    shutil.copytree(chain.place / "train" / "package", out)
    (out / "model.onnx").write_bytes(b"other")
    blobs = MemoryBlobs()
    with pytest.raises(ContractBroken):
        publish.publish(blobs, scenario_files.load("air_quality"), out, "air_quality-000007")
    assert blobs.names("models") == []


@pytest.mark.emulator
def test_the_last_step_publishes_to_the_applications_storage(
    chain: Chain, azurite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOBS", azurite)
    assert chain.run("register", evaluated="evaluate", trained="train") == 0
    version = chain.facts("register/registered.json")["version"]
    blobs = AzureBlobs.connect(azurite, None)
    note = json.loads(blobs.read("models", "jobs/air_quality-000007.json") or b"")
    assert note["version"] == version
    assert blobs.info("models", f"{version}/manifest.json") is not None
