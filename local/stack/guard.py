"""Ends the stack's processes when the process that started them is gone, however it went.

The guard reads its standard input, a pipe that only the starter holds: end of file means that the starter is gone.
Chosen over PR_SET_PDEATHSIG because that fires when the starting *thread* ends, needs code between fork and exec, and
would end Azurite and the hosts at the same moment, while Azurite must outlive the hosts' last writes.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

POLL_S = 0.05


def identity(pid: int) -> str | None:
    """Start time of a live process, which tells it from a later one with the same id; None when it is gone.

    Where there is no /proc the identity of every live process is the empty string.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return "foreign"
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return "" if not Path("/proc/self/stat").exists() else None
    return None if fields[0] in "ZX" else fields[19]


def end(pid: int, known: str, grace_s: float) -> None:
    """Ask a process to end, and make it when it has not after `grace_s` seconds; a reused id is left alone."""
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        if identity(pid) != known:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + wait_s
        while identity(pid) == known and time.monotonic() < deadline:
            time.sleep(POLL_S)


class Guard:
    """The guard's process, as the starter sees it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def add(self, pid: int, grace_s: float) -> None:
        """Watch over a process; those added last are ended first."""
        self._write(f"+ {pid} {identity(pid) or '-'} {grace_s}")

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
