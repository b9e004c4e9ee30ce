"""The world of a run: processes that come and go, time, and whatever its parts let happen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.errors import ConfigError, TransientFailure
from tests.simulation.conditions import Conditions, Kind, drawn
from tests.simulation.models import UNEDITED, load
from tests.simulation.ports import START_MS, Time
from tests.simulation.schedule import Fault, Killed, Process, Schedule
from tests.simulation.worker import Simulated, Stores

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Cut:
    """What is left out of a run: turns, single faults, and things that arrive."""

    turns: frozenset[int] = frozenset()
    faults: frozenset[Fault] = frozenset()
    arrivals: frozenset[int] = frozenset()


class Part(Protocol):
    """One half of the application in the world."""

    def happen(self) -> None:
        """Let one thing happen."""

    def end(self) -> None:
        """Without faults, bring everything that has begun to its end."""

    def check(self) -> None:
        """Hold what there is now against what must be."""


@dataclass
class World:
    """A run.

    Args:
        kind: Which parts it has.
        seed: Everything follows from it.
        cut: What is left out.
    """

    kind: Kind
    seed: int
    cut: Cut = Cut()
    workers: list[Simulated] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    born: int = 0

    def __post_init__(self) -> None:
        logging.disable(logging.CRITICAL)
        self.conditions: Conditions = drawn(self.kind, self.seed)
        self.schedule = Schedule(self.seed, self.conditions.chances, self.cut.faults)
        self.time = Time(START_MS)
        self.stores = Stores(self.schedule, self.time, UNEDITED, load)
        self.arrivals = 0
        self.start()  # an app that starts takes down what the scenario is
        self.excused: tuple[type[Exception], ...] = ()  # errors that something the world did explains
        self.damaged: dict[tuple[str, str], bytes] = {}
        self.mended = 0  # how many damaged blobs a person has put back

    @property
    def on(self) -> frozenset[str]:
        return self.conditions.on

    def run(self) -> None:
        """All of it; raises what is wrong in the end."""
        for turn in range(self.conditions.turns):
            if turn not in self.cut.turns:
                self._turn(turn)
        self.schedule.begin(self.conditions.turns)
        for worker in self.workers:
            worker.process.frozen_until = 0
        self.mend()
        self.schedule.drain()
        self.final = self.start()
        self.stores.files = self.final.files
        self.stores.lake = self.stores.lake.under(self.final.files)
        for part in self.parts:
            part.end()
        assert not self.trouble, f"{len(self.trouble)} errors escaped, the first: {self.trouble[0]}"
        for part in self.parts:
            part.check()

    def _turn(self, turn: int) -> None:
        schedule = self.schedule
        schedule.begin(turn)
        for _ in range(schedule.random.choice((2, 4, 8))):
            schedule.some()
        if len(schedule.tasks) < 12:
            self.time.ms += 50
            schedule.random.choice(self.parts).happen()
        if any(worker.process.dead for worker in self.workers):
            schedule.reap()
            self.workers = [worker for worker in self.workers if not worker.process.dead]

    def start(self) -> Simulated:
        """A new process."""
        found = Simulated(
            self.stores, Process(f"w{self.born}"), self.conditions.settings, beside=self.conditions.beside
        )
        self.born += 1
        self.workers.append(found)
        return found

    @property
    def awake(self) -> list[Simulated]:
        return [each for each in self.workers if each.process.frozen_until <= self.schedule.now]

    def call(
        self,
        name: str,
        run: Callable[[Simulated], object],
        *,
        worker: Simulated | None = None,
        refusals: tuple[type[Exception], ...] = (),
        done: Callable[[BaseException | None], None] = lambda _: None,
    ) -> None:
        """A trigger calls a process.

        Args:
            name: What it is called in the story.
            run: The call.
            worker: Which process; None: any that is awake.
            refusals: Errors that are right answers here.
            done: Hears how it ended.
        """
        worker = worker or (self.schedule.random.choice(self.awake) if self.awake else None)
        if worker is None:
            return
        mended = self.mended

        def ended(error: BaseException | None) -> None:
            met = self.damaged or self.mended != mended  # a damaged blob, perhaps one that was put back meanwhile
            self._judge(worker, name, error, (Exception,) if met else refusals)
            done(error)

        self.schedule.tell(f"{worker.process.name} {name}")
        self.schedule.spawn(worker.process, name, lambda: run(worker), ended)

    def _judge(
        self, worker: Simulated, name: str, error: BaseException | None, refusals: Sequence[type[Exception]]
    ) -> None:
        if isinstance(error, ConfigError) and worker.task is not self.stores.task:
            worker.process.dead = True  # the store holds a newer scenario: nobody lets the old app go on
            return
        if error is None or isinstance(error, (Killed, TransientFailure, *refusals, *self.excused)):
            return
        self.trouble.append(f"{worker.process.name} {name}: {type(error).__name__}: {error}"[:400])
        self.error = error

    # what happens to any part

    def ordinary(self) -> bool:
        """Let time pass, a process start, stop or freeze, a clock jump; False when none of it came about."""
        random, x = self.schedule.random, self.schedule.random.random()
        if x < 0.08:
            self.time.ms += random.choice((500, 2000, 11_000, 60_000, 3_700_000))
        elif x < 0.09:
            self.time.ms += DAY_MS
        elif x < 0.11 and "jumps" in self.on and self.workers:
            random.choice(self.workers).clock.skew_ms = random.choice(
                (-40 * DAY_MS, -3_600_000, 0, 3_600_000, 40 * DAY_MS)
            )
            self.schedule.tell("a clock jumps")
        elif x < 0.13 and "frozen" in self.on and self.awake:
            frozen = random.choice(self.awake).process
            frozen.frozen_until = self.schedule.now + random.choice((50, 500, 5000))
            self.schedule.tell(f"{frozen.name} stands still")
        elif x < 0.17 and len(self.workers) < self.conditions.workers:
            self.start()
        else:
            return False
        return True

    def damage(self, container: str, name: str, raw: bytes, *, mended: bool) -> None:
        """Damage a blob; where the application cannot help itself, a person puts it back some time."""
        blobs = self.stores.blobs
        if mended:
            self.damaged[container, name] = blobs.read(container, name) or b""
        self.schedule.tell(f"{container}/{name} is damaged")
        blobs.write(container, name, raw)

    def mend(self) -> None:
        """A person puts back what was damaged."""
        for (container, name), raw in self.damaged.items():
            self.stores.blobs.write(container, name, raw)
        self.mended += len(self.damaged)
        self.damaged.clear()
