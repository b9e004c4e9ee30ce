"""Dead letters go through route again after a fix; what fails again stays, with its attempt counted."""

from __future__ import annotations

import hashlib
import io
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from shared.core import dead_letters
from shared.core.dead_letters import DeadLetter
from shared.core.events import FILE_PREFIX, REPLAY_PREFIX, pack, split
from shared.core.messages import Decoder
from shared.core.readings import Parsed, Readings, Rejection
from shared.core.scenario import Scenario
from shared.core.tables import LongTable, WideTable
from shared.errors import BadEvent
from shared.ports import Blobs, Clock, OpenTable, Stream

log = logging.getLogger(__name__)
CONTAINER = "dead-letter"
MINUTE_MS = 60_000
FINAL = frozenset({"conflict"})


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one blob of dead letters, kept beside the progress.

    Args:
        blob: Its name.
        source: Source under which its readings were sent.
        readings: Readings that were accepted.
        records: Records that became these readings.
        kept: Records that were refused again.
    """

    blob: str
    source: str
    readings: int
    records: int
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resubmit:
    """Feeds dead letters back.

    Args:
        scenario: Says what a reading is, perhaps more than it did.
        blobs: Where dead letters are.
        readings: The hub "readings".
        open_table: Reads rows of files under their header.
        clock: Limits timestamps where a letter does not.
    """

    scenario: Scenario
    blobs: Blobs
    readings: Stream
    open_table: OpenTable
    clock: Clock

    def __call__(self, prefix: str = "", reasons: Sequence[str] = ()) -> dict[str, int]:
        """Try letters again.

        Args:
            prefix: Only blobs whose name begins with it.
            reasons: Only letters with one of these reasons; none means all but conflicts.

        Returns:
            Records tried, accepted and kept.
        """
        sums: Counter[str] = Counter(tried=0, accepted=0, kept=0)
        for name in self.blobs.names(CONTAINER, prefix):
            raw = self.blobs.read(CONTAINER, name)
            if raw is not None:
                sums.update(self._blob(name, raw, reasons))
        return dict(sums)

    def _blob(self, name: str, raw: bytes, reasons: Sequence[str]) -> dict[str, int]:
        letters = dead_letters.decode(raw)
        source = f"{REPLAY_PREFIX}{hashlib.sha256(name.encode() + raw).hexdigest()[:24]}"
        channels = self.scenario.channel_names
        again: dict[int, Rejection] = {}
        accepted = tried = 0
        for number, (places, parsed) in enumerate(self._tried(letters, reasons)):
            for partition, readings in split(parsed.readings, self.readings.partitions()):
                self.readings.send(partition, list(pack(f"{source}.{number}", channels, readings)))
            again.update({places[rejection.position - 1]: rejection for rejection in parsed.rejected})
            accepted += len(parsed.readings)
            tried += len(places)
        if not tried:
            return {}
        kept = [found for found in (_after(letters, again, i, reasons) for i in range(len(letters))) if found]
        done = Replayed(blob=name, source=source, readings=accepted, records=tried - len(again), kept=len(again))
        self.blobs.write("progress", f"{source}.json", msgspec.json.encode(done))
        if kept:
            self.blobs.write(CONTAINER, name, dead_letters.encode(kept))
        else:
            self.blobs.delete(CONTAINER, name)
        return {"tried": tried, "accepted": done.records, "kept": done.kept}

    def _tried(self, letters: Sequence[DeadLetter], reasons: Sequence[str]) -> Iterator[tuple[list[int], Parsed]]:
        """Letters that are read in the same way, and what came of them; positions count from 1 in each group."""
        groups: dict[tuple[str, str | None, str | None, str | None], list[int]] = {}
        for place, found in enumerate(letters):
            if wanted(found, reasons):
                kind = "file" if found.source.startswith(FILE_PREFIX) else "hub"
                limit = str(found.not_after_minute) if kind == "file" else None
                groups.setdefault((kind, found.header, found.zone, limit), []).append(place)
        for (kind, header, zone, _), places in groups.items():
            chosen = [letters[place] for place in places]
            if kind == "hub":
                yield places, self._messages(chosen)
            else:
                yield places, self._rows(chosen, header, zone)

    def _messages(self, chosen: Sequence[DeadLetter]) -> Parsed:
        found = Decoder(self.scenario).decode_many(
            [letter.original() for letter in chosen],
            positions=range(1, len(chosen) + 1),
            identities=[letter.identity for letter in chosen],
            not_after_minutes=[self._limit(letter) for letter in chosen],
        )
        # An array that was refused as a whole may become many readings; a refused element takes its letter with it.
        refused = {rejection.position >> 16: rejection for rejection in found.rejected}
        rejected = [Rejection(place, r.reason, r.detail, r.raw) for place, r in refused.items()]
        return Parsed(found.readings, rejected)

    def _rows(self, chosen: Sequence[DeadLetter], header: str | None, zone: str | None) -> Parsed:
        lines = [letter.original() for letter in chosen]
        channels = len(self.scenario.channels)
        limit, positions = self._limit(chosen[0]), range(1, len(chosen) + 1)
        if header is None:
            return Decoder(self.scenario).decode_lines(lines, positions=positions, not_after_minute=limit, zone=zone)
        text = io.BytesIO(b"\n".join([header.encode(), *lines]) + b"\n")
        try:
            parts = list(_long(self.open_table("rows.csv", text, self.scenario, zone=zone, not_after_minute=limit)))
        except BadEvent as error:
            refused = [Rejection(i, error.reason, error.detail, line) for i, line in enumerate(lines, 1)]
            return Parsed(_joined([], channels).readings, refused)
        return _joined(parts, channels)

    def _limit(self, letter: DeadLetter) -> int:
        return letter.not_after_minute or self.clock.now_ms() // MINUTE_MS


def _long(table: LongTable | WideTable) -> LongTable:
    if isinstance(table, WideTable):
        raise BadEvent("window", "rows of a wide file are answered with their file: drop it again")
    return table


def wanted(letter: DeadLetter, reasons: Sequence[str]) -> bool:
    """Whether a letter is to be tried again."""
    return letter.reason in reasons if reasons else letter.reason not in FINAL


def _after(
    letters: Sequence[DeadLetter], again: Mapping[int, Rejection], place: int, reasons: Sequence[str]
) -> DeadLetter | None:
    """A letter as it stays: untouched, or with one attempt more; None when it was accepted."""
    found = letters[place]
    if place in again:
        new = again[place]
        return msgspec.structs.replace(found, reason=new.reason, detail=new.detail, attempt=found.attempt + 1)
    return None if wanted(found, reasons) else found


def _joined(parts: Sequence[Parsed], channels: int) -> Parsed:
    """Stretches of one small table as one."""
    devices: dict[str, int] = {}
    places = [np.array([devices.setdefault(d, len(devices)) for d in p.readings.devices], np.int32) for p in parts]
    columns = [p.readings for p in parts]
    readings = Readings(
        tuple(devices),
        np.concatenate([np.empty(0, np.int32), *(a[r.device] for a, r in zip(places, columns, strict=True))]),
        np.concatenate([np.empty(0, np.int32), *(r.minute for r in columns)]),
        np.concatenate([np.empty(0, np.int64), *(r.position for r in columns)]),
        np.concatenate([np.empty((0, channels), np.float32), *(r.values for r in columns)]),
    )
    return Parsed(readings, [rejection for p in parts for rejection in p.rejected])
