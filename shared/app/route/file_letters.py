"""Dead letters of one dropped file: as many as a file may leave; the others are counted, and stand in the file."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

import msgspec

from shared.core.intake import dead_letters
from shared.core.intake.readings import Rejection, shown
from shared.ports import BlobInfo, Blobs

log = logging.getLogger(__name__)
CONTAINER = "dead-letter"
ZONE, DEVICE, AGAIN = "zone", "device", "again"
MINUTE_MS = 60_000
EXAMPLE_BYTES = 400
MOST_BYTES = 64 << 20  # of one file's letters: a row may have a megabyte, and each letter holds the file's header


@dataclass(slots=True, kw_only=True)
class FileLetters:
    """Writes the dead letters of one file, from its beginning on.

    Which rows have a letter follows from the file alone, so that reading it again writes the same ones.

    Args:
        blobs: Where they go.
        folder: Of the file's letters.
        source: The file.
        info: Its properties.
        most: How many it may leave.
        rejected: Rejected rows by reason, with or without a letter.
        kept: Letters written.
        examples: The first row rejected for each reason: what was found, and the row itself, shortened.
    """

    blobs: Blobs
    folder: str
    source: str
    info: BlobInfo
    most: int
    rejected: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    examples: dict[str, str] = field(default_factory=dict)
    _bytes: int = 0
    _full: bool = False

    @property
    def left_out(self) -> int:
        """Rejected rows without a letter."""
        return self.rejected.total() - self.kept

    def write(
        self,
        rejected: Sequence[Rejection],
        header: str | None,
        device: str | None = None,
        layout: str | None = None,
    ) -> None:
        """Keep a stretch's rejected rows; the blob's name follows from their place, so a repetition overwrites.

        Args:
            rejected: In the order of the file.
            header: Line under which they stood.
            device: Of all rows, where no column says it.
            layout: That they were read with.
        """
        self.rejected.update(rejection.reason for rejection in rejected)
        for rejection in rejected:
            if rejection.reason not in self.examples:
                self.examples[rejection.reason] = _example(rejection)
        data = bytearray()
        for rejection in rejected:
            line = b"" if self._full else dead_letters.encode([self._letter(rejection, header, device, layout)])
            if self._full or self.kept == self.most or self._bytes + len(line) > MOST_BYTES:
                self._tell()
                break
            data += line
            self._bytes += len(line)
            self.kept += 1
        if data:
            self.blobs.write(CONTAINER, f"{self.folder}{rejected[0].position:012d}.jsonl", bytes(data))

    def _tell(self) -> None:
        if not self._full:
            log.warning("%s: %d rejected rows have dead letters, the others are only counted", self.folder, self.kept)
        self._full = True

    def _letter(
        self, rejection: Rejection, header: str | None, device: str | None, layout: str | None
    ) -> dead_letters.DeadLetter:
        return msgspec.structs.replace(
            dead_letters.letter(self.source, rejection),
            header=header,
            device=device,
            layout=layout,
            zone=zone_of(self.info),
            not_after_minute=self.info.modified_ms // MINUTE_MS,
        )


def _example(rejection: Rejection) -> str:
    row = shown(rejection.raw[:EXAMPLE_BYTES].decode("utf-8", "replace"))
    return f"{rejection.detail[:EXAMPLE_BYTES]}, at position {rejection.position}: {row}"


def folder_of_letters(key: str) -> str:
    """How names of a file's dead letters begin."""
    return f"file={key}/"


def zone_of(info: BlobInfo) -> str | None:
    """Zone declared for a file."""
    return _told(info, ZONE)


def device_of(info: BlobInfo) -> str | None:
    """Device declared for all rows of a file, as a URL writes it."""
    told = _told(info, DEVICE)
    return None if told is None else unquote(told)


def again_of(info: BlobInfo) -> bool:
    """Whether a file is to be read even where its bytes were read before."""
    return (_told(info, AGAIN) or "").casefold() == "true"


def _told(info: BlobInfo, key: str) -> str | None:
    """Metadata of a file; their names have no case, and stores hand them out as they were sent."""
    return next((value for name, value in sorted(info.metadata.items()) if name.casefold() == key), None)
