"""The demo's days: event time that passes in steps, and a look at what the functions did in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.demo.injection import Remaining
from local.demo.progress import Progress
from local.send.faults import Faults
from local.send.plan import Plan
from local.send.record import Record
from local.send.stream import Pace, stream
from local.send.wire import Sender
from local.stack.process import StackError, wait_until
from local.stack.running import fire_function, get
from local.stack.stack import Stack
from local.stack.workspace import Workspace
from shared.adapters.stores.clock import WallClock
from shared.app.ledger_store import Ledger
from shared.app.release.control import ControlDocument
from shared.core.ledger import Entry

JOB_S, FOLLOW_S, TRIES = 900.0, 60.0, 3


@dataclass
class Playback:
    """Event time that passes in steps, and what the functions did in it.

    Args:
        note: Takes a line of what happened.
        space: The stack's stores.
        stack: Its processes.
        progress: Waits until what was sent is committed.
        sender: To the devices' hub; opening one takes two seconds, so that it stays open.
        remaining: Readings still to come.
        seed: Seed of the sending.
        pollution: What the new source adds in calm air, None for some times the usual level.
        spans: Names of the parts of the story, with the first hour of each.
    """

    note: Callable[[str], None]
    space: Workspace
    stack: Stack
    progress: Progress
    sender: Sender
    remaining: Remaining
    seed: int
    pollution: float | None = None
    spans: list[tuple[str, int]] = field(default_factory=list)
    sent: int = 0
    expected: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, name: str) -> None:
        """A new part of the story begins with the next reading."""
        self.spans.append((name, self.remaining.hour))

    def go(self, days: int, faults: Faults | None = None, pace: Pace | None = None) -> Record:
        """Stream some days and wait until they are committed.

        Raises:
            StackError: The data end before the story does.
        """
        if days > self.remaining.days_left:
            raise StackError(
                f"the data end {days - self.remaining.days_left} days before the story does: give it more history"
            )
        source = self.remaining.take(24 * days)

        def work(note: Callable[[Record], None]) -> Record:
            plan = Plan(source, faults or Faults(), self.seed + len(self.expected), self.space.scenario)
            return stream(plan, self.sender, pace=pace or Pace(), on_progress=note)

        record = self.progress.during(work)
        self.sent += record.sent
        self.expected.append(record.expected())
        return record

    def fire(self, *functions: str) -> None:
        """Let timers fire now, one after the other; one that failed fires again, as its schedule would let it.

        Raises:
            StackError: One failed several times.
        """
        for name in functions:
            for _ in range(TRIES):
                problem = fire_function(self.space.host_url, name)
                if problem is None:
                    break
                self.note(f"{name} failed: {problem[:500]}")
            else:
                raise StackError(f"{name} failed {TRIES} times")
        self.follow()

    def follow(self) -> None:
        """Wait until the host answers as the control document says: minutes of event time pass in a moment here.

        Raises:
            StackError: It refuses a package, or does not follow within a minute.
        """
        found: dict[str, Any] = {}

        def follows() -> bool:
            wanted = ControlDocument(self.space.blobs).read()
            found.update(get(f"{self.space.host_url}/api/health"))
            if all(found[name] == getattr(wanted, name) for name in ("champion", "challenger", "share")):
                return True
            if found["refused"]:
                raise StackError(f"a package is refused: {found['refused']}")
            return False

        self._wait(follows, FOLLOW_S, lambda: f"what serves is not what the control document says: {found}")

    def entries(self, *kinds: str) -> list[Entry]:
        """What the ledger holds."""
        found = Ledger(self.space.scenario.name, self.space.blobs, WallClock()).entries()
        return [entry for entry in found if not kinds or entry.kind in kinds]

    def since(self, position: int, kind: str) -> list[Entry]:
        """What the ledger holds of a kind from a position on."""
        return [entry for entry in self.entries(kind) if entry.position >= position]

    def newest(self, kind: str) -> dict[str, Any]:
        """Data of the newest entry of a kind.

        Raises:
            StackError: There is none.
        """
        found = self.entries(kind)
        if not found:
            raise StackError(f"the ledger holds no entry of kind {kind}")
        return found[-1].data

    def champion(self) -> str | None:
        """Who serves."""
        return ControlDocument(self.space.blobs).read().champion

    def verdict(self, job: str) -> dict[str, Any]:
        """What the gate says of a job's model, once the job has ended.

        Raises:
            StackError: It failed, or took too long.
        """
        found: list[dict[str, Any]] = []

        def ended() -> bool:
            for entry in self.entries("job_ended"):
                if entry.key == job and entry.data["status"] != "completed":
                    log = self.space.root / "jobs" / job / "log.txt"
                    raise StackError(f"job {job} {entry.data['status']}: see {log}")
            found.extend(entry.data for entry in self.entries("gate") if entry.data["job"] == job)
            return bool(found)

        self._wait(ended, JOB_S, lambda: f"job {job} did not end within {JOB_S:.0f} s")
        return found[-1]

    def begun(self, version: str) -> None:
        """Wait until a version that passed the gate serves or is scored beside the champion.

        Raises:
            StackError: Its rollout does not begin.
        """
        self._wait(
            lambda: version in (entry.data["about"] for entry in self.entries("rollout")),
            FOLLOW_S,
            lambda: f"the rollout of {version} did not begin within {FOLLOW_S:.0f} s",
        )
        self.follow()

    def _wait(self, holds: Callable[[], bool], patience_s: float, problem: Callable[[], str]) -> None:
        """Wait for something while the stack runs."""

        def looked() -> bool:
            self.stack.check()
            return holds()

        wait_until(looked, patience_s, problem, poll_s=0.2)
