"""Messages as IoT Hub hands them on, and how they get to a hub through the azure-eventhub client.

The client encodes an annotated message at 4,600 a second, before anything is sent, because it builds each one twice
and value by value. Messages of a device differ in time and body only, so they are put together here, and the client
carries them: 48,000 a second through it and the local endpoint.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import NamedTuple

from azure.eventhub import EventDataBatch, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, ConnectError, EventHubError

from local.eventhub.amqp.encode import Symbol, encode
from shared.errors import ConfigError, TransientFailure

BATCH_BYTES = 110_000  # with more, the client waits 50 ms between the frames of a batch
LARGEST_BATCH = 1 << 20
PARTITION_KEY = "x-opt-partition-key"
AUTH_METHOD = '{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}'
_ANNOTATIONS, _PROPERTIES, _DATA = b"\x00\x53\x72", b"\x00\x53\x73", b"\x00\x53\x75"
_JSON = _PROPERTIES + encode([None] * 6 + [Symbol("application/json"), Symbol("utf-8")])
_TIMESTAMP = struct.Struct(">q").pack


class Message(NamedTuple):
    """One message of a device.

    Args:
        device: Its id, and the partition key.
        body: What it says.
        minute: When it is sent, minutes since 1970 on the fleet's clock.
        identified: Whether the hub vouches for the device; a plain hub, without device identities, does not.
    """

    device: str
    body: bytes
    minute: float
    identified: bool = True


def encoded(message: Message, enqueued_ms: int) -> bytes:
    """An AMQP message with IoT Hub's annotations; `enqueued_ms` is when IoT Hub got it."""
    body = message.body
    length = bytes((0xA0, len(body))) if len(body) < 256 else b"\xb0" + struct.pack(">I", len(body))
    head = _head(message.device, message.identified)
    return b"".join((head, _TIMESTAMP(enqueued_ms), _JSON, _DATA, length, body))


@lru_cache(maxsize=1 << 17)
def _head(device: str, identified: bool) -> bytes:
    """The annotations of a device up to the value of the last one, the time."""
    values = {PARTITION_KEY: device, "iothub-message-source": "Telemetry"}
    if identified:
        values["iothub-connection-device-id"] = device
        values["iothub-connection-auth-method"] = AUTH_METHOD
        values["iothub-connection-auth-generation-id"] = "638700000000000000"
    pairs = b"".join(encode(Symbol(name)) + encode(value) for name, value in values.items())
    pairs += encode(Symbol("iothub-enqueuedtime")) + b"\x83"
    return _ANNOTATIONS + b"\xd1" + struct.pack(">II", 4 + len(pairs) + 8, 2 * len(values) + 2) + pairs


def place(device: str, partitions: int) -> int:
    """The partition of a device, the one in which the local endpoint puts this partition key too.

    >>> place("town-001", 4) == place("town-001", 4) < 4
    True
    """
    return zlib.crc32(device.encode("utf-8", "surrogatepass")) % partitions


class _Encoded(EventDataBatch):
    """A batch of messages that are encoded already."""

    def __init__(self, messages: list[bytes], partition: str) -> None:
        super().__init__(LARGEST_BATCH, partition)
        self._message[5].extend(messages)  # the data sections, where `add` would put them
        self._count = len(messages)


class Sender:
    """Sends messages to a hub, those of a device in order and into one partition.

    The partition is named and the key stands beside it, as the client does it in buffered mode, so that a batch holds
    messages of many devices. A batch whose acknowledgement got lost is sent again by the client.

    Args:
        connection: Connection string of a namespace, an IoT Hub-like hub or the local endpoint.
        hub: Name of the hub; None takes the string's EntityPath.
        partitions: How many there are; None asks the hub.

    Raises:
        ConfigError: The string is no connection string, or nothing names the hub.
        TransientFailure: The hub does not answer.
    """

    def __init__(self, connection: str, hub: str | None = None, partitions: int | None = None) -> None:
        connect = partial(EventHubProducerClient.from_connection_string, connection, eventhub_name=hub)
        try:
            self._client = connect()
        except (ValueError, TypeError) as error:  # its message may hold the key
            raise ConfigError("not a connection string with the name of a hub (EntityPath, or --hub)") from error
        self.hub = str(self._client.eventhub_name)
        self.sent = 0
        if partitions is None:
            with self._translated(), connect(retry_total=0) as asking:  # a wrong address need not be tried for long
                partitions = len(asking.get_partition_ids())
        self._waiting: list[list[bytes]] = [[] for _ in range(partitions)]
        self._bytes = [0] * partitions

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def send(self, messages: Iterable[Message]) -> None:
        """Send all, as fast as the hub takes them."""
        for message in messages:
            self.put(message)
        self.flush()

    def put(self, message: Message) -> None:
        """Send a message with the others of its partition, as soon as they are worth a batch.

        Raises:
            TransientFailure: The hub does not answer.
        """
        number = place(message.device, len(self._waiting))
        raw = encoded(message, int(time.time() * 1000))
        if self._bytes[number] + len(raw) > BATCH_BYTES:
            self._send(number)
        self._waiting[number].append(raw)
        self._bytes[number] += len(raw)

    def flush(self) -> None:
        """Send what waits; returns when the hub has acknowledged it."""
        for number in range(len(self._waiting)):
            self._send(number)

    def _send(self, number: int) -> None:
        waiting = self._waiting[number]
        if not waiting:
            return
        with self._translated():
            self._client.send_batch(_Encoded(waiting, str(number)))
        self.sent += len(waiting)
        self._waiting[number], self._bytes[number] = [], 0

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except AuthenticationError as error:
            raise ConfigError(f"hub {self.hub}: it refuses the connection string's key") from error
        except ConnectError as error:
            raise TransientFailure(f"hub {self.hub}: it cannot be reached") from error
        except EventHubError as error:
            raise TransientFailure(f"hub {self.hub}: {type(error).__name__}: {str(error)[:200]}") from error
