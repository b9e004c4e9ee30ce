"""The four kinds of links: producers and consumers of events, requests and replies of the nodes.

A link belongs to a session (`Wire` is what it needs of it); which link an address means is told by `eventhub_attach`.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from local.eventhub.amqp.encode import Malformed
from local.eventhub.amqp.performatives import AmqpError, Flow, ProtocolViolation, Transfer
from local.eventhub.broker import MAX_MESSAGE_SIZE, Broker, Done, Hub, Partition
from local.eventhub.messages import runtime_metric, unpack
from local.eventhub.protocol.requests import answer, read_request

CREDIT = 1000  # messages a producer may have on the way
RUN_EVENTS, RUN_BYTES = 256, 256 << 10  # a consumer's share before the others have their turn
_UINT = 0xFFFFFFFF


class Wire(Protocol):
    """What a link needs of its session."""

    @property
    def writable(self) -> bool:
        """Whether a message can be sent now."""

    def settle(self, delivery_id: int, error: AmqpError | None) -> None:
        """Tell the peer the outcome of its delivery."""

    def send(self, handle: int, message: bytes) -> None:
        """Send a message, settled."""

    def flow(self, handle: int, *, delivery_count: int, credit: int, drain: bool = False) -> None:
        """Tell the peer the state of a link."""

    def detach(self, handle: int, error: AmqpError) -> None:
        """End a link."""

    def schedule(self, link: "OutgoingLink") -> None:
        """Pump a link when the connection can take more."""

    def reply(self, node: str, reply_to: str | None, message: bytes) -> None:
        """Put a message on the reply link of a node."""


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
        self.wire.flow(self.handle, delivery_count=self.delivery_count & _UINT, credit=CREDIT)

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


@dataclass(eq=False)
class OutgoingLink:
    """A link on which the peer receives, as far as its credit goes."""

    wire: Wire
    handle: int
    credit: int = field(default=0, init=False)
    _delivery_count: int = field(default=0, init=False)
    _draining: bool = field(default=False, init=False)

    def attached(self) -> None:
        """The peer knows of the link; it gives credit when it likes to."""

    def released(self) -> None:
        """The link is gone."""

    def transfer(self, transfer: Transfer, payload: bytes) -> None:
        """Refuse: the peer receives on this link.

        Raises:
            ProtocolViolation: Always.
        """
        text = f"transfer of {len(payload)} bytes on receiving link {transfer.handle}"
        raise ProtocolViolation("amqp:not-allowed", text)

    def flow(self, flow: Flow) -> None:
        """New credit, counted from where the peer was when it gave it."""
        if flow.link_credit is not None:
            credit = ((flow.delivery_count or 0) + flow.link_credit - self._delivery_count) & _UINT
            self.credit = credit if credit <= _UINT >> 1 else 0
        self._draining = flow.drain
        self.wire.schedule(self)

    def pump(self) -> None:
        """Send what credit, session and connection allow; one share only, then ask for another turn."""
        if self.credit <= 0 or not self.wire.writable:
            return
        messages = self.take()
        for sent, message in enumerate(messages):
            if not self.wire.writable:  # the window closed half way
                self.unread(messages[sent:])
                return
            self.wire.send(self.handle, message)
            self.credit -= 1
            self._delivery_count = (self._delivery_count + 1) & _UINT
        if messages:
            self.wire.schedule(self)
        elif self._draining:
            self._drained()

    def _drained(self) -> None:
        self._delivery_count = (self._delivery_count + self.credit) & _UINT
        self.credit = 0
        self.report()
        self._draining = False

    def report(self) -> None:
        """Tell the peer where the link is."""
        self.wire.flow(self.handle, delivery_count=self._delivery_count, credit=self.credit, drain=self._draining)

    def take(self) -> list[bytes]:
        """The next messages, at most `credit` of them."""
        raise NotImplementedError

    def unread(self, messages: list[bytes]) -> None:
        """The last of those taken could not be sent."""
        raise NotImplementedError


@dataclass(eq=False, kw_only=True)
class ConsumerLink(OutgoingLink):
    """Reads a partition from a position on."""

    partition: Partition
    position: int
    group: str
    epoch: int | None
    tracks: bool

    def wake(self) -> None:
        """There are new events."""
        self.wire.schedule(self)

    def steal(self, error: AmqpError) -> None:
        """Another consumer took the partition over."""
        self.wire.detach(self.handle, error)

    def released(self) -> None:
        """The link is gone."""
        self.partition.leave(self)

    def take(self) -> list[bytes]:
        """The next events; what expired in between is skipped, as the service does."""
        position = max(self.position, self.partition.begin)
        messages = self.partition.log.read_run(position, min(self.credit, RUN_EVENTS), RUN_BYTES)
        self.position = position + len(messages)
        if not self.tracks or not messages:
            return messages
        log = self.partition.log
        now_ms = time.time_ns() // 1_000_000
        metric = runtime_metric(log.end - 1, self.partition.last_offset, log.last_enqueued_ms, now_ms)
        return [metric + message for message in messages]

    def unread(self, messages: list[bytes]) -> None:
        """Read them again later."""
        self.position -= len(messages)


@dataclass(eq=False, kw_only=True)
class ReplyLink(OutgoingLink):
    """Gives the replies of a node back."""

    node: str
    target: str | None
    _queue: deque[bytes] = field(default_factory=deque, init=False)

    def push(self, message: bytes) -> None:
        """One more reply."""
        self._queue.append(message)
        self.wire.schedule(self)

    def take(self) -> list[bytes]:
        """The replies that credit allows."""
        return [self._queue.popleft() for _ in range(min(self.credit, len(self._queue)))]

    def unread(self, messages: list[bytes]) -> None:
        """Keep them for later."""
        self._queue.extendleft(reversed(messages))


Link = IncomingLink | OutgoingLink
