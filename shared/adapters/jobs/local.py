"""Training jobs as supervised processes of this machine: a folder for each, `{root}/{name}`."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared.adapters.jobs.folder import ENDED, LOG, SUPERVISOR, JobFolder, LocalJob
from shared.core.retrain.job_spec import JOB_NAME, JobSpec, JobState
from shared.errors import ConfigError, ContractBroken, TransientFailure
from shared.ports import Clock

CODE = Path(__file__).resolve().parents[3]
WEBHOOK = "JOB_EVENTS_URL"  # in the supervisor's environment, as a webhook's address may carry its key
START_S = 60.0
LASTING = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG}  # until a person mends it
BUSY = 3  # exit code of a supervisor that found another one at work
logger = logging.getLogger(__name__)


def training_command(python: str, package: Path, spec: JobSpec, scenario: str = "") -> list[str]:
    """The command of a job; where the storage is, it reads from its environment, and its scenario perhaps by a path."""
    champion = ["--champion", spec.champion] if spec.champion else []
    return [
        *(python, "-m", "training", "--scenario", scenario or spec.scenario, "--lake", spec.dataset, *champion),
        *("--job", spec.name, "--publish", "--out", str(package)),
    ]


class LocalJobs:
    """Jobs of this machine. A job outlives the process that submitted it; a killed one is failed, never lost.

    Args:
        root: Folder of the jobs' folders.
        webhook: Where the event of each end is posted; empty: nowhere.
        clock: Wall time.
        grace_s: Seconds that it has for closing its MLflow run when it is asked to end.
        python: Interpreter with the packages of the training job.
        environment: Environment of supervisor and job: the storage settings among it.
        command: What a job runs, from its interpreter, package folder and specification.
    """

    def __init__(
        self,
        root: Path,
        webhook: str,
        clock: Clock,
        *,
        grace_s: float = 15.0,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        command: Callable[[str, Path, JobSpec], Sequence[str]] = training_command,
    ) -> None:
        self._root = root.absolute()
        self._webhook = webhook
        self._clock = clock
        self._grace_s = grace_s
        self._python = python
        self._environment = dict(os.environ if environment is None else environment)
        self._command = command

    def submit(self, spec: JobSpec) -> None:
        """Start a job; nothing happens when there is already one of that name.

        Raises:
            TransientFailure: The folder could not be written for now (a full disk).
            ConfigError: It can never be, or the supervisor cannot be started.
        """
        folder = self._folder(spec.name)
        job = LocalJob(
            spec=spec,
            command=list(self._command(self._python, folder.path / "package", spec)),
            timeout_s=spec.timeout_h * 3600,
            grace_s=self._grace_s,
            submitted_ms=self._clock.now_ms(),
        )
        try:
            JobFolder.create(folder.path, job)
        except OSError as error:
            kind = ConfigError if error.errno in LASTING else TransientFailure
            raise kind(f"local jobs: {folder.path}: {error.strerror or type(error).__name__}") from error
        # also when the folder was there: whoever made it may have died before it started the supervisor
        if self.status(spec.name) == "queued":
            self._supervise(folder)

    def status(self, name: str) -> JobState | None:
        """How a job stands, None when there is none of that name; one whose supervisor died has failed."""
        folder = self._known(name)
        if folder is None:
            return None
        try:
            found = folder.status()
            starting = found.state == "queued" and self._age_s(folder) < 2 * START_S
        except ContractBroken as error:
            logger.warning("%s: taken as failed", error)
            return "failed"
        if found.state in ENDED or starting or folder.is_held(SUPERVISOR):
            return found.state
        return folder.settle("its supervisor was killed, or the machine was restarted").state

    def cancel(self, name: str) -> None:
        """Ask a job to stop; nothing happens when it is unknown or has ended."""
        folder = self._known(name)
        if folder is not None and self.status(name) not in ENDED:
            folder.ask_to_cancel()

    def _folder(self, name: str) -> JobFolder:
        return JobFolder(self._root / name)

    def _known(self, name: str) -> JobFolder | None:
        folder = self._folder(name) if JOB_NAME.fullmatch(name) else None
        return folder if folder is not None and folder.exists() else None

    def _age_s(self, folder: JobFolder) -> float:
        return (self._clock.now_ms() - folder.job().submitted_ms) / 1000

    def _supervise(self, folder: JobFolder) -> None:
        """Start the supervisor, which returns once it holds its lock and goes on in the background."""
        environment = self._environment | {WEBHOOK: self._webhook}
        with (folder.path / LOG).open("ab") as log:
            try:
                done = subprocess.run(  # noqa: S603 - ourselves
                    [self._python, "-m", "training.supervise", str(folder.path)],
                    cwd=CODE,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    timeout=START_S,
                    check=False,
                )
            except OSError as error:
                folder.settle(f"{self._python}: {error.strerror}")
                raise ConfigError(f"local jobs: python {self._python!r} cannot be started: {error.strerror}") from error
            except subprocess.TimeoutExpired as error:
                raise TransientFailure(f"local jobs: {folder.path}: no supervisor within {START_S:g} s") from error
        if done.returncode not in {0, BUSY}:
            folder.settle(f"the supervisor ended with exit code {done.returncode}")
            raise ConfigError(f"local jobs: supervisor of {folder.path.name}: exit code {done.returncode}, see {LOG}")
