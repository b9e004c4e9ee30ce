"""A demo that is interrupted while it trains leaves nothing behind; its whole story is told in tests/soak."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local.fleet.__main__ import Fleet
from local.stack import state
from local.stack.programs import PROJECT
from shared.adapters.processes import SYSTEM

pytestmark = [pytest.mark.emulator, pytest.mark.slow]


class Demo:
    """A running demo, and every process that it ever had."""

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        self.root, self.out, self.log = folder / "root", folder / "out", folder / "demo.log"
        options = ["--out", str(self.out), *(["--data", str(data)] if data else [])]
        command = [sys.executable, "-m", "local", "--root", str(self.root), "demo", *options]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, cwd=PROJECT, stdout=out, stderr=subprocess.STDOUT)  # noqa: S603
        self.seen: dict[int, str | None] = {}

    def until(self, holds: Callable[[], bool], deadline_s: float) -> None:
        """Wait for something, and note the demo's processes meanwhile."""
        deadline = time.monotonic() + deadline_s
        while not holds():
            assert time.monotonic() < deadline, self.said()
            self.seen.update({pid: SYSTEM.identity(pid) for pid in descendants(self.process.pid)})
            time.sleep(0.05)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def jobs(self) -> list[str]:
        """How its training jobs stand; they are no children of it."""
        found = sorted((self.root / "demo" / "jobs").glob("*/status.json"))
        return [json.loads(status.read_text("utf-8"))["state"] for status in found]

    def left(self) -> list[int]:
        """Processes of it that still run."""
        return [pid for pid, own in self.seen.items() if own is not None and SYSTEM.identity(pid) == own]


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


def test_a_demo_that_is_ended_while_it_trains_leaves_nothing_behind(tmp_path: Path) -> None:
    data = tmp_path / "small's data.csv.gz"
    Fleet(seed=7, stations=4, hours=(250 + 214) * 24).write_csv(data)
    demo = Demo(tmp_path, data)
    try:
        demo.until(lambda: "job air_quality-" in demo.said() or demo.ended(), 120)
        assert not demo.ended(), demo.said()
        demo.until(lambda: "running" in demo.jobs() or demo.ended(), 60)
        os.kill(demo.process.pid, signal.SIGTERM)
        demo.until(demo.ended, 90)
    finally:
        demo.process.kill()
        demo.process.wait(10)
    assert demo.process.returncode == 130
    assert demo.said().endswith("interrupted\n")
    assert "Traceback (most recent call last)" not in demo.said()
    assert demo.left() == []
    assert state.read(demo.root / "demo") is None
    assert demo.jobs() == ["canceled"]
