"""Blobs that a list or a commit names: they must be there, and whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shared.errors import ContractBroken
from shared.ports import BlobReader

T = TypeVar("T")


def read_referenced(blobs: BlobReader, container: str, name: str, decode: Callable[[bytes], T]) -> T:
    """What a named blob holds.

    Raises:
        ContractBroken: It is gone, or `decode` refuses it; the message names the blob.
    """
    raw = blobs.read(container, name)
    if raw is None:
        raise ContractBroken(f"{container}/{name} is gone, but a list or a commit names it")
    try:
        return decode(raw)
    except ContractBroken as error:
        raise ContractBroken(f"{container}/{name}: {error}") from error
