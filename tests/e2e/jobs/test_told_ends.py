"""Events of a job's end against real processes: told early, late, five times, forged, and by another scenario."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.jobs.folder import SUPERVISOR, JobFolder
from shared.adapters.jobs.local import LocalJobs
from shared.adapters.stores.clock import WallClock
from shared.core.retrain.job_events import CHANGED, COMPLETED
from tests.e2e.jobs.test_local_jobs import until
from tests.flow.loop.test_completion import World2, evidence
from tests.flow.loop.test_loop import Looped, ended

WAITS = "import pathlib, time\nwhile not pathlib.Path({go!r}).exists(): time.sleep(0.02)\n"
FORGED: list[tuple[str, dict[str, Any]]] = [
    (COMPLETED, {}),
    (CHANGED, {"runStatus": "Failed"}),
    (CHANGED, {"runStatus": "Canceled"}),
    (COMPLETED, {"topic": "local/water"}),
    (COMPLETED, {"experimentName": "water"}),
    (COMPLETED, {"runId": "air_quality-000999"}),
]


class Running:
    """A loop whose job is a process that waits for `go`, and then does what it was made for."""

    def __init__(self, folder: Path, then: str) -> None:
        self.go = folder / "go"
        code = WAITS.format(go=str(self.go)) + then
        jobs = LocalJobs(
            folder / "jobs", "", WallClock(), environment=os.environ, command=lambda python, *_: [python, "-c", code]
        )
        self.looped = Looped(folder / "lake", World2(size=None, jobs=jobs))
        self.world, self.jobs = self.looped.world, jobs
        self.folder = JobFolder(folder / "jobs" / self.world.job)

    def finish(self) -> None:
        """Let the process go on, until its supervisor has written down how it ended."""
        self.go.touch()
        until(lambda: not self.folder.is_held(SUPERVISOR), "the job does not end")

    def told(self, name: str) -> list[Any]:
        return [each[name] for each in self.world.entries("job_ended")]


@pytest.fixture
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    made = Running(tmp_path, request.param)
    yield made
    made.jobs.cancel(made.world.job)
    made.finish()


@pytest.mark.parametrize("running", ["print('trained')"], indirect=True)
def test_nothing_that_is_told_of_a_running_process_ends_it_and_its_real_end_counts_once(running: Running) -> None:
    for kind, data in FORGED * 5:
        assert not ended(running.looped, kind, **data)
    running.looped.loop().watch_jobs()
    assert running.told("status") == []
    assert running.jobs.status(running.world.job) == "running"
    running.world.leave(evidence(0.8))
    running.finish()
    assert [ended(running.looped, kind, **data) for kind, data in FORGED] == [True, True, True, False, False, False]
    running.looped.loop().watch_jobs()
    assert running.told("status") == ["completed"]
    assert [each["kind"] for each in running.world.entries("gate")] == ["promote"]
    assert running.world.served == ("v1", "v2")


@pytest.mark.parametrize("running", ["import os; os.abort()"], indirect=True)
def test_a_process_that_aborts_when_all_its_work_is_done_has_completed(running: Running) -> None:
    running.world.leave(evidence(0.8), finished_ms=running.world.clock.ms)
    running.finish()
    assert running.jobs.status(running.world.job) == "failed"
    assert ended(running.looped, CHANGED, runStatus="Failed")
    assert running.told("status") == ["completed"]
    assert running.told("why") == ["it left its result, and then: its process failed"]
    assert running.world.served == ("v1", "v2")


@pytest.mark.parametrize("running", ["raise SystemExit(1)"], indirect=True)
def test_a_success_that_is_told_of_a_process_that_failed_is_a_failure(running: Running) -> None:
    running.finish()
    assert ended(running.looped)
    assert running.told("status") == ["failed"]
    assert running.world.entries("gate") == []
