"""The demo from end to end: only if the whole story happened it ends with 0."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.local.test_demo_ended import Demo

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
COUNTS = ("rows_in", "rows_accepted", "rows_rejected", "predictions", "rows", "features", "events_sent", "arrived")
BOOKED = ("applied", "stored_late", "duplicates", "dead_lettered", "redelivered", "expired")
ERRORS = ("rmse", "mae", "rmse_persistence", "mae_persistence", "rmse_damped", "mae_damped")
SPEEDS = ("train_seconds", "score_rows_per_second", "elapsed_seconds", "events_per_second")
LATENCIES = ("forecast_latency_p50_ms", "forecast_latency_p95_ms")


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a demo on made-up air leaves behind."""
    folder: Path = tmp_path_factory.mktemp("demo")
    whole = Demo(folder)
    try:
        whole.until(whole.ended, 1200)
    finally:
        whole.process.kill()
    assert whole.process.returncode == 0, whole.said()
    assert whole.left() == []
    assert (whole.out / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    found: dict[str, Any] = json.loads((whole.out / "summary.json").read_text("utf-8"))
    return found


def test_the_summary_has_every_promised_number(summary: dict[str, Any]) -> None:
    for name in (*COUNTS, *BOOKED):
        assert isinstance(summary[name], int), name
        assert summary[name] >= 0
    for name in (*ERRORS, *SPEEDS, *LATENCIES):
        assert math.isfinite(summary[name]), name
        assert summary[name] > 0
    assert summary["model_version"]
    assert summary["nominal_coverage"] == 0.9
    assert 0.5 < summary["interval_coverage"] <= 1


def test_the_books_balance_and_every_injected_fault_is_found(summary: dict[str, Any]) -> None:
    assert summary["books_balance"] is True
    assert summary["problems"] == []
    assert summary["faults_found"] is True
    parts = ("applied", "stored_late", "duplicates", "dead_lettered")
    assert summary["arrived"] == sum(summary[name] for name in parts)
    assert summary["arrived"] == summary["rows_in"] + summary["events_sent"]
    assert all(summary[name] > 0 for name in parts)


def test_the_model_beats_damped_persistence_on_the_rows_that_it_never_saw(summary: dict[str, Any]) -> None:
    assert summary["gain_over_damped"] > 0
    assert summary["rows"] + summary["excluded_no_truth"] + summary["excluded_no_latest"] == summary["predictions"]


def test_the_loop_closed(summary: dict[str, Any]) -> None:
    assert summary["drift_found"] is True
    assert summary["quarantined"]
    assert len(summary["jobs"]) >= 2
    assert summary["promoted_version"]
    assert summary["refused"] is True
    assert summary["rolled_back"].endswith("-sabotaged")
    mae = summary["mae_by_phase"]
    assert mae["drift, old model"] > mae["as it was"]
    assert mae["drift, new model"] < mae["drift, old model"]
    assert mae["sabotaged model"] > mae["drift, new model"] > 0
