"""The folder of a local job: what was asked, how it stands, and who lives.

Whether the supervisor and the job live is known by file locks, not by process ids: the kernel drops a lock when its
holder is gone, however it went, also with the whole machine, and no later process can take it over by chance.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from shared.adapters.processes import SYSTEM
from shared.core.retrain.job_spec import JobSpec, JobState
from shared.errors import ContractBroken

Known = TypeVar("Known")
ENDED = ("completed", "failed", "canceled")
JOB, STATUS, LOG, CANCEL = "job.json", "status.json", "log.txt", "cancel"
SUPERVISOR, CHILD = "supervisor.lock", "child.lock"


class LocalJob(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked.

    Args:
        spec: The job.
        command: Program and arguments; no secret, those travel in the environment.
        timeout_s: Seconds it may run.
        grace_s: Seconds it has for ending when it is asked to.
        submitted_ms: When it was submitted, milliseconds since 1970.
    """

    spec: JobSpec
    command: list[str]
    timeout_s: float
    grace_s: float
    submitted_ms: int


class LocalStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands.

    Args:
        state: Its state.
        reason: Why it ended as it did, for people.
        exit_code: Of the command; negative: the signal that ended it; None: unknown.
        group: Its process group, 0 while there is none.
        reported: Whether the event of its end was accepted.
    """

    state: JobState
    reason: str = ""
    exit_code: int | None = None
    group: int = 0
    reported: bool = False


class JobFolder:
    """One job's folder.

    Args:
        path: The folder, `{root}/{name}`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, job: LocalJob) -> bool:
        """Make the folder with all its files in one step; False when there is already one of that name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
        made = cls(hidden)
        try:
            made._write(JOB, msgspec.json.encode(job))
            made.set_status(LocalStatus(state="queued"))
            for name in (SUPERVISOR, CHILD, LOG):
                (hidden / name).touch()
            hidden.rename(path)
        except OSError:
            shutil.rmtree(hidden, ignore_errors=True)
            if path.is_dir():
                return False
            raise
        return True

    def exists(self) -> bool:
        """Whether there is such a job."""
        return self.path.is_dir()

    def job(self) -> LocalJob:
        """What was asked.

        Raises:
            ContractBroken: The file is missing or damaged.
        """
        return self._read(JOB, LocalJob)

    def status(self) -> LocalStatus:
        """How it stands, according to its file.

        Raises:
            ContractBroken: The file is missing or damaged.
        """
        return self._read(STATUS, LocalStatus)

    def set_status(self, status: LocalStatus) -> None:
        """Replace the status, in one step."""
        self._write(STATUS, msgspec.json.encode(status))

    def ask_to_cancel(self) -> None:
        """Leave word for the supervisor."""
        (self.path / CANCEL).touch()

    def cancel_asked(self) -> bool:
        """Whether somebody asked to cancel."""
        return (self.path / CANCEL).exists()

    @contextmanager
    def held(self, lock: str) -> Iterator[int | None]:
        """Hold a lock while the block runs: its file descriptor, None when somebody else has it."""
        descriptor = os.open(self.path / lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield descriptor if SYSTEM.lock(descriptor) else None
        finally:
            os.close(descriptor)

    def is_held(self, lock: str) -> bool:
        """Whether the holder of a lock lives."""
        with self.held(lock) as descriptor:
            return descriptor is None

    def settle(self, reason: str) -> LocalStatus:
        """Write down that a job without a supervisor has failed, and end what is left of it.

        A supervisor that came to life meanwhile goes on, and an end that it wrote stays.
        """
        with self.held(SUPERVISOR) as descriptor:
            found = self._status_or_failed()
            if descriptor is None or found.state in ENDED:
                return found
            if found.group > 1 and self.is_held(CHILD):  # the lock proves that the group is still the job's
                SYSTEM.end_group(found.group, at_once=True)
            ended = LocalStatus(state="failed", reason=reason, group=found.group)
            self.set_status(ended)
            return ended

    def _status_or_failed(self) -> LocalStatus:
        try:
            return self.status()
        except ContractBroken as error:
            return LocalStatus(state="failed", reason=str(error))

    def _read(self, name: str, kind: type[Known]) -> Known:
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except (OSError, msgspec.MsgspecError) as error:
            raise ContractBroken(f"local job {self.path.name}: {name}: {error}") from error

    def _write(self, name: str, data: bytes) -> None:
        handle, hidden = tempfile.mkstemp(prefix=f".{name}-", dir=self.path)
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        Path(hidden).replace(self.path / name)
