"""A session: the windows, the delivery ids and the links of one channel."""

from collections import deque
from typing import Protocol

from local.eventhub.amqp.encode import Raw
from local.eventhub.amqp.errors import AmqpError, LinkRefused, ProtocolViolation
from local.eventhub.amqp.frames import TRANSFER_OVERHEAD, transfer_frame
from local.eventhub.amqp.performatives import MAX_UINT, Attach, Begin, Detach, Disposition, Flow, Performative, Transfer
from local.eventhub.amqp.transport import ACCEPTED, error_value, rejected
from local.eventhub.broker import Broker
from local.eventhub.protocol.attach import Link, attach_reply, open_link
from local.eventhub.protocol.outgoing import OutgoingLink, ReplyLink
from local.eventhub.protocol.wire import Pumped

WINDOW = 0x7FFFFFFF  # frames; the connection's own limits keep memory flat
MAX_HANDLE = 1023


class Channel(Protocol):
    """What a session needs of its connection."""

    peer_max_frame: int

    @property
    def writable(self) -> bool:
        """Whether the peer reads what is sent."""

    def write(self, *data: bytes | memoryview) -> None:
        """Bytes for the peer, soon."""

    def emit(self, channel: int, performative: Performative) -> None:
        """A frame for the peer, soon."""

    def schedule(self, link: Pumped) -> None:
        """Pump a link when more can be written."""

    def end(self, channel: int, error: AmqpError) -> None:
        """End a session."""


