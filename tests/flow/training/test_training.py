"""The training job from files to a package that serving accepts."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from catboost import CatBoostRegressor
from rich.console import Console

from shared.adapters.models import onnx_model, package_folder
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.intake.readings import Floats
from shared.core.model.manifest import Manifest, decode_arrays
from shared.errors import ConfigError
from tests import ROOT
from tests.kit.data.sensor_history import FIRST_HOUR, air_quality, history
from training import job
from training.data.files import DataRefused
from training.data.prepare import Options, prepare
from training.report import summary
from training.report.console import Screen
from training.report.tracking import SQLITE

HOURS = 60 * 24
TEST_FROM = FIRST_HOUR + 48 * 24
NOW = datetime(2026, 11, 20, 10, 15, tzinfo=timezone.utc)
SCENARIO = air_quality(trials=2, folds=2, max_trees=200)
HEADER = "device_id,timestamp,temp,precip,rel_humidity,wind_dir,wind_spd,atmos_press,pm25"


def lines(device: str, values: Floats) -> list[str]:
    """CSV rows of one device; a missing value is an empty cell."""
    times = (np.arange(len(values)) + FIRST_HOUR).astype("datetime64[h]").astype("datetime64[s]")
    cells = [[f"{v:.3f}" if np.isfinite(v) else "" for v in row] for row in values]
    return [f"{device},{time}Z,{','.join(row)}" for time, row in zip(times, cells, strict=True)]


def fleet() -> dict[str, Floats]:
    devices = {name: history(HOURS, seed) for seed, name in enumerate(("north", 'sou|th "1"', "east"), 1)}
    devices["east"][200:210, 6] = np.nan
    devices["north"][TEST_FROM - FIRST_HOUR + 30, 6] = np.nan
    return devices


def write(path: Path, devices: dict[str, Floats]) -> Path:
    rows = [row for name, values in devices.items() for row in lines(json.dumps(name).replace("\\", '"'), values)]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def run(place: Path) -> Callable[..., tuple[Path, dict[str, Any], str]]:
    """Train on files into a folder; gives the folder, the report and what was shown."""

    def go(name: str, *paths: Path, **changes: Any) -> tuple[Path, dict[str, Any], str]:
        shown = StringIO()
        options = Options(
            scenario=SCENARIO,
            readings=paths,
            out=place / name,
            tracking_uri=f"{SQLITE}{place / 'mlflow.db'}",
            now=NOW,
            code_version="abc",
        )
        content = job.run(replace(options, **changes), Screen(Console(file=shown, width=100)))
        return place / name, content, shown.getvalue()

    return go


@pytest.fixture(scope="module")
def data(place: Path) -> Path:
    return write(place / "fleet.csv", fleet())


@pytest.fixture(scope="module")
def trained(run: Callable[..., tuple[Path, dict[str, Any], str]], data: Path) -> tuple[Path, dict[str, Any], str]:
    return run("model", data, test_from=TEST_FROM)


def manifest(out: Path) -> Manifest:
    return msgspec.json.decode((out / "manifest.json").read_bytes(), type=Manifest)


def test_serving_accepts_the_package_and_its_forecasts_are_close_to_the_truth(
    trained: tuple[Path, dict[str, Any], str],
) -> None:
    out, content, _ = trained
    model = onnx_model.load(package_folder.read(out), Featurizer(SCENARIO).features)
    golden = decode_arrays("golden.npz", (out / "golden.npz").read_bytes())
    np.testing.assert_allclose(model.predict(golden["inputs"]), golden["outputs"], atol=1e-3)
    assert np.isnan(golden["inputs"]).any()
    assert model.manifest.version == content["version"]
    metrics = model.manifest.metrics
    assert metrics["test_rmse"] < metrics["test_rmse_persistence"]
    assert metrics["coverage_oof"] == pytest.approx(0.9, abs=0.12)


def test_the_refitted_model_is_saved_not_that_of_a_fold(trained: tuple[Path, dict[str, Any], str], data: Path) -> None:
    out, content, _ = trained
    options = Options(scenario=SCENARIO, readings=[data], out=out, tracking_uri="", now=NOW, test_from=TEST_FROM)
    prepared = prepare(options, Screen(Console(file=StringIO())))
    golden = decode_arrays("golden.npz", (out / "golden.npz").read_bytes())
    trees = int(content["metrics"]["trees"])
    settings = {"iterations": trees, "thread_count": 2, "verbose": False, "allow_writing_files": False}

    def predictions(rows: np.ndarray) -> Floats:
        model = CatBoostRegressor(
            bootstrap_type="Bernoulli",
            border_count=32,
            random_seed=SCENARIO.search.seed,
            **settings,
            **content["params"],
        )
        model.fit(prepared.rows.matrix[rows], prepared.rows.target[rows])
        return np.asarray(model.predict(golden["inputs"]), np.float32)

    np.testing.assert_allclose(golden["outputs"], predictions(np.arange(len(prepared.rows))), atol=1e-3)
    assert np.abs(golden["outputs"] - predictions(prepared.folds[-1].train)).max() > 0.1


def test_the_test_span_is_reported_on_the_same_rows_and_what_is_left_out_is_counted(
    trained: tuple[Path, dict[str, Any], str],
) -> None:
    _, content, shown = trained
    span = 12 * 24
    metrics = content["metrics"]
    assert content["test_excluded"] == {"target_not_yet": 3 * 24, "target_missing": 1}
    assert metrics["test_rows_without_floor"] == 1
    assert metrics["test_rows_scored"] == 3 * span - 3 * 24 - 2
    for suffix in ("", "_damped", "_persistence"):
        assert np.isfinite(metrics[f"test_rmse{suffix}"])
    assert sum(row["rows"] for row in content["tables"]["test_by_device"]) == metrics["test_rows_scored"]
    assert sum(row["rows"] for row in content["tables"]["test_by_month"]) == metrics["test_rows_scored"]
    assert "target_not_yet 72" in shown


def test_no_training_row_has_its_truth_in_the_test_span(trained: tuple[Path, dict[str, Any], str]) -> None:
    out, content, _ = trained
    assert manifest(out).training_end == summary.hour_text(TEST_FROM - 1) == content["span"][1]
    baseline = decode_arrays("baseline.npz", (out / "baseline.npz").read_bytes())
    assert baseline["oof_as_of"].max() + SCENARIO.horizon < TEST_FROM


def test_nothing_in_the_package_depends_on_the_test_span_nor_on_the_cut_into_files(
    trained: tuple[Path, dict[str, Any], str],
    run: Callable[..., tuple[Path, dict[str, Any], str]],
    place: Path,
) -> None:
    spoiled = fleet()
    for values in spoiled.values():
        values[TEST_FROM - FIRST_HOUR :] = history(HOURS, 99)[TEST_FROM - FIRST_HOUR :]
        values[TEST_FROM - FIRST_HOUR :, 6] += 500
    folder = place / "parts"
    folder.mkdir()
    for index, (name, values) in enumerate(spoiled.items()):
        write(folder / f"{index}.csv", {name: values})
    (folder / ".hidden").write_text("not read")
    late = lines("north", history(HOURS, 98))[TEST_FROM - FIRST_HOUR :]  # contradicts what the first file said
    (folder / "late.csv").write_text("\n".join([HEADER, *late, "north,no time,1,1,1,1,1,1,1"]) + "\n")
    out, content, _ = run("again", folder, test_from=TEST_FROM)
    first, second = manifest(trained[0]), manifest(out)
    assert content["metrics"]["test_rmse"] > 100 > trained[1]["metrics"]["test_rmse"]
    for name in ("model.onnx", "baseline.npz", "golden.npz", "card.md"):
        assert first.sha256[name] == second.sha256[name], name
    unlike = {field for field in Manifest.__struct_fields__ if getattr(first, field) != getattr(second, field)}
    assert unlike <= {"run_id", "latency_ms", "metrics"}
    apart = {name for name, _ in set(first.metrics.items()) ^ set(second.metrics.items())}
    assert apart
    assert all(name.startswith("test_") for name in apart)


def test_one_value_before_the_test_span_changes_the_package(
    trained: tuple[Path, dict[str, Any], str], run: Callable[..., tuple[Path, dict[str, Any], str]], place: Path
) -> None:
    changed = fleet()
    changed["north"][TEST_FROM - FIRST_HOUR - 1, 6] += 100
    out, _, _ = run("changed", write(place / "changed.csv", changed), test_from=TEST_FROM)
    assert manifest(out).dataset != manifest(trained[0]).dataset
    assert manifest(out).sha256["model.onnx"] != manifest(trained[0]).sha256["model.onnx"]


def test_everything_is_in_mlflow(trained: tuple[Path, dict[str, Any], str], place: Path) -> None:
    from mlflow import MlflowClient

    out, content, _ = trained
    client = MlflowClient(f"{SQLITE}{place / 'mlflow.db'}")
    run = client.get_run(manifest(out).run_id)
    assert run.info.status == "FINISHED"
    assert (
        run.data.tags.items()
        >= {"scenario": "air_quality", "code_version": "abc", "dataset": content["dataset"]}.items()
    )
    assert run.data.metrics["rmse"] == content["metrics"]["rmse"]
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert sorted(child.info.run_name for child in children) == ["trial-0", "trial-1"]
    kept = {item.path for item in client.list_artifacts(run.info.run_id, "tables")}
    assert kept >= {"tables/by_device.csv", "tables/by_month.csv"}
    assert {item.path for item in client.list_artifacts(run.info.run_id)} >= {"package", "training.json"}


def test_the_report_beside_the_package_says_what_was_done(trained: tuple[Path, dict[str, Any], str]) -> None:
    out, content, shown = trained
    assert json.loads(summary.path_of(out).read_text()) == json.loads(json.dumps(content))
    assert content["seconds"].keys() >= {"read", "features", "search", "refit", "export", "test span", "package"}
    assert content["sources"][0]["name"] == "fleet.csv"
    assert "warning: " not in shown
    assert "damped persistence" in shown


def test_the_card_shows_a_hostile_device_name_as_text(trained: tuple[Path, dict[str, Any], str]) -> None:
    card = (trained[0] / "card.md").read_text()
    assert r'| sou\|th "1" |' in card
    assert "out-of-fold" in card.lower()


def test_wide_files_train_with_a_warning_that_the_score_is_no_forecast_score(
    run: Callable[..., tuple[Path, dict[str, Any], str]], place: Path
) -> None:
    values = history(1500, 5)
    rows = []
    for number, end in enumerate(np.random.default_rng(1).permutation(np.arange(121, 1476))[:400]):
        window = values[end - 121 : end, :6]
        cells = ['"' + ",".join("nan" if np.isnan(v) else f"{v:.3f}" for v in column) + '"' for column in window.T]
        rows.append(f"ID_{number},{'ABCDE'[number % 5]},{','.join(cells)},{values[end + 23, 6]:.3f}")
    path = place / "Train.csv"
    header = "ID,location,temp,precip,rel_humidity,wind_dir,wind_spd,atmos_press,target"
    path.write_text("\n".join([header, *rows]) + "\n")
    out, content, shown = run("wide", path)
    assert "not a forecast score" in shown
    found = manifest(out)
    assert (found.rows, found.training_start, found.training_end) == (400, "", "")
    assert (found.damped.latest, found.damped.mean_24) == (0.0, 0.0)
    assert found.metrics["rmse"] < found.metrics["rmse_damped"]
    assert "rmse_persistence" not in found.metrics
    assert [row["group"] for row in content["tables"]["by_device"]] == list("ABCDE")
    assert content["tables"]["by_month"] == []
    onnx_model.load(package_folder.read(out), Featurizer(SCENARIO).features)


def no_target(devices: dict[str, Floats]) -> None:
    for values in devices.values():
        values[:, 6] = np.nan


def constant_target(devices: dict[str, Floats]) -> None:
    for values in devices.values():
        values[:, 6] = 7


def few_hours(devices: dict[str, Floats]) -> None:
    for name in devices:
        devices[name] = devices[name][:60]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_target, "pm25: the target has a value in 0 of 3456 hours"),
        (constant_target, "pm25: the target is 7 in all 3456 hours"),
        (few_hours, "training rows: 108 are fewer than 200"),
    ],
)
def test_data_that_cannot_be_trained_on_stop_the_run_and_leave_the_old_package(
    trained: tuple[Path, dict[str, Any], str],
    run: Callable[..., tuple[Path, dict[str, Any], str]],
    place: Path,
    tmp_path: Path,
    spoil: Callable[[dict[str, Floats]], None],
    words: str,
) -> None:
    devices = fleet()
    spoil(devices)
    shutil.copytree(trained[0], place / "kept", dirs_exist_ok=True)
    with pytest.raises(DataRefused, match=words):
        run("kept", write(tmp_path / "bad.csv", devices), test_from=TEST_FROM)
    assert manifest(place / "kept") == manifest(trained[0])


def test_a_folder_that_holds_something_else_is_refused_before_the_training(
    run: Callable[..., tuple[Path, dict[str, Any], str]], place: Path, data: Path
) -> None:
    (place / "mine").mkdir()
    (place / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        run("mine", data)


def test_a_file_of_a_folder_that_is_no_table_is_named_and_one_asked_for_by_name_is_refused(
    run: Callable[..., tuple[Path, dict[str, Any], str]], place: Path, data: Path
) -> None:
    folder = place / "mixed"
    folder.mkdir()
    shutil.copy(data, folder / "fleet.csv")
    (folder / "notes.txt").write_text("to do\n")
    _, _, shown = run("mixed-model", folder)
    assert "warning: notes.txt" in shown
    with pytest.raises(DataRefused, match=r"notes\.txt"):
        run("mixed-model", folder / "notes.txt", data)


def test_a_truncated_file_is_used_as_far_as_it_goes_and_named(
    run: Callable[..., tuple[Path, dict[str, Any], str]], place: Path, data: Path
) -> None:
    whole = gzip.compress(data.read_bytes())
    (place / "cut.csv.gz").write_bytes(whole[: len(whole) * 3 // 4])
    _, content, shown = run("cut", place / "cut.csv.gz")
    assert "warning: cut.csv.gz: truncated" in shown
    assert content["sources"][0]["problem"].startswith("truncated")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "training", *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 - our own command


def test_the_command_ends_with_1_and_one_message_when_the_data_are_refused(tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.csv", {"a": history(60)})
    found = command("--scenario", "air_quality", "--readings", str(bad), "--out", str(tmp_path / "model"))
    assert found.returncode == 1
    assert found.stderr.startswith("training: training rows: 36 are fewer than 200")
    assert "Traceback" not in found.stderr + found.stdout
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--scenario", "no_such_thing"], "no_such_thing"),
        (["--test-from", "last week"], "--test-from: 'last week'"),
        (["--zone", "Mars/Olympus"], "--zone: 'Mars/Olympus'"),
        (["--trials", "0"], "search.trials: 0 is outside 1 to 200"),
        (["--trials", "many"], "invalid int value"),
    ],
)
def test_a_wrong_command_ends_with_2_and_says_what_is_wrong(tmp_path: Path, change: list[str], words: str) -> None:
    good = ["--scenario", "air_quality", "--readings", str(tmp_path), "--out", str(tmp_path / "model")]
    found = command(*good, *change)
    assert found.returncode == 2
    assert words in found.stderr
    assert "Traceback" not in found.stderr
