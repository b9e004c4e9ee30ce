"""Ends the stack's processes when the process that started them is gone, however it went.

The guard reads its standard input, a pipe that only the starter holds: end of file means that the starter is gone.
Chosen over PR_SET_PDEATHSIG because that fires when the starting *thread* ends, needs code between fork and exec, and
would end Azurite and the hosts at the same moment, while Azurite must outlive the hosts' last writes.
"""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

from shared.adapters.processes import SYSTEM

PROJECT = Path(__file__).resolve().parents[2]
POLL_S = 0.05


def end(pid: int, known: str, grace_s: float) -> None:
    """Ask a process to end, and make it when it has not after `grace_s` seconds; a reused id is left alone."""
    for tell, wait_s in ((SYSTEM.ask_to_end, grace_s), (SYSTEM.make_end, 5.0)):
        if SYSTEM.identity(pid) != known:
            return
        tell(pid)
        deadline = time.monotonic() + wait_s
        while SYSTEM.identity(pid) == known and time.monotonic() < deadline:
            time.sleep(POLL_S)


class Guard:
    """The guard's process, as the starter sees it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "local.stack.guard"],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **SYSTEM.apart(),
        )

    def add(self, pid: int, grace_s: float) -> None:
        """Watch over a process; those added last are ended first."""
        self._write(f"+ {pid} {SYSTEM.identity(pid) or '-'} {grace_s}")

    def remove(self, pid: int) -> None:
        """The process has ended."""
        self._write(f"- {pid}")

    def close(self) -> None:
        """Release the guard; it ends whatever was not removed."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process.wait()

    def _write(self, line: str) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(f"{line}\n".encode())
                self._process.stdin.flush()


def main() -> None:
    """Body of the guard's process."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    guarded: dict[int, tuple[str, float]] = {}
    for line in sys.stdin:
        what, pid, *rest = line.split()
        if what == "+":
            guarded[int(pid)] = (rest[0], float(rest[1]))
        else:
            guarded.pop(int(pid), None)
    for pid, (known, grace_s) in reversed(guarded.items()):
        end(pid, "" if known == "-" else known, grace_s)


if __name__ == "__main__":
    main()
