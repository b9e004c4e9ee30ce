"""Records that were not used: with their reason and their original bytes, one JSON line each."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import msgspec

from shared.core.readings import Rejection


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record on disk; `raw` is text, or base64 when `encoded` is true."""

    reason: str
    detail: str
    source: str
    position: int
    raw: str
    encoded: bool = False
    attempt: int = 1

    def original(self) -> bytes:
        """The record's original bytes."""
        return base64.b64decode(self.raw) if self.encoded else self.raw.encode()


def letter(source: str, rejection: Rejection, attempt: int = 1) -> DeadLetter:
    """A dead letter of one rejected record."""
    try:
        raw, encoded = rejection.raw.decode(), False
    except UnicodeDecodeError:
        raw, encoded = base64.b64encode(rejection.raw).decode(), True
    return DeadLetter(rejection.reason, rejection.detail, source, rejection.position, raw, encoded, attempt)


def encode(letters: Iterable[DeadLetter]) -> bytes:
    """Dead letters as JSON lines."""
    return b"".join(msgspec.json.encode(item) + b"\n" for item in letters)


def decode(raw: bytes) -> list[DeadLetter]:
    """Dead letters of one blob."""
    return [msgspec.json.decode(line, type=DeadLetter) for line in raw.splitlines() if line]
