"""Workers that are forked, killed and forked again, and the bench on which all of them work."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.stack.addresses import ANY_PORTS
from local.stack.programs import PROJECT
from local.stack.stack import Stack
from tests.e2e.crash import crash_world as world
from tests.e2e.crash.crash_world import FileHub, Own

MANY = 300  # more deaths than any run of ours has places for


class Lives:
    """The server of `crash_child`, and the lives it forks.

    Args:
        log: What the lives say on their error output.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.crash.crash_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=PROJECT,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        self._alive: set[int] = set()

    def start(self, order: Mapping[str, Any]) -> int:
        """A new life; its process id."""
        pid = int(self._ask(do="start", **order)["pid"])
        self._alive.add(pid)
        return pid

    def wait(self, pid: int, after_s: float | None = None) -> str:
        """How a life went: done, killed or stopped; it is killed after a while if one is given."""
        more = {} if after_s is None else {"after_s": after_s}
        status = str(self._ask(do="wait", pid=pid, **more)["status"])
        if status != "stopped":
            self._alive.discard(pid)
        assert status in ("done", "killed", "stopped"), f"{status}\n{self._log.read_text('utf-8')[-4000:]}"
        return status

    def go(self, pid: int) -> None:
        """Let a life that stands still go on."""
        self._ask(do="go", pid=pid)

    def live(self, order: Mapping[str, Any], after_s: float | None = None) -> str:
        """A life from beginning to end."""
        return self.wait(self.start(order), after_s)

    def said(self) -> str:
        """What the lives said so far."""
        return self._log.read_text("utf-8")

    def close(self) -> None:
        """End the server, and whatever life still stands still."""
        for pid in self._alive:
            os.kill(pid, signal.SIGKILL)
        self._server.communicate(timeout=20)

    def _ask(self, **order: Any) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        found: dict[str, Any] = json.loads(self._server.stdout.readline())
        return found


@dataclass
class Run:
    """A story told by workers that die, one after the other.

    Args:
        lives: Where they come from.
        order: What every life is ordered to do.
        folder: Notes of the run.
        seed: Of all that is random in it.
    """

    lives: Lives
    order: dict[str, Any]
    folder: Path
    seed: int = 1

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.checkpoint = self.folder / f"{self.order['prefix']}.at"

    def next(self, **more: Any) -> dict[str, Any]:
        """The order of the next life: deliveries begin at places not beyond the last checkpoint."""
        known = json.loads(self.checkpoint.read_text("utf-8")) if self.checkpoint.exists() else {}
        reborn = int(self.order.get("reborn", 0))  # what an earlier hub held cannot be delivered again
        at = {name: self.random.randint(reborn * (place >= reborn), place) for name, place in known.items()}
        return {**self.order, "checkpoint": str(self.checkpoint), "at": at, **more}

    def killed_at_every_write(self, only: str = "", odds: float = 1.0) -> list[str]:
        """Lives end before and after every write they have not ended at yet; the places, in order.

        Args:
            only: Lives end at places that contain this.
            odds: And only with this chance.
        """
        ledger = self.folder / f"{self.order['prefix']}.places"
        fate = {"ledger": str(ledger), "only": only, "odds": odds}
        while self.lives.live(self.next(**fate, luck=self.random.random())) == "killed":
            assert len(ledger.read_text("utf-8").splitlines()) < MANY, "the lives come to no end"
        return ledger.read_text("utf-8").splitlines()

    def killed_at_random(self, times: int, longest_s: float) -> int:
        """Lives end at random moments, and every one is delivered other batches; how many were killed.

        Args:
            times: Lives at most; fewer when one came to the end.
            longest_s: Longest life, in seconds.
        """
        ends = ""
        killed = -1
        while ends != "done" and killed < times:
            killed += 1
            ends = self.lives.live(self._other(), self.random.uniform(0.02, longest_s))
        assert self.lives.live(self._other()) == "done"
        return killed

    def _other(self) -> dict[str, Any]:
        return self.next(cuts=self.random.random(), luck=self.random.random())


@dataclass
class Bench:
    """One Azurite, one endpoint and one server of lives for all tests."""

    stack: Stack
    lives: Lives
    folder: Path

    def own(self, name: str) -> Own:
        return world.space(self.stack.storage, name)

    def score(self, name: str, story: str = "plain", seed: int = 1) -> Run:
        order = {"role": "score", "story": story, "storage": self.stack.storage, "prefix": name}
        return Run(self.lives, order, self.folder, seed)

    def chain(self, name: str, size: int, seed: int = 1) -> Run:
        order: dict[str, Any] = {"role": "chain", "storage": self.stack.storage, "prefix": name, "size": size}
        return Run(self.lives, order | {"hub": str(self.hub(name).folder)}, self.folder, seed)

    def hub(self, name: str) -> FileHub:
        folder = self.folder / f"{name}.hub"
        folder.mkdir(exist_ok=True)
        return FileHub(folder)


@contextmanager
def opened(folder: Path) -> Iterator[Bench]:
    """A bench whose processes end with the block."""
    with Stack(folder / "stack", app_dir=None, ports=ANY_PORTS, hubs=["skipped:1"]) as stack:
        lives = Lives(folder / "lives.log")
        try:
            yield Bench(stack, lives, folder)
        finally:
            lives.close()
