"""Messages of devices and lines of JSON files into checked columns.

A message is decoded without a type, and its keys are mapped once per combination of keys: a fleet sends few, so keys
in another case, with a unit or under an alias cost nothing. A msgspec struct with a field per known name decodes no
faster (0.76 against 0.80 us, columns included) and would drop such keys unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from shared.core.intake.acceptance import Acceptance, Sheet, Zoning
from shared.core.intake.columns import DEVICE, FIRST_CHANNEL, TIME, Columns, Layout
from shared.core.intake.envelopes.envelope import ANALYTICS, Envelope, Opener, adds_keys, opener_of
from shared.core.intake.envelopes.opening import take_from_envelopes, through
from shared.core.intake.envelopes.packed import LARGEST_UNPACKED, unpacked
from shared.core.intake.json_bodies import Body, elements, value_of
from shared.core.intake.quantities import BAD, normalise, numbers
from shared.core.intake.readings import Codes, Floats, Longs, Parsed, Rejection, joined, shown
from shared.core.intake.records import (
    Kind,
    Origin,
    Part,
    Records,
    Row,
    Sent,
    by_kind,
    check_identity,
    devices_of,
    stamps_of,
)
from shared.core.scenario import Scenario
from shared.errors import BadEvent

LARGEST = 256 * 1024
ELEMENT_BITS = 16  # of a position: which of its message's readings it is
MOST = (1 << ELEMENT_BITS) - 1
MOST_KEYS = 1000
DEEPEST = 4  # envelopes, one in the other
UNPACKED_AT_ONCE = 64 << 20  # bytes that packed bodies of one stretch of a file may become
_NO_KIND: Kind = ((), None)
_COMBINATIONS = 1000
_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class _Keys:
    """How to read an object with a certain combination of keys; records of one kind share units and declared zone."""

    row: Callable[[list[object]], Row]
    kind: Kind
    opener: Opener | None = None


class Decoder:
    """Decodes and checks for one scenario; keeps what it learned about combinations of keys.

    Attributes:
        ignored: Keys that carry nothing the scenario knows, the first hundred seen, as written.
        converted: Channels that came in another unit, and its name.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._columns = Columns(scenario)
        self._acceptance = Acceptance(scenario)
        self._known: dict[tuple[str, ...], _Keys] = {}
        self.ignored: dict[str, None] = {}
        self.converted: dict[str, str] = {}

    def decode(self, body: bytes, *, position: int, identity: str | None, not_after_minute: int) -> Parsed:
        """One message; see `decode_many`."""
        return self.decode_many(
            [body], positions=[position], identities=[identity], not_after_minutes=[not_after_minute]
        )

    def decode_many(
        self,
        bodies: Sequence[bytes],
        *,
        positions: Sequence[int],
        identities: Sequence[str | None],
        not_after_minutes: Sequence[int],
    ) -> Parsed:
        """A batch of messages, each one reading or an array of them; never raises for what a body holds.

        A timestamp without a zone is read in the station's own zone and refused where the scenario knows none.

        Args:
            bodies: As the devices sent them, any bytes.
            positions: Sequence number of each, rising; a reading's position is that * 65536 + its index in the array.
            identities: Device that the hub authenticated, None where unknown; it stands in for a missing device id.
            not_after_minutes: Minute since 1970 in which each was enqueued.
        """
        records = Records()
        for body, position, identity, limit in zip(bodies, positions, identities, not_after_minutes, strict=True):
            if len(body) > LARGEST:
                records.place = position << ELEMENT_BITS
                records.refuse("too_large", f"{len(body)} bytes are more than {LARGEST}", body)
            else:
                self._message(body, position << ELEMENT_BITS, Sent(identity, limit), records)
        return self._judge(records, Zoning(self._scenario, None, None))

    def decode_lines(
        self, lines: Sequence[bytes], *, positions: Sequence[int], not_after_minute: int, zone: str | None = None
    ) -> Parsed:
        """All lines of a file at once; see `line_parts`."""
        parts = self.line_parts(lines, positions=positions, not_after_minute=not_after_minute, zone=zone)
        return joined(list(parts), len(self._scenario.channels))

    def line_parts(
        self,
        lines: Sequence[bytes | Rejection],
        *,
        positions: Sequence[int],
        not_after_minute: int,
        zone: str | None = None,
        most: int = MOST,
    ) -> Iterator[Parsed]:
        """Lines of a file, one reading or one envelope each, in stretches that end behind `most` records.

        Args:
            lines: Without their line ends; those that were refused before stay so.
            positions: Of each line, rising; an envelope's further readings have the ones behind it.
            not_after_minute: Minute since 1970 of the file itself.
            zone: Of timestamps without one; None takes the station's, else the scenario's.
            most: Records that end a stretch.

        Raises:
            BadEvent: `zone`, it is none.
        """
        zoning = Zoning(self._scenario, zone, self._scenario.zone)
        sent, records = Sent(None, not_after_minute), Records()
        for line, position in zip(lines, positions, strict=True):
            if isinstance(line, Rejection):
                records.refused.append(line)
            else:
                self._message(line, position, sent, records, alone=True)
            if len(records) >= most or records.unpacked > UNPACKED_AT_ONCE:
                yield self._judge(records, zoning)
                records = Records()
        if len(records):
            yield self._judge(records, zoning)

    def _message(self, body: bytes, position: int, sent: Sent, records: Records, *, alone: bool = False) -> None:
        """A message's records; an array of them is refused where one reading or envelope is to stand `alone`."""
        records.place, records.may_unpack_to = position, records.unpacked + LARGEST_UNPACKED
        if alone:
            self._reading(body, sent, records, body, 0)
        else:
            self._bytes(body, sent, records, None, 0)
        if (count := records.place - position) > MOST:
            records.undo(position)
            records.refuse("too_large", f"{count} readings are more than {MOST}", body)

    def _bytes(self, body: bytes, sent: Sent, records: Records, origin: Origin | None, deep: int) -> None:
        """A body: a reading, an envelope, or an array of them; `origin` is the envelope it came out of."""
        if body.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] != b"[":
            self._reading(body, sent, records, body if origin is None else origin, deep)
            return
        try:
            found = _readings_of(body)
        except BadEvent as error:
            records.refuse(error.reason, error.detail, body if origin is None else origin)
            return
        for element in found:
            self._reading(element, sent, records, element if origin is None else Part(sent, element), deep)

    def _reading(self, body: Body, sent: Sent, records: Records, origin: Origin, deep: int) -> None:
        try:
            self._value(value_of(body), sent, records, origin, deep)
        except BadEvent as error:
            records.refuse(error.reason, error.detail, origin)

    def _value(self, value: object, sent: Sent, records: Records, origin: Origin, deep: int) -> None:
        fields = _object(value)
        keys = self._keys(fields)
        if keys.opener is not None:
            envelope = keys.opener(fields)
            sent = through(envelope, sent)
            if envelope.body is not fields:
                self._open(envelope, sent, records, origin, deep + 1)
                return
        row = keys.row([*fields.values(), None])
        if sent.identity is not None and row[DEVICE] != sent.identity:
            check_identity(row[DEVICE], sent.identity)
        records.keep(row, keys.kind, sent, origin)

    def _open(self, envelope: Envelope, sent: Sent, records: Records, origin: Origin, deep: int) -> None:
        """What an envelope holds, which may be another one."""
        body = envelope.body
        if deep > DEEPEST:
            raise BadEvent("too_deep", f"more than {DEEPEST} envelopes, one in the other")
        if isinstance(body, bytes):
            self._bytes(self._unpacked(body, envelope.encoding, records), sent, records, origin, deep)
        elif isinstance(body, list):
            self._list(body, sent, records, deep)
        elif body is None:
            raise BadEvent("empty", "an envelope without a body")
        else:
            self._value(body, sent, records, origin, deep)

    @staticmethod
    def _unpacked(body: bytes, encoding: str, records: Records) -> bytes:
        found = unpacked(body, encoding, records.may_unpack_to - records.unpacked)
        if len(found) != len(body):
            records.unpacked += len(found)
        return found

    def _list(self, found: list[object], sent: Sent, records: Records, deep: int) -> None:
        if not found:
            raise BadEvent("empty", "an array without readings")
        for value in found:
            part = Part(sent, value)
            try:
                self._value(value, sent, records, part, deep)
            except BadEvent as error:
                records.refuse(error.reason, error.detail, part)

    def _keys(self, value: dict[str, object]) -> _Keys:
        names = tuple(value)
        known = self._known.get(names)
        if known is None:
            known = self._learn(names)
            if len(self._known) >= _COMBINATIONS:
                self._known.clear()
            if sum(map(len, names)) <= _CHARACTERS:
                self._known[names] = known
        return known

    def _learn(self, names: tuple[str, ...]) -> _Keys:
        if len(names) > MOST_KEYS:
            raise BadEvent("too_large", f"{len(names)} keys are more than {MOST_KEYS}")
        opener = opener_of(names)
        if opener is not None and not adds_keys(opener):
            return _Keys(tuple, _NO_KIND, opener)
        layout: Layout = self._columns.layout(names)
        ignored = [name for name in layout.ignored if opener is None or name.casefold() not in ANALYTICS]
        self.ignored.update(dict.fromkeys(ignored[: max(0, 100 - len(self.ignored))]))
        self.converted.update(layout.converted)
        return _Keys(itemgetter(*layout.picks), (layout.units, layout.zone), opener)

    def _judge(self, records: Records, zoning: Zoning) -> Parsed:
        rows, origins = records.rows, records.origins
        kinds = by_kind(records.kinds)
        columns = list(zip(*rows, strict=True)) or [()] * (FIRST_CHANNEL + len(self._scenario.channels))
        values, faults = self._values(columns, kinds)
        sent = [sent for _, sent, _ in origins]
        names, device = devices_of(columns[DEVICE], [each.identity for each in sent])
        stamps, limits = stamps_of(columns[TIME], kinds), np.array([each.limit for each in sent], np.int64)
        take_from_envelopes(sent, stamps, limits, fall_back=self._scenario.time_fallback)
        sheet = Sheet(
            position=np.array([position for position, _, _ in origins], np.int64),
            names=names,
            device=device,
            stamps=stamps,
            values=values,
            faults=faults,
            cell=lambda i, slot: rows[i][slot],
            raw=lambda i: bytes(origins[i][2]),
        )
        return self._acceptance.judge(sheet, zoning, limits, records.refused)

    def _values(self, columns: Sequence[Row], kinds: dict[Kind, Longs]) -> tuple[Floats, Codes]:
        values = np.full((len(columns[TIME]), len(self._scenario.channels)), np.nan, np.float32)
        faults = np.zeros(values.shape, np.uint8)
        for c, channel in enumerate(self._scenario.channels):
            raw, bad = numbers(columns[FIRST_CHANNEL + c])
            for (units, _), rows in kinds.items():
                values[rows, c], wrong, found = normalise(channel, raw[rows], units[c])
                self.converted.update((channel.name, name) for name in found)
                if wrong is not None:
                    faults[rows, c] = wrong
            faults[bad, c] = BAD
        return values, faults


def _readings_of(body: bytes) -> list[Body]:
    found = elements(body)
    if len(found) > MOST:
        raise BadEvent("too_large", f"{len(found)} readings are more than {MOST}")
    if not found:
        raise BadEvent("empty", "an array without readings")
    return found


def _object(value: object) -> dict[str, object]:
    if type(value) is not dict:
        raise BadEvent("not_an_object", f"{shown(value)} is not a reading")
    return value
