"""JSON documents that were stored earlier."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from shared.errors import ContractBroken

T = TypeVar("T")


def decoded(raw: bytes, kind: type[T], what: str) -> T:
    """A document.

    Raises:
        ContractBroken: Not JSON, or not of this kind; the message begins with `what`.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContractBroken(f"{what}: {error}") from error
