"""Errors of deltalake and pyarrow as ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import ContractBroken, StateConflict, TransientFailure

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
        raise TransientFailure(f"{where}: {_message(error)}") from error


def _message(error: Exception) -> str:
    """The beginning of a message in one line, without colours and query strings."""
    text = re.sub(r"\x1b\[\d+m|\s+", " ", QUERY.sub("", str(error)))
    return f"{type(error).__name__}: {text[:300]}"
