"""Links on which the peer receives: events of a partition, and replies of the nodes."""

import time
from collections import deque
from dataclasses import dataclass, field

from local.eventhub.amqp.errors import AmqpError, ProtocolViolation
from local.eventhub.amqp.performatives import MAX_UINT, Flow, Transfer
from local.eventhub.broker import Partition
from local.eventhub.messages import runtime_metric
from local.eventhub.protocol.wire import Wire

RUN_EVENTS, RUN_BYTES = 256, 256 << 10  # a consumer's share before the others have their turn


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
            credit = ((flow.delivery_count or 0) + flow.link_credit - self._delivery_count) & MAX_UINT
            self.credit = credit if credit <= MAX_UINT >> 1 else 0
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
            self._delivery_count = (self._delivery_count + 1) & MAX_UINT
        if messages:
            self.wire.schedule(self)
        elif self._draining:
            self._drained()

    def _drained(self) -> None:
        self._delivery_count = (self._delivery_count + self.credit) & MAX_UINT
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
