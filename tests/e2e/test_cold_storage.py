"""A fleet of cold stores that sends every ten minutes: its scenario is a file outside the project, and nothing else."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from local.stack.programs import PROJECT

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
SCENARIO = """
name = "cold_storage"
title = "Temperature of cold stores 6 hours ahead"
task = "regression"
key = "device_id"
target = "temp_c"
featurizer = "hourly"
cadence_s = 600
history = 24
horizon = 6
lateness = 2

[[channels]]
name = "temp_c"
unit = "degC"
minimum = -40
maximum = 40

[[channels]]
name = "door_open"
unit = "1"
minimum = 0
maximum = 1

[[channels]]
name = "compressor_a"
unit = "A"
minimum = 0
maximum = 50

[search]
trials = 1
folds = 2
max_trees = 40
"""
STORES, DAY, DAYS = 10, 144, 5
START = datetime(2026, 3, 2, tzinfo=timezone.utc)


def lines(first: int, steps: int) -> list[str]:
    """Readings of all stores: a temperature that follows the day, the doors and a compressor, seeded by the step."""
    found = []
    for step in range(first, first + steps):
        random = np.random.default_rng(step)
        time_of_day = 2 * np.pi * (step % DAY) / DAY
        stamp = (START + timedelta(minutes=10 * step)).isoformat()
        for store in range(STORES):
            door = float(random.random() < 0.1 + 0.1 * np.sin(time_of_day))
            amperes = 8 + 2 * np.sin(time_of_day) + random.normal(0, 0.3)
            warm = -18 + store / 2 + 1.5 * np.sin(time_of_day - 0.6) + 0.8 * door + random.normal(0, 0.1)
            found.append(f"store-{store},{stamp},{warm:.2f},{door:.0f},{amperes:.2f}")
    return found


def written(path: Path, first: int, steps: int) -> Path:
    path.write_text("\n".join(["device_id,timestamp,temp_c,door_open,compressor_a", *lines(first, steps)]) + "\n")
    return path


class Commands:
    """The commands as a person gives them: with SCENARIO, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        (folder / "fleet.toml").write_text(SCENARIO, "utf-8")
        self.folder, self.root, self.scenario = folder, folder / "stack", folder / "fleet.toml"

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "SCENARIO": str(self.scenario), "PYTHONPATH": str(PROJECT)}
        return subprocess.Popen(  # noqa: S603 - ours
            [sys.executable, "-m", *arguments], cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def local(self, *command: str) -> str:
        """What a command says that has to succeed."""
        return self.say("local", "--root", str(self.root), *command)

    def books(self, *, balanced: bool = False) -> dict[str, Any]:
        """What was recounted; while readings are under way they do not balance."""
        with self.begin("local", "--root", str(self.root), "books", "--json") as process:
            out, err = process.communicate(timeout=240)
        assert process.returncode == 0 or not balanced, out + err
        found: dict[str, Any] = json.loads(out)
        return found

    def say(self, *arguments: str) -> str:
        with self.begin(*arguments) as process:
            out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
        return out


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    made = Commands(tmp_path)
    with made.begin("local", "--root", str(made.root), "up") as up:
        try:
            assert up.stdout is not None
            ready = any(line.startswith("drop a file") for line in up.stdout)
            assert ready, up.stderr and up.stderr.read()
            yield made
        finally:
            up.send_signal(signal.SIGTERM)
            up.communicate(timeout=60)


def test_a_cold_storage_fleet_needs_a_file_and_nothing_else(commands: Commands, tmp_path: Path) -> None:
    history = written(tmp_path / "history.csv", 0, DAYS * DAY)
    rows = STORES * DAYS * DAY
    assert f"rows: {rows:,} in, {rows:,} accepted, 0 rejected" in commands.local("drop", str(history))

    package = tmp_path / "package"
    commands.say("training", "--scenario", str(commands.scenario), "--readings", str(history), "--out", str(package))
    manifest = json.loads((package / "manifest.json").read_text())
    last = int((START + timedelta(minutes=10 * (DAYS * DAY - 1))).timestamp())
    assert manifest["trained_until"] == last // 600
    assert "serves" in commands.local("deploy", str(package))

    late = written(tmp_path / "today.csv", DAYS * DAY, 12)
    assert "expected  120 applied" in commands.local("send", "--data", str(late))
    deadline = time.monotonic() + 60
    while commands.books()["applied"] != rows + 120:
        assert time.monotonic() < deadline
    assert commands.books(balanced=True)["books_balance"]

    as_of = START + timedelta(minutes=10 * (DAYS * DAY + 7))
    said = json.loads(commands.local("explain", f"store-3@{as_of:%Y-%m-%dT%H:%M}", "--json"))
    assert said["agrees"]
    assert said["forecast"]["target_time"] == f"{as_of + timedelta(hours=6):%Y-%m-%dT%H:%M}"
    assert said["window"]["hours"][-2:] == [
        f"{as_of - timedelta(minutes=10):%Y-%m-%dT%H:%M}",
        f"{as_of:%Y-%m-%dT%H:%M}",
    ]
    assert abs(said["forecast"]["value"] - -16.5) < 4
    assert re.fullmatch(r"\d+ entries, .*: OK\n", commands.local("ledger", "verify"))
