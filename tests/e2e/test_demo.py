"""The demo from end to end on a small file: interrupted half way, then to its end on the same folder."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local import stack
from local.fleet import Fleet
from local.stack_guard import identity

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
COUNTS = ("rows_in", "rows_accepted", "rows_rejected", "predictions", "rows", "features", "events_sent", "arrived")
BOOKED = ("applied", "stored_late", "duplicates", "dead_lettered", "redelivered", "expired")
ERRORS = ("rmse", "mae", "rmse_persistence", "mae_persistence", "rmse_damped", "mae_damped")
SPEEDS = ("train_seconds", "score_rows_per_second", "elapsed_seconds", "events_per_second")
LATENCIES = ("forecast_latency_p50_ms", "forecast_latency_p95_ms")


class Demo:
    """A running demo, and every process that it ever had."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.root, self.out, self.log = folder / "root", folder / "out", folder / "demo.log"
        options = ["--data", str(data), "--trials", "1", "--out", str(self.out)]
        command = [sys.executable, "-m", "local", "--root", str(self.root), "demo", *options]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, cwd=stack.PROJECT, stdout=out, stderr=subprocess.STDOUT)  # noqa: S603
        self.seen: dict[int, str | None] = {}

    def until(self, holds: Callable[[], bool], deadline_s: float) -> None:
        """Wait for something, and note the demo's processes meanwhile."""
        deadline = time.monotonic() + deadline_s
        while not holds():
            assert time.monotonic() < deadline, self.said()
            self.seen.update({pid: identity(pid) for pid in descendants(self.process.pid)})
            time.sleep(0.05)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def left(self) -> list[int]:
        """Processes of it that still run."""
        return [pid for pid, own in self.seen.items() if own is not None and identity(pid) == own]


def descendants(pid: int) -> list[int]:
    """Process ids below one, according to /proc."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "small's data.csv.gz"
    Fleet(seed=7, stations=3, hours=120 * 24).write_csv(path)
    return path


@pytest.fixture(scope="module")
def summary(data: Path) -> dict[str, Any]:
    """What a demo leaves behind whose predecessor on the same folder was ended in the middle of the training."""
    interrupted = Demo(data.parent, data)
    try:
        interrupted.until(lambda: (interrupted.root / "demo" / "mlflow.db").exists() or interrupted.ended(), 60)
        assert not interrupted.ended(), interrupted.said()
        interrupted.until(lambda: len(interrupted.seen) >= 5, 30)  # guard, Azurite, endpoint, host, training
        os.kill(interrupted.process.pid, signal.SIGTERM)
        interrupted.until(interrupted.ended, 60)
    finally:
        interrupted.process.kill()
    assert interrupted.process.returncode == 130
    assert interrupted.said().endswith("interrupted\n")
    assert "Traceback (most recent call last)" not in interrupted.said()
    assert interrupted.left() == []
    assert stack.read(interrupted.root / "demo") is None

    whole = Demo(data.parent, data)
    try:
        whole.until(whole.ended, 150)
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
