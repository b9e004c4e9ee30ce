"""What stands behind the ports of the slow half: where jobs run, models are registered, an endpoint follows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.jobs.none import NoEndpoint, NoJobs, NoRegistry
from shared.adapters.stores.clock import WallClock
from shared.core.retrain.job_events import local_topic
from shared.ports import Endpoint, Jobs, Registry
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.adapters.models.azureml_client import Workspace


def jobs(settings: Settings) -> Jobs:
    """Where training jobs run."""
    if settings.jobs == "local":
        from shared.adapters.jobs.local import LocalJobs, training_command

        command = partial(training_command, scenario=settings.scenario)
        return LocalJobs(Path(settings.jobs_folder), settings.job_events or "", WallClock(), command=command)
    if settings.jobs == "azureml":
        from shared.adapters.jobs.azureml import AzureMlJobs

        return AzureMlJobs(_workspace(settings), compute=str(settings.compute), component=str(settings.component))
    return NoJobs()


def topic(settings: Settings, scenario: str) -> str:
    """Where events of our jobs come from."""
    return _workspace(settings).id if settings.jobs == "azureml" else local_topic(scenario)


def registry(settings: Settings, scenario: str) -> Registry:
    """Where models are registered."""
    if not settings.tracking:
        return NoRegistry()
    from shared.adapters.models.mlflow_registry import MlflowRegistry

    return MlflowRegistry(scenario, settings.tracking)


def endpoint(settings: Settings, scenario: str) -> Endpoint:
    """What follows the rollout beside the app."""
    if not settings.endpoint:
        return NoEndpoint()
    from shared.adapters.models.azureml_endpoint import AzureMlEndpoint

    return AzureMlEndpoint(
        _workspace(settings),
        endpoint=settings.endpoint,
        model=scenario,
        component=str(settings.component),
        environment=str(settings.endpoint_environment),
        instance_type=settings.endpoint_instance,
        instance_count=settings.endpoint_instances,
    )


def _workspace(settings: Settings) -> Workspace:
    from shared.adapters.models.azureml_client import Workspace

    return Workspace(str(settings.subscription), str(settings.resource_group), str(settings.workspace))
