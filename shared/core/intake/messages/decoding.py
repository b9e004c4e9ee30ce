"""Messages of devices and lines of JSON files into checked columns.

A message is decoded without a type, and its keys are mapped once per combination of keys: a fleet sends few, so keys
in another case, with a unit or under an alias cost nothing. A msgspec struct with a field per known name decodes no
faster (0.76 against 0.80 us, columns included) and would drop such keys unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from shared.core.intake.acceptance import Zoning
from shared.core.intake.columns import DEVICE
from shared.core.intake.envelopes.envelope import Envelope
from shared.core.intake.envelopes.instants import UNKNOWN, seconds_of
from shared.core.intake.envelopes.opening import check_telemetry, through
from shared.core.intake.envelopes.packed import LARGEST_UNPACKED, unpacked
from shared.core.intake.envelopes.senml import measured
from shared.core.intake.envelopes.told import UNTOLD, Told
from shared.core.intake.layouts.objects import Objects, of_hub
from shared.core.intake.messages.identities import Identities
from shared.core.intake.messages.json_bodies import VALUES_AT_ONCE, Body, elements, lines, value_of, weight
from shared.core.intake.messages.judging import Judge
from shared.core.intake.messages.keys import KnownKeys
from shared.core.intake.messages.records import Origin, Part, Records, Sent, as_json
from shared.core.intake.readings import Parsed, Rejection, joined, shown
from shared.core.scenario import Scenario
from shared.errors import BadEvent

LARGEST = 256 * 1024
ELEMENT_BITS = 16  # of a position: which of its message's readings it is
MOST = (1 << ELEMENT_BITS) - 1
DEEPEST = 4  # envelopes, one in the other


class Decoder:
    """Decodes and checks for one scenario; keeps what it learned about combinations of keys.

    Attributes:
        ignored: Keys that carry nothing the scenario knows, the first hundred seen, as written.
        converted: Channels that came in another unit, and its name.
        layouts: Layouts that were met, and what is what under each.
    """

    def __init__(self, scenario: Scenario, objects: Objects | None = None) -> None:
        """Learn names.

        Args:
            scenario: Says what a reading is.
            objects: Where they come from; None = from the devices' hub.
        """
        self._scenario = scenario
        self._judge = Judge(scenario)
        self._identities = Identities(scenario)
        self.converted = self._judge.converted
        self._keys = KnownKeys(scenario, of_hub(scenario) if objects is None else objects, self.converted)
        self.ignored, self.layouts = self._keys.ignored, self._keys.layouts

    def decode(
        self, body: bytes, *, position: int, identity: str | None, not_after_minute: int, told: Told = UNTOLD
    ) -> Parsed:
        """One message; see `decode_many`."""
        return self.decode_many(
            [body], positions=[position], identities=[identity], not_after_minutes=[not_after_minute], told=[told]
        )

    def decode_many(
        self,
        bodies: Sequence[bytes],
        *,
        positions: Sequence[int],
        identities: Sequence[str | None],
        not_after_minutes: Sequence[int],
        told: Sequence[Told] | None = None,
    ) -> Parsed:
        """A batch of messages, each one reading or several; see `stretches`."""
        parts = self.stretches(
            bodies, positions=positions, identities=identities, not_after_minutes=not_after_minutes, told=told
        )
        return joined([parsed for _, parsed in parts], len(self._scenario.channels))

    def stretches(
        self,
        bodies: Sequence[bytes],
        *,
        positions: Sequence[int],
        identities: Sequence[str | None],
        not_after_minutes: Sequence[int],
        told: Sequence[Told] | None = None,
    ) -> Iterator[tuple[int, Parsed]]:
        """Messages as few at a time as memory needs, and how many of them; never raises for what a body holds.

        What stands in envelopes, perhaps packed, is known only once they are open; see `json_bodies.at_once`.

        A timestamp without a zone is read in the station's own zone, else in the scenario's.

        Args:
            bodies: As the devices sent them, any bytes.
            positions: Sequence number of each, rising; a reading's position is that * 65536 + its index in the array.
            identities: Device that the hub authenticated, None where unknown; it stands in for a missing device id.
            not_after_minutes: Minute since 1970 in which each was enqueued.
            told: What the hub tells of each besides; None where it tells nothing.
        """
        records, count, zoning = Records(live=True), 0, Zoning(self._scenario, None)
        about = zip(positions, identities, not_after_minutes, told or [UNTOLD] * len(bodies), strict=True)
        for body, (position, identity, limit, more) in zip(bodies, about, strict=True):
            if records.weight > VALUES_AT_ONCE:
                yield count, self._judge.judge(records, zoning)
                records, count = Records(live=True), 0
            sent = Sent(identity, limit, more.created, more.enqueued_ms)
            self._message(body, position << ELEMENT_BITS, sent, records, more)
            count += 1
        yield count, self._judge.judge(records, zoning)

    def decode_lines(
        self, lines: Sequence[bytes], *, positions: Sequence[int], not_after_minute: int, zone: str | None = None
    ) -> Parsed:
        """All lines of a file at once; see `line_parts`."""
        zoning = Zoning(self._scenario, zone)
        parts = self.line_parts(lines, positions=positions, not_after_minute=not_after_minute, zoning=zoning)
        return joined(list(parts), len(self._scenario.channels))

    def line_parts(
        self,
        lines: Sequence[bytes | Rejection],
        *,
        positions: Sequence[int],
        not_after_minute: int,
        zoning: Zoning,
        most: int = MOST,
    ) -> Iterator[Parsed]:
        """Lines of a file, one reading or one envelope each, in stretches that end behind `most` records.

        Args:
            lines: Without their line ends; those that were refused before stay so.
            positions: Of each line, rising; an envelope's further readings have the ones behind it.
            not_after_minute: Minute since 1970 of the file itself.
            zoning: Of timestamps without a zone, throughout the file.
            most: Records that end a stretch.
        """
        sent, records = Sent(None, not_after_minute), Records()
        for line, position in zip(lines, positions, strict=True):
            if isinstance(line, Rejection):
                records.refused.append(line)
            else:
                self._line(line, position, sent, records)
            if len(records) >= most or records.weight > VALUES_AT_ONCE:
                yield self._judge.judge(records, zoning)
                records = Records()
        if len(records):
            yield self._judge.judge(records, zoning)

    def _message(self, body: bytes, position: int, sent: Sent, records: Records, told: Told) -> None:
        """A message's records."""
        records.begin(position, LARGEST_UNPACKED)
        found = body
        if told is not UNTOLD or len(body) > LARGEST:
            try:
                found = self._plain(body, told, records)
            except BadEvent as error:
                records.refuse(error.reason, error.detail, body)
                return
        self._bytes(found, sent, records, None if found is body else body, 0)
        records.end(position, MOST, body)

    def _plain(self, body: bytes, told: Told, records: Records) -> bytes:
        """A message's body as it was before it was packed."""
        if len(body) > LARGEST:
            raise BadEvent("too_large", f"{len(body)} bytes are more than {LARGEST}")
        check_telemetry(telemetry=told.telemetry)
        return self._unpacked(body, told.encoding, records) if told.encoding else body

    def _line(self, line: bytes, position: int, sent: Sent, records: Records) -> None:
        """The records of a file's line: one reading or envelope; an array is refused."""
        records.begin(position, LARGEST_UNPACKED)
        self._reading(line, sent, records, line, 0)
        records.end(position, MOST, line)

    def _bytes(self, body: bytes, sent: Sent, records: Records, origin: Origin | None, deep: int) -> None:
        """A body: a reading, an envelope, or an array of them; `origin` is the envelope it came out of."""
        whole = body if origin is None else origin
        try:
            if body.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] != b"[":
                self._value(value_of(body), sent, records, whole, deep)
                return
            found = _readings_of(elements(body))
            if b'n"' in bytes(found[0]) and self._keys.carrier.is_pack([value_of(found[0])]):
                self._value(value_of(body), sent, records, whole, deep)
                return
        except BadEvent as error:
            found = lines(body) if error.reason in ("not_json", "too_deep") else []
            if not found:
                records.refuse(error.reason, error.detail, whole)
        for element in found:
            self._reading(element, sent, records, element if origin is None else Part(sent, element), deep)

    def _reading(self, body: Body, sent: Sent, records: Records, origin: Origin, deep: int) -> None:
        try:
            self._value(value_of(body), sent, records, origin, deep)
        except BadEvent as error:
            records.refuse(error.reason, error.detail, origin)

    def _value(self, value: object, sent: Sent, records: Records, origin: Origin, deep: int) -> None:
        if type(value) is not dict:
            if isinstance(value, list) and self._keys.carrier.is_pack(value):
                self._pack(value, sent, records, origin, deep)
                return
            raise BadEvent("not_an_object", f"{shown(value)} is not a reading")
        fields: dict[str, object] = value
        keys = self._keys.of(fields)
        entries = fields
        if self._keys.reaching:
            entries, keys = self._keys.deeper(fields, keys)
        if keys.opener is not None:
            envelope = keys.opener(fields)
            sent = through(envelope, sent, self._identities)
            if envelope.body is not fields:
                self._open(envelope, sent, records, origin, deep + 1)
                return
        row = keys.row([*entries.values(), None])
        if sent.identity is not None and row[DEVICE] != sent.identity:
            sent = replace(sent, identity=self._identities.speaker(row[DEVICE], sent.identity))
        elif keys.device is not None and sent.identity is None and row[DEVICE] is None:
            sent = replace(sent, identity=keys.device)
        records.keep(row, keys.kind, keys.keyed, sent, origin)

    def _open(self, envelope: Envelope, sent: Sent, records: Records, origin: Origin, deep: int) -> None:
        """What an envelope holds, which may be another one."""
        body = envelope.body
        if deep > DEEPEST:
            raise BadEvent("too_deep", f"more than {DEEPEST} envelopes, one in the other")
        if isinstance(body, bytes):
            found = self._unpacked(body, envelope.encoding, records)
            records.weight += weight(found)
            self._bytes(found, sent, records, origin, deep)
        elif isinstance(body, list) and not self._keys.carrier.is_pack(body):
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

    def _pack(self, pack: list[object], sent: Sent, records: Records, origin: Origin, deep: int) -> None:
        """Readings of a SenML pack, each as if it stood alone."""
        count = len(records)
        for found in measured(pack, self._now(sent, live=records.live)):
            own = Part(sent, found.records) if isinstance(origin, Part) or deep else as_json(found.records)
            reading = {f"{name} ({unit})" if unit else name: value for name, (value, unit) in found.values.items()}
            about = {self._scenario.key: found.device, self._scenario.names.time[0]: found.time}
            known = {name: value for name, value in about.items() if value is not None}
            try:
                self._value({**known, **reading}, sent, records, own, deep + 1)
            except BadEvent as error:
                records.refuse(error.reason, error.detail, own)
        if len(records) == count:
            raise BadEvent("empty", "a SenML pack without values")

    def _now(self, sent: Sent, *, live: bool) -> float | None:
        """The middle of the minute in which a record was made, else enqueued; of the second where these are told apart.

        In seconds since 1970, None where it is unknown.
        """
        told = seconds_of([sent.created, sent.enqueued]).tolist()
        known = next((second for second in told if second != UNKNOWN), sent.limit * 60 if live else None)
        if known is None or self._scenario.cadence.fine:
            return None if known is None else known + 0.5
        return known // 60 * 60.0 + 30.0

    def _list(self, found: list[object], sent: Sent, records: Records, deep: int) -> None:
        if not found:
            raise BadEvent("empty", "an array without readings")
        for value in found:
            part = Part(sent, value)
            try:
                self._value(value, sent, records, part, deep)
            except BadEvent as error:
                records.refuse(error.reason, error.detail, part)


def _readings_of(found: list[Body]) -> list[Body]:
    if len(found) > MOST:
        raise BadEvent("too_large", f"{len(found)} readings are more than {MOST}")
    if not found:
        raise BadEvent("empty", "an array without readings")
    return found
