"""The Makefile's installs: done once, done again when pins change, and made anew after one that was interrupted."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import ROOT

PINS = ("requirements.txt", "requirements-dev.txt", "training/requirements.txt", "package.json", "package-lock.json")
PYTHON = """#!/bin/sh
# stands in for Python: makes environments, and notes what is installed into which
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; test ! -e cut || kill -9 $PPID ;;
  "-m pip"*) echo pip >> log; touch "${0%/bin/python}/package"; test ! -e cut || kill -9 $PPID ;;
  "-m local"*) printf '%s\\n' "$@" > said ;;
esac
"""
NPM = """#!/bin/sh
echo npm >> log; mkdir -p node_modules; test ! -e cut || kill -9 $PPID
"""


class Checkout:
    """A folder with the Makefile, whose Python and npm are stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tools = folder / "checkout", folder / "tools"
        for name in PINS:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text("")
        shutil.copy(ROOT / "Makefile", self.folder)
        self.tools.mkdir()
        for name, text in (("python", PYTHON), ("npm", NPM), ("node", "#!/bin/sh\n")):
            (self.tools / name).write_text(text)
            (self.tools / name).chmod(0o755)

    def make(self, target: str, times: int = 1, **variables: str) -> list[str]:
        """What was installed by it, in order; or by as many of them at once."""
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        # make hands the variables of its command line on to what it starts: those of the make that runs the tests too
        outer = ("MAKE", "MFLAGS", "VENV", "PYTHON", "MINE")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
        environment["PATH"] = f"{self.tools}{os.pathsep}{os.environ['PATH']}"
        command = [
            "make",
            target,
            f"PYTHON={self.tools / 'python'}",
            *(f"{name}={value}" for name, value in variables.items()),
        ]
        running = [
            subprocess.Popen(command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
            for _ in range(times)
        ]
        codes = {one.wait(60) for one in running}
        assert (codes == {0}) is not (self.folder / "cut").exists()
        return log.read_text().split() if log.exists() else []

    def cut(self, target: str) -> None:
        """Make it, and kill the shell of the recipe in its first command that installs."""
        (self.folder / "cut").touch()
        self.make(target)
        (self.folder / "cut").unlink()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return Checkout(tmp_path)


def test_what_is_installed_stays_until_pins_change(checkout: Checkout) -> None:
    assert checkout.make("install") == ["pip", "npm"]
    assert checkout.make("install") == []
    os.utime(checkout.folder / "training" / "requirements.txt", (2**32, 2**32))
    assert checkout.make("install") == ["pip"]
    assert (checkout.folder / ".venv" / "package").exists()


@pytest.mark.parametrize("target", [".venv/.done", "node_modules/.done"])
def test_an_install_that_was_interrupted_is_made_anew(checkout: Checkout, target: str) -> None:
    checkout.cut(target)
    half = checkout.folder / Path(target).parent / "half"
    half.write_text("")
    assert len(checkout.make(target)) == 1
    assert not half.exists()
    assert (checkout.folder / target).exists()
    assert checkout.make(target) == []


def test_new_pins_whose_install_was_interrupted_leave_no_half_of_it(checkout: Checkout) -> None:
    checkout.make("install")
    os.utime(checkout.folder / "requirements.txt", (2**32 - 100, 2**32 - 100))
    checkout.cut("install")
    (checkout.folder / ".venv" / "half").write_text("")
    assert checkout.make("install") == ["pip"]
    assert not (checkout.folder / ".venv" / "half").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Checkout) -> None:
    checkout.make("install")
    python = checkout.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("no/such/python")
    assert checkout.make("install") == ["pip"]


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
def test_of_two_at_once_one_installs(checkout: Checkout) -> None:
    assert checkout.make("install", times=2) == ["pip", "npm"]


def test_another_environment_is_installed_beside_the_first(checkout: Checkout) -> None:
    assert checkout.make("install") == ["pip", "npm"]
    assert checkout.make("install", VENV=".venv-3.13") == ["pip"]
    assert (checkout.folder / ".venv-3.13" / "package").exists()
    assert checkout.make("install") == []
    assert checkout.make("install", VENV=".venv-3.13") == []


@pytest.mark.parametrize("data", ["as downloaded/PRSA_Data_*.csv", "a.csv b.csv", "it's.csv"])
def test_the_demo_is_told_the_data_as_they_were_written(checkout: Checkout, data: str) -> None:
    (checkout.folder / "as downloaded").mkdir()
    for name in ("one", "two"):
        (checkout.folder / f"as downloaded/PRSA_Data_{name}.csv").write_text("")
    checkout.make("demo", DATA=data, ZONE="Asia/Shanghai")
    said = (checkout.folder / "said").read_text().splitlines()
    assert said == ["-m", "local", "demo", "--data", data, "--zone", "Asia/Shanghai"]
