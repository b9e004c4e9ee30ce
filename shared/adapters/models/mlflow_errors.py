"""What the errors of MLflow and of the stores below it mean to the one who called it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from shared.errors import ConfigError, TransientFailure

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException

PASSING = {408, 429, 499}
# what Azure ML answers in a form of its own, so that MLflow takes it for an internal error
AZURE_CODES = {"UserError": 400, "ValidationError": 400, "Unauthorized": 401, "Forbidden": 403,
               "AuthorizationFailed": 403, "NotFound": 404, "ResourceNotFound": 404, "Conflict": 409}  # fmt: skip
UNUSABLE = ("unable to open database file", "file is not a database", "readonly database", "malformed")


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Raise what the application understands; no message holds what may be a secret in the address.

    Args:
        uri: Of the store.

    Raises:
        TransientFailure: It does not answer, is busy, or failed.
        ConfigError: It refuses, or cannot be used as it stands.
    """
    from azure.core.exceptions import AzureError
    from mlflow.exceptions import MlflowException

    where = f"registry at {redacted(uri)}"
    try:
        yield
    except MlflowException as error:
        _raise(where, error)
    except ImportError as error:
        raise ConfigError(f"MLFLOW_TRACKING_URI: {where}: {error}") from error
    except (AzureError, OSError) as error:
        refused = type(error).__name__ in {"ClientAuthenticationError", "CredentialUnavailableError"}
        raise (ConfigError if refused else TransientFailure)(f"{where}: {type(error).__name__}") from error
    except Exception as error:
        if not type(error).__module__.startswith("sqlalchemy."):  # which an installation for Azure ML need not have
            raise
        text = str(getattr(error, "orig", "") or type(error).__name__).splitlines()[0][:200]
        unusable = any(each in text for each in UNUSABLE)
        raise (ConfigError if unusable else TransientFailure)(f"{where}: {text}") from error


def redacted(uri: str) -> str:
    """A URI without what may be a secret in it."""
    scheme, tag, rest = uri.partition("://")
    return scheme + tag + rest.rpartition("@")[2].partition("?")[0]


def _raise(where: str, error: MlflowException) -> NoReturn:
    """Only codes are told: the text may hold the address with a secret."""
    if "database schema" in str(error):
        from mlflow.version import VERSION

        raise ConfigError(
            f"MLFLOW_TRACKING_URI: {where}: its database has another schema than MLflow {VERSION} works with, as after "
            "a newer MLflow has opened it: use that version here too, or the copy from before"
        ) from error
    code, status = _code(error)
    refused = 400 <= status < 500 and status not in PASSING
    raise (ConfigError if refused else TransientFailure)(f"{where}: HTTP {status} {code}") from error


def _code(error: MlflowException) -> tuple[str, int]:
    """Error code and the HTTP status that belongs to it."""
    body: Any = getattr(error, "json", None)
    inner = body.get("error") if isinstance(body, dict) else None
    code = str(inner.get("code", "")) if isinstance(inner, dict) else ""
    if code in AZURE_CODES:
        return code, AZURE_CODES[code]
    return str(error.error_code), int(error.get_http_status_code())  # type: ignore[no-untyped-call]
