"""Requests to the nodes `$cbs` (tokens) and `$management` (properties of hubs and partitions), and their replies."""

from typing import Any, NamedTuple

from local.eventhub.amqp.decode import decode, items
from local.eventhub.amqp.encode import Array, Long, Malformed, Raw, Timestamp, encode
from local.eventhub.amqp.message import APPLICATION_PROPERTIES, PROPERTIES, sections
from local.eventhub.broker import Broker, Hub

CBS, MANAGEMENT = "$cbs", "$management"
NODES = (CBS, MANAGEMENT)
HUB_TYPE, PARTITION_TYPE = "com.microsoft:eventhub", "com.microsoft:partition"


class Reply(NamedTuple):
    """Status as in HTTP, a word about it, and the value that was asked for."""

    status: int
    description: str
    value: Any = None


class Request(NamedTuple):
    """What matters of a request: its arguments, and how the reply finds back."""

    arguments: dict[str, Any]
    message_id: Raw
    reply_to: str | None


def read_request(message: bytes) -> Request:
    """The request in a message.

    Raises:
        Malformed: If it is none.
    """
    arguments: Any = {}
    fields: list[bytes] = []
    for section in sections(message):
        if section.code == PROPERTIES:
            fields = items(message, section.value)
        elif section.code == APPLICATION_PROPERTIES:
            arguments, _ = decode(message, section.value)
    if not isinstance(arguments, dict):
        raise Malformed("application properties of a request are no map")
    reply_to = decode(fields[4])[0] if len(fields) > 4 else None
    texts = {_text(key): _text(value) for key, value in arguments.items()}
    return Request(texts, Raw(fields[0] if fields else b"\x40"), str(reply_to) if reply_to else None)


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def answer(broker: Broker, node: str, request: Request) -> bytes:
    """The reply to a request, as an encoded message."""
    reply = _token(request) if node == CBS else _read(broker, request)
    fields = [None, None, None, None, None, request.message_id]
    status = {"status-code": reply.status, "status-description": reply.description}
    status |= {"statusDescription": reply.description}  # where the Python client looks for it
    return b"\x00\x53\x73" + encode(fields) + b"\x00\x53\x74" + encode(status) + b"\x00\x53\x77" + encode(reply.value)


def _token(request: Request) -> Reply:
    if request.arguments.get("operation") != "put-token":
        return Reply(400, "The operation is not put-token.")
    return Reply(202, "Accepted")  # a stand-in on loopback: every token is good


def _read(broker: Broker, request: Request) -> Reply:
    name, kind = request.arguments.get("name"), request.arguments.get("type")
    if request.arguments.get("operation") != "READ" or kind not in (HUB_TYPE, PARTITION_TYPE):
        return Reply(400, "Only READ of a hub or a partition is supported.", {})
    hub = broker.hub(str(name))
    if hub is None:
        return _not_found(str(name))
    return _hub(hub) if kind == HUB_TYPE else _partition(hub, str(request.arguments.get("partition")))


def _hub(hub: Hub) -> Reply:
    value = {
        "name": hub.name,
        "type": HUB_TYPE,
        "created_at": Timestamp(hub.created_at_ms),
        "partition_count": len(hub.partitions),
        "partition_ids": Array([partition.name for partition in hub.partitions]),
    }
    return Reply(200, "OK", value)


def _partition(hub: Hub, name: str) -> Reply:
    partition = hub.partition(name)
    if partition is None:
        return _not_found(f"{hub.name}/Partitions/{name}")
    log = partition.log
    value = {
        "name": hub.name,
        "type": PARTITION_TYPE,
        "partition": partition.name,
        "begin_sequence_number": Long(partition.begin),
        "last_enqueued_sequence_number": Long(log.end - 1),
        "last_enqueued_offset": partition.last_offset,
        "last_enqueued_time_utc": Timestamp(log.last_enqueued_ms),
        "is_partition_empty": partition.begin == log.end,
    }
    return Reply(200, "OK", value)


def _not_found(entity: str) -> Reply:
    return Reply(
        404, f"The messaging entity '{entity[:256]}' could not be found.", {}
    )  # the Node client knows it by it
