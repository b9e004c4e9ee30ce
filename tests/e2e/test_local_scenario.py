"""A scenario of one's own beside the reference one: every command is about the one that SCENARIO names."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.stack import state
from local.stack.programs import PROJECT
from tests.kit.tiny_model import package_of

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
COPIED = ("shared", "local", "training", "scenarios", "function_app.py", "host.json", "local.settings.json.template")
HOURS = 30
NOISE = """
name = "noise"
title = "Noise a day ahead"
task = "regression"
key = "device_id"
target = "level"
featurizer = "hourly"
history = 121
horizon = 24

[[channels]]
name = "level"
unit = "dB"
minimum = 0
maximum = 140
aliases = ["loudness"]

[[channels]]
name = "traffic"
unit = "cars/h"
minimum = 0
maximum = 10000
"""


class Checkout:
    """A copy of the project with one more scenario, and what its commands say."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / ".airloop"
        folder.mkdir()
        for name in COPIED:
            copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
            copy(PROJECT / name, folder / name)
        (folder / "node_modules").symlink_to(PROJECT / "node_modules")
        (folder / "scenarios" / "noise.toml").write_text(NOISE, "utf-8")

    def begin(self, *command: str, scenario: str | None = None) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "SCENARIO"}
        environment |= {"SCENARIO": scenario} if scenario else {}
        arguments = [sys.executable, "-m", "local", *command]
        return subprocess.Popen(  # noqa: S603 - ours
            arguments, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def say(self, *command: str, scenario: str | None = None) -> tuple[int, str]:
        """Exit code and words of a command."""
        with self.begin(*command, scenario=scenario) as process:
            out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        return process.returncode, out + err


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """With a stack that was started for the scenario of one's own."""
    made = Checkout(tmp_path / "checkout")
    with made.begin("up", scenario="noise") as up:
        try:
            assert up.stdout is not None
            for line in up.stdout:
                if line.startswith("drop a file"):
                    break
            assert state.read(made.root) is not None
            yield made
        finally:
            up.send_signal(signal.SIGTERM)
            up.communicate(timeout=60)


def readings(path: Path) -> Path:
    lines = [f"s{hour % 2},2026-01-0{1 + hour // 24}T{hour % 24:02}:00:00Z,{50 + hour}.5,7" for hour in range(HOURS)]
    path.write_text("\n".join(["device_id,timestamp,loudness,traffic", *lines]) + "\n", "utf-8")
    return path


def test_a_stack_of_another_scenario_is_served_by_every_command(checkout: Checkout, tmp_path: Path) -> None:
    data = readings(tmp_path / "noise.csv")
    assert checkout.say("status")[1].startswith("scenario noise, champion none yet")

    code, said = checkout.say("send")
    assert (code, "the generator cannot make level in dB, traffic in cars/h of noise" in said) == (1, True)
    assert said.count("\n") == 1
    code, said = checkout.say("send", "--data", str(data))
    assert (code, f"sent      {HOURS} messages of noise.csv" in said) == (0, True), said
    deadline = time.monotonic() + 60
    while (books := checkout.say("books", "--json"))[0]:
        assert time.monotonic() < deadline, books
    found = json.loads(books[1])
    assert (found["arrived"], found["applied"]) == (HOURS, HOURS)

    code, said = checkout.say("drop", str(data))
    assert (code, f"rows: {HOURS} in, {HOURS} accepted, 0 rejected" in said) == (0, True), said
    code, said = checkout.say("drop", str(data), "--name", "again.csv")
    assert (code, "again.csv: refused, duplicate: 'noise.csv' held the same bytes" in said) == (1, True), said
    code, said = checkout.say("drop", str(data), "--again")
    assert (code, f"rows: {HOURS} in, {HOURS} accepted, 0 rejected" in said) == (0, True), said
    assert checkout.say("ledger", "verify") == (0, "0 entries, each follows on the one before: OK\n")
    package = tmp_path / "package"
    package.mkdir()
    for name, content in package_of(0).items():
        (package / name).write_bytes(content)
    code, said = checkout.say("deploy", str(package))
    assert (code, "'wind_dir_u.latest' is unknown" in said) == (1, True), said

    for command in (["ledger", "verify"], ["books"], ["status"], ["send"], ["deploy", str(tmp_path)]):
        code, said = checkout.say(*command, scenario="air_quality")
        assert (code, said.count("\n")) == (1, 1)
        assert said.startswith("SCENARIO: the stack runs noise, not 'air_quality'")


def test_an_unknown_scenario_is_one_line_that_lists_the_known_ones(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout")
    for command in (["up"], ["demo"], ["send", "--connection", "x"]):
        said = checkout.say(*command, scenario="nose")
        assert said == (1, "SCENARIO: 'nose' is not one of air_quality, noise, nor a path to a .toml file\n")
    missing = "the demo needs the channels rel_humidity, temp, wind_spd, which noise lacks\n"
    assert checkout.say("demo", scenario="noise") == (1, missing)


def test_a_folder_with_data_of_another_scenario_is_left_alone(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout")
    checkout.root.mkdir()
    (checkout.root / "scenario").write_text("air_quality", "utf-8")
    code, said = checkout.say("up", scenario="noise")
    assert code == 1
    assert said.endswith(f"{checkout.root} holds data of air_quality: give noise a folder of its own with --root\n")
