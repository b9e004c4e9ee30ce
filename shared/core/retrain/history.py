"""What the ledger knows of training jobs and of what became of their models."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.core.ledger import Entry, month_of

DECISION, LAUNCHED, ENDED, GATE, ENTERED, ROLLOUT = "decision", "launched", "job_ended", "gate", "entered", "rollout"
CLIMBING = ("shadow", "approved", "canary", "paused")
PROMOTED = ("champion", "installed")
DATASET = re.compile(r"lake@([0-9]{1,18})")  # a version of the lake's readings
_JOB = re.compile(r"([a-z][a-z0-9_]{0,62})-([0-9]{6,12})")


@dataclass(frozen=True, slots=True)
class Job:
    """A job that was decided.

    Args:
        name: Its name.
        decision: Its decision.
        launched: That it was submitted, None when nobody wrote so yet.
        ended: How it ended, None while it did not.
    """

    name: str
    decision: Entry
    launched: Entry | None
    ended: Entry | None


def job_name(scenario: str, position: int) -> str:
    """Name of the job of the decision at a place of the ledger: letters, digits, - and _."""
    return f"{scenario}-{position:06d}"


def jobs(entries: Sequence[Entry]) -> list[Job]:
    """All jobs, in the order of their decisions."""
    launched = {entry.key: entry for entry in entries if entry.kind == LAUNCHED}
    ended = {entry.key: entry for entry in entries if entry.kind == ENDED}
    decided = [entry for entry in entries if entry.kind == DECISION and entry.data["launch"]]
    decided_jobs = [(job_name(entry.scenario, entry.position), entry) for entry in decided]
    return [Job(name, entry, launched.get(name), ended.get(name)) for name, entry in decided_jobs]


def job_of(entries: Sequence[Entry], name: str) -> Job | None:
    """The job of a name, None when nobody decided one; the name may be anything."""
    if not (found := _JOB.fullmatch(name)) or int(found[2]) >= len(entries):
        return None
    return next((job for job in jobs(entries) if job.name == name), None)


def trained_on(entries: Sequence[Entry]) -> list[int]:
    """Versions of the lake's readings that models were trained on: their files stay."""
    datasets = [str(entry.data.get("dataset")) for entry in entries if entry.kind == GATE]
    return sorted({int(found[1]) for each in datasets if (found := DATASET.fullmatch(each))})


@dataclass(frozen=True, slots=True)
class History:
    """The past as far as it bears on the next job.

    Args:
        month: The month that budgets are counted in.
        runs: Jobs decided in it.
        spent: What they cost.
        running: The job that has not ended, None without one.
        last: The newest job.
        trained: The newest job that completed.
        lost: Refusals and rollbacks of challengers since the last one that became champion and stayed.
        challenger: The last step of a challenger that still climbs, None without one.
    """

    month: str
    runs: int
    spent: float
    running: Job | None
    last: Job | None
    trained: Job | None
    lost: tuple[Entry, ...]
    challenger: Entry | None

    @classmethod
    def of(cls, entries: Sequence[Entry], month: str) -> History:
        """The past in a ledger; entries of a month are those dated so, wherever they stand."""
        known = jobs(entries)
        inside = [job.decision for job in known if month_of(job.decision.at_ms) == month]
        steps = [entry for entry in entries if entry.kind == ROLLOUT]
        return cls(
            month=month,
            runs=len(inside),
            spent=math.fsum(entry.data["cost"] for entry in inside),
            running=next((job for job in known if job.ended is None), None),
            last=known[-1] if known else None,
            trained=next((job for job in reversed(known) if _completed(job)), None),
            lost=_lost(entries),
            challenger=steps[-1] if steps and steps[-1].data.get("step") in CLIMBING else None,
        )

    def trained_rows(self, otherwise: int | None) -> int | None:
        """Labelled rows there were at the last training, `otherwise` when none is known here."""
        if self.trained is None:
            return otherwise
        return int(self.trained.decision.data["inputs"]["signals"]["labelled_rows"])

    def trained_ms(self, otherwise: int | None) -> int | None:
        """When the last training was decided, `otherwise` when none is known here."""
        return otherwise if self.trained is None else self.trained.decision.at_ms


def _completed(job: Job) -> bool:
    return job.ended is not None and job.ended.data.get("status") == "completed"


def _lost(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Losses in a row; a champion ends the row, but one that is taken back ended nothing."""
    lost: list[Entry] = []
    before: list[Entry] = []
    for entry in entries:
        step = entry.data.get("step") if entry.kind == ROLLOUT else None
        if step in PROMOTED:
            before, lost = lost, []
        elif step == "rolled_back":
            before, lost = [], [*before, *lost, entry]
        elif step == "refused" or _fails(entry):
            lost.append(entry)
    return tuple(lost)


def _fails(entry: Entry) -> bool:
    return entry.kind == GATE and entry.data.get("verdict", entry.data.get("kind")) == "refuse"
