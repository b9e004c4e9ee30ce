"""The endpoint as a process, for the tests that talk to it."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests import ROOT

READY_S = 20.0


class Endpoint:
    """A running endpoint; stopped by its process id.

    Args:
        data: Its data directory.
        options: Its command line beyond port and directory.
        port: Where it listens; 0 takes a free port.
    """

    def __init__(self, data: Path, *options: str, port: int = 0) -> None:
        command = [sys.executable, "-m", "local.eventhub", "--port", str(port), "--data", str(data), *options]
        self.data = data
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()  # ends with the process, if that fails
        assert self.ready_line.startswith("ready port="), self.finish()
        self.port = int(self.ready_line.split("port=")[1].split()[0])

    def connection(self, hub: str) -> str:
        """The connection string of a hub."""
        keys = "SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true"
        return f"Endpoint=sb://localhost:{self.port};{keys};EntityPath={hub}"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Stop it; its exit code and what it said on its error output."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.finish()

    def finish(self) -> tuple[int, str]:
        """Wait for its end; its exit code and what it said on its error output."""
        _, errors = self.process.communicate(timeout=READY_S)
        return self.process.returncode, errors

    def peak_memory_mb(self) -> float:
        """The most memory it ever held, in MB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmHWM")


def until(condition: Callable[[], bool], what: str, deadline_s: float = 20.0) -> None:
    """Poll until something is so.

    Raises:
        AssertionError: If it is not so by the deadline.
    """
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {deadline_s} s"
        time.sleep(0.02)
