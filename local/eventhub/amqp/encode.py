"""AMQP 1.0 types, and how values are encoded. Standard library only.

Source: OASIS AMQP 1.0, part 1 (types). What has to travel on unchanged is copied as bytes (`Raw`), never decoded and
encoded again, for decoding gives plain Python values and so loses the width of an integer.
"""

import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shared.errors import PipelineError


class Malformed(PipelineError):
    """Bytes that are not AMQP 1.0: refuse the frame or the message they came in."""


class Symbol(str):
    """A name from the protocol's vocabulary; ASCII on the wire."""

    __slots__ = ()


class UByte(int):
    """8-bit unsigned."""


class UShort(int):
    """16-bit unsigned."""


class UInt(int):
    """32-bit unsigned."""


class ULong(int):
    """64-bit unsigned."""


class Long(int):
    """64-bit signed, whatever its size (a plain int takes the smallest signed type)."""


class Timestamp(int):
    """Milliseconds since 1970 in UTC."""


class Raw(bytes):
    """A value that is encoded already."""

    __slots__ = ()


class Array(NamedTuple):
    """An array of strings or of symbols, in the type of its first element."""

    items: Sequence[str]


@dataclass(frozen=True)
class Described:
    """A value with its descriptor, e.g. 0x24 and [] for the outcome "accepted"."""

    descriptor: Any
    value: Any


def encode(value: object) -> bytes:
    """The bytes of a value; strings, bytes, numbers and None by their own type, the rest by the classes above.

    Raises:
        TypeError: For a value without an AMQP type.
        OverflowError: For an integer beyond its type.
    """
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise TypeError(f"{type(value).__name__} has no AMQP type")
    try:
        return writer(value)
    except struct.error:
        raise OverflowError(f"integer does not fit {type(value).__name__}") from None


def _sized(code8: int, value: bytes) -> bytes:
    if len(value) < 256:
        return bytes((code8, len(value))) + value
    return bytes((code8 + 0x10,)) + struct.pack(">I", len(value)) + value


def _collection(code8: int, parts: list[bytes]) -> bytes:
    body = b"".join(parts)
    if len(body) < 255 and len(parts) < 256:
        return bytes((code8, len(body) + 1, len(parts))) + body
    return bytes((code8 + 0x10,)) + struct.pack(">II", len(body) + 4, len(parts)) + body


def _plain(value: int) -> bytes:
    if -128 <= value < 128:
        return b"\x54" + struct.pack(">b", value)
    if -(1 << 31) <= value < 1 << 31:
        return b"\x71" + struct.pack(">i", value)
    return b"\x81" + struct.pack(">q", value)


def _unsigned(zero: int, small: int, wide: int, layout: str) -> Callable[[Any], bytes]:
    def write(value: int) -> bytes:
        if value == 0:
            return bytes((zero,))
        return bytes((small, value)) if 0 < value < 256 else bytes((wide,)) + struct.pack(layout, value)

    return write


def _wide(constructor: int, layout: str) -> Callable[[Any], bytes]:
    return lambda value: bytes((constructor,)) + struct.pack(layout, value)


def _map_parts(value: Mapping[Any, Any]) -> list[bytes]:
    return [encode(part) for pair in value.items() for part in pair]


def _write_array(value: Array) -> bytes:
    symbols = bool(value.items) and isinstance(value.items[0], Symbol)
    parts = [struct.pack(">I", len(text)) + text for text in (item.encode() for item in value.items)]
    body = (b"\xb3" if symbols else b"\xb1") + b"".join(parts)
    return b"\xf0" + struct.pack(">II", len(body) + 4, len(parts)) + body


_WRITERS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"\x40",
    bool: lambda value: b"\x41" if value else b"\x42",
    int: _plain,
    float: _wide(0x82, ">d"),
    str: lambda value: _sized(0xA1, value.encode()),
    Symbol: lambda value: _sized(0xA3, value.encode("ascii")),
    bytes: lambda value: _sized(0xA0, value),
    uuid.UUID: lambda value: b"\x98" + value.bytes,
    list: lambda value: _collection(0xC0, [encode(item) for item in value]) if value else b"\x45",
    dict: lambda value: _collection(0xC1, _map_parts(value)),
    UByte: _wide(0x50, ">B"),
    UShort: _wide(0x60, ">H"),
    UInt: _unsigned(0x43, 0x52, 0x70, ">I"),
    ULong: _unsigned(0x44, 0x53, 0x80, ">Q"),
    Long: _wide(0x81, ">q"),
    Timestamp: _wide(0x83, ">q"),
    Described: lambda value: b"\x00" + encode(value.descriptor) + encode(value.value),
    Array: _write_array,
    Raw: bytes,
}
