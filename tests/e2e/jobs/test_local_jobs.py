"""Local jobs with real processes: every end is written down and told, also those that nobody planned."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.adapters.jobs import local
from shared.adapters.jobs.folder import CHILD, SUPERVISOR, JobFolder, LocalJob
from shared.adapters.jobs.local import LocalJobs
from shared.adapters.stores.clock import WallClock
from shared.core.retrain.job_spec import JobSpec
from shared.errors import ConfigError, TransientFailure
from tests.e2e.jobs.job_webhook import Webhook, webhook

SPEC = JobSpec(
    name="air_quality-000007", scenario="air_quality", reason="drift", dataset="lake@12", tags={"position": "7"}
)
OK = "print('trained')"
HANG = "import time; time.sleep(600)"
# ends politely never, and has a process of its own in its group
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open('{seen}', 'w').write(str(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid))
time.sleep(600)
"""
DEADLINE_S = 30.0


@dataclass
class HandClock:
    """Wall time, moved by hand."""

    ms: int = field(default_factory=lambda: WallClock().now_ms())

    def now_ms(self) -> int:
        return self.ms

    def elapsed_s(self) -> float:
        return self.ms / 1000


@dataclass
class World:
    """A root folder with jobs, and a webhook."""

    root: Path
    hook: Webhook
    clock: HandClock = field(default_factory=HandClock)

    def jobs(self, code: str, url: str | None = None, **environment: str) -> LocalJobs:
        return LocalJobs(
            self.root,
            self.hook.url if url is None else url,
            self.clock,
            grace_s=0.3,
            environment={**os.environ, **environment},
            command=lambda python, _package, _spec: [python, "-c", code],
        )

    @property
    def folder(self) -> JobFolder:
        return JobFolder(self.root / SPEC.name)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder.path / "status.json").read_text())
        return found

    def event(self) -> dict[str, Any]:
        (found,) = self.hook.accepted()[1]
        assert isinstance(found, dict)
        return found

    def until_running(self) -> int:
        """Wait until the job has a process; its id."""
        until(lambda: self.status()["group"] > 0, "no process")
        return int(self.status()["group"])

    def supervisor(self) -> int:
        """Process id of the supervisor."""
        return int((self.folder.path / SUPERVISOR).read_text())


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with webhook() as hook:
        made = World(tmp_path / "jobs", hook)
        yield made
        if made.folder.exists():
            made.folder.ask_to_cancel()
            until(lambda: not made.folder.is_held(SUPERVISOR), "a supervisor is left over")


def test_a_job_that_succeeds_is_completed_and_told_as_azure_machine_learning_tells_it(world: World) -> None:
    jobs = world.jobs(OK)
    jobs.submit(SPEC)
    headers, (event,) = world.hook.accepted()
    assert headers["aeg-event-type"] == "Notification"
    assert event["eventType"] == "Microsoft.MachineLearningServices.RunCompleted"
    assert {"id", "topic", "subject", "eventType", "eventTime", "data", "dataVersion", "metadataVersion"} == set(event)
    assert event["data"] == {
        "experimentId": "air_quality",
        "experimentName": "air_quality",
        "runId": SPEC.name,
        "runType": "local",
        "runTags": {"position": "7", "reason": "drift", "dataset": "lake@12"},
        "runProperties": {"reason": "exit code 0"},
        "runStatus": "Completed",
    }
    assert jobs.status(SPEC.name) == "completed"
    assert "trained" in (world.folder.path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(1)", "exit code 1"),
        ("import os; os.kill(os.getpid(), 9)", "ended by signal 9 (SIGKILL)"),
        ("import os; os.abort()", "ended by signal 6 (SIGABRT)"),
    ],
)
def test_a_job_that_fails_is_told_with_its_reason(world: World, code: str, reason: str) -> None:
    jobs = world.jobs(code)
    jobs.submit(SPEC)
    event = world.event()
    assert event["eventType"] == "Microsoft.MachineLearningServices.RunStatusChanged"
    assert event["data"]["runStatus"] == "Failed"
    assert event["data"]["runProperties"]["reason"] == reason
    assert jobs.status(SPEC.name) == "failed"


def test_a_job_that_hangs_is_ended_when_its_time_is_over(world: World) -> None:
    jobs = world.jobs(HANG)
    jobs.submit(msgspec.structs.replace(SPEC, timeout_h=0.18 / 3600))
    assert world.event()["data"]["runProperties"]["reason"] == "ran longer than 0.18 s"
    assert jobs.status(SPEC.name) == "failed"
    assert gone(world.status()["group"])


