"""Files that were read whole, known again by their bytes and by what decides how these are read."""

from __future__ import annotations

import hashlib
import io
import logging
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import BinaryIO

import msgspec

from shared.app.route.file_letters import AGAIN, device_of, zone_of
from shared.core.intake.readings import shown
from shared.core.intake.tables import LongTable
from shared.core.scenario import Scenario
from shared.errors import BadEvent, ContractBroken
from shared.ports import BlobInfo, Blobs
from shared.validation import decoded

log = logging.getLogger(__name__)
CONTAINER, FOLDER = "receipts", "drops/"
PIECE = 1 << 20
# keys of a scenario that change nothing in what a file's rows become; a key that is new changes something
AFTERWARDS = {
    *("title", "categories", "interval", "loss", "cold_start", "quality"),
    *("search", "gate", "drift", "retrain", "rollout"),
}


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """The first drop of a content: its name, its source, and when it was read, in milliseconds since 1970."""

    file: str
    source: str
    read_ms: int


class Hashing(io.RawIOBase):
    """A stream that is hashed while somebody else reads it.

    Args:
        stream: The file's bytes from the beginning.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = PIECE, /) -> bytes:
        """The next bytes, as the stream gives them."""
        piece = self._stream.read(size)
        self._digest.update(piece)
        return piece

    def content(self) -> str:
        """SHA-256 of the whole stream, of which the rest is read."""
        while self.read():
            pass
        return self._digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Drops:
    """What was dropped before.

    Args:
        blobs: Where records of it are: one small blob a file, kept as its receipts and its report are.
        scenario: Says how files are read.
    """

    blobs: Blobs
    scenario: Scenario

    def of_size(self, size: int) -> bool:
        """Whether a file of so many bytes was read whole: only then a file need be read twice."""
        return bool(self.blobs.names(CONTAINER, f"{FOLDER}{size}-"))

    def identity(self, info: BlobInfo, content: str, table: LongTable) -> str:
        """Name of a file's record: the same for the same bytes that are read in the same way.

        Args:
            info: The file's properties: zone and device may be declared for it.
            content: SHA-256 of its bytes.
            table: The file as it was opened: its name may have told a layout or a device.
        """
        asked = {
            field.name: getattr(self.scenario, field.name)
            for field in fields(self.scenario)
            if field.name not in AFTERWARDS
        }
        told = [content, zone_of(info), device_of(info), table.device, table.layout, asked]
        return f"{info.size}-{hashlib.sha256(repr(told).encode(errors='backslashreplace')).hexdigest()}"

    def first(self, identity: str) -> Dropped | None:
        """The first drop that was read whole, if there was one.

        A record that cannot be read is none: what is read once more changes nothing.
        """
        name = f"{FOLDER}{identity}"
        raw = self.blobs.read(CONTAINER, name)
        try:
            return None if raw is None else decoded(raw, Dropped, f"{CONTAINER}/{name}")
        except ContractBroken:
            log.exception("a record of a dropped file is damaged")
            return None


def keep(blobs: Blobs, identity: str, dropped: Dropped) -> None:
    """Write a file's record; whoever comes first is right."""
    blobs.create(CONTAINER, f"{FOLDER}{identity}", msgspec.json.encode(dropped))


def duplicate(first: Dropped) -> BadEvent:
    """Why a file is refused."""
    read = datetime.fromtimestamp(first.read_ms / 1000, timezone.utc)
    return BadEvent(
        "duplicate",
        f"{shown(first.file)} held the same bytes and was read whole at {read:%Y-%m-%dT%H:%M:%SZ}; "
        f"metadata {AGAIN} = true (local drop --again) has it read once more",
    )
