"""Where the application's storage is, from the settings of the application."""

from __future__ import annotations

from collections.abc import Mapping

from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.errors import ConfigError
from shared.settings import VARIABLES, no_blobs


def storage_settings(env: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Connection string (local) and address of the blob service (in Azure), one of which is there.

    Raises:
        ConfigError: There is neither.
    """
    names = VARIABLES["blobs"], VARIABLES["blobs_url"]
    connection, address = (env.get(name, "").strip() or None for name in names)
    if connection is None and address is None:
        raise ConfigError(no_blobs(env))
    return connection, address


def storage(env: Mapping[str, str]) -> AzureBlobs:
    """The application's blobs.

    Raises:
        ConfigError: There is no setting.
    """
    return AzureBlobs.connect(*storage_settings(env))
