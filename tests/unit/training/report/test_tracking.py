"""What MLflow keeps of a run."""

from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigError
from training.report.tracking import SQLITE, track


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"{SQLITE}{tmp_path_factory.mktemp('tracking') / 'new' / 'mlflow.db'}"


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri)


@pytest.mark.slow
def test_a_run_has_tags_children_metrics_and_tables(uri: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "card.md").write_text("# card")
    with track(uri, "air_quality", {"scenario": "air_quality"}) as tracker:
        tracker.child("trial-0", {"depth": 5}, {"rmse": 7.5}, {"fold_rmse": [7.0, 8.0]})
        tracker.log({"depth": 5}, {"rmse": 7.5})
        tracker.table("by_device", [{"group": "a, b", "rows": 3}, {"group": 'c"', "rows": 4}])
        tracker.table("by_month", [])
        tracker.files(tmp_path / "model")
    found = client(uri)
    run = found.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["scenario"] == "air_quality"
    assert run.data.metrics == {"rmse": 7.5}
    (child,) = found.search_runs([tracker.experiment], f"tags.mlflow.parentRunId = '{tracker.run_id}'")
    assert (child.info.run_name, child.info.status, child.data.params) == ("trial-0", "FINISHED", {"depth": "5"})
    assert [point.value for point in found.get_metric_history(child.info.run_id, "fold_rmse")] == [7.0, 8.0]
    tables = Path(found.download_artifacts(tracker.run_id, "tables/by_device.csv", str(tmp_path)))
    assert tables.read_text().splitlines() == ["group,rows", '"a, b",3', '"c""",4']
    assert (Path(uri.removeprefix(SQLITE)).parent / "mlartifacts").is_dir()


def test_a_run_that_raises_is_failed_and_says_why(uri: str) -> None:
    with pytest.raises(ValueError, match="no such luck"), track(uri, "air_quality", {}) as tracker:
        raise ValueError("no such luck\nsecond line")
    run = client(uri).get_run(tracker.run_id)
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", "no such luck")


def test_an_existing_run_is_continued(uri: str) -> None:
    with track(uri, "air_quality", {}) as first:
        pass
    with track(uri, "air_quality", {"job": "j1"}, run_id=first.run_id) as again:
        again.log({}, {"late": 1.0})
    found = client(uri).get_run(first.run_id)
    assert found.data.metrics == {"late": 1.0}
    assert found.data.tags["job"] == "j1"


def test_a_uri_that_cannot_be_used_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for uri in (f"{SQLITE}{tmp_path / 'file' / 'mlflow.db'}", "gopher://nowhere"):
        with pytest.raises(ConfigError, match="tracking URI"), track(uri, "air_quality", {}):
            pass
