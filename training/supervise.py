"""`python -m training.supervise FOLDER`: runs one local job, and tells its end whatever the end was.

It returns as soon as it holds the job's lock, and goes on in the background as a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import msgspec

from shared.adapters.jobs.folder import CHILD, LOG, SUPERVISOR, JobFolder, LocalJob, LocalStatus
from shared.adapters.jobs.local import BUSY, CODE, WEBHOOK
from shared.adapters.processes import ALL_ENDS, SYSTEM
from shared.core.retrain.job_spec import JobState
from shared.errors import PipelineError
from training import job_event

POLL_S = 0.1
PATIENCE_S, STOPPED_PATIENCE_S = 900.0, 2.0  # for a webhook that is down; when this machine is to stop
LOCK_TRIES = 50  # a look at a lock holds it for an instant


class Supervisor:
    """One job's life, from its start to the event of its end.

    Args:
        folder: The job's folder, whose supervisor's lock is held.
        job: What was asked.
    """

    def __init__(self, folder: JobFolder, job: LocalJob) -> None:
        self._folder = folder
        self._job = job
        self._stopped_by = 0

    def run(self) -> LocalStatus:
        """Run the job to its end and write that down."""
        (self._folder.path / SUPERVISOR).write_text(f"{os.getpid()}\n")  # for people
        for number in ALL_ENDS:
            signal.signal(number, self._stop)
        try:
            ended = self._run()
        except Exception as error:  # noqa: BLE001 - whatever it was, the end is reported
            ended = LocalStatus(state="failed", reason=f"supervisor: {type(error).__name__}: {error}")
        self._folder.set_status(ended)
        say(f"{self._job.spec.name} {ended.state}: {ended.reason}")
        return ended

    def report(self, ended: LocalStatus, url: str) -> None:
        """Post the event of the end, and write down that it was accepted."""
        if not url.startswith(("http://", "https://")):
            say("no webhook: nobody is told of the end")
            return
        event = job_event.event(self._job.spec, ended.state, ended.reason)
        begun = time.monotonic()

        def pause(seconds: float) -> bool:
            until = time.monotonic() + seconds
            while (now := time.monotonic()) < until and self._in_patience(now - begun):
                time.sleep(POLL_S)
            return self._in_patience(now - begun)

        if job_event.post(url, [event], pause=pause, say=say):
            self._folder.set_status(msgspec.structs.replace(ended, reported=True))

    def _run(self) -> LocalStatus:
        if self._folder.cancel_asked():
            return LocalStatus(state="canceled", reason="canceled before it began")
        self._folder.set_status(LocalStatus(state="running"))
        with self._folder.held(CHILD) as lock:
            if lock is None:
                return LocalStatus(state="failed", reason=f"{CHILD} is held by another process")
            try:
                child = self._start(lock)
            except OSError as error:
                return LocalStatus(state="failed", reason=f"{self._job.command[0]}: {error.strerror}")
        try:
            self._folder.set_status(LocalStatus(state="running", group=child.pid))
            state, reason = self._wait(child)
        finally:
            self._end_group(child)
        code = child.wait()
        return LocalStatus(state=state, reason=reason or _described(code), exit_code=code, group=child.pid)

    def _start(self, lock: int) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name != WEBHOOK}
        with (self._folder.path / LOG).open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the command of the job
                self._job.command,
                cwd=CODE,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **SYSTEM.apart(lock),
            )

    def _wait(self, child: subprocess.Popen[bytes]) -> tuple[JobState, str]:
        deadline = time.monotonic() + self._job.timeout_s
        while child.poll() is None:
            if self._stopped_by:
                return "failed", f"the supervisor was ended by signal {self._stopped_by}"
            if self._folder.cancel_asked():
                return "canceled", "canceled"
            if time.monotonic() > deadline:
                return "failed", f"ran longer than {self._job.timeout_s:g} s"
            time.sleep(POLL_S)
        return ("completed" if child.returncode == 0 else "failed"), ""

    def _end_group(self, child: subprocess.Popen[bytes]) -> None:
        """End whatever the job left running. Its group's id stays its own as long as one of the group lives."""
        if child.poll() is None:
            SYSTEM.end_group(child.pid, at_once=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(self._job.grace_s)
        SYSTEM.end_group(child.pid, at_once=True)

    def _in_patience(self, waited_s: float) -> bool:
        return waited_s < (STOPPED_PATIENCE_S if self._stopped_by else PATIENCE_S)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopped_by = number


def main(arguments: list[str]) -> int:
    """Supervise the job of a folder; returns 3 when it has a supervisor already, or has ended."""
    folder = JobFolder(Path(arguments[0]))
    with contextlib.ExitStack() as stack:
        if not _lock(folder, stack):
            return BUSY
        try:
            job, status = folder.job(), folder.status()
        except PipelineError as error:
            say(str(error))
            return 1
        if status.state != "queued":
            return BUSY
        SYSTEM.go_on_alone()
        supervisor = Supervisor(folder, job)
        supervisor.report(supervisor.run(), os.environ.get(WEBHOOK, ""))
    return 0


def say(text: str) -> None:
    """Tell the job's log."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"supervisor: {text}\n")
        sys.stderr.flush()


def _lock(folder: JobFolder, stack: contextlib.ExitStack) -> bool:
    for _ in range(LOCK_TRIES):
        attempt = contextlib.ExitStack()
        if attempt.enter_context(folder.held(SUPERVISOR)) is not None:
            stack.push(attempt)
            return True
        attempt.close()
        time.sleep(POLL_S / 5)
    return False


def _described(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"ended by signal {-code} ({signal.Signals(-code).name})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
