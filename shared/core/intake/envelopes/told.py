"""What a hub tells of a message besides its bytes and its sender: the properties that it keeps for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from shared.core.intake.envelopes.sources import facts_of, from_device
from shared.core.scenario import Scenario

CREATED = ("iothubcreationtimeutc", "creationtimeutc")
ENCODING = "contentencoding"
_SOURCE, _TELLING = "iothub-message-source", frozenset({"iothub-creation-time-utc", "content-encoding"})
_LONGEST = 64  # characters of a property that is kept: a longer one is none of ours


class Told(NamedTuple):
    """What the properties of a message tell.

    Args:
        created: Time at which the device says it made the message, as written, None where unknown.
        encoding: How the body is packed, "" where nothing says so.
        telemetry: Whether a device sent it; otherwise the hub tells something of a device.
        enqueued_ms: When the hub took it, milliseconds since 1970, where the minute of that is not enough.
    """

    created: str | None = None
    encoding: str = ""
    telemetry: bool = True
    enqueued_ms: int | None = None

    def at(self, enqueued_ms: int, scenario: Scenario) -> Told:
        """The same with the time at which the hub took the message, if the scenario tells more than minutes apart."""
        return self._replace(enqueued_ms=enqueued_ms) if scenario.cadence.fine else self


UNTOLD = Told()


def told_by(system: Mapping[str, object], properties: Mapping[str, object]) -> Told:
    """What a message's properties tell; what the hub set goes before what the device set.

    Args:
        system: Annotations and AMQP's own properties, by the names that Azure gives them.
        properties: Those of the application, in any spelling.

    >>> told_by({"iothub-message-source": "Telemetry"}, {"iothub-creation-time-utc": "2026-05-04T09:58Z"}).created
    '2026-05-04T09:58Z'
    >>> told_by({"content-encoding": "gzip"}, {}), told_by({"x-opt-offset": "8"}, {}) is UNTOLD
    (Told(created=None, encoding='gzip', telemetry=True, enqueued_ms=None), True)
    """
    if not properties and _TELLING.isdisjoint(system) and system.get(_SOURCE) in (None, "Telemetry"):
        return UNTOLD
    facts = facts_of(properties) | facts_of(system)
    created = next((_kept(facts[name]) for name in CREATED if facts.get(name) is not None), None)
    told = Told(created, _kept(facts.get(ENCODING) or "") or "", from_device(facts))
    return UNTOLD if told == UNTOLD else told


def _kept(value: object) -> str | None:
    text = str(value) if isinstance(value, str | int | float) else ""
    return text[:_LONGEST] or None
