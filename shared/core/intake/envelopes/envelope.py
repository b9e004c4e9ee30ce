"""Envelopes that Azure and networks put around messages of devices, recognised by their keys, in any case.

Source: https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-messages-d2c (storage routes),
https://learn.microsoft.com/azure/event-hubs/event-hubs-capture-overview (Capture),
https://learn.microsoft.com/azure/iot-central/core/howto-export-to-blob-storage (IoT Central),
https://learn.microsoft.com/azure/stream-analytics/stream-analytics-define-inputs (Stream Analytics),
https://www.thethingsindustries.com/docs/integrations/data-formats (The Things Stack).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

from shared.core.intake.envelopes.sources import facts_of, from_device, plain
from shared.core.intake.envelopes.told import CREATED, ENCODING
from shared.core.intake.readings import LONGEST_ID
from shared.errors import BadEvent

ANALYTICS = frozenset({"eventenqueuedutctime", "eventprocessedutctime", "partitionid", "iothub"})
_BATCH = {"body", "properties", "systemproperties", "base64encoded"}
_DEVICE = ("connectiondeviceid", "iothubconnectiondeviceid")
_ENQUEUED = ("enqueuedtimeutc", "enqueuedtime", "iothubenqueuedtime")
_RECEIVED = ("receivedat",)
_OF_STACK = (
    "uplinkmessage", "uplinknormalized", "joinaccept", "downlinkack", "downlinknack", "downlinksent", "downlinkfailed",
    "downlinkqueued", "downlinkqueueinvalidated", "locationsolved", "servicedata",
)  # fmt: skip
_LONGEST_TIME = 64  # characters
_IOT_EVENT = "microsoft.devices."
_BASE64 = re.compile(r"[A-Za-z0-9+/]*+={0,2}")


class Envelope(NamedTuple):
    """What an envelope holds and says.

    Args:
        body: A JSON value, or bytes; the enclosing object itself where the envelope only adds keys to a reading.
        identity: Device that the hub authenticated.
        created: Time at which the device says it made the message, as written.
        enqueued: Time at which the hub took the message, as written.
        encoding: How bytes are packed, "" where it does not say.
        telemetry: Whether a device sent it; otherwise the hub tells something of a device.
    """

    body: object
    identity: str | None = None
    created: object = None
    enqueued: object = None
    encoding: str = ""
    telemetry: bool = True


Facts: TypeAlias = dict[str, object]
Opener: TypeAlias = Callable[[Mapping[str, object]], Envelope]


def opener_of(names: Iterable[str]) -> Opener | None:
    """What opens an object with these keys, None where it is no envelope."""
    known = {plain(name) for name in names}
    for needed, opener in _FORMS:
        if needed <= known:
            return opener
    return _routed if {"body", "properties"} <= known <= _BATCH else None


def adds_keys(opener: Opener) -> bool:
    """Whether the envelope is a reading with keys more, rather than something that holds one."""
    return opener is _selected


def _routed(value: Mapping[str, object]) -> Envelope:
    """A message as IoT Hub routes it to storage, as Event Hubs Capture writes it, or of a batch."""
    facts = facts_of(value)
    system, properties = facts_of(facts.get("systemproperties")), facts_of(facts.get("properties"))
    body, told = facts.get("body"), system | properties
    return Envelope(
        body=unquoted(body) if isinstance(body, str) else body,
        identity=_name(_first(system, _DEVICE)),
        created=_time(told, CREATED),
        enqueued=_time(facts | system, _ENQUEUED),
        encoding=str(told.get(ENCODING) or ""),
        telemetry=from_device(told),
    )


def _exported(value: Mapping[str, object]) -> Envelope:
    """A message as IoT Central exports it."""
    facts = facts_of(value)
    return Envelope(
        body=facts.get("telemetry"),
        identity=_name(facts.get("deviceid")),
        created=_time(facts_of(facts.get("messageproperties")), CREATED),
        enqueued=_time(facts, _ENQUEUED),
        telemetry=str(facts.get("messagesource")).casefold() == "telemetry",
    )


def _selected(value: Mapping[str, object]) -> Envelope:
    """A reading with the keys that Stream Analytics adds to it."""
    facts = facts_of(value)
    hub = facts_of(facts.get("iothub"))
    return Envelope(
        body=value,
        identity=_name(_first(hub, _DEVICE)),
        enqueued=_time(hub, _ENQUEUED) or _time(facts, ("eventenqueuedutctime",)),
    )


def _published(value: Mapping[str, object]) -> Envelope:
    """An event of Event Grid, in its own schema or as a CloudEvent."""
    facts = facts_of(value)
    kind, data = str(_first(facts, ("eventtype", "type"))).casefold(), facts.get("data")
    if kind.startswith(_IOT_EVENT) and kind != _IOT_EVENT + "devicetelemetry":
        return Envelope(data, telemetry=False)
    time = _time(facts, ("eventtime", "time"))
    if isinstance(data, dict) and "body" in map(plain, data):
        inner = _routed(data)
        return inner._replace(enqueued=inner.enqueued or time)
    return Envelope(data, enqueued=time)


def _heard(value: Mapping[str, object]) -> Envelope:
    """What The Things Stack tells of a device of a LoRaWAN: its uplinks are readings once a formatter has decoded them.

    Raises:
        BadEvent: `empty`, none has.
    """
    facts = facts_of(value)
    uplink = facts_of(facts.get("uplinkmessage"))
    body = uplink.get("decodedpayload")
    if uplink and body is None:
        raise BadEvent(
            "empty", "an uplink without decoded_payload; a payload formatter of the device decodes its bytes"
        )
    return Envelope(
        body,
        identity=_name(facts_of(facts.get("enddeviceids")).get("deviceid")),
        enqueued=_time(facts, _RECEIVED)
        or _time(uplink, _RECEIVED)
        or _time(facts_of(uplink.get("settings")), ("time",)),
        telemetry=bool(uplink),
    )


_FORMS: tuple[tuple[frozenset[str], Opener], ...] = (
    (frozenset({"body", "systemproperties"}), _routed),
    (frozenset({"body", "enqueuedtimeutc"}), _routed),
    (frozenset({"messagesource", "telemetry"}), _exported),
    (frozenset({"messagesource", "applicationid"}), _exported),
    (frozenset({"eventenqueuedutctime"}), _selected),
    (frozenset({"eventprocessedutctime"}), _selected),
    (frozenset({"eventtype", "data", "topic"}), _published),
    (frozenset({"specversion", "type", "data", "source"}), _published),
    *((frozenset({"enddeviceids", event}), _heard) for event in _OF_STACK),
)


def _first(facts: Facts, names: Iterable[str]) -> object:
    for name in names:
        if (found := facts.get(name)) is not None:
            return found
    return None


def _time(facts: Facts, names: Iterable[str]) -> object:
    """A time as written; what is longer than any is none: each reading of a body repeats it in its dead letter."""
    value = _first(facts, names)
    return value if isinstance(value, str | int | float) and len(str(value)) <= _LONGEST_TIME else None


def _name(value: object) -> str | None:
    """A device's id; of one that is too long, as much as shows that."""
    return value.strip()[: LONGEST_ID + 1] or None if isinstance(value, str) else None


def unquoted(text: str) -> bytes:
    """The bytes that a text stands for: JSON as it is, else base64, which begins otherwise; else the text's own.

    Whether it is base64 is decided here: versions of Python differ in what padding they let pass.
    """
    bare = text.strip()
    if not bare.startswith(("{", "[")) and len(bare) % 4 == 0 and _BASE64.fullmatch(bare):
        return binascii.a2b_base64(bare)
    return text.encode("utf-8", "surrogatepass")
