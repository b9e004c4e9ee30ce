"""What every place for jobs must do: in memory, as local processes, and Azure ML's client against the stand-in."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.adapters.jobs.folder import SUPERVISOR, JobFolder
from shared.adapters.jobs.local import LocalJobs
from shared.adapters.stores.clock import WallClock
from shared.core.retrain.job_spec import JobSpec
from shared.ports import Jobs
from tests.contract.jobs.test_azureml_jobs import adapter
from tests.kit import MemoryJobs
from tests.kit.arm.standin import serving

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # azure-ai-ml's, of its own dependencies
SPEC = JobSpec(name="air_quality-000001", scenario="air_quality", reason="manual", dataset="lake@1")
HANG = "import time; time.sleep(600)"


@pytest.fixture(params=["memory", "local", "azureml"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    if request.param == "memory":
        yield MemoryJobs()
    elif request.param == "azureml":
        monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "AzureCloud")  # the client writes it: put back at the end
        with serving(tmp_path) as arm:
            arm.register("airloop_training", "3")
            yield adapter(arm)
            assert arm.problems == []
    else:
        local = LocalJobs(
            tmp_path, "", WallClock(), environment=os.environ, command=lambda python, *_: [python, "-c", HANG]
        )
        yield local
        local.cancel(SPEC.name)
        folder = JobFolder(tmp_path / SPEC.name)
        if folder.exists():
            until(lambda: not folder.is_held(SUPERVISOR))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_unknown_job_has_no_state_and_can_be_cancelled_in_vain(jobs: Jobs) -> None:
    assert jobs.status(SPEC.name) is None
    jobs.cancel(SPEC.name)
    assert jobs.status(SPEC.name) is None


def test_a_submitted_job_is_open(jobs: Jobs) -> None:
    jobs.submit(SPEC)
    assert jobs.status(SPEC.name) in {"queued", "running"}
    assert jobs.status("air_quality-000002") is None


def test_submitting_twice_is_submitting_once(jobs: Jobs) -> None:
    jobs.submit(SPEC)
    jobs.submit(SPEC)
    jobs.cancel(SPEC.name)
    until(lambda: jobs.status(SPEC.name) == "canceled")
    jobs.submit(SPEC)
    assert jobs.status(SPEC.name) == "canceled", "an ended job does not begin again"


def test_a_cancelled_job_ends_as_such_and_cancelling_again_changes_nothing(jobs: Jobs) -> None:
    jobs.submit(SPEC)
    jobs.cancel(SPEC.name)
    jobs.cancel(SPEC.name)
    until(lambda: jobs.status(SPEC.name) == "canceled")
    jobs.cancel(SPEC.name)
    assert jobs.status(SPEC.name) == "canceled"
