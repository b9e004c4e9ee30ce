"""One child process of the local stack: started, waited for, stopped, with its log at hand."""

import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from types import FrameType

from local.stack.guard import Guard
from shared.adapters.processes import ENDS, SYSTEM

TAIL_LINES = 20


class StackError(Exception):
    """The local stack cannot run; the message is for the person who started it."""


@dataclass
class Process:
    """A child that says on its output when it is ready and on which port.

    Args:
        name: How people call it.
        command: Program and arguments; `{port}` in an argument is replaced.
        ready: Pattern of the line that says so, its first group the port.
        log: Its output goes there, appended.
        port: Wished port, 0 for any; later starts keep the port of the first.
        cwd: Working directory.
        environment: Its whole environment.
        ready_s: Seconds it may take to get ready.
        grace_s: Seconds it may take to end.
    """

    name: str
    command: Sequence[str]
    _: KW_ONLY
    ready: str
    log: Path
    port: int
    cwd: Path
    environment: Mapping[str, str]
    ready_s: float
    grace_s: float
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _wanted: bool = field(default=False, init=False)
    _identity: str | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """Process id, 0 while it does not run."""
        return self._child.pid if self._child is not None else 0

    def start(self, guard: Guard) -> None:
        """Start it and wait until it is ready.

        Raises:
            StackError: It ended or was not ready in time; with the end of its log.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        begun_at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(  # noqa: S603 - our own commands
                [part.replace("{port}", str(self.port)) for part in self.command],
                cwd=self.cwd,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                **SYSTEM.apart(),  # Ctrl-C goes to the starter alone, which keeps the order of stopping
            )
        guard.add(self._child.pid, self.grace_s)
        self._identity = SYSTEM.identity(self._child.pid)
        self._wanted = True
        self.port = self._wait_ready(self._child, begun_at)

    def stop(self, guard: Guard) -> None:
        """Ask it to end and wait; end it the hard way when it does not in time."""
        self._end(guard, SYSTEM.ask_to_end)

    def kill(self, guard: Guard) -> None:
        """End it the hard way, as a crash would."""
        self._end(guard, SYSTEM.make_end)

    def died(self) -> str | None:
        """Why it is not running although it should; None when all is well."""
        if not self._wanted or self._child is None or self._child.poll() is None:
            return None
        return f"{self.name} ended with exit code {self._child.returncode}\n{self.tail()}"

    def tail(self) -> str:
        """The end of its log."""
        lines = self.log.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:] if self.log.exists() else []
        return "\n".join([f"--- end of {self.log} ---", *lines])

    def described(self) -> dict[str, object]:
        """For stack.json."""
        return {"pid": self.pid, "identity": self._identity, "port": self.port, "log": str(self.log)}

    def _wait_ready(self, child: subprocess.Popen[bytes], begun_at: int) -> int:
        deadline = time.monotonic() + self.ready_s
        while time.monotonic() < deadline:
            with self.log.open("rb") as log:
                log.seek(begun_at)
                found = re.search(self.ready, log.read().decode("utf-8", "replace"), re.MULTILINE)
            if found is not None:
                return int(found[1])
            if child.poll() is not None:
                raise StackError(f"{self.name} ended with exit code {child.returncode}\n{self.tail()}")
            time.sleep(0.02)
        raise StackError(f"{self.name} was not ready within {self.ready_s:g} s\n{self.tail()}")

    def _end(self, guard: Guard, tell: Callable[[int], None]) -> None:
        self._wanted = False
        if self._child is None:
            return
        if self._child.poll() is None:
            tell(self._child.pid)
        try:
            self._child.wait(self.grace_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        guard.remove(self._child.pid)
        self._child = None


def wait_until(holds: Callable[[], bool], patience_s: float, problem: Callable[[], str], poll_s: float = 0.1) -> None:
    """Wait until something holds.

    Raises:
        StackError: It does not in time; `problem` says what is wrong.
    """
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            raise StackError(problem())
        time.sleep(poll_s)


@contextmanager
def on_end(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM go to a handler meanwhile."""
    before = {number: signal.signal(number, handler) for number in ENDS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def chosen_port(preferred: int) -> int:
    """The preferred port when nobody listens there, else another one that is free, for who must know it beforehand."""
    if port := free_port(preferred):
        return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_port(preferred: int) -> int:
    """The preferred port when nobody listens there, else 0, which lets the system choose."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            return 0
    return preferred
