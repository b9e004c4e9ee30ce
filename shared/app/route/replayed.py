"""Dead letters that were fed back: under which source their readings went, and what became of a blob of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from shared.core.intake.dead_letters import DeadLetter
from shared.core.intake.readings import Readings
from shared.core.stream.events import REPLAY_PREFIX

Key: TypeAlias = tuple[str, int, str]


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one blob of dead letters, kept beside the progress.

    Args:
        blob: Its name.
        source: Source under which its readings were sent.
        readings: Readings that were accepted.
        records: Records that became these readings.
        kept: Records that were refused again.
        positions: Places of the accepted records in the source that they first came from.
        lines: Lines of the blob that were fed back, from 0, where the blob stays as it is.
        begun: Whether the readings were about to be sent when this was written: some, all or none of them were.
    """

    blob: str
    source: str
    readings: int
    records: int
    kept: int
    positions: list[int] = []
    lines: list[int] | msgspec.UnsetType = msgspec.UNSET
    begun: bool | msgspec.UnsetType = msgspec.UNSET


def key_of(letter: DeadLetter) -> Key:
    """What makes two letters the same, in whatever blobs they stand."""
    return letter.source, letter.position, letter.raw


def sources_of(name: str) -> str:
    """How names of sources begin under which letters of one blob are sent."""
    return f"{REPLAY_PREFIX}{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def source_of(name: str, letters: Sequence[DeadLetter], sent: Sequence[Readings]) -> str:
    """Name of a source: the same for the same letters with the same outcome, so that a repetition is recognised.

    Letters that were fed back before a crash may fare better after it; under the same name their readings would count
    as redelivered, since later positions of it are known already.
    """
    digest = hashlib.sha256(msgspec.json.encode([key_of(letter) for letter in letters]))
    for readings in sent:
        digest.update(msgspec.json.encode(readings.devices))
        for column in (readings.device, readings.position, readings.minute, readings.values):
            digest.update(len(column).to_bytes(8, "big") + column.tobytes())
    return f"{sources_of(name)}{digest.hexdigest()[:16]}"
