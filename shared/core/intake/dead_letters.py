"""Records that were not used: with their reason and their original bytes, one JSON line each."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import msgspec

from shared.core.intake.envelopes.told import Told
from shared.core.intake.readings import Rejection
from shared.validation import decoded


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record on disk, with all that is needed to try it again.

    Args:
        reason: Reason code.
        detail: What was found.
        source: Where it came from.
        position: Its position there.
        raw: Its bytes as text, or in base64 when `encoded` is true.
        encoded: Whether `raw` is base64.
        attempt: How often it was tried.
        identity: Device that the hub authenticated.
        not_after_minute: Newest minute its timestamp may have had; a message's: in which the hub took it.
        created: Time at which the device says it made the message, as written.
        encoding: How the message is packed.
        telemetry: Whether a device sent it.
        enqueued_ms: When the hub took the message, where the minute of that is not enough.
        header: Header line of the file it stood in.
        zone: Zone declared for the file.
        device: Device of all its rows, where no column says it.
        layout: Name of the layout that it was read with.
    """

    reason: str
    detail: str
    source: str
    position: int
    raw: str
    encoded: bool = False
    attempt: int = 1
    identity: str | None = None
    not_after_minute: int | None = None
    created: str | None = None
    encoding: str = ""
    telemetry: bool = True
    header: str | None = None
    zone: str | None = None
    device: str | None = None
    layout: str | None = None
    enqueued_ms: int | None = None

    @property
    def told(self) -> Told:
        """What the hub told of the message."""
        return Told(self.created, self.encoding, self.telemetry, self.enqueued_ms)

    def original(self) -> bytes:
        """The record's original bytes."""
        return base64.b64decode(self.raw) if self.encoded else self.raw.encode()


def letter(source: str, rejection: Rejection) -> DeadLetter:
    """A dead letter of one rejected record, tried once."""
    try:
        raw, encoded = rejection.raw.decode(), False
    except UnicodeDecodeError:
        raw, encoded = base64.b64encode(rejection.raw).decode(), True
    return DeadLetter(rejection.reason, rejection.detail, source, rejection.position, raw, encoded)


def encode(letters: Iterable[DeadLetter]) -> bytes:
    """Dead letters as JSON lines."""
    return b"".join(msgspec.json.encode(item) + b"\n" for item in letters)


def decode(raw: bytes) -> list[DeadLetter]:
    """Dead letters of one blob.

    Raises:
        ContractBroken: A line is not a dead letter.
    """
    what = f"dead letters of {len(raw)} bytes cannot be read"
    return [decoded(line, DeadLetter, what) for line in raw.splitlines() if line]
