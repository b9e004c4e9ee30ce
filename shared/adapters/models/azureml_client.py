"""An Azure Machine Learning workspace and its client."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError

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


@dataclass
class Workspace:
    """An Azure Machine Learning workspace.

    Args:
        subscription: Id of the subscription.
        group: Name of the resource group.
        name: Name of the workspace.
        credential: Identity, None for the default chain: the app's own in Azure, a person's on a laptop.
        options: Further options of the client: another cloud, retries, certificates.
    """

    subscription: str
    group: str
    name: str
    credential: TokenCredential | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _client: Any = None

    @property
    def id(self) -> str:
        """Id of the resource, which is also the topic of its events."""
        group = f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        return f"{group}/providers/Microsoft.MachineLearningServices/workspaces/{self.name}"

    @property
    def client(self) -> Any:
        """Its client, made once, which touches no network."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        from azure.ai.ml import MLClient
        from azure.identity import DefaultAzureCredential

        logging.getLogger("azure.ai.ml._utils._experimental").setLevel(logging.ERROR)  # of parts that are not used here
        settings = {"enable_telemetry": False, "show_progress": False, **PATIENCE, **self.options}
        credential = self.credential or DefaultAzureCredential()
        return MLClient(credential, self.subscription, self.group, self.name, **settings)


def name_and_version(key: str, text: str) -> tuple[str, str]:
    """Name and version of something registered.

    Args:
        key: The setting.
        text: Its value, `name:version`.

    Raises:
        ConfigError: It is none.
    """
    name, _, version = text.partition(":")
    if not name or not version:
        raise ConfigError(f"{key}: {text[:80]!r} is not of the form name:version")
    return name, version
