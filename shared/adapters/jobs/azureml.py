"""Training jobs in an Azure Machine Learning workspace, through azure-ai-ml.

A job is a command job with the command, code and environment of a component that was registered before
(`make register`): submitting reads that component once and uploads nothing. It is not a pipeline with that component
as its only step, because then the run that trains would be a child with a name of its own, and events, MLflow and
`cancel` would each mean a different one of the two.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from shared.adapters.models.azureml_client import Workspace, name_and_version
from shared.adapters.models.azureml_errors import is_place, translated
from shared.core.retrain.job_spec import JOB_NAME, JobSpec, JobState

STATES: Mapping[str, JobState] = {
    "NotStarted": "queued",
    "Starting": "queued",
    "Provisioning": "queued",
    "Preparing": "queued",
    "Queued": "queued",
    "Paused": "queued",
    "Running": "running",
    "Finalizing": "running",
    "CancelRequested": "running",
    "NotResponding": "running",  # it may come back; that it took too long is the ledger's to say
    "Unknown": "running",
    "Completed": "completed",
    "Failed": "failed",
    "Canceled": "canceled",
}
OPEN = ("queued", "running")
PASSED = ("BLOBS__blobServiceUri", "MLFLOW_TRACKING_URI")  # no secrets: a job uses an identity of its own
NO_CHAMPION = "none"  # the value of an input may not be empty
logger = logging.getLogger(__name__)


class AzureMlJobs:
    """Jobs of one workspace.

    Args:
        workspace: The workspace.
        compute: Name of the compute cluster.
        component: Registered component, `name:version`.
        environment: Environment variables of a job; None: those of `PASSED` that the application has.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        compute: str,
        component: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._workspace = workspace
        self._compute = compute
        self._registered_as = name_and_version("AZUREML_COMPONENT", component)
        passed = {name: os.environ[name] for name in PASSED if name in os.environ}
        self._environment = passed if environment is None else dict(environment)
        self._component: Any = None

    def submit(self, spec: JobSpec) -> None:
        """Start a job; nothing happens when there is already one of that name.

        Raises:
            TransientFailure: The workspace does not answer for now.
            ConfigError: It refuses: identity, workspace, component, compute or the job itself.
        """
        if self._status(spec.name) is not None:
            return
        from azure.core.exceptions import HttpResponseError

        with translated(f"submit {spec.name}", "AZUREML_COMPUTE"):
            job = self._job(spec)
            try:
                self._workspace.client.jobs.create_or_update(job)
            except HttpResponseError as error:
                # two at once: the later one looks like a change of a job, which is refused
                if error.status_code not in {400, 409, 412} or self._status(spec.name) is None:
                    raise

    def status(self, name: str) -> JobState | None:
        """How a job stands, None when there is none of that name."""
        found = self._status(name) if JOB_NAME.fullmatch(name) else None
        if found is None:
            return None
        if found not in STATES:
            logger.warning("job %s: unknown status %r, taken as running", name, found[:40])
        return STATES.get(found, "running")

    def cancel(self, name: str) -> None:
        """Ask a job to stop; nothing happens when it is unknown or has ended."""
        if self.status(name) not in OPEN:
            return
        from azure.core.exceptions import HttpResponseError

        with translated(f"cancel {name}", "AZUREML_WORKSPACE"):
            try:
                self._workspace.client.jobs.begin_cancel(name, polling=False)
            except HttpResponseError as error:
                # it may have ended in between
                if error.status_code not in {400, 404, 409} or self.status(name) in OPEN:
                    raise

    def _status(self, name: str) -> str | None:
        from azure.core.exceptions import ResourceNotFoundError

        with translated(f"status of {name}", "AZUREML_WORKSPACE"):
            try:
                found = self._workspace.client.jobs.get(name).status
            except ResourceNotFoundError as error:
                if is_place(error):
                    raise
                return None
        return str(getattr(found, "value", found))

    def _job(self, spec: JobSpec) -> Any:
        from azure.ai.ml.entities import ManagedIdentityConfiguration

        component = self._registered()
        job = component(
            scenario=spec.scenario, dataset=spec.dataset, champion=spec.champion or NO_CHAMPION, job=spec.name
        )
        job.name = spec.name
        job.display_name = f"{spec.scenario}: {spec.reason}"
        job.experiment_name = spec.scenario
        job.environment = component.environment
        job.compute = self._compute
        job.identity = ManagedIdentityConfiguration()
        job.environment_variables = dict(self._environment)
        job.tags = {
            **spec.tags,
            "reason": spec.reason,
            "dataset": spec.dataset,
            "component": ":".join(self._registered_as),
        }
        job.set_limits(timeout=round(spec.timeout_h * 3600))
        return job

    def _registered(self) -> Any:
        """The component, read once: a registered version never changes."""
        if self._component is None:
            with translated(f"component {':'.join(self._registered_as)}", "AZUREML_COMPONENT"):
                self._component = self._workspace.client.components.get(*self._registered_as)
        return self._component
