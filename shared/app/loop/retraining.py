"""Retraining: decide, start the job that was decided, notice how it ended; every step stands in the ledger once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from shared.app.ledger_store import ACTOR, Ledger
from shared.core.ledger import Entry, find
from shared.core.retrain.decide import Decision, decide
from shared.core.retrain.history import DECISION, ENDED, LAUNCHED, Job, job_name, job_of, jobs
from shared.core.retrain.job_spec import JobSpec, JobState
from shared.core.retrain.signals import Signals
from shared.core.scenario import Scenario
from shared.core.task.calendar import HOUR_MS
from shared.errors import ConfigError
from shared.ports import Clock, Jobs

End = Literal["completed", "failed", "canceled"]
LOST_AFTER_MS = 15 * 60 * 1000  # a place of jobs may show a new one a little later


@dataclass(frozen=True, slots=True)
class Considered:
    """An answer to the question whether to train.

    Args:
        decision: What was decided.
        entry: Where that stands, None after a dry run.
    """

    decision: Decision
    entry: Entry | None

    @property
    def job(self) -> str | None:
        """Name of the job that is to run, None without one."""
        return job_name(self.entry.scenario, self.entry.position) if self.entry and self.decision.launch else None


@dataclass(frozen=True, slots=True)
class Retraining:
    """Training jobs of a scenario.

    Args:
        scenario: Its rules say when a job is worth its money.
        ledger: What was decided and done.
        jobs: Where jobs run.
        clock: The time that decisions go by.
        wall: The time that jobs take and people live in; None: the same.
        left: Whether a job that was begun at a time (milliseconds since 1970) has left its result, whole and newer.
    """

    scenario: Scenario
    ledger: Ledger
    jobs: Jobs
    clock: Clock
    wall: Clock | None = None
    left: Callable[[str, int], bool] = lambda *_: False

    def consider(
        self, signals: Signals, actor: str = ACTOR, manual: str | None = None, *, dry_run: bool = False
    ) -> Considered:
        """Decide whether to train, and write that down, also a "no".

        Args:
            signals: What a check found; a check that was considered before is answered as then.
            actor: Who asks.
            manual: Why a person wants a job, None when a timer asks.
            dry_run: Only tell, write nothing.

        Raises:
            ContractBroken: The ledger is broken.
            StateConflict: Others wrote to the ledger time and again.
        """
        key = signals.check if manual is None else _request(self._wall_ms(), actor, manual)
        if dry_run:
            return Considered(self._decide(self.ledger.entries(), signals, manual), None)

        def make(entries: Sequence[Entry]) -> tuple[str, Mapping[str, Any]]:
            decision = self._decide(entries, signals, manual)
            return key, {
                **msgspec.to_builtins(decision),
                "job": job_name(self.scenario.name, len(entries)) if decision.launch else None,
                "cost": self.scenario.retrain.cost_per_run if decision.launch else 0.0,
                "wall_ms": self._wall_ms(),
            }

        entry = self.ledger.decide(DECISION, make, actor)
        assert entry is not None  # noqa: S101 - there is always a decision
        return Considered(msgspec.convert(entry.data, Decision), entry)

    def launch(self) -> list[str]:
        """Submit every decided job that nobody wrote as launched; returns their names.

        Raises:
            TransientFailure: The place of jobs, or the store, does not answer; the next call goes on.
            ConfigError: The place of jobs refuses; the next call tries again, until the job has timed out.
        """
        done = []
        for job in jobs(self.ledger.entries()):
            if job.launched is None and job.ended is None:
                self._submit(job)
                done.append(job.name)
        return done

    def ended(self, name: str, source: str = "event") -> Entry | None:
        """Look whether a job has ended, and write that down.

        Whoever says so may be early, late, mistaken or a liar: where the job runs is asked, always.

        Args:
            name: Its name, as somebody gave it.
            source: Who had it looked at.

        Returns:
            The one entry about its end, the first that was written; None when it goes on or is none of ours.

        Raises:
            TransientFailure: The place of jobs, or the store, does not answer.
            ConfigError: The place of jobs refuses.
        """
        job = job_of(self.ledger.entries(), name)
        if job is None or job.ended is not None:
            return None if job is None else job.ended
        end = self._end(job)
        if end is None:
            return None
        status, why = end
        return self.ledger.append(ENDED, job.name, {"status": status, "source": source, "why": why})

    def poll(self) -> list[Entry]:
        """Look after open jobs: note those that ended silently, end those that are lost or take too long.

        Returns:
            The ends that were noticed.

        Raises:
            TransientFailure: The place of jobs, or the store, does not answer.
            ConfigError: The place of jobs refuses.
        """
        found = [self.ended(job.name, "poll") for job in jobs(self.ledger.entries()) if job.ended is None]
        return [entry for entry in found if entry is not None]

    def _decide(self, entries: Sequence[Entry], signals: Signals, manual: str | None) -> Decision:
        return decide(entries, self.clock.now_ms(), signals, self.scenario.retrain, manual)

    def _submit(self, job: Job) -> None:
        data = job.decision.data
        signals = data["inputs"]["signals"]
        spec = JobSpec(
            name=job.name,
            scenario=self.scenario.name,
            reason=data["reason"],
            dataset=signals["dataset"],
            champion=signals["champion"],
            timeout_h=self._timeout_h(job),
            tags={"decision": job.decision.hash, "check": signals["check"], "actor": job.decision.actor},
        )
        self.jobs.submit(spec)
        launched = {"reason": spec.reason, "dataset": spec.dataset, "wall_ms": self._wall_ms()}
        self.ledger.append(LAUNCHED, job.name, launched)
        if find(self.ledger.entries(), ENDED, job.name) is not None:  # it timed out while it was submitted
            self.jobs.cancel(job.name)

    def _end(self, job: Job) -> tuple[End, str] | None:
        """How an open job ended, and what is known about that; None when it goes on.

        A process may still fail when all its work is done: what a job left counts more than how it went.
        """
        found = self._inspect(job)
        if found is None or found[0] != "failed" or not self.left(job.name, self._began_ms(job)):
            return found
        return "completed", f"it left its result, and then: {found[1] or 'its process failed'}"

    def _inspect(self, job: Job) -> tuple[End, str] | None:
        """The same, as the place of jobs tells it."""
        limit_h = self._timeout_h(job)
        late, why = self._age_ms(job) >= round(limit_h * HOUR_MS), f"timed out after {limit_h:g} h"
        try:
            state = self.jobs.status(job.name)
            if late and not _over(state):
                self.jobs.cancel(job.name)
                state = "completed" if self.jobs.status(job.name) == "completed" else "failed"  # it may have, just then
                return state, "" if state == "completed" else why
        except ConfigError as error:
            if late:  # a place that refuses for good must not hold all others up
                return "failed", f"{why}; {error}"
            raise
        if end := _over(state):
            return end, ""
        if state is None and job.launched is not None and self._age_ms(job) >= LOST_AFTER_MS:
            return "failed", "lost: unknown where it should run"
        return None

    def _timeout_h(self, job: Job) -> float:
        """Hours that a job is given: those that its decision was made with, as its place of jobs was told them."""
        rules = job.decision.data["inputs"].get("rules", {})
        return float(rules.get("timeout_h", self.scenario.retrain.timeout_h))

    def _began_ms(self, job: Job) -> int:
        """Wall time of its decision, before which it can have left nothing."""
        return int(job.decision.data.get("wall_ms", job.decision.at_ms))

    def _age_ms(self, job: Job) -> int:
        """Time since a job was started, or since its decision while it was not."""
        began = job.launched or job.decision
        if "wall_ms" not in began.data:  # an older version wrote it
            return self.clock.now_ms() - job.decision.at_ms
        return self._wall_ms() - int(began.data["wall_ms"])

    def _wall_ms(self) -> int:
        return (self.wall or self.clock).now_ms()


def _request(wall_ms: int, actor: str, reason: str) -> str:
    """Identity of a person's request: the same all the while that it is written, another one when it is made again."""
    return f"manual-{hashlib.sha256(f'{wall_ms}/{actor}/{reason}'.encode()).hexdigest()[:12]}"


def _over(state: JobState | None) -> End | None:
    return state if state in {"completed", "failed", "canceled"} else None
