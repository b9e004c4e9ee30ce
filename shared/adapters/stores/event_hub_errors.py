"""What the errors of the Event Hubs client mean: the condition in its own word, and whether waiting can help."""

from __future__ import annotations

from shared.adapters.stores.azure_errors import failure as http_failure
from shared.errors import ConfigError, PipelineError, TransientFailure

REFUSED = {
    "not-found": "there is no such hub or consumer group; READINGS_HUB, TELEMETRY_HUB, LOOKUP_GROUP name them",
    "unauthorized-access": "the identity may not do this: it needs the roles Azure Event Hubs Data Sender and Receiver",
}


def failure(where: str, error: Exception) -> PipelineError:
    """What a client's error means to the one who called: to wait, or to mend a setting.

    Args:
        where: What was asked for; begins the message.
        error: Of the client, or of the identity behind it.
    """
    from azure.core.exceptions import AzureError
    from azure.eventhub.exceptions import AuthenticationError

    if isinstance(error, AzureError):
        return http_failure(where, error)
    condition = str(getattr(error, "error", None) or "")
    found = f"{where}: {type(error).__name__} {condition}".rstrip()
    if isinstance(error, AuthenticationError):
        return ConfigError(f"{found}: {REFUSED['unauthorized-access']}")
    return ConfigError(f"{found}: {REFUSED[condition]}") if condition in REFUSED else TransientFailure(found)
