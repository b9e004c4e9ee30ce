"""What the benchmarks share: who took how long and how much memory, and the machine they ran on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

MEGABYTE = 1024 * 1024
# what both sides of a comparison train and score with
TREES: dict[str, Any] = {
    "iterations": 400, "depth": 6, "learning_rate": 0.05, "random_seed": 7, "verbose": 0, "allow_writing_files": False,
}  # fmt: skip


class Usage(msgspec.Struct, frozen=True):
    """What a process used in its life: processor seconds, and the most memory it ever held, in MB."""

    cpu_s: float
    peak_mb: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """A process that still runs."""
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
        peak_kb = int(status.split("VmHWM:")[1].split()[0])
        ticks = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[11:13]
        return cls(sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), peak_kb * 1024 / MEGABYTE)

    def since(self, before: Usage) -> Usage:
        """What was used between two looks; the peak is of the whole life."""
        return Usage(self.cpu_s - before.cpu_s, self.peak_mb)


class Took(msgspec.Struct, frozen=True):
    """What a process says of its work: seconds, forecasts made, what it used."""

    seconds: float
    forecasts: int
    usage: Usage

    def say(self) -> None:
        """Print it for the process that started this one."""
        print(msgspec.json.encode(self).decode())


def milliseconds(works: Iterable[Callable[[], object]], rounds: int, calls: int = 5) -> list[float]:
    """Median time of one call of each; they take turns, `calls` at a time, of which the first is not counted."""
    works = tuple(works)
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, taken in zip(works, times, strict=True):
            for call in range(calls):
                start = time.perf_counter()
                work()
                if call:
                    taken.append((time.perf_counter() - start) * 1e3)
    return [median(taken) for taken in times]


def machine() -> str:
    """Where the numbers come from."""
    python, cores = platform.python_version(), len(os.sched_getaffinity(0))
    return f"{cores} cores, {platform.system()} {platform.machine()}, Python {python}, NumPy {np.__version__}"
