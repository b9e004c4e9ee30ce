"""Runs evidently on the same values in an environment of its own below build/, made on first use."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from shared.core.intake.readings import Floats

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
ENVIRONMENT = HERE.parent / "build" / "bench-venv"
INSTALL_S = 900


class Report(msgspec.Struct, frozen=True):
    """What the other process says: seconds to import, seconds of its fastest check, memory, a value a column."""

    import_s: float
    seconds: float
    peak_mb: float
    values: list[float]


def check(reference: Floats, current: Floats) -> Report | None:
    """Its usual check of all columns, shape (rows, columns); None where it cannot be installed."""
    python = _python()
    if python is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "reference.npy", reference)
        np.save(Path(name) / "current.npy", current)
        command = [str(python), str(HERE / "plain_evidently.py"), name]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603 - our own file
    return msgspec.json.decode(told, type=Report)


def _python() -> Path | None:
    """The interpreter of an environment that holds what `REQUIREMENTS` names."""
    done, wanted = ENVIRONMENT / "done", REQUIREMENTS.read_text("utf-8")
    python = ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if done.exists() and done.read_text("utf-8") == wanted:
        return python
    print("installing evidently into build/bench-venv (once, about a minute and 1 GB) ...", flush=True)
    install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
    for command in ([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], install):
        if subprocess.run(command, check=False, timeout=INSTALL_S).returncode:  # noqa: S603 - pip, our own list
            return None
    done.write_text(wanted, "utf-8")
    return python
