"""What deltalake needs to reach a storage account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shared.adapters.stores.azure_account import expanded
from shared.adapters.stores.azure_errors import failure
from shared.adapters.stores.identity import ANY, Identity
from shared.errors import ConfigError

Options = Callable[[], Mapping[str, str]]
IDLE = "3s"  # Azurite hangs up after 5 idle seconds; deltalake 1.6.6 gives up on a request that meets that ("Canceled")
SCOPE = "https://storage.azure.com/.default"


def storage_options(connection: str | None, account_url: str | None, identity: Identity = ANY) -> Options:
    """What deltalake needs to reach a storage account; asked again whenever a table is opened, for tokens end.

    Args:
        connection: Connection string (local).
        account_url: Otherwise the address of the blob service.
        identity: The app's own, with which that is reached.

    Raises:
        ConfigError: The connection string lacks the account's name, or a key or signature.
    """
    if not connection:
        return _Token(str(account_url), identity)
    parts = {
        name.strip().lower(): value
        for name, _, value in (part.partition("=") for part in expanded(connection).split(";"))
    }
    account = parts.get("accountname", "")
    suffix = parts.get("endpointsuffix", "core.windows.net")
    protocol = parts.get("defaultendpointsprotocol", "https")
    endpoint = parts.get("blobendpoint", f"{protocol}://{account}.blob.{suffix}").rstrip("/")
    account = account or urlsplit(endpoint).netloc.partition(".")[0]
    secrets = {"azure_storage_account_key": "accountkey", "azure_storage_sas_key": "sharedaccesssignature"}
    secret = {option: parts[part] for option, part in secrets.items() if parts.get(part)}
    if not account or not secret:
        raise ConfigError("BLOBS: needs AccountName and AccountKey, or BlobEndpoint and SharedAccessSignature")
    found = {"azure_storage_account_name": account, **secret, **_endpoint(endpoint)}
    return lambda: found


def _endpoint(address: str) -> dict[str, str]:
    plain = {"allow_http": "true", "pool_idle_timeout": IDLE} if address.startswith("http://") else {}
    return {"azure_storage_endpoint": address.rstrip("/"), **plain}


@dataclass
class _Token:
    """A token of the app's own identity."""

    account_url: str
    identity: Identity
    _credential: Any = None

    def __call__(self) -> Mapping[str, str]:
        from azure.core.exceptions import AzureError

        self._credential = self._credential or self.identity.credential()
        try:
            token = self._credential.get_token(SCOPE).token
        except AzureError as error:
            raise failure(f"lake: no token for {self.account_url}", error) from error
        account = urlsplit(self.account_url).netloc.partition(".")[0]
        return {"azure_storage_account_name": account, "azure_storage_token": token, **_endpoint(self.account_url)}
