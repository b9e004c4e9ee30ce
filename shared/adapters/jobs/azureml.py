"""Training jobs in an Azure Machine Learning workspace, through azure-ai-ml.

A job is a command job with the command, code and environment of a component that was registered before
(`make register`): submitting reads that component once and uploads nothing. It is not a pipeline with that component
as its only step, because then the run that trains would be a child with a name of its own, and events, MLflow and
`cancel` would each mean a different one of the two.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.adapters.models.azureml_client import connect
from shared.adapters.models.azureml_errors import is_place, translated
from shared.errors import ConfigError
from shared.ports import JOB_NAME, JobSpec, JobState

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

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
NO_CHAMPION = "none"  # the value of an input may not be empty
logger = logging.getLogger(__name__)


class AzureMlJobs:
    """Jobs of one workspace.

    Args:
        subscription: Id of the subscription.
        resource_group: Name of the resource group.
        workspace: Name of the workspace.
        compute: Name of the compute cluster.
        component: Registered component, `name:version`.
        environment: Environment variables of a job: where the storage is, no secrets.
        timeout_s: Seconds that a job may run.
        credential: Identity, None for the app's own.
        options: Further options of the client: another cloud, retries, certificates.
    """

    def __init__(
        self,
        subscription: str,
        resource_group: str,
        workspace: str,
        *,
        compute: str,
        component: str,
        environment: Mapping[str, str],
        timeout_s: int = 6 * 3600,
        credential: TokenCredential | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        name, _, version = component.partition(":")
        if not name or not version:
            raise ConfigError(f"AZUREML_COMPONENT: {component[:80]!r} is not of the form name:version")
        self._scope = (subscription, resource_group, workspace)
        self._compute = compute
        self._named = (name, version)
        self._environment = dict(environment)
        self._timeout_s = timeout_s
        self._credential = credential
        self._options = options
        self._lock = threading.Lock()
        self._client: Any = None
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
                self._connected().jobs.create_or_update(job)
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
                self._connected().jobs.begin_cancel(name, polling=False)
            except HttpResponseError as error:
                # it may have ended in between
                if error.status_code not in {400, 404, 409} or self.status(name) in OPEN:
                    raise

    def _status(self, name: str) -> str | None:
        from azure.core.exceptions import ResourceNotFoundError

        with translated(f"status of {name}", "AZUREML_WORKSPACE"):
            try:
                found = self._connected().jobs.get(name).status
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
        job.tags = {**spec.tags, "reason": spec.reason, "dataset": spec.dataset, "component": ":".join(self._named)}
        job.set_limits(timeout=self._timeout_s)
        return job

    def _registered(self) -> Any:
        """The component, read once: a registered version never changes."""
        if self._component is None:
            with translated(f"component {':'.join(self._named)}", "AZUREML_COMPONENT"):
                self._component = self._connected().components.get(*self._named)
        return self._component

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = connect(*self._scope, credential=self._credential, options=self._options)
            return self._client
