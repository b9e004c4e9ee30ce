"""Decoded records as columns of one batch: devices, times, and rows of one kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np

from shared.core.intake.messages.identities import LONGEST_INTEGER
from shared.core.intake.messages.json_bodies import Body
from shared.core.intake.readings import Ints, Longs, Rejection
from shared.core.intake.times.forms import ISO, TimeForm
from shared.core.intake.times.texts import from_texts
from shared.core.intake.times.timestamps import BAD as BAD_TIME
from shared.core.intake.times.timestamps import UNZONED, Stamps
from shared.core.intake.times.zones import zone
from shared.core.intake.values.quantities import numbers
from shared.core.scenario import Unit

Row: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """How the cells of records are written.

    Args:
        times: Their times.
        lag: Minutes by which a time is behind the beginning of what was measured.
        decimal: The sign of fractions in texts.
        missing: What stands where there is no value, besides what the channels say.
    """

    times: TimeForm = ISO
    lag: int = 0
    decimal: str = "."
    missing: tuple[float | str, ...] = ()


class Kind(NamedTuple):
    """What records share: the units of their channels, the zone of their times, and how they are written."""

    units: tuple[Unit | None, ...]
    zone: str | None
    form: Form = Form()


class Keyed(NamedTuple):
    """The first keys of an object, and the reasons for which it is worth to look among them: what none of them says."""

    names: tuple[str, ...] = ()
    lacks: frozenset[str] = frozenset()

    def among(self, reason: str) -> tuple[str, ...]:
        """Where what is missing may stand."""
        return self.names if reason in self.lacks else ()


class Sent(msgspec.Struct, frozen=True, gc=False):
    """What is known of a record besides its bytes.

    Args:
        identity: Device that the hub authenticated, None where unknown.
        limit: Minute since 1970 that brought it; its time may not be later.
        created: Time at which the device says it made the message, as written, None where unknown.
        enqueued: Time at which the hub took the message, as written, None where unknown.
    """

    identity: str | None
    limit: int
    created: object = None
    enqueued: object = None


@dataclass(frozen=True, slots=True)
class Part:
    """One of several readings in an envelope: as bytes, an envelope that holds it alone."""

    sent: Sent
    reading: object

    def __bytes__(self) -> bytes:
        about = {
            "EnqueuedTimeUtc": self.sent.enqueued,
            "Properties": {"iothub-creation-time-utc": self.sent.created},
            "SystemProperties": {"connectionDeviceId": self.sent.identity},
        }
        own = self.reading if isinstance(self.reading, bytes | msgspec.Raw) else as_json(self.reading)
        return as_json(about)[:-1] + b',"Body":' + bytes(own) + b"}"


def as_json(value: object) -> bytes:
    """As the second reading of a body reads it: with NaN, Infinity and halves of surrogate pairs."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


Origin: TypeAlias = Body | Part


@dataclass(slots=True)
class Records:
    """What was decoded: rows of (device, time, channels ...), their kinds and keys, and (position, sent, origin).

    A record's position is that of its message, and one more for each that came out of the message before.

    Attributes:
        place: Position of the next record.
        unpacked: Bytes that packed bodies have become.
        weight: Most values that bodies which stood in another one may hold.
        may_unpack_to: Most that this may reach with the message at hand.
        live: Whether they come from a hub, so that their limit is the minute in which it took them.
    """

    rows: list[Row] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    keyed: list[Keyed] = field(default_factory=list)
    origins: list[tuple[int, Sent, Origin]] = field(default_factory=list)
    refused: list[Rejection] = field(default_factory=list)
    place: int = 0
    unpacked: int = 0
    weight: int = 0
    may_unpack_to: int = 0
    live: bool = False

    def __len__(self) -> int:
        return len(self.rows) + len(self.refused)

    def begin(self, place: int, may_unpack: int) -> None:
        """A message begins, whose packed bodies may become that many bytes."""
        self.place, self.may_unpack_to = place, self.unpacked + may_unpack

    def end(self, place: int, most: int, body: bytes) -> None:
        """A message that began at `place` ends; it is refused as a whole where more records than `most` came of it."""
        if (count := self.place - place) > most:
            self._undo(place)
            self.refuse("too_large", f"{count} readings are more than {most}", body)

    def keep(self, row: Row, kind: Kind, keyed: Keyed, sent: Sent, origin: Origin) -> None:
        """Keep a record to be judged; `keyed` is for what is said of it."""
        self.rows.append(row)
        self.kinds.append(kind)
        self.keyed.append(keyed)
        self.origins.append((self.place, sent, origin))
        self.place += 1

    def refuse(self, reason: str, detail: str, origin: Origin) -> None:
        """Keep a record that is not accepted."""
        self.refused.append(Rejection(self.place, reason, detail, bytes(origin)))
        self.place += 1

    def _undo(self, place: int) -> None:
        """Forget what came out of the newest message, which began at `place`."""
        while self.origins and self.origins[-1][0] >= place:
            del self.rows[-1], self.kinds[-1], self.keyed[-1], self.origins[-1]
        self.refused = [rejection for rejection in self.refused if rejection.position < place]
        self.place = place


def by_kind(kinds: list[Kind]) -> dict[Kind, Longs]:
    """Rows of each kind."""
    known = {id(kind): kind for kind in kinds}  # few objects stand for many records, and a kind is slow to hash
    rows: dict[Kind, list[int]] = {kind: [] for kind in known.values()}
    if len(rows) == 1:
        return {kinds[0]: np.arange(len(kinds))}
    places = {place: rows[kind] for place, kind in known.items()}
    for i, kind in enumerate(kinds):
        places[id(kind)].append(i)
    return {kind: np.array(indices, np.int64) for kind, indices in rows.items()}


def devices_of(cells: Sequence[object], identities: Sequence[str | None]) -> tuple[list[str], Ints]:
    """Distinct ids and the index of each record's own; -1 where the id is absent or no text."""
    places: dict[str, int] = {}
    device = [-1] * len(cells)
    for i, (cell, identity) in enumerate(zip(cells, identities, strict=True)):
        name = cell if identity is None else identity
        if type(name) is int and name.bit_length() < LONGEST_INTEGER:
            name = str(name)
        if isinstance(name, str):
            device[i] = places.setdefault(name, len(places))
    return list(places), np.array(device, np.int32)


def stamps_of(cells: Sequence[object], kinds: dict[Kind, Longs]) -> Stamps:
    """Timestamps in any form, with the zones that their keys or layouts declare."""
    stamps = read_times(cells)
    for kind, rows in kinds.items():
        if kind.form.times is not ISO:
            stamps.put(rows, read_times([cells[i] for i in rows.tolist()], kind.form.times))
        if kind.zone is not None:
            bare = rows[stamps.offset[rows] == UNZONED]
            stamps.offset[bare] = zone(kind.zone).offsets(stamps.local[bare])
    return stamps


def read_times(cells: Sequence[object], form: TimeForm = ISO) -> Stamps:
    """Timestamps in any form, those without a zone unzoned."""
    if set(map(type, cells)) == {str}:
        return from_texts(cells, form)  # type: ignore[arg-type]
    stamps = Stamps.blank(len(cells))
    texts = [i for i, cell in enumerate(cells) if isinstance(cell, str)]
    stamps.put(np.array(texts, np.int64), from_texts([str(cells[i]) for i in texts], form))
    others = np.array([i for i, cell in enumerate(cells) if not isinstance(cell, str)], np.int64)
    epochs, bad = numbers([cells[i] for i in others.tolist()])
    stamps.put(others, form.from_numbers(epochs))
    stamps.fault[others[bad]] = BAD_TIME
    return stamps
