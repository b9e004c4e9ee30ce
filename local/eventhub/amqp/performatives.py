"""AMQP 1.0 performatives: parse and build them, and the errors and outcomes they carry. Standard library only.

Source: OASIS AMQP 1.0, part 2 (transport) and part 5 (SASL). A field without a default is mandatory; null on the wire
means the default. Frames are built with every field, trailing nulls too: the azure-eventhub client reads fields by
position.
"""

import struct
from typing import Any, NamedTuple

from local.eventhub.amqp.decode import decode
from local.eventhub.amqp.encode import Array, Described, Malformed, Raw, Symbol, UByte, UInt, ULong, UShort, encode
from shared.errors import PipelineError

AMQP_FRAME, SASL_FRAME = 0, 1
MAX_UINT = 0xFFFFFFFF


class AmqpError(NamedTuple):
    """An error as it travels to the peer, e.g. condition `amqp:not-found`."""

    condition: str
    description: str


class Refused(PipelineError):
    """What the peer sent or asked for is refused, with the error that it is told."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.error = AmqpError(condition, description)


class ProtocolViolation(Refused):
    """The peer broke a rule of the protocol: close its connection."""


class LinkRefused(Refused):
    """What the peer asked for cannot be had: detach that link, the connection goes on."""


class Open(NamedTuple):
    """Begins a connection."""

    container_id: str
    hostname: str | None = None
    max_frame_size: int = MAX_UINT
    channel_max: int = 0xFFFF
    idle_timeout: int | None = None
    outgoing_locales: Any = None
    incoming_locales: Any = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: Any = None


class Begin(NamedTuple):
    """Begins a session on a channel."""

    remote_channel: int | None
    next_outgoing_id: int
    incoming_window: int
    outgoing_window: int
    handle_max: int = MAX_UINT
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: Any = None


class Attach(NamedTuple):
    """Attaches a link; `role` is True for a receiver. Modes: 2 = mixed, 0 = first."""

    name: str
    handle: int
    role: bool
    snd_settle_mode: int = 2
    rcv_settle_mode: int = 0
    source: Any = None
    target: Any = None
    unsettled: Any = None
    incomplete_unsettled: bool = False
    initial_delivery_count: int | None = None
    max_message_size: int | None = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: Any = None


class Flow(NamedTuple):
    """Windows of a session and, with a handle, credit of a link."""

    next_incoming_id: int | None
    incoming_window: int
    next_outgoing_id: int
    outgoing_window: int
    handle: int | None = None
    delivery_count: int | None = None
    link_credit: int | None = None
    available: int | None = None
    drain: bool = False
    echo: bool = False
    properties: Any = None


class Transfer(NamedTuple):
    """A message, or a part of one; the payload follows the performative."""

    handle: int
    delivery_id: int | None = None
    delivery_tag: bytes | None = None
    message_format: int | None = None
    settled: bool = False
    more: bool = False
    rcv_settle_mode: int | None = None
    state: Any = None
    resume: bool = False
    aborted: bool = False
    batchable: bool = False


class Disposition(NamedTuple):
    """The outcome of the deliveries first to last; `role` is True when the receiver says it."""

    role: bool
    first: int
    last: int | None = None
    settled: bool = False
    state: Any = None
    batchable: bool = False


class Detach(NamedTuple):
    """Detaches a link."""

    handle: int
    closed: bool = False
    error: Any = None


class End(NamedTuple):
    """Ends a session."""

    error: Any = None


class Close(NamedTuple):
    """Ends a connection."""

    error: Any = None


class SaslMechanisms(NamedTuple):
    """What the server offers."""

    mechanisms: Any


class SaslInit(NamedTuple):
    """What the client chose."""

    mechanism: str
    initial_response: bytes | None = None
    hostname: str | None = None


class SaslOutcome(NamedTuple):
    """0 = welcome."""

    code: int
    additional_data: bytes | None = None


Performative = (
    Open
    | Begin
    | Attach
    | Flow
    | Transfer
    | Disposition
    | Detach
    | End
    | Close
    | SaslMechanisms
    | SaslInit
    | SaslOutcome
)

_LIMITS: dict[type, int] = {UByte: 0xFF, UShort: 0xFFFF, UInt: MAX_UINT, ULong: (1 << 64) - 1}
_WIRE: dict[int, tuple[Any, str]] = {
    0x10: (Open, "string string uint ushort uint any any any any any"),
    0x11: (Begin, "ushort uint uint uint uint any any any"),
    0x12: (Attach, "string uint bool ubyte ubyte any any any bool uint ulong any any any"),
    0x13: (Flow, "uint uint uint uint uint uint uint uint bool bool any"),
    0x14: (Transfer, "uint uint binary uint bool bool ubyte any bool bool bool"),
    0x15: (Disposition, "bool uint uint bool any bool"),
    0x16: (Detach, "uint bool any"),
    0x17: (End, "any"),
    0x18: (Close, "any"),
    0x40: (SaslMechanisms, "any"),
    0x41: (SaslInit, "string binary string"),
    0x44: (SaslOutcome, "ubyte binary"),
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
