"""docs/your-data.md as a reader follows it: a fleet of cold stores, whose scenario is a file outside the project.

Its commands are run as they stand there, in an empty folder with the file, the data and the stack of their own.
"""

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

import numpy as np
import pytest

from local.stack.programs import PROJECT

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
DOCUMENT = (PROJECT / "docs" / "your-data.md").read_text("utf-8")
SCENARIO = re.findall(r"^```toml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)[0]
COMMANDS = "".join(re.findall(r"^```sh\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)).splitlines()
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


def written(path: Path, first: int, steps: int) -> None:
    path.write_text("\n".join(["device_id,timestamp,temp_c,door_open,compressor_a", *lines(first, steps)]) + "\n")


class Reader:
    """Somebody who types the document's commands into a shell that stands in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.scenario = folder, folder / "cold_storage.toml"
        self.scenario.write_text(SCENARIO, "utf-8")
        self.up: subprocess.Popen[str] | None = None
        self.environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)

    def type(self, command: str) -> str:
        """What a command says, which has to succeed."""
        if command.startswith("export SCENARIO="):
            self.environment["SCENARIO"] = command.partition("=")[2].replace("$PWD", str(self.folder))
            return ""
        if command == "make up":
            self.up = self.begin(".venv/bin/python -m local up")
            assert self.up.stdout is not None
            assert any(line.startswith("drop a file") for line in self.up.stdout)
            return ""
        with self.begin(command) as process:
            out, err = process.communicate(timeout=240)
        assert process.returncode == 0, f"{command}\n{out}{err}"
        return out

    def local(self, command: str) -> str:
        return self.type(f".venv/bin/python -m local {command}")

    def begin(self, command: str) -> subprocess.Popen[str]:
        command = command.replace("-m local ", f"-m local --root {self.folder / 'stack'} ")
        return subprocess.Popen(  # noqa: S602 - the document's own commands
            f"exec {command}", shell=True, cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def books(self, arrived: int) -> dict[str, int]:
        """The books, once all that was sent has arrived."""
        deadline = time.monotonic() + 60
        while True:
            with self.begin(".venv/bin/python -m local books --json") as process:
                found: dict[str, int] = json.loads(process.communicate(timeout=60)[0])
            if found["applied"] == arrived or time.monotonic() > deadline:
                return found


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    try:
        yield made
    finally:
        if made.up is not None:
            made.up.send_signal(signal.SIGTERM)
            made.up.communicate(timeout=60)


def test_a_stranger_gets_forecasts_and_a_model_of_their_own(reader: Reader) -> None:
    rows, newer = STORES * DAYS * DAY, STORES * 12
    written(reader.folder / "history.csv", 0, DAYS * DAY)
    written(reader.folder / "today.csv", DAYS * DAY, 12)
    said = {}
    for command in COMMANDS:
        if command.endswith("local books"):
            assert reader.books(rows + newer)["arrived"] == rows + newer
        said[command] = reader.type(command)
    text = "\n".join(said.values())
    assert f"rows: {rows:,} in, {rows:,} accepted, 0 rejected" in text
    assert f"sent      {newer} messages of today.csv" in text
    assert "baseline" in next(out for command, out in said.items() if command.endswith("local forecasts"))
    table = next(out for command, out in said.items() if command.endswith("--format csv")).splitlines()
    assert len(table) == 7, "a header, and the newest six"
    for device, *times in (line.split(",")[:3] for line in table[1:]):
        as_of, target = map(datetime.fromisoformat, times)
        assert (device, target - as_of) == ("store-3", timedelta(hours=6))
    assert "serves" in text

    manifest = json.loads((reader.folder / "build" / "package" / "manifest.json").read_text())
    last = int((START + timedelta(minutes=10 * (DAYS * DAY - 1))).timestamp())
    assert manifest["trained_until"] == last // 600

    written(reader.folder / "next.csv", DAYS * DAY + 12, 12)
    reader.local("send --data next.csv")
    assert reader.books(rows + 2 * newer)["applied"] == rows + 2 * newer
    as_of = START + timedelta(minutes=10 * (DAYS * DAY + 19))
    told = json.loads(reader.local(f"explain store-3@{as_of:%Y-%m-%dT%H:%M} --json"))
    assert told["agrees"]
    assert told["forecast"]["target_time"] == f"{as_of + timedelta(hours=6):%Y-%m-%dT%H:%M}"
    before = as_of - timedelta(minutes=10)
    assert told["window"]["hours"][-2:] == [f"{before:%Y-%m-%dT%H:%M}", f"{as_of:%Y-%m-%dT%H:%M}"]
    assert abs(told["forecast"]["value"] - -16.5) < 4
    assert re.match(r"[1-9]\d* entries, each follows on the one before: OK", reader.local("ledger verify"))
