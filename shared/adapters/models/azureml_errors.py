"""What the errors of azure-ai-ml mean to the one who called it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.errors import ConfigError, TransientFailure

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError, HttpResponseError

PASSING = {408, 429}
# codes by which the resource manager says that the place is missing, not the thing in it
PLACES = {"ResourceGroupNotFound", "SubscriptionNotFound", "InvalidSubscriptionId", "ParentResourceNotFound"}
SECRET = re.compile(r"eyJ[\w.-]+|(?i:bearer\s+\S+)|(?i:\b(sig|key|secret|token)\b\s*[=:]\s*\S+)")
MESSAGE_LENGTH = 300


@contextmanager
def translated(doing: str, key: str) -> Iterator[None]:
    """Raise what the application understands.

    Args:
        doing: What was tried, for the message.
        key: Setting that names what a missing resource would be, when the workspace itself is there.

    Raises:
        TransientFailure: No answer, throttled, or the service failed.
        ConfigError: Identity, workspace or what it holds do not fit the settings; never with a secret.
    """
    from azure.ai.ml.exceptions import MlException
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

    try:
        yield
    except MlException as error:
        raise ConfigError(f"Azure ML: {doing}: {_redacted(error)}") from error
    except HttpResponseError as error:
        if isinstance(error, ClientAuthenticationError) and error.status_code is None:
            raise ConfigError(f"Azure ML: {doing}: no usable identity: {_redacted(error)}") from error
        _raise(error, doing, key)
    except AzureError as error:
        raise TransientFailure(f"Azure ML: {doing}: {type(error).__name__}") from error


def is_place(error: HttpResponseError) -> bool:
    """Whether a 404 speaks of subscription, resource group or workspace, and not of something in the workspace."""
    if _code(error) in PLACES:
        return True
    match = re.search(r"'Microsoft\.MachineLearningServices/workspaces/[^'/]*'", error.message or "")
    return _code(error) == "ResourceNotFound" and match is not None


def _raise(error: HttpResponseError, doing: str, key: str) -> None:
    status = error.status_code
    where = f"Azure ML: {doing}: HTTP {status} {_code(error)}".rstrip()
    if status is None or status in PASSING or not 400 <= status < 500:
        raise TransientFailure(where) from error
    if status in {401, 403}:
        raise ConfigError(f"{where}: the app's identity is not allowed to: {_redacted(error)}") from error
    setting = key
    if is_place(error):
        setting = "AZUREML_SUBSCRIPTION, AZUREML_RESOURCE_GROUP, AZUREML_WORKSPACE"
    elif "compute" in (error.message or "").lower():
        setting = "AZUREML_COMPUTE"
    raise ConfigError(f"{setting}: {where}: {_redacted(error)}") from error


def _code(error: HttpResponseError) -> str:
    return str(getattr(error.error, "code", None) or "")


def _redacted(error: AzureError) -> str:
    """The first line of the message; the service may repeat what was sent to it, so what looks secret is left out."""
    lines = str(error.message or type(error).__name__).splitlines() or [""]
    return SECRET.sub("...", lines[0])[:MESSAGE_LENGTH]
