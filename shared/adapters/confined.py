"""Programs of ours that run in a process of their own, within limits: what ends one of them ends nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from shared.adapters.processes import SYSTEM
from shared.errors import TransientFailure

MB = 1_000_000
STARTED = b"\n"  # the first byte such a program writes: all that it needs is imported
_LOG_BYTES = 1 << 20
_OUTSIDE = {-number for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))}
_KEPT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")  # of the environment; no connection string is


def start(
    program: str, arguments: Iterable[object], errors: IO[bytes] | int, ahead: int = -1
) -> subprocess.Popen[bytes]:
    """A program of ours in a new process, its standard input and output in our hands.

    Args:
        program: Its module.
        arguments: What it is given.
        errors: Where its standard error goes.
        ahead: Bytes that it may write before we read, where the system lets us choose.

    Raises:
        TransientFailure: There is no room for a process.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {
        "PYTHONPATH": os.pathsep.join(str(Path(place).resolve()) for place in sys.path),
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # whose memory is what is in use
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    try:
        return subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-P", "-m", program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            pipesize=ahead,
            env=environment,
            **SYSTEM.apart(),  # what ends the host from its terminal must not speak of a file or model
        )
    except OSError as error:
        raise TransientFailure(f"{program} does not start: {error.strerror}") from error


def check_left_alone(program: str, process: subprocess.Popen[bytes]) -> None:
    """Make sure that a program which has ended was not asked to by others, such as whoever stops all of a machine.

    Raises:
        TransientFailure: It was, which says nothing of what it was given.
    """
    if process.wait() in _OUTSIDE:
        raise TransientFailure(f"{program} was ended from outside: {signal.Signals(-process.wait()).name}")


def confine(memory_mb: int, seconds: int) -> None:
    """Limit this process's address space and processor time, and let it write no files, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: there the sizes alone are limited
        return
    for kind, limit in (
        (resource.RLIMIT_AS, memory_mb * MB),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, _LOG_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(kind, (limit, limit))
