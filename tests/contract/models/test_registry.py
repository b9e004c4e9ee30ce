"""The registry's adapter on a real MLflow store in SQLite."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.models.mlflow_registry import STATUS, VERSION, MlflowRegistry
from shared.errors import ConfigError, PipelineError, TransientFailure


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """URI of a store, and a run in it that logged a package."""
    from training.report.tracking import track

    folder: Path = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with track(uri, "air", {}) as tracker:
        tracker.text("package/manifest.json", "{}")
    return uri, tracker.run_id


def by_version(registry: MlflowRegistry) -> dict[str, dict[str, Any]]:
    return {found["tags"][VERSION]: found for found in registry.versions()}


def test_a_version_is_entered_once_and_marked_on_its_way(store: tuple[str, str]) -> None:
    uri, run_id = store
    registry = MlflowRegistry("air", uri)
    assert [registry.register("v1", run_id, {"dataset": "lake@3"}) for _ in range(2)] == ["1", "1"]
    assert MlflowRegistry("air", uri).register("v2", run_id, {}) == "2"
    assert by_version(registry)["v1"]["run_id"] == run_id
    assert by_version(registry)["v1"]["tags"] == {VERSION: "v1", "dataset": "lake@3"}
    registry.tag("v1", "installed")
    for step in ("shadow", "canary", "champion", "champion"):
        registry.tag("v2", step)
    found = by_version(registry)
    assert (found["v1"]["tags"][STATUS], found["v2"]["tags"][STATUS]) == ("installed", "champion")
    assert "champion" in found["v2"]["aliases"]
    assert "champion" not in found["v1"]["aliases"]
    registry.tag("v2", "rolled_back")
    assert by_version(registry)["v2"]["tags"][STATUS] == "rolled_back"


def test_marks_are_read_back_and_half_of_one_is_none(store: tuple[str, str]) -> None:
    from mlflow import MlflowClient

    uri, run_id = store
    registry, client = MlflowRegistry("marked", uri), MlflowClient(uri)
    assert registry.marks() == {}
    for version in ("v1", "v2", "v3"):
        registry.register(version, run_id, {})
    assert registry.marks() == {"v1": "", "v2": "", "v3": ""}
    for version, status in (("v1", "guard"), ("v2", "champion"), ("v3", "canary")):
        registry.tag(version, status)
    whole = {"v1": "guard", "v2": "champion", "v3": "canary"}
    assert registry.marks() == whole
    client.set_registered_model_alias("marked", "champion", "1")  # what a worker leaves that stopped half way
    assert registry.marks() == {**whole, "v2": ""}
    registry.tag("v2", "champion")
    client.set_registered_model_alias("marked", "challenger", "1")
    assert registry.marks() == {"v1": "", "v2": "champion", "v3": ""}
    for version, status in whole.items():
        registry.tag(version, status)
    assert registry.marks() == whole


def test_a_version_that_is_not_there_is_left_alone(store: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    MlflowRegistry("air", store[0]).tag("v9", "champion")
    assert "v9 of air is not known" in caplog.text


def test_evidence_is_kept_with_its_run_and_replaced(store: tuple[str, str], tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri, run_id = store
    registry = MlflowRegistry("air", uri)
    for text in ("first", "zweite µ"):
        registry.keep(run_id, "gate/job-1", {"verdict.json": text.encode(), "report.html": b"<p>"})
    client = MlflowClient(uri)
    kept = {found.path for found in client.list_artifacts(run_id, "gate/job-1")}
    assert kept == {"gate/job-1/verdict.json", "gate/job-1/report.html"}
    path = client.download_artifacts(run_id, "gate/job-1/verdict.json", str(tmp_path))
    assert Path(path).read_text(encoding="utf-8") == "zweite µ"
    with pytest.raises(ConfigError, match="RESOURCE_DOES_NOT_EXIST"):
        registry.keep("0" * 32, "gate/job-1", {"verdict.json": b"{}"})


def test_another_scenario_is_another_model(store: tuple[str, str]) -> None:
    uri, run_id = store
    other = MlflowRegistry("water", uri)
    assert other.versions() == []
    assert other.register("v1", run_id, {}) == "1"


def test_a_store_that_cannot_be_used_is_named_without_its_secret() -> None:
    registry = MlflowRegistry("air", "http://user:secret@127.0.0.1:9/x?sig=secret")
    with pytest.raises(PipelineError, match=r"registry at http://127\.0\.0\.1:9/x") as caught:
        registry.versions()
    assert "secret" not in str(caught.value)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A tracking server that answers every request with the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def of_azure(code: str) -> bytes:
    """An error's body as Azure ML writes it."""
    told = {"code": code, "message": "no for Bearer secret", "innerError": None}
    return json.dumps({"error": told, "correlation": {}, "environment": "westeurope"}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (400, b"", ConfigError, "HTTP 400 BAD_REQUEST"),
        (401, b"", ConfigError, "HTTP 401 "),
        (403, b"secret", ConfigError, "HTTP 403 PERMISSION_DENIED"),
        (404, b"<html>", ConfigError, "HTTP 404 ENDPOINT_NOT_FOUND"),
        (404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}', ConfigError, "HTTP 404 RESOURCE_DOES_NOT_EXIST"),
        (409, b'{"error_code": "RESOURCE_CONFLICT"}', ConfigError, "HTTP 409 RESOURCE_CONFLICT"),
        (403, of_azure("Forbidden"), ConfigError, "HTTP 403 Forbidden"),
        (400, of_azure("UserError"), ConfigError, "HTTP 400 UserError"),
        (501, b'{"error_code": "INTERNAL_ERROR"}', TransientFailure, "HTTP 500 INTERNAL_ERROR"),
        (501, of_azure("ServiceError"), TransientFailure, "HTTP 500 INTERNAL_ERROR"),
    ],
)
def test_what_a_server_refuses_is_no_transient_failure_and_is_told_by_its_codes(
    status: int, body: bytes, kind: type[PipelineError], told: str
) -> None:
    with answering(status, body) as uri, pytest.raises(kind, match=f"registry at {uri}: {told}") as caught:
        MlflowRegistry("air", uri).versions()
    assert "secret" not in str(caught.value)


def test_a_database_that_a_newer_mlflow_has_opened_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    assert MlflowRegistry("air", f"sqlite:///{path}").versions() == []
    copy = tmp_path / "newer.db"  # another address, for MLflow keeps open stores by address
    copy.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(copy)) as database:
        database.execute("update alembic_version set version_num = 'ffffffffffff'")
        database.commit()
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI: .*newer\.db: its database has another schema than"):
        MlflowRegistry("air", f"sqlite:///{copy}").versions()


def test_what_is_no_database_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_bytes(b"not a database " * 100)
    with pytest.raises(ConfigError, match=r"text\.db: file is not a database"):
        MlflowRegistry("air", f"sqlite:///{tmp_path / 'text.db'}").versions()


def test_a_database_without_its_driver_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="registry at postgresql://h/x: No module named"):
        MlflowRegistry("air", "postgresql://someone:secret@h/x").versions()
