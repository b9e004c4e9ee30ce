"""Messages of devices and lines of JSON files into checked columns.

A message is decoded without a type, and its keys are mapped once per combination of keys: a fleet sends few combinations,
and so keys in another case, with a unit or under an alias cost nothing. A msgspec struct with a field per known name
decodes no faster (0.76 against 0.80 us, columns included) and would drop such keys unseen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import msgspec
import numpy as np

from shared.core.acceptance import Acceptance, Sheet, Zoning
from shared.core.columns import DEVICE, FIRST_CHANNEL, TIME, Columns, Layout
from shared.core.quantities import BAD, normalise, numbers
from shared.core.readings import Codes, Floats, Ints, Longs, Parsed, Rejection, shown
from shared.core.scenario import Scenario, Unit
from shared.core.timestamps import BAD as BAD_TIME
from shared.core.timestamps import Stamps, from_epoch, from_texts
from shared.errors import BadEvent

LARGEST = 256 * 1024
MOST = 65_535
_KNOWN_COMBINATIONS = 1000
_KNOWN_KEYS = 4096
_NOT_A_TEXT = "\x00"

_decode = msgspec.json.Decoder().decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(slots=True)
class _Records:
    """What was decoded, one entry a record, rows as (device, time, channels ...)."""

    rows: list[tuple[object, ...]] = field(default_factory=list)
    units: list[tuple[Unit | None, ...]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    raw: list[bytes | msgspec.Raw] = field(default_factory=list)
    identities: list[str | None] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    refused: list[Rejection] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What is known of a message beside its body."""

    position: int
    identity: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class _Keys:
    """How to read an object with a certain combination of keys."""

    row: Callable[[list[object]], tuple[object, ...]]
    layout: Layout


class Decoder:
    """Decodes and checks for one scenario; keeps what it learned about combinations of keys.

    Attributes:
        ignored: Keys that carry nothing the scenario knows, the first hundred seen.
        converted: Channels that came in another unit, and its name.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._columns = Columns(scenario)
        self._acceptance = Acceptance(scenario)
        self._known: dict[tuple[str, ...], _Keys | BadEvent] = {}
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
            identities: Device that the hub authenticated, None where unknown; it stands for a missing device id.
            not_after_minutes: Minute since 1970 in which each was enqueued.
        """
        records = _Records()
        for body, position, identity, limit in zip(bodies, positions, identities, not_after_minutes, strict=True):
            self._message(body, _Envelope(position << 16, identity, limit), records)
        return self._judge(records, Zoning(self._scenario, None, None), np.array(records.limits, np.int64))

    def decode_lines(
        self, lines: Sequence[bytes], *, positions: Sequence[int], not_after_minute: int, zone: str | None = None
    ) -> Parsed:
        """Lines of a file, one reading each.

        Args:
            lines: Without their line ends, none blank.
            positions: Number of each line.
            not_after_minute: Minute since 1970 of the file itself.
            zone: Of timestamps without one; None takes the station's, else the scenario's.

        Raises:
            BadEvent: `zone`, it is none.
        """
        zoning = Zoning(self._scenario, zone, self._scenario.zone)
        records = _Records()
        for line, position in zip(lines, positions, strict=True):
            self._reading(line, _Envelope(position, None, not_after_minute), records)
        return self._judge(records, zoning, not_after_minute)

    def _message(self, body: bytes, envelope: _Envelope, records: _Records) -> None:
        if len(body) > LARGEST:
            _refuse(records, envelope, "too_large", f"{len(body)} bytes are more than {LARGEST}", body)
        elif body.lstrip()[:1] == b"[":
            self._array(body, envelope, records)
        else:
            self._reading(body, envelope, records)

    def _array(self, body: bytes, envelope: _Envelope, records: _Records) -> None:
        try:
            elements = _split(body)
        except BadEvent as error:
            _refuse(records, envelope, error.reason, error.detail, body)
            return
        if len(elements) > MOST:
            _refuse(records, envelope, "too_large", f"{len(elements)} readings are more than {MOST}", body)
        elif not elements:
            _refuse(records, envelope, "empty", "an array without readings", body)
        for index, element in enumerate(elements[: MOST + 1] if len(elements) <= MOST else ()):
            self._reading(element, _Envelope(envelope.position + index, envelope.identity, envelope.limit), records)

    def _reading(self, body: bytes | msgspec.Raw, envelope: _Envelope, records: _Records) -> None:
        try:
            value = _decode(body)
        except (ValueError, RecursionError):
            try:
                value = _second_opinion(bytes(body))
            except BadEvent as error:
                _refuse(records, envelope, error.reason, error.detail, body)
                return
        if type(value) is not dict:
            _refuse(records, envelope, "not_an_object", f"{shown(value)} is not a reading", body)
            return
        try:
            keys = self._keys(value)
        except BadEvent as error:
            _refuse(records, envelope, error.reason, error.detail, body)
            return
        row = keys.row([*value.values(), None])
        records.rows.append(row)
        records.units.append(keys.layout.units)
        records.positions.append(envelope.position)
        records.identities.append(envelope.identity)
        records.limits.append(envelope.limit)
        records.raw.append(body)
