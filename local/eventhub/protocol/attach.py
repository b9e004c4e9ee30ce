"""What an address means: a hub, a partition of it, a consumer group's view of one, or a node."""

import re
from typing import Any

from local.eventhub.amqp.encode import Described, Raw
from local.eventhub.amqp.errors import LinkRefused
from local.eventhub.amqp.performatives import Attach
from local.eventhub.amqp.transport import symbols
from local.eventhub.broker import MAX_MESSAGE_SIZE, Broker, Hub, Partition
from local.eventhub.position import start_sequence
from local.eventhub.protocol.incoming import IncomingLink, Producer, RequestLink
from local.eventhub.protocol.outgoing import ConsumerLink, OutgoingLink, ReplyLink
from local.eventhub.protocol.requests import NODES
from local.eventhub.protocol.wire import Wire

RUNTIME_METRIC = "com.microsoft:enable-receiver-runtime-metric"

_SCHEME = re.compile(r"^[a-z]+://[^/]*/", re.IGNORECASE)
_CONSUMER = re.compile(r"^([^/]+)/ConsumerGroups/([^/]+)/Partitions/([^/]+)$", re.IGNORECASE)
_PRODUCER = re.compile(r"^([^/]+)(?:/Partitions/([^/]+))?$", re.IGNORECASE)
_SETTLED = 1  # a sender's mode: everything is sent settled
_SHOWN = 256  # characters of a peer's text that are given back to it


Link = IncomingLink | OutgoingLink


def open_link(broker: Broker, wire: Wire, attach: Attach) -> Link:
    """The link that a peer asks for.

    Raises:
        LinkRefused: If there is nothing at the address, or it may not be used that way.
    """
    terminus = attach.source if attach.role else attach.target
    address = _SCHEME.sub("", _address(terminus) or "").strip("/")
    if address.lower() in NODES:
        return _node_link(broker, wire, attach, address.lower())
    return _consumer(broker, wire, attach, address) if attach.role else _producer(broker, wire, attach, address)


def attach_reply(attach: Attach, source: Raw, target: Raw) -> Attach:
    """Our end of a link; source and target are echoed as they came."""
    receives = attach.role
    return Attach(
        name=attach.name,
        handle=attach.handle,
        role=not receives,
        snd_settle_mode=_SETTLED if receives else attach.snd_settle_mode,
        rcv_settle_mode=attach.rcv_settle_mode,
        source=source,
        target=target,
        initial_delivery_count=0 if receives else None,
        max_message_size=MAX_MESSAGE_SIZE,
        offered_capabilities=symbols(RUNTIME_METRIC) if receives and _tracks_last_event(attach) else None,
    )


def _tracks_last_event(attach: Attach) -> bool:
    """Whether a consumer asks for the newest event's place with each event."""
    wanted = attach.desired_capabilities
    return RUNTIME_METRIC in (wanted if isinstance(wanted, list) else [wanted])


def _fields(terminus: Any) -> list[Any]:
    value = terminus.value if isinstance(terminus, Described) else None
    return value if isinstance(value, list) else []


def _address(terminus: Any) -> str | None:
    fields = _fields(terminus)
    return str(fields[0]) if fields and isinstance(fields[0], str) else None


def _node_link(broker: Broker, wire: Wire, attach: Attach, node: str) -> Link:
    if attach.role:
        return ReplyLink(wire, attach.handle, node=node, target=_address(attach.target))
    return RequestLink(wire, attach.handle, attach.initial_delivery_count or 0, broker=broker, node=node)


def _producer(broker: Broker, wire: Wire, attach: Attach, address: str) -> Link:
    match = _PRODUCER.match(address)
    hub = broker.hub(match[1]) if match else None
    if match is None or hub is None:
        raise _not_found(address)
    partition = None if match[2] is None else _partition(hub, match[2])
    count = attach.initial_delivery_count or 0
    return Producer(wire, attach.handle, count, broker=broker, hub=hub, partition=partition)


def _consumer(broker: Broker, wire: Wire, attach: Attach, address: str) -> Link:
    match = _CONSUMER.match(address)
    hub = broker.hub(match[1]) if match else None
    if match is None or hub is None or match[2].lower() not in broker.groups:
        raise _not_found(address)
    partition = _partition(hub, match[3])
    filters = (_fields(attach.source) + [None] * 8)[7]
    link = ConsumerLink(
        wire,
        attach.handle,
        partition=partition,
        position=start_sequence(partition, filters),
        group=match[2].lower(),
        epoch=_epoch(attach),
        tracks=_tracks_last_event(attach),
    )
    refusal = partition.join(link)
    if refusal is not None:
        raise LinkRefused(*refusal)
    return link


def _epoch(attach: Attach) -> int | None:
    properties = attach.properties if isinstance(attach.properties, dict) else {}
    epoch = properties.get("com.microsoft:epoch")
    if epoch is not None and type(epoch) is not int:
        raise LinkRefused("amqp:invalid-field", "The epoch of a receiver is no integer.")
    return epoch


def _partition(hub: Hub, name: str) -> Partition:
    partition = hub.partition(name)
    if partition is None:
        last = len(hub.partitions) - 1
        text = f"The specified partition '{name[:_SHOWN]}' is invalid; it should be between 0 and {last}."
        raise LinkRefused("com.microsoft:argument-out-of-range", text)
    return partition


def _not_found(address: str) -> LinkRefused:
    return LinkRefused("amqp:not-found", f"The messaging entity '{address[:_SHOWN]}' could not be found.")