class Session:
    """One session; the peer's channel number and handles are used in both directions."""

    def __init__(self, broker: Broker, connection: Channel, channel: int, begin: Begin) -> None:
        self._broker = broker
        self._connection = connection
        self._channel = channel
        self._window = begin.incoming_window
        self._next_incoming = begin.next_outgoing_id
        self._next_outgoing = 0
        self._delivery_id = 0
        self._links: dict[int, Link] = {}
        self._detaching: set[int] = set()  # handles whose detach the peer has not answered yet
        self._outcomes: list[tuple[int, Raw]] = []
        self._blocked: deque[tuple[int, bytes, bytes | memoryview]] = deque()  # of one message, until the window opens

    def handle(self, performative: Performative, payload: bytes) -> None:
        """A frame of this session that is no attach.

        Raises:
            ProtocolViolation: If the peer broke a rule that costs it the connection.
        """
        if isinstance(performative, Transfer):
            self._transfer(performative, payload)
        elif isinstance(performative, Flow):
            self._flow(performative)
        elif isinstance(performative, Detach):
            self._detach(performative)
        elif not isinstance(performative, Disposition):  # consumers get everything settled: nothing to do
            raise ProtocolViolation("amqp:not-allowed", f"{type(performative).__name__.lower()} within a session")

    def attach(self, attach: Attach, source: Raw, target: Raw) -> None:
        """Attach a link, or say why not; source and target are echoed as they came, for clients check them.

        A refused link is attached and then detached with the error: with a null source or target, as the standard has
        it, the Python client reports "Invalid link" instead of the reason.
        """
        if attach.handle > MAX_HANDLE or attach.handle in self._links:
            self._connection.end(self._channel, AmqpError("amqp:session:handle-in-use", f"handle {attach.handle}"))
            return
        self._detaching.discard(attach.handle)
        link, refusal = self._open(attach)
        self._connection.emit(self._channel, attach_reply(attach, source, target))
        if refusal is not None:
            self.detach(attach.handle, refusal)
        elif link is not None:
            self._links[attach.handle] = link
            link.attached()

    def _open(self, attach: Attach) -> tuple[Link | None, AmqpError | None]:
        try:
            return open_link(self._broker, self, attach), None
        except LinkRefused as refused:
            return None, refused.error

    def _transfer(self, transfer: Transfer, payload: bytes) -> None:
        self._next_incoming = (self._next_incoming + 1) & MAX_UINT
        link = self._link(transfer.handle)
        if link is not None:
            link.transfer(transfer, payload)

    def _flow(self, flow: Flow) -> None:
        behind = (self._next_outgoing - (flow.next_incoming_id or 0)) & MAX_UINT
        self._window = max(0, flow.incoming_window - behind) if behind <= MAX_UINT >> 1 else flow.incoming_window
        while self._blocked and self._window:
            self._put(*self._blocked.popleft()[1:])
        if flow.handle is not None:
            self._link_flow(flow.handle, flow)
        elif flow.echo:
            self._connection.emit(self._channel, self._flow_frame())
        for link in self._links.values():
            if isinstance(link, OutgoingLink):
                self.schedule(link)

    def _link_flow(self, handle: int, flow: Flow) -> None:
        link = self._link(handle)
        if link is not None:
            link.flow(flow)
            if flow.echo:
                link.report()

    def _detach(self, detach: Detach) -> None:
        if detach.handle in self._detaching:
            self._detaching.discard(detach.handle)
            return
        link = self._link(detach.handle)
        if link is not None:
            del self._links[detach.handle]
            link.released()
            self._connection.emit(self._channel, Detach(detach.handle, closed=detach.closed))

    def _link(self, handle: int) -> Link | None:
        """The link of a handle; None if the peer cannot know yet that it is gone, or if this ends the session."""
        link = self._links.get(handle)
        if link is None and handle not in self._detaching:
            text = f"handle {handle} is not attached"
            self._connection.end(self._channel, AmqpError("amqp:session:unattached-handle", text))
        return link

    def release(self) -> None:
        """The session is over: let all links go."""
        for link in self._links.values():
            link.released()
        self._links.clear()

    @property
    def writable(self) -> bool:
        """Whether a message can be sent now."""
        return self._window > 0 and not self._blocked and self._connection.writable

    def settle(self, delivery_id: int, error: AmqpError | None) -> None:
        """Tell the peer the outcome of its delivery, together with others."""
        self._outcomes.append((delivery_id, ACCEPTED if error is None else rejected(error)))
        self._connection.write()

    def write_outcomes(self) -> None:
        """Say all outcomes that are due, with one frame for each run of the same outcome."""
        outcomes, self._outcomes = self._outcomes, []
        at = 0
        while at < len(outcomes):
            first, state = outcomes[at]
            stop = at + 1
            while stop < len(outcomes) and outcomes[stop] == (first + stop - at, state):
                stop += 1
            last = first + stop - at - 1
            self._connection.emit(self._channel, Disposition(True, first, last, settled=True, state=state))
            at = stop

    def send(self, handle: int, message: bytes) -> None:
        """Send a message in as many frames as it takes; those beyond the peer's window wait for it."""
        limit = self._connection.peer_max_frame - TRANSFER_OVERHEAD
        rest: bytes | memoryview = message if len(message) <= limit else memoryview(message)
        more = True
        while more:
            part, rest = rest[:limit], rest[limit:]
            more = len(rest) > 0
            head = transfer_frame(self._channel, handle, self._delivery_id, more=more, size=len(part))
            if self._blocked or not self._window:
                self._blocked.append((handle, head, part))
            else:
                self._put(head, part)
        self._delivery_id = (self._delivery_id + 1) & MAX_UINT

    def _put(self, head: bytes, part: bytes | memoryview) -> None:
        self._window -= 1
        self._next_outgoing = (self._next_outgoing + 1) & MAX_UINT
        self._connection.write(head, part)

    def flow(self, handle: int, *, delivery_count: int, credit: int, drain: bool = False) -> None:
        """Tell the peer the state of a link."""
        frame = self._flow_frame()._replace(
            handle=handle, delivery_count=delivery_count, link_credit=credit, drain=drain
        )
        self._connection.emit(self._channel, frame)

    def _flow_frame(self) -> Flow:
        return Flow(self._next_incoming, WINDOW, self._next_outgoing, WINDOW)

    def detach(self, handle: int, error: AmqpError) -> None:
        """End a link with an error."""
        link = self._links.pop(handle, None)
        if link is not None:
            link.released()
        self._blocked = deque(frame for frame in self._blocked if frame[0] != handle)
        self._detaching.add(handle)
        self._connection.emit(self._channel, Detach(handle, closed=True, error=error_value(error)))

    def schedule(self, link: Pumped) -> None:
        """Pump a link when the connection can take more."""
        self._connection.schedule(link)

    def reply(self, node: str, reply_to: str | None, message: bytes) -> None:
        """Put a message on the reply link of a node: the one it names, else the newest; without any it is dropped."""
        links = [link for link in self._links.values() if isinstance(link, ReplyLink) and link.node == node]
        addressed = [link for link in links if reply_to is not None and link.target == reply_to]
        for link in (addressed or links)[-1:]:
            link.push(message)
