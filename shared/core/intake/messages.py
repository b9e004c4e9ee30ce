"""Messages of devices and lines of JSON files into checked columns.

A message is decoded without a type, and its keys are mapped once per combination of keys: a fleet sends few, so keys
in another case, with a unit or under an alias cost nothing. A msgspec struct with a field per known name decodes no
faster (0.76 against 0.80 us, columns included) and would drop such keys unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from shared.core.intake.acceptance import Acceptance, Sheet, Zoning
from shared.core.intake.columns import DEVICE, FIRST_CHANNEL, TIME, Columns, Layout
from shared.core.intake.json_bodies import Body, elements, value_of
from shared.core.intake.quantities import BAD, normalise, numbers
from shared.core.intake.readings import Codes, Floats, Longs, Parsed, shown
from shared.core.intake.records import Kind, Records, Row, by_kind, check_identity, devices_of, stamps_of
from shared.core.scenario import Scenario
from shared.errors import BadEvent

LARGEST = 256 * 1024
MOST = 65_535
MOST_KEYS = 1000
_COMBINATIONS = 1000
_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class _Keys:
    """How to read an object with a certain combination of keys; records of one kind share units and declared zone."""

    row: Callable[[list[object]], Row]
    kind: Kind


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
                records.refuse(position << 16, "too_large", f"{len(body)} bytes are more than {LARGEST}", body)
            elif body.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] == b"[":
                self._array(body, position << 16, identity, limit, records)
            else:
                self._reading(body, position << 16, identity, limit, records)
        return self._judge(records, Zoning(self._scenario, None, None))

    def decode_lines(
        self, lines: Sequence[bytes], *, positions: Sequence[int], not_after_minute: int, zone: str | None = None
    ) -> Parsed:
        """Lines of a file, one reading each.

        Args:
            lines: Without their line ends.
            positions: Number of each line, rising.
            not_after_minute: Minute since 1970 of the file itself.
            zone: Of timestamps without one; None takes the station's, else the scenario's.

        Raises:
            BadEvent: `zone`, it is none.
        """
        zoning = Zoning(self._scenario, zone, self._scenario.zone)
        records = Records()
        for line, position in zip(lines, positions, strict=True):
            self._reading(line, position, None, not_after_minute, records)
        return self._judge(records, zoning)

    def _array(self, body: bytes, position: int, identity: str | None, limit: int, records: Records) -> None:
        try:
            found = _readings_of(body)
        except BadEvent as error:
            records.refuse(position, error.reason, error.detail, body)
            return
        for index, element in enumerate(found):
            self._reading(element, position + index, identity, limit, records)

    def _reading(self, body: Body, position: int, identity: str | None, limit: int, records: Records) -> None:
        try:
            value = _object(value_of(body))
            keys = self._keys(value)
            row = keys.row([*value.values(), None])
            if identity is not None and row[DEVICE] != identity:
                check_identity(row[DEVICE], identity)
        except BadEvent as error:
            records.refuse(position, error.reason, error.detail, body)
            return
        records.rows.append(row)
        records.kinds.append(keys.kind)
        records.origins.append((position, identity, limit, body))

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
        layout: Layout = self._columns.layout(names)
        self.ignored.update(dict.fromkeys(layout.ignored[: max(0, 100 - len(self.ignored))]))
        self.converted.update(layout.converted)
        return _Keys(itemgetter(*layout.picks), (layout.units, layout.zone))

    def _judge(self, records: Records, zoning: Zoning) -> Parsed:
        rows, origins = records.rows, records.origins
        kinds = by_kind(records.kinds)
        columns = list(zip(*rows, strict=True)) or [()] * (FIRST_CHANNEL + len(self._scenario.channels))
        values, faults = self._values(columns, kinds)
        names, device = devices_of(columns[DEVICE], [identity for _, identity, _, _ in origins])
        sheet = Sheet(
            position=np.array([position for position, _, _, _ in origins], np.int64),
            names=names,
            device=device,
            stamps=stamps_of(columns[TIME], kinds),
            values=values,
            faults=faults,
            cell=lambda i, slot: rows[i][slot],
            raw=lambda i: bytes(origins[i][3]),
        )
        limits = np.array([limit for _, _, limit, _ in origins], np.int64)
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
