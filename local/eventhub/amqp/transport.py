"""Performatives from and to the bytes of frames, and the errors and outcomes they carry. Standard library only.

Frames are built with every field, trailing nulls too: the azure-eventhub client reads fields by position.
"""

import struct
from typing import Any

from local.eventhub.amqp import performatives
from local.eventhub.amqp.decode import decode
from local.eventhub.amqp.encode import Array, Described, Malformed, Raw, Symbol, UByte, UInt, ULong, UShort, encode
from local.eventhub.amqp.errors import AmqpError, ProtocolViolation
from local.eventhub.amqp.performatives import MAX_UINT, Performative

AMQP_FRAME, SASL_FRAME = 0, 1

_LIMITS: dict[type, int] = {UByte: 0xFF, UShort: 0xFFFF, UInt: MAX_UINT, ULong: (1 << 64) - 1}
_WIRE: dict[int, tuple[Any, str]] = {
    0x10: (performatives.Open, "string string uint ushort uint any any any any any"),
    0x11: (performatives.Begin, "ushort uint uint uint uint any any any"),
    0x12: (performatives.Attach, "string uint bool ubyte ubyte any any any bool uint ulong any any any"),
    0x13: (performatives.Flow, "uint uint uint uint uint uint uint uint bool bool any"),
    0x14: (performatives.Transfer, "uint uint binary uint bool bool ubyte any bool bool bool"),
    0x15: (performatives.Disposition, "bool uint uint bool any bool"),
    0x16: (performatives.Detach, "uint bool any"),
    0x17: (performatives.End, "any"),
    0x18: (performatives.Close, "any"),
    0x40: (performatives.SaslMechanisms, "any"),
    0x41: (performatives.SaslInit, "string binary string"),
    0x44: (performatives.SaslOutcome, "ubyte binary"),
}
_TYPES = {
    "string": str,
    "binary": bytes,
    "bool": bool,
    "ubyte": UByte,
    "ushort": UShort,
    "uint": UInt,
    "ulong": ULong,
    "any": object,
}
_BY_CODE = {code: (cls, tuple(_TYPES[name] for name in wire.split())) for code, (cls, wire) in _WIRE.items()}
_BY_CLASS = {cls: (code, types) for code, (cls, types) in _BY_CODE.items()}

ACCEPTED = Raw(encode(Described(ULong(0x24), [])))


def error_value(error: AmqpError | None) -> Raw | None:
    """An error as the value of a field."""
    if error is None:
        return None
    return Raw(encode(Described(ULong(0x1D), [Symbol(error.condition), error.description, None])))


def rejected(error: AmqpError) -> Raw:
    """The outcome of a delivery that was refused."""
    return Raw(encode(Described(ULong(0x25), [error_value(error)])))


def symbols(*names: str) -> Array:
    """An array of symbols, the form of capabilities and mechanisms."""
    return Array([Symbol(name) for name in names])


def build(channel: int, performative: Performative, payload: bytes = b"", kind: int = AMQP_FRAME) -> bytes:
    """The bytes of one frame."""
    code, types = _BY_CLASS[type(performative)]
    fields = [
        value if value is None or wire not in _LIMITS else wire(value)
        for value, wire in zip(performative, types, strict=True)
    ]
    body = b"\x00\x53" + bytes((code,)) + encode(fields)
    return struct.pack(">IBBH", 8 + len(body) + len(payload), 2, kind, channel) + body + payload


def parse(body: bytes) -> tuple[Performative, bytes]:
    """The performative of a frame's body, and the payload behind it.

    Raises:
        Malformed: If the body does not begin with a described list.
        ProtocolViolation: If the performative is unknown, or a field is missing or of the wrong type.
    """
    described, at = decode(body)
    if not isinstance(described, Described) or not isinstance(described.value, list):
        raise Malformed("frame does not begin with a performative")
    code, fields = described.descriptor, described.value
    known = _BY_CODE.get(code) if isinstance(code, int) else None
    if known is None:
        raise ProtocolViolation("amqp:not-implemented", "frame with an unknown performative")
    cls, types = known
    if len(fields) > len(types):
        raise ProtocolViolation("amqp:invalid-field", f"{cls.__name__.lower()} has {len(fields)} fields")
    fields += [None] * (len(types) - len(fields))
    values = [_field(cls, *field) for field in zip(cls._fields, types, fields, strict=True)]
    return cls(*values), body[at:]


def _field(cls: Any, name: str, wire: type, value: Any) -> Any:
    if value is None:
        if name in cls._field_defaults:
            return cls._field_defaults[name]
        if name in ("remote_channel", "next_incoming_id"):  # optional, although mandatory ones follow
            return None
        raise ProtocolViolation("amqp:invalid-field", f"{cls.__name__.lower()}.{name} is missing")
    limit = _LIMITS.get(wire)
    fits = isinstance(value, wire) if limit is None else type(value) is int and 0 <= value <= limit
    if not fits:
        raise ProtocolViolation("amqp:invalid-field", f"{cls.__name__.lower()}.{name} is no {wire.__name__.lower()}")
    return value
