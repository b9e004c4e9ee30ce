"""The slow half in the world: checks, jobs and their events, gate, rollout, people; timers come twice and at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import msgspec
import numpy as np

from shared.app.loop.loop import Loop
from shared.core.forecast.losses import ERRORS, PAIRS
from shared.core.model import deployment
from shared.core.model.deployment import Deployment
from shared.core.profile.bins import CELLS
from shared.core.profile.device_table import DeviceTable
from shared.core.profile.merged import MergedProfile
from shared.core.retrain.job_events import CHANGED, COMPLETED
from shared.core.retrain.job_spec import JobState
from shared.core.retrain.signals import Signals
from shared.errors import ContractBroken
from tests.kit.data.gate_world import CHAMPION
from tests.simulation import loop_checks
from tests.simulation.models import DAMAGED, leave, package
from tests.simulation.worker import TOPIC, Simulated
from tests.simulation.world import World

FIRST_DAY = 20_000
PEOPLE = ("promote", "roll_back", "pause", "resume", "approve", "install", "retrain")
Drift = Literal["population", "none"]
SIZES = (0.7, 0.8, 0.8, 1.0, 1.3)


class SlowHalf:
    """What timers, job events and people set off.

    Args:
        world: Where it happens.
    """

    def __init__(self, world: World) -> None:
        self.world, self.blobs, self.jobs = world, world.stores.blobs, world.stores.jobs
        self.documents: list[Deployment] = []
        self.blobs.stored = self._stored
        self.quality: dict[str, float] = {}
        self.pairs: dict[tuple[int, str, str], Any] = {}
        self.errors: dict[tuple[int, str, str], Any] = {}
        self.day, self.checks, self.asked = FIRST_DAY, 0, 0
        package(self.blobs, "v1", CHAMPION.trained_until)
        calm, world.schedule.calm = world.schedule.calm, True
        self.loop(world.start()).rollouts.begin("v1", FIRST_DAY - 100)
        world.schedule.calm = calm
        self.acts: list[tuple[float, Callable[[], None]]] = [
            (12, self._check),
            (8, self._job_ends),
            (16, self._events),
            (14, self._watch),
            (14, self._advance),
            (10, self._labels_mature),
            (2, self._quarantine),
            *((weight, act) for name, weight, act in self._at_times() if name in world.on),
        ]

    def _at_times(self) -> list[tuple[str, float, Callable[[], None]]]:
        return [
            ("people", 8, self._people),
            ("again", 4, self._forge),
            ("damage", 1, self._damage),
        ]

    def happen(self) -> None:
        if not self.world.ordinary():
            self.world.schedule.one_of(self.acts)

    def loop(self, worker: Simulated) -> Loop:
        """A process's loop; without a stream beside it, labels are made up."""
        if self.world.kind != "loop":
            return worker.loop
        completion = replace(worker.loop.completion, today=lambda: self.day)
        return replace(worker.loop, merged=self.merged, completion=completion)

    def merged(self) -> MergedProfile:
        """Profiles that hold the labels which have matured so far."""
        task, nothing = self.world.stores.task, np.zeros((0, CELLS))
        devices = DeviceTable.empty(len(task.device_columns))
        hour = self.day * 24
        return MergedProfile(task, {}, hour, (), nothing, {}, {}, dict(self.errors), dict(self.pairs), devices)

    def _stored(self, container: str, name: str, data: bytes) -> None:
        if (container, name) == (deployment.CONTAINER, deployment.NAME) and data:
            self.documents.append(deployment.decode(data))

    def _call(self, name: str, run: Callable[[Loop], object], times: int = 1) -> None:
        refusals = (
            (ContractBroken,) if "damage" in self.world.on else ()
        )  # the control document may be none for a while
        for _ in range(times):
            self.world.call(name, lambda worker: run(self.loop(worker)), refusals=refusals)

    def _twice(self) -> int:
        return self.world.schedule.random.choice((1, 1, 1, 2))

    def _check(self) -> None:
        """A timer's check; some find a drift, and some come again."""
        random = self.world.schedule.random
        self.checks += random.choice((0, 1))
        if random.random() < 0.3:
            self._call("check", lambda loop: loop.check(), self._twice())
            return
        number, now_ms = self.checks, self.world.time.ms
        drift: Drift = random.choice(("population", "none", "none"))

        def consider(loop: Loop) -> None:
            found = Signals(
                check=f"c{number}",
                dataset="lake@12",
                labelled_rows=90_000 + number * 1000,
                champion=loop.rollouts.control.read().champion,
                drift=drift,
                trained_rows=80_000,
                trained_ms=now_ms - 1000,
            )
            loop.retraining.consider(found)
            loop.retraining.launch()

        self._call(f"check that finds {drift}", consider, self._twice())

    def _job_ends(self) -> None:
        running = [name for name, state in self.jobs.states.items() if state == "running"]
        if running:
            self.end_job(self.world.schedule.random.choice(running))

    def end_job(self, name: str) -> None:
        """A job ends: first what it leaves, then its state."""
        random = self.world.schedule.random
        state: JobState = random.choice(("completed",) * 6 + ("failed", "canceled"))
        if state == "completed":
            version = f"m{name[-6:]}"
            self.quality[version] = random.choice(SIZES)
            leave(self.blobs, name, version, self.quality[version])
        self.jobs.states[name] = state
        self.world.schedule.tell(f"job {name} has {state}")

    def event(self, job: str, state: str) -> Callable[[Loop], object]:
        """The event of a job's end, as Event Grid delivers it."""
        kind = COMPLETED if state == "completed" else CHANGED
        data = {"experimentName": self.world.stores.task.scenario.name, "runId": job, "runStatus": state.title()}
        return lambda loop: loop.job_event(kind, TOPIC, data)

    def _events(self) -> None:
        """An event of an end: once, twice, five times, or late."""
        random = self.world.schedule.random
        ended = [name for name, state in self.jobs.states.items() if state != "running"]
        if ended:
            job = random.choice(ended[-2:])
            state = self.jobs.states[job]
            self._call(f"event {job} {state}", self.event(job, state), random.choice((1, 2, 5)))

    def _forge(self) -> None:
        """An event that somebody made up: early, of another end, of no job of ours."""
        random = self.world.schedule.random
        job = random.choice([*self.jobs.states, "small-000001", "small-999999", "nobody"])
        state = random.choice(("completed", "failed", "canceled"))
        self._call(f"forged event {job} {state}", self.event(job, state))

    def _watch(self) -> None:
        self._call("watch", lambda loop: loop.watch_jobs(), self._twice())

    def _advance(self) -> None:
        self._call("advance", lambda loop: loop.advance(), self._twice())

    def _labels_mature(self) -> None:
        random, now = self.world.schedule.random, self.documents[-1]
        ratio = self.quality.get(now.challenger or "", 1.0) * random.choice((1, 1, 1.05))
        self.labels(random.choice((1, 2, 4)), ratio)

    def labels(self, days: int, ratio: float) -> None:
        """Labels mature: the challenger errs `ratio` times as much as the champion."""
        now = self.documents[-1]
        for _ in range(days):
            if now.champion and now.challenger:
                wave = 1 + 0.05 * (-1) ** self.day
                row = np.zeros(len(PAIRS), np.int64)
                row[:5] = 200, 10_000, int(10_000 * ratio * wave), 10_000, int(10_000 * (ratio * wave) ** 2)
                self.pairs[self.day, now.champion, now.challenger] = row
            both = np.zeros(len(ERRORS), np.int64)
            both[0] = 200
            self.errors[self.day, "champion", str(now.champion)] = both
            self.day += 1

    def _people(self) -> None:
        random, action = self.world.schedule.random, self.world.schedule.random.choice(PEOPLE)
        self.asked += random.choice((0, 1))
        params = {"id": f"k{self.asked}", "reason": "because", "version": random.choice(sorted(["v1", *self.quality]))}
        for _ in range(random.choice((1, 1, 3))):
            if action == "retrain":
                self._call("person retrain", lambda loop: loop.retrain(params, {"x-actor": "ann"}))
            else:
                self._call(f"person {action}", lambda loop: loop.rollout(action, params, {"x-actor": "ann"}))

    def _quarantine(self) -> None:
        device = f"d{self.world.schedule.random.randint(0, 3)}"

        def isolate(loop: Loop) -> None:
            loop.rollouts.control.change(
                lambda now: msgspec.structs.replace(now, quarantine=sorted({*now.quarantine, device}))
            )

        self._call(f"quarantine {device}", isolate)

    def _damage(self) -> None:
        """The control document is written anew from the ledger; a damaged package is refused for good."""
        random = self.world.schedule.random
        if random.random() < 0.3:
            self.world.damage(deployment.CONTAINER, deployment.NAME, b"", mended=False)
        elif self.quality:
            version = random.choice(sorted(self.quality))
            self.world.damage(deployment.CONTAINER, f"{version}/model.onnx", DAMAGED, mended=False)

    def end(self) -> None:
        """Every job ends, every event comes, and every timer once more."""
        loop = self.loop(self.world.final)
        loop.rollouts.follow()
        for _ in range(4):
            loop.retraining.launch()
            for job, state in [*self.jobs.states.items()]:
                if state == "running":
                    self.end_job(job)
                self.event(job, str(self.jobs.states[job]))(loop)
            loop.watch_jobs()
            loop.advance()
            self.labels(4, 0.8)

    def check(self) -> None:
        loop_checks.check(self)
