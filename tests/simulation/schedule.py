"""A deterministic scheduler: production code runs in greenlets, and at every call of a port anything may happen.

A run is a list of turns. Everything that happens in a turn is drawn from a generator of its own, so that a turn, or a
single fault of it, can be left out and the others stay mostly as they were: that is how a failure's story is shrunk.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from random import Random
from typing import Any, NamedTuple

from greenlet import getcurrent, greenlet

from shared.errors import TransientFailure

Fault = tuple[int, int]  # turn, and the how manieth of that turn
LOCKS = (type(threading.Lock()), type(threading.RLock()))
PATIENCE, AGAIN = 500_000, 2_000  # steps that tasks wait, calls of a kind outside any task


class Killed(BaseException):
    """The process that this code ran in is gone."""


class Stuck(AssertionError):
    """Tasks wait for each other, or one never ends."""


@dataclass(frozen=True)
class Chances:
    """How often a call of a port goes wrong.

    Args:
        refused: It fails and nothing happened.
        lost: It happened, and the answer got lost.
        repeated: The client lost the first answer and sent the request again by itself.
        killed: The process dies before it.
        parked: The task stands still for up to `pause` points.
    """

    refused: float = 0.0
    lost: float = 0.0
    repeated: float = 0.0
    killed: float = 0.0
    parked: float = 0.0
    pause: int = 200


@dataclass(eq=False)
class Process:
    """A worker's process as the scheduler sees it: it dies with all its tasks, or stands still with them."""

    name: str
    dead: bool = False
    frozen_until: int = 0


@dataclass(eq=False)
class Task:
    """One call into the application."""

    process: Process
    name: str
    run: Callable[[], object]
    done: Callable[[BaseException | None], None]
    asleep_until: int = 0
    thread: Any = None


class Line(NamedTuple):
    """One thing that happened, for the story."""

    turn: int
    fault: int | None
    text: str


@dataclass
class Schedule:
    """Decides which task runs, and what befalls it.

    Args:
        seed: Everything follows from it.
        chances: How often calls fail.
        spared: Faults that are left out.
    """

    seed: int
    chances: Chances
    spared: frozenset[Fault] = frozenset()
    tasks: list[Task] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[Line] = field(default_factory=list)
    random: Random = field(default_factory=Random)
    now: int = 0
    turn: int = -1
    calm: bool = False
    current: Task | None = None

    def __post_init__(self) -> None:
        self._main = getcurrent()
        self._faults, self._alone = 0, Counter[tuple[str, str]]()

    def begin(self, turn: int) -> None:
        """Draw from another turn's generator from here on."""
        self.turn, self._faults, self.random = turn, 0, Random(self.seed * 1_000_003 + turn)

    def tell(self, text: str, fault: int | None = None) -> None:
        """Add a line to the story."""
        self.lines.append(Line(self.turn, fault, text))

    def one_of(self, acts: Sequence[tuple[float, Callable[[], object]]]) -> None:
        """Let one thing happen, drawn by weight, and count it."""
        ((_, act),) = self.random.choices(acts, [weight for weight, _ in acts])
        self.counts[act.__name__.strip("_")] += 1
        act()

    def spawn(
        self, process: Process, name: str, run: Callable[[], object], done: Callable[[Any], None] = lambda _: None
    ) -> None:
        """Begin a call in a process; `done` hears how it ended: None, an error, or Killed."""
        task = Task(process, name, run, done)
        task.thread = greenlet(lambda: self._body(task), self._main)
        self.tasks.append(task)

    def point(self, what: str, where: str) -> str:
        """A port is called: others get a turn; returns "", "lost" or "repeated", and raises what happened instead."""
        task = self.current
        if task is None:
            self._alone[what, where] += 1
            if self._alone[what, where] > AGAIN:
                raise Stuck(f"it goes round and round at {what} {where}")
            return ""
        if task.process.dead:
            raise Killed
        self.counts["calls"] += 1
        fault = "" if self.calm else self._fault(task, what, where)
        self._main.switch()
        if task.process.dead:
            raise Killed
        if fault == "killed":
            task.process.dead = True
            raise Killed
        if fault == "refused":
            raise TransientFailure(f"{what} {where}: no answer")
        return fault

    def wait(self, until: Callable[[], bool]) -> None:
        """Let others run until something holds, as one who waits for a lock."""
        for _ in range(PATIENCE):
            if self.current is None or until():
                return
            self._main.switch()
            if self.current.process.dead:
                raise Killed
        raise Stuck("a lock is never free")

    def step(self, task: Task) -> None:
        """Let a task run to its next call of a port."""
        self.now += 1
        before, self.current = self.current, task
        task.thread.switch()
        self.current = before
        if task.thread.dead:
            self.tasks.remove(task)

    def some(self) -> None:
        """Let one task that can run do so for a while."""
        ready = [t for t in self.tasks if t.asleep_until <= self.now and t.process.frozen_until <= self.now]
        if not ready:
            self.now += 5
            return
        task = self.random.choice(ready)
        for _ in range(self.random.choice((1, 1, 1, 3, 20))):
            if task.thread.dead or task.asleep_until > self.now:
                return
            self.step(task)

    def reap(self) -> None:
        """Let the tasks of dead processes end: nothing that they do reaches a port."""
        for task in [task for task in self.tasks if task.process.dead]:
            while not task.thread.dead:
                self.step(task)

    def drain(self) -> None:
        """No more faults: everything in flight comes to its end."""
        self.calm = True
        for _ in range(PATIENCE):
            if not self.tasks:
                return
            self.step(self.random.choice(self.tasks))
        raise Stuck(f"calls do not end: {[task.name for task in self.tasks][:5]}")

    def _body(self, task: Task) -> None:
        error: BaseException | None = None
        try:
            task.run()
        except Exception as found:  # noqa: BLE001 - the world judges what it is
            error = found
        except Killed as found:
            error = found
        task.done(error)

    def _fault(self, task: Task, what: str, where: str) -> str:
        x, chances = self.random.random(), self.chances
        for name in ("killed", "refused", "lost", "repeated", "parked"):
            chance = getattr(chances, name)
            if x < chance:
                return self._befall(name, task, what, where)
            x -= chance
        return ""

    def _befall(self, name: str, task: Task, what: str, where: str) -> str:
        number, pause = self._faults, self.random.randint(1, self.chances.pause)
        self._faults += 1
        if (self.turn, number) in self.spared:
            return ""
        self.counts[name] += 1
        self.tell(f"{task.process.name} {task.name}: {name} at {what} {where}", number)
        if name == "parked":
            task.asleep_until = self.now + pause
            return ""
        return name


class Lock:
    """Stands in for threading.Lock among the tasks of one process."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.held = schedule, False

    def __enter__(self) -> None:
        self.schedule.wait(lambda: not self.held)
        self.held = True

    def __exit__(self, *_: object) -> None:
        self.held = False


def share_locks(thing: Any, schedule: Schedule, seen: set[int] | None = None) -> None:
    """Put the scheduler's locks in the place of real ones, in everything of the application that can be reached."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, dict):
        for each in list(thing.values()):
            share_locks(each, schedule, seen)
    if not type(thing).__module__.startswith("shared."):
        return
    for name in _names(thing):
        value = getattr(thing, name, None)
        if isinstance(value, LOCKS[0]):
            object.__setattr__(thing, name, Lock(schedule))
        else:
            share_locks(value, schedule, seen)


def _names(thing: Any) -> list[str]:
    return [f.name for f in fields(thing)] if is_dataclass(thing) else list(getattr(thing, "__dict__", {}))
