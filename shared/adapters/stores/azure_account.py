"""A storage account: its connection string and its client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from shared.adapters.stores.identity import ANY, Identity
from shared.errors import ConfigError

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

CHUNK_BYTES = 4 * 1024 * 1024
# seconds; the client's own first pause of 15 s would stall a partition for every hiccup
PATIENCE = {"initial_backoff": 1, "increment_base": 2, "random_jitter_range": 1}
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SHORTHAND = "UseDevelopmentStorage=true"
# what every other Azure SDK makes of the shorthand; not a secret: the account and key that every Azurite has
DEVELOPMENT = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
)


def expanded(connection: str) -> str:
    """A connection string in full, where the shorthand for Azurite stands for it."""
    return DEVELOPMENT if connection.strip("; ") == SHORTHAND else connection


def client_of(connection: str | None, account_url: str | None, identity: Identity = ANY) -> BlobServiceClient:
    """The client of an account behind a connection string (local), or at an address, with the app's identity.

    Raises:
        ConfigError: The connection string is not one.
    """
    from azure.storage.blob import BlobServiceClient

    sizes: dict[str, Any] = {"max_single_put_size": 8 * CHUNK_BYTES, "max_chunk_get_size": CHUNK_BYTES}
    # without proxies there is nothing to look for in the environment, which would cost a tenth of each request
    sizes |= {"max_single_get_size": CHUNK_BYTES, "use_env_settings": _has_network_settings(), **PATIENCE}
    if connection:
        try:
            return BlobServiceClient.from_connection_string(expanded(connection), **sizes)
        except ValueError as error:
            raise ConfigError(f"BLOBS: {error}") from error
    return BlobServiceClient(str(account_url), credential=identity.credential(), **sizes)


def _has_network_settings() -> bool:
    """Whether the environment names a proxy or certificates of its own."""
    from urllib.request import getproxies

    return bool(getproxies() or any(os.environ.get(name) for name in CERTIFICATES))
