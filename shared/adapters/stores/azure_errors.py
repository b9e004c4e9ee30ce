"""What the errors of Azure's stores mean: HTTP status and error code in words, and whether waiting can help."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from shared.errors import ConfigError, PipelineError, TransientFailure

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError

T = TypeVar("T")
PASSING = {408, 412, 429}
PASSING_CODES = {"ContainerBeingDeleted", "AccountBeingCreated", "OperationTimedOut", "ServerBusy"}
NO_CONTAINER = "ContainerNotFound"
BLOB_EXISTS = "BlobAlreadyExists"
_CODE = re.compile(r"\w{1,60}")
ADVICE = {
    401: "the store does not know who asks: look at the identity's settings",
    403: "the identity may not do this: it needs the role Storage Blob Data Contributor, and a way past the firewall",
}


def failure(where: str, error: AzureError) -> PipelineError:
    """What a client's error means to the one who called: to wait, or to mend a setting.

    Args:
        where: What was asked for; begins the message.
        error: Of a storage client, or of the identity behind it.
    """
    from azure.core.exceptions import ClientAuthenticationError

    status, code = getattr(error, "status_code", None), code_of(error)
    if status is None:
        found = f"{where}: {type(error).__name__}"
        return (
            ConfigError(f"{found}: no usable identity")
            if isinstance(error, ClientAuthenticationError)
            else (TransientFailure(found))
        )
    return answer(where, int(status), code)


def answer(where: str, status: int, code: str) -> PipelineError:
    """What a store's answer means.

    Args:
        where: What was asked for; begins the message.
        status: Of HTTP.
        code: The store's own word for it, empty when it gave none.
    """
    found = f"{where}: HTTP {status} {code}".rstrip()
    if code == NO_CONTAINER:
        return ConfigError(f"{found}: there is no such container; make it, or start the app, which makes those it may")
    if not 400 <= status < 500 or status in PASSING or code in PASSING_CODES:
        return TransientFailure(found)
    return ConfigError(f"{found}: {ADVICE[status]}" if status in ADVICE else found)


def brief(error: BaseException) -> str:
    """An error in a few words: status and code where a store answered, else its kind."""
    status = getattr(error, "status_code", None)
    return type(error).__name__ if status is None else f"HTTP {status} {code_of(error)}".rstrip()


def code_of(error: BaseException) -> str:
    """The store's own word for what is wrong, empty when it gave none."""
    code: Any = getattr(error, "error_code", None)
    text = str(getattr(code, "value", code) or "")
    return text if _CODE.fullmatch(text) else ""


def if_there(call: Callable[[], T]) -> T | None:
    """What a call gives, None when it names a blob that is not there; a container that is not there is an error."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return call()
    except ResourceNotFoundError as error:
        if code_of(error) == NO_CONTAINER:
            raise
        return None


def is_conflict(error: AzureError) -> bool:
    """Whether a condition on a blob did not hold, because somebody else wrote or removed it."""
    from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

    if isinstance(error, ResourceExistsError):
        return code_of(error) in (BLOB_EXISTS, "")
    if isinstance(error, ResourceNotFoundError):
        return code_of(error) != NO_CONTAINER
    return isinstance(error, ResourceModifiedError)