def test_a_cancelled_job_ends_with_all_its_processes(world: World, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    jobs = world.jobs("import signal; signal.signal(signal.SIGTERM, signal.SIG_DFL)\n" + STUBBORN.format(seen=seen))
    jobs.submit(SPEC)
    until(lambda: seen.exists() and bool(seen.read_text()), "the job did not begin")
    inner, group = int(seen.read_text()), world.until_running()
    jobs.cancel(SPEC.name)
    event = world.event()
    assert event["data"]["runStatus"] == "Canceled"
    assert event["eventType"].endswith("RunStatusChanged")
    assert jobs.status(SPEC.name) == "canceled"
    until(lambda: gone(inner) and gone(group), "a process of the job is left over")


def test_what_a_finished_job_left_running_is_ended(world: World, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    world.jobs(STUBBORN.format(seen=seen).replace("time.sleep(600)\n", "", 1)).submit(SPEC)
    assert world.event()["data"]["runStatus"] == "Completed"
    until(lambda: gone(int(seen.read_text())), "a process of the job is left over")


def test_a_supervisor_that_is_asked_to_stop_ends_its_job_and_says_so(world: World) -> None:
    jobs = world.jobs(HANG)
    jobs.submit(SPEC)
    group = world.until_running()
    os.kill(world.supervisor(), signal.SIGTERM)
    event = world.event()
    assert event["data"]["runStatus"] == "Failed"
    assert "signal 15" in event["data"]["runProperties"]["reason"]
    assert gone(group)
    assert jobs.status(SPEC.name) == "failed"


def test_a_killed_supervisor_is_noticed_and_its_job_is_ended_too(world: World) -> None:
    jobs = world.jobs(HANG)
    jobs.submit(SPEC)
    group = world.until_running()
    os.kill(world.supervisor(), signal.SIGKILL)
    until(lambda: jobs.status(SPEC.name) == "failed", "nobody noticed")
    until(lambda: gone(group), "the orphan goes on")
    assert "killed" in world.status()["reason"]
    assert not world.folder.is_held(CHILD)
    jobs.submit(SPEC)
    assert jobs.status(SPEC.name) == "failed", "a job that ended is not started again"


def test_after_a_restart_of_the_machine_a_running_job_has_failed_and_no_stranger_is_killed(world: World) -> None:
    """The locks are gone with the machine; the process id of then belongs to somebody else now."""
    jobs = world.jobs(OK)
    jobs.submit(SPEC)
    world.event()
    until(lambda: not world.folder.is_held(SUPERVISOR), "the supervisor does not end")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as stranger:
        status = world.folder.path / "status.json"
        status.write_text(json.dumps({"state": "running", "group": stranger.pid}))
        assert jobs.status(SPEC.name) == "failed"
        assert json.loads(status.read_text())["state"] == "failed"
        stranger.communicate(b"\n")
    assert stranger.returncode == 0


def test_the_webhook_may_be_down_for_a_while(tmp_path: Path) -> None:
    with webhook(503, 500) as hook:
        world = World(tmp_path, hook)
        world.jobs(OK).submit(SPEC)
        world.event()
        assert hook.answers == [503, 500, 202]
        until(lambda: world.status()["reported"], "the delivery is not written down")


def test_a_supervisor_whose_webhook_is_gone_can_be_asked_to_stop(world: World) -> None:
    jobs = world.jobs("raise SystemExit(1)", url="http://127.0.0.1:1/")
    jobs.submit(SPEC)
    until(lambda: jobs.status(SPEC.name) == "failed", "the end does not wait for the webhook")
    assert not world.status()["reported"]
    log = world.folder.path / "log.txt"
    until(lambda: "event not accepted" in log.read_text(), "no attempt")
    os.kill(world.supervisor(), signal.SIGTERM)
    until(lambda: not world.folder.is_held(SUPERVISOR), "it does not stop")


def test_a_second_submit_of_a_name_starts_nothing(world: World, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    jobs = world.jobs(f"open({str(starts)!r}, 'a').write('x')")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(jobs.submit, [SPEC] * 3))
    world.event()
    jobs.submit(SPEC)
    until(lambda: not world.folder.is_held(SUPERVISOR), "the supervisor does not end")
    assert starts.read_text() == "x"


def test_a_submit_that_died_before_it_started_the_supervisor_is_made_up_for(world: World) -> None:
    job = LocalJob(
        spec=SPEC, command=[sys.executable, "-c", OK], timeout_s=60.0, grace_s=1.0, submitted_ms=world.clock.now_ms()
    )
    assert JobFolder.create(world.folder.path, job)
    jobs = world.jobs(OK)
    assert jobs.status(SPEC.name) == "queued"
    jobs.submit(SPEC)
    assert world.event()["data"]["runStatus"] == "Completed"


def test_a_job_that_nobody_ever_supervised_fails_after_two_minutes(world: World) -> None:
    job = LocalJob(spec=SPEC, command=["x"], timeout_s=60.0, grace_s=1.0, submitted_ms=world.clock.now_ms())
    assert JobFolder.create(world.folder.path, job)
    jobs = world.jobs(OK)
    world.clock.ms += 119_000
    assert jobs.status(SPEC.name) == "queued"
    world.clock.ms += 2_000
    assert jobs.status(SPEC.name) == "failed"


def test_settings_and_keys_travel_in_the_environment_and_are_written_nowhere(world: World) -> None:
    probe = "import os; assert len(os.environ['BLOBS']) == 19; assert 'JOB_EVENTS_URL' not in os.environ"
    world.jobs(probe, BLOBS="AccountKey=c2VjcmV0").submit(SPEC)
    assert world.event()["data"]["runStatus"] == "Completed"
    for path in world.folder.path.iterdir():
        assert "c2VjcmV0" not in path.read_text(), path
        assert "k3y" not in path.read_text(), path


def test_a_command_that_does_not_exist_fails_with_its_name(world: World) -> None:
    jobs = LocalJobs(world.root, world.hook.url, world.clock, command=lambda *_: ["/no/such/program"])
    jobs.submit(SPEC)
    assert "/no/such/program" in world.event()["data"]["runProperties"]["reason"]
    assert jobs.status(SPEC.name) == "failed"


def test_an_interpreter_that_does_not_exist_is_a_configuration_error_and_a_failed_job(world: World) -> None:
    jobs = LocalJobs(world.root, "", world.clock, python="/no/such/python")
    with pytest.raises(ConfigError, match="/no/such/python"):
        jobs.submit(SPEC)
    assert jobs.status(SPEC.name) == "failed"


def test_a_folder_that_can_never_be_written_is_a_configuration_error(world: World, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(ConfigError, match="file"):
        LocalJobs(blocked / "jobs", "", world.clock).submit(SPEC)


def test_a_folder_that_cannot_be_written_for_now_is_transient_and_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(TransientFailure, match="No space left"):
        world.jobs(OK).submit(SPEC)
    assert world.jobs(OK).status(SPEC.name) is None


@pytest.mark.parametrize("file", ["status.json", "job.json"])
def test_a_damaged_folder_is_a_failed_job(world: World, file: str) -> None:
    job = LocalJob(spec=SPEC, command=["x"], timeout_s=60.0, grace_s=1.0, submitted_ms=world.clock.now_ms())
    JobFolder.create(world.folder.path, job)
    (world.folder.path / file).write_text('{"state": ')
    jobs = world.jobs(OK)
    assert jobs.status(SPEC.name) == "failed"
    jobs.submit(SPEC)
    assert jobs.status(SPEC.name) == "failed"


def test_the_command_is_the_training_job_with_everything_it_needs() -> None:
    spec = JobSpec(name="s-000001", scenario="s", reason="drift", dataset="lake@3", champion="v1")
    assert local.training_command("py", Path("out"), spec) == [
        *("py", "-m", "training", "--scenario", "s", "--lake", "lake@3", "--champion", "v1"),
        *("--job", "s-000001", "--publish", "--out", "out"),
    ]
    assert "--champion" not in local.training_command("py", Path("out"), SPEC)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "-a", ".a", "x" * 256, "a\n"])
def test_a_name_that_could_leave_the_folder_is_refused(world: World, name: str) -> None:
    with pytest.raises(ConfigError, match="job name"):
        JobSpec(name=name, scenario="s", reason="drift", dataset="lake@3")
    jobs = world.jobs(OK)
    assert jobs.status(name) is None
    jobs.cancel(name)
    assert not world.root.exists()
