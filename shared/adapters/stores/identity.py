"""The app's own identity, chosen as the Functions host chooses it for the same connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.credentials_async import AsyncTokenCredential


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks a service that is reached without a connection string.

    Args:
        managed: Whether it has to be a managed identity (`NAME__credential`); else whichever azure-identity finds:
            environment, managed identity, Azure CLI.
        client_id: Client id of a user-assigned one (`NAME__clientId`), None for the system-assigned one.
    """

    managed: bool = False
    client_id: str | None = None

    def credential(self) -> TokenCredential:
        """For blocking clients."""
        from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

        return ManagedIdentityCredential(client_id=self.client_id) if self.managed else DefaultAzureCredential()

    def async_credential(self) -> AsyncTokenCredential:
        """For clients on an event loop."""
        from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

        return ManagedIdentityCredential(client_id=self.client_id) if self.managed else DefaultAzureCredential()


ANY = Identity()
