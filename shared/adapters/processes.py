"""Locks that live as long as their process, processes that are asked or made to end: here each system has its own way.

`SYSTEM` is that of this machine. POSIX is what runs on Linux. `Portable` stands in elsewhere: it was tried on Linux,
as far as it can be there, and never on Windows.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from shared.errors import ConfigError

ENDS = (signal.SIGINT, signal.SIGTERM)
ALL_ENDS = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if name in signal.Signals.__members__
)
_PROC = Path("/proc/self/stat")


class System(Protocol):
    """What the local stack needs of an operating system."""

    def lock(self, handle: int) -> bool:
        """Whether a file is ours alone now, as long as it is open; its lock goes with the process, however it ends."""

    def identity(self, pid: int) -> str | None:
        """What tells a live process from a later one with the same id; None when it is gone."""

    def ask_to_end(self, pid: int) -> None:
        """Let a process end in order; nothing when it is gone."""

    def make_end(self, pid: int) -> None:
        """End a process at once; nothing when it is gone."""

    def end_group(self, leader: int, *, at_once: bool) -> None:
        """End a process that was started `apart` and whatever it left running."""

    def apart(self, *kept: int) -> dict[str, Any]:
        """Options for a child whose end is ours to order: no Ctrl-C reaches it, and it keeps these open files."""

    def on_end(self, loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
        """Call something on a loop when the process is asked to end."""

    def go_on_alone(self) -> None:
        """Go on as a process of nobody, which keeps its locks; whoever waits for this one goes on too.

        Raises:
            ConfigError: The system has no such thing.
        """


class Portable:
    """What works without POSIX, by psutil and the standard library."""

    def lock(self, handle: int) -> bool:
        """See `System`."""
        msvcrt: Any = importlib.import_module("msvcrt")
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def identity(self, pid: int) -> str | None:
        """See `System`."""
        import psutil

        try:
            found = psutil.Process(pid)
            return None if found.status() == psutil.STATUS_ZOMBIE else str(found.create_time())
        except psutil.NoSuchProcess:
            return None
        except psutil.AccessDenied:
            return "foreign"

    def ask_to_end(self, pid: int) -> None:
        """See `System`; where there are no signals Ctrl-Break is one, for a child that was started `apart`."""
        if hasattr(signal, "CTRL_BREAK_EVENT"):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.CTRL_BREAK_EVENT)
        else:
            self._tell(pid, "terminate")

    def make_end(self, pid: int) -> None:
        """See `System`."""
        self._tell(pid, "kill")

    def end_group(self, leader: int, *, at_once: bool) -> None:
        """See `System`; of what a process left behind only children are known that it has not outlived."""
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            for each in psutil.Process(leader).children(recursive=True):
                self._tell(each.pid, "kill" if at_once else "terminate")
        self._tell(leader, "kill" if at_once else "terminate")

    def apart(self, *kept: int) -> dict[str, Any]:
        """See `System`; open files are not kept."""
        del kept
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}

    def on_end(self, loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
        """See `System`."""
        for number in ALL_ENDS:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))

    def go_on_alone(self) -> None:
        """See `System`."""
        raise ConfigError("JOBS: local training jobs need a system with fork, such as Linux or macOS")

    def _tell(self, pid: int, what: str) -> None:
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            getattr(psutil.Process(pid), what)()


class Posix:
    """What POSIX has."""

    def lock(self, handle: int) -> bool:
        """See `System`."""
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def identity(self, pid: int) -> str | None:
        """See `System`: its start time, in what unit ever."""
        if not _PROC.exists():
            return Portable().identity(pid)
        try:
            os.kill(pid, 0)
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except PermissionError:
            return "foreign"
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]

    def ask_to_end(self, pid: int) -> None:
        """See `System`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def make_end(self, pid: int) -> None:
        """See `System`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def end_group(self, leader: int, *, at_once: bool) -> None:
        """See `System`."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies only
            os.killpg(leader, signal.SIGKILL if at_once else signal.SIGTERM)

    def apart(self, *kept: int) -> dict[str, Any]:
        """See `System`."""
        return {"start_new_session": True, "pass_fds": kept}

    def on_end(self, loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
        """See `System`."""
        for number in ENDS:
            loop.add_signal_handler(number, call)

    def go_on_alone(self) -> None:
        """See `System`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # numpy's threads, which have nothing to do here
            if os.fork():
                os._exit(0)
        os.setsid()


SYSTEM: System = Posix() if os.name == "posix" else Portable()
