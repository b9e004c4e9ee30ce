"""AMQP 1.0 messages: their sections, and what a reader of the event log needs of them. Standard library only.

Source: OASIS AMQP 1.0, part 3 (messaging). Sections that nobody has to change are passed on as the bytes they came in.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from local.eventhub.amqp.decode import decode, skip
from local.eventhub.amqp.encode import Malformed

HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES = range(0x70, 0x75)
DATA, SEQUENCE, VALUE, FOOTER = range(0x75, 0x79)


class Section(NamedTuple):
    """Where one section of a message lies: [start, end), its value from `value` on."""

    code: int
    start: int
    value: int
    end: int


def sections(message: bytes) -> Iterator[Section]:
    """The sections of an encoded message in their order.

    Raises:
        Malformed: If a section is cut short, unknown or out of order.
    """
    at, last = 0, HEADER
    while at < len(message):
        start = at
        code, at = _descriptor(message, at)
        if not last <= code <= FOOTER:
            raise Malformed(f"section 0x{code:02x} is unknown or out of order")
        end = skip(message, at)
        yield Section(code, start, at, end)
        at, last = end, code


def _descriptor(message: bytes, at: int) -> tuple[int, int]:
    if message[at : at + 2] == b"\x00\x53" and at + 2 < len(message):
        return message[at + 2], at + 3
    if message[at : at + 2] == b"\x00\x80" and at + 10 <= len(message):
        return int.from_bytes(message[at + 2 : at + 10], "big"), at + 10
    raise Malformed("message section has no numeric descriptor")


def binary(message: bytes, section: Section) -> bytes:
    """The payload of a data section."""
    constructor = message[section.value]
    if constructor not in (0xA0, 0xB0):
        raise Malformed("data section holds something else than binary")
    return message[section.value + (2 if constructor == 0xA0 else 5) : section.end]


class Message(NamedTuple):
    """What a reader of the log needs of one message; keys as str."""

    body: bytes
    annotations: dict[str, Any]
    application_properties: dict[str, Any]
    properties: list[Any]


def read_message(message: bytes) -> Message:
    """Body, annotations and properties of an encoded message, e.g. one that the event log gave back.

    The body is that of all data sections together; a message with another kind of body has none here.

    Raises:
        Malformed: If the bytes are not a message.
    """
    body: list[bytes] = []
    found: dict[int, Any] = {}
    for section in sections(message):
        if section.code == DATA:
            body.append(binary(message, section))
        elif section.code in (MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES):
            found[section.code], _ = decode(message, section.value)
    return Message(
        b"".join(body),
        found.get(MESSAGE_ANNOTATIONS) or {},
        found.get(APPLICATION_PROPERTIES) or {},
        found.get(PROPERTIES) or [],
    )
