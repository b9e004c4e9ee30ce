"""What stands in where no place for training jobs, no registry or no online endpoint is configured."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from shared.core.retrain.job_spec import JobSpec, JobState
from shared.errors import ConfigError

log = logging.getLogger(__name__)


class NoJobs:
    """There is no place for jobs: a decision to train stays in the ledger until there is one."""

    def submit(self, spec: JobSpec) -> None:
        """Refuse.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{spec.name} cannot be started: JOBS is none, set it to local or azureml")

    def status(self, _name: str) -> JobState | None:
        """No job is known."""
        return None

    def cancel(self, _name: str) -> None:
        """Nothing to stop."""


class NoRegistry:
    """Versions are entered nowhere but in the ledger."""

    def register(self, _version: str, _run_id: str, _tags: Mapping[str, str]) -> str:
        """No number."""
        return ""

    def tag(self, version: str, status: str) -> None:
        """Only logged."""
        log.info("%s: %s", version, status)

    def marks(self) -> dict[str, str]:
        """None."""
        return {}

    def keep(self, _run_id: str, _folder: str, _files: Mapping[str, bytes]) -> None:
        """They stand among the reports."""


class NoEndpoint:
    """The models answer in the streams alone."""

    def show(self, _champion: str, _challenger: str | None, _share: float) -> None:
        """Nothing to bring anywhere."""
