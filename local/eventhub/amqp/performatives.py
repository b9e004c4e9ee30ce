"""AMQP 1.0 performatives, the fields of each in the standard's order.

Source: OASIS AMQP 1.0, part 2 (transport) and part 5 (SASL). A field without a default is mandatory; null on the wire
means the default.
"""

from typing import Any, NamedTuple

MAX_UINT = 0xFFFFFFFF


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


Sasl = SaslMechanisms | SaslInit | SaslOutcome
Performative = Open | Begin | Attach | Flow | Transfer | Disposition | Detach | End | Close | Sasl
