"""The client of an Azure Machine Learning workspace."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

# the timers that submit and poll come again: no long waits inside one
PATIENCE: Mapping[str, Any] = {
    "retry_total": 3,
    "retry_backoff_factor": 0.5,
    "retry_backoff_max": 10,
    "connection_timeout": 10,
    "read_timeout": 60,
}


def connect(
    subscription: str,
    resource_group: str,
    workspace: str,
    *,
    credential: TokenCredential | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """The client of a workspace; touches no network.

    Args:
        subscription: Id of the subscription.
        resource_group: Name of the resource group.
        workspace: Name of the workspace.
        credential: Identity, None for the default chain: the app's own in Azure, a person's on a laptop.
        options: Further options of the client.
    """
    from azure.ai.ml import MLClient

    if credential is None:
        from azure.identity import DefaultAzureCredential

        credential = DefaultAzureCredential()
    logging.getLogger("azure.ai.ml._utils._experimental").setLevel(logging.ERROR)  # of parts that are not used here
    settings = {"enable_telemetry": False, "show_progress": False, **PATIENCE, **(options or {})}
    return MLClient(credential, subscription, resource_group, workspace, **settings)
