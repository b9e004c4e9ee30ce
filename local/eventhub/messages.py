"""What the Event Hubs dialect does to messages: batches are unpacked, each event gets its place as annotations.

All else of an event (properties, body, foreign annotations such as IoT Hub's) stays byte for byte as it was sent.
"""

import struct
from typing import Any, NamedTuple

from local.eventhub.amqp.decode import decode, items
from local.eventhub.amqp.encode import Long, Malformed, Symbol, Timestamp, encode
from local.eventhub.amqp.message import (
    APPLICATION_PROPERTIES,
    DATA,
    DELIVERY_ANNOTATIONS,
    FOOTER,
    HEADER,
    MESSAGE_ANNOTATIONS,
    PROPERTIES,
    Section,
    binary,
    sections,
)

BATCH_FORMAT = 0x80013700  # every data section of such a message holds one encoded event
PARTITION_KEY = "x-opt-partition-key"
OWNED = frozenset(("x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time"))

_PARTITION_KEY = encode(Symbol(PARTITION_KEY))
_SEQUENCE = encode(Symbol("x-opt-sequence-number")) + b"\x81"
_OFFSET = encode(Symbol("x-opt-offset"))
_ENQUEUED = encode(Symbol("x-opt-enqueued-time")) + b"\x83"
_MAPS = (DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, APPLICATION_PROPERTIES, FOOTER)


class Event(NamedTuple):
    """One event on its way into the log: header, annotations (`entries` keys and values) and the rest, all encoded."""

    header: bytes
    annotations: bytes
    entries: int
    rest: bytes


class Delivery(NamedTuple):
    """What one message from a producer holds."""

    partition_key: str | bytes | None
    events: list[Event]


def unpack(message: bytes, message_format: int) -> Delivery:
    """The events of a message, single or batch; a batch's partition key goes to each event that has none.

    Raises:
        Malformed: If the message or one of its events is not a message that every consumer can read.
    """
    if message_format != BATCH_FORMAT:
        event, key = _event(message, None)
        return Delivery(key, [event])
    key, bodies = None, []
    for section in sections(message):
        if section.code == DATA:
            bodies.append(binary(message, section))
        elif section.code == MESSAGE_ANNOTATIONS:
            key = _key(_verified(message, section))
    return Delivery(key, [_event(body, key)[0] for body in bodies])


def _event(message: bytes, batch_key: str | bytes | None) -> tuple[Event, str | bytes | None]:
    header, annotations, count, rest, key = b"", b"", 0, len(message), None
    for section in sections(message):
        value = _verified(message, section)
        if section.code == HEADER:
            header = message[section.start : section.end]
        elif section.code == MESSAGE_ANNOTATIONS:
            key = _key(value)
            annotations, count = _annotations(message, section, value)
        elif section.code >= PROPERTIES:
            rest = min(rest, section.start)
    if key is None and batch_key is not None:
        annotations, count, key = annotations + _PARTITION_KEY + encode(batch_key), count + 2, batch_key
    return Event(header, annotations, count, message[rest:]), key


def _verified(message: bytes, section: Section) -> Any:
    """The value of a section, so that no consumer stumbles over what this producer sent; a body is not looked into."""
    if section.code == DATA:
        if message[section.value] not in (0xA0, 0xB0):
            raise Malformed("data section holds something else than binary")
        return None
    value, _ = decode(message, section.value)
    kind: type = dict if section.code in _MAPS else list if section.code in (HEADER, PROPERTIES) else object
    if value is not None and not isinstance(value, kind):
        raise Malformed(f"section 0x{section.code:02x} holds no {kind.__name__}")
    return value


def _key(annotations: dict[Any, Any] | None) -> str | bytes | None:
    key = (annotations or {}).get(PARTITION_KEY)
    if key is not None and not isinstance(key, str | bytes):
        raise Malformed(f"{PARTITION_KEY} is neither string nor binary")
    return str(key) if isinstance(key, str) else key


def _annotations(message: bytes, section: Section, value: dict[Any, Any] | None) -> tuple[bytes, int]:
    """The encoded pairs and their count, without those that only the broker may set (a forwarded event has them)."""
    if not value:
        return b"", 0
    if OWNED.isdisjoint(value):
        return _pairs(message, section.value, section.end)
    parts = items(message, section.value)
    kept = [key + part for key, part in zip(parts[::2], parts[1::2], strict=True) if decode(key)[0] not in OWNED]
    return b"".join(kept), 2 * len(kept)


def _pairs(message: bytes, at: int, end: int) -> tuple[bytes, int]:
    if message[at] == 0xC1:
        return message[at + 3 : end], message[at + 2]
    return message[at + 9 : end], int(struct.unpack_from(">I", message, at + 5)[0])


def stamp(event: Event, sequence: int, offset: str, enqueued_ms: int) -> bytes:
    """The message that consumers get, with its place in the partition."""
    own = (
        _SEQUENCE + struct.pack(">q", sequence) + _OFFSET + encode(offset) + _ENQUEUED + struct.pack(">q", enqueued_ms)
    )
    head = struct.pack(">II", len(event.annotations) + len(own) + 4, event.entries + 6)
    return b"".join((event.header, b"\x00\x53\x72\xd1", head, event.annotations, own, event.rest))


def runtime_metric(sequence: int, offset: str, enqueued_ms: int, now_ms: int) -> bytes:
    """Delivery annotations with the newest event of the partition, for consumers that track it."""
    return b"\x00\x53\x71" + encode(
        {
            Symbol("last_enqueued_sequence_number"): Long(sequence),
            Symbol("last_enqueued_offset"): offset,
            Symbol("last_enqueued_time_utc"): Timestamp(enqueued_ms),
            Symbol("runtime_info_retrieval_time_utc"): Timestamp(now_ms),
        }
    )
