"""Errors of deltalake and pyarrow as ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from shared.adapters.stores.azure_errors import NO_CONTAINER, answer
from shared.errors import ContractBroken, PipelineError, StateConflict, TransientFailure

# as deltalake prints what a store answered
STATUS = re.compile(r"status code\D{0,40}(?P<status>\d{3})\b(?:.*?<Code>(?P<code>\w{1,60})</Code>)?")
REFUSALS = ("400", "401", "403")
QUERY = re.compile(r"\?\S*")  # an address may carry a signature


@contextmanager
def translated(table: str, version: int | None) -> Iterator[None]:
    """Errors of deltalake and pyarrow as ours, naming table and version."""
    import pyarrow as pa
    from deltalake.exceptions import CommitFailedError, DeltaError

    where = f"lake {table}" if version is None else f"lake {table}@{version}"
    try:
        yield
    except CommitFailedError as error:
        raise StateConflict(f"{where}: {_message(error)}") from error
    except (FileNotFoundError, pa.ArrowInvalid, DeltaError) as error:
        raise ContractBroken(f"{where}: {_message(error)}") from error
    except (OSError, pa.ArrowException) as error:
        raise _refused(where, error) or TransientFailure(f"{where}: {_message(error)}") from error


def _refused(where: str, error: Exception) -> PipelineError | None:
    """What a refusal of the store's means; None for anything else, which may be well later."""
    found = STATUS.search(_plain(error))
    if found is None or not (found["status"] in REFUSALS or found["code"] == NO_CONTAINER):
        return None
    return answer(where, int(found["status"]), found["code"] or "")


def _message(error: Exception) -> str:
    """The beginning of a message in one line, without colours and query strings."""
    return f"{type(error).__name__}: {_plain(error)[:300]}"


def _plain(error: Exception) -> str:
    return re.sub(r"\x1b\[\d+m|\s+", " ", QUERY.sub("", str(error)))
