"""Links on which the peer sends: events from producers, and requests to the nodes."""

from dataclasses import dataclass, field
from functools import partial

from local.eventhub.amqp.encode import Malformed
from local.eventhub.amqp.errors import AmqpError, ProtocolViolation
from local.eventhub.amqp.performatives import MAX_UINT, Flow, Transfer
from local.eventhub.broker import MAX_MESSAGE_SIZE, Broker, Done, Hub, Partition
from local.eventhub.messages import unpack
from local.eventhub.protocol.requests import answer, read_request
from local.eventhub.protocol.wire import Wire

CREDIT = 1000  # messages a producer may have on the way


@dataclass(eq=False)
class IncomingLink:
    """A link on which the peer sends: messages are put together from their frames, and credit is kept up."""

    wire: Wire
    handle: int
    delivery_count: int
    _granted: int = field(default=0, init=False)
    _first: Transfer | None = field(default=None, init=False)
    _parts: list[bytes] = field(default_factory=list, init=False)
    _size: int = field(default=0, init=False)

    def attached(self) -> None:
        """The peer knows of the link: let it send."""
        self.report()

    def report(self) -> None:
        """Tell the peer its credit, which is full again."""
        self._granted = self.delivery_count + CREDIT
        self.wire.flow(self.handle, delivery_count=self.delivery_count & MAX_UINT, credit=CREDIT)

    def flow(self, flow: Flow) -> None:
        """A sender's flow asks for nothing; its credit is ours to give."""

    def released(self) -> None:
        """The link is gone; what was delivered on it stays delivered."""

    def transfer(self, transfer: Transfer, payload: bytes) -> None:
        """One frame of a message.

        Raises:
            ProtocolViolation: If the first frame of a message has no delivery id.
        """
        if self._first is None:
            if transfer.delivery_id is None:
                raise ProtocolViolation("amqp:invalid-field", "transfer.delivery_id is missing")
            self._first = transfer
        if payload:
            self._parts.append(payload)
            self._size += len(payload)
        if self._size > MAX_MESSAGE_SIZE:
            text = (
                f"The received message (size: over {self._size} bytes) exceeds the limit of {MAX_MESSAGE_SIZE} bytes."
            )
            self.wire.detach(self.handle, AmqpError("amqp:link:message-size-exceeded", text))
        elif transfer.aborted or not transfer.more:
            self._end(self._first, transfer)

    def _end(self, first: Transfer, last: Transfer) -> None:
        message = b"".join(self._parts)
        self._first, self._parts, self._size = None, [], 0
        self.delivery_count += 1
        if not last.aborted and first.delivery_id is not None:
            done = _ignore if first.settled or last.settled else partial(self.wire.settle, first.delivery_id)
            self.received(message, first.message_format or 0, done)
        if self._granted - self.delivery_count < CREDIT // 2:
            self.report()

    def received(self, message: bytes, message_format: int, done: Done) -> None:
        """A whole message; `done` is to be called with its outcome."""
        raise NotImplementedError


def _ignore(_: AmqpError | None) -> None:
    """The peer does not want to know the outcome."""


@dataclass(eq=False, kw_only=True)
class Producer(IncomingLink):
    """Puts events into a hub, or into one of its partitions."""

    broker: Broker
    hub: Hub
    partition: Partition | None

    def received(self, message: bytes, message_format: int, done: Done) -> None:
        """Publish; what is no message is rejected and the link goes on."""
        try:
            delivery = unpack(message, message_format)
        except Malformed as error:
            done(AmqpError("amqp:decode-error", str(error)))
            return
        partition = self.partition or self.hub.place(delivery.partition_key)
        self.broker.publish(partition, delivery, done)


@dataclass(eq=False, kw_only=True)
class RequestLink(IncomingLink):
    """Takes requests to a node; the replies go out on the node's reply link in the same session."""

    broker: Broker
    node: str

    def received(self, message: bytes, message_format: int, done: Done) -> None:  # noqa: ARG002 - events have formats
        """Answer a request."""
        try:
            request = read_request(message)
        except Malformed as error:
            done(AmqpError("amqp:decode-error", str(error)))
            return
        done(None)
        self.wire.reply(self.node, request.reply_to, answer(self.broker, self.node, request))
