"""A connection: protocol header, SASL, open and close, and the frames of its sessions.

Whatever a peer sends ends in an answer or in an AMQP error on its own connection; other connections do not notice.
"""

import asyncio
import logging
from collections.abc import Callable

from local.eventhub.amqp.decode import items, skip
from local.eventhub.amqp.encode import Malformed, Raw
from local.eventhub.amqp.errors import AmqpError, ProtocolViolation
from local.eventhub.amqp.frames import AMQP_HEADER, EMPTY_FRAME, PROTOCOL_HEADER, SASL_HEADER, Frame, FrameReader
from local.eventhub.amqp.performatives import (
    Attach,
    Begin,
    Close,
    End,
    Open,
    Performative,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
)
from local.eventhub.amqp.transport import AMQP_FRAME, SASL_FRAME, build, error_value, parse, symbols
from local.eventhub.broker import Broker
from local.eventhub.protocol.session import MAX_HANDLE, WINDOW, Session
from local.eventhub.protocol.wire import Pumped

logger = logging.getLogger(__name__)

MAX_FRAME = 1 << 20  # bytes
MIN_MAX_FRAME = 512
MAX_CHANNEL = 255
HIGH_WATER = 1 << 20  # bytes that may wait for a peer that reads slowly
LINGER_S = 2.0  # how long a peer may take to answer a close
MECHANISMS = ("MSSBCBS", "ANONYMOUS", "PLAIN", "EXTERNAL")
_REFUSED_BY_SASL = 1


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, broker: Broker, on_closed: "Callable[[Connection], None]") -> None:
        self._broker = broker
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(MAX_FRAME)
        self._out: list[bytes | memoryview] = []
        self._on_frame: Callable[[Frame], None] = self._header
        self._sessions: dict[int, Session] = {}
        self._ended: set[int] = set()  # channels to ignore: the Python client goes on detaching links after its end
        self._ready: dict[Pumped, None] = {}
        self._timers: list[asyncio.TimerHandle] = []
        self._flush_due = self._paused = self._opened = self._closing = False
        self.peer_max_frame = MIN_MAX_FRAME

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type for mypy
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client is gone."""
        self._closing = True
        self._release()
        self._on_closed(self)

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._paused = False
        self.write()

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer; once an error has closed the connection they mean nothing any more."""
        if not self._closing:
            self._guarded(lambda: self._feed(data))
            self.write()

    def _feed(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            self._on_frame(frame)
            if self._closing:
                break

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run what a peer's input leads to; an error closes this connection and no other."""
        try:
            action()
        except Malformed as error:
            self._fail(AmqpError("amqp:decode-error", str(error)))
        except ProtocolViolation as error:
            self._fail(error.error)
        except Exception:  # a bug here, or a log that cannot be read: the other connections must live on
            logger.exception("connection fails")
            self._fail(AmqpError("amqp:internal-error", "The endpoint failed; its log says how."))

    def _header(self, frame: Frame) -> None:
        if frame.kind != PROTOCOL_HEADER or frame.body not in (AMQP_HEADER, SASL_HEADER):
            raise ProtocolViolation("amqp:connection:framing-error", "no AMQP 1.0 protocol header")
        self._out.append(frame.body)
        if frame.body == SASL_HEADER:
            self._out.append(build(0, SaslMechanisms(symbols(*MECHANISMS)), kind=SASL_FRAME))
            self._on_frame = self._sasl
        else:
            self._on_frame = self._amqp

    def _sasl(self, frame: Frame) -> None:
        if frame.kind != SASL_FRAME or not isinstance(parse(frame.body)[0], SaslInit):
            raise ProtocolViolation("amqp:not-allowed", "only a SASL init is expected here")
        self._out.append(build(0, SaslOutcome(0), kind=SASL_FRAME))  # a stand-in on loopback: everybody is welcome
        self._on_frame = self._second_header

    def _second_header(self, frame: Frame) -> None:
        if frame.kind != PROTOCOL_HEADER or frame.body != AMQP_HEADER:
            raise ProtocolViolation("amqp:connection:framing-error", "no AMQP 1.0 protocol header after SASL")
        self._header(frame)

    def _amqp(self, frame: Frame) -> None:
        if frame.kind != AMQP_FRAME:
            raise ProtocolViolation("amqp:connection:framing-error", "neither SASL nor a header is expected here")
        if not frame.body:  # a heartbeat
            return
        performative, payload = parse(frame.body)
        if not self._opened or isinstance(performative, Open):
            self._open(performative)
        elif isinstance(performative, Close):
            self._close(None)
        elif isinstance(performative, Begin):
            self._begin(frame.channel, performative)
        elif isinstance(performative, End):
            self._end(frame.channel)
        else:
            self._in_session(frame, performative, payload)

    def _open(self, performative: Performative) -> None:
        if self._opened or not isinstance(performative, Open):
            raise ProtocolViolation("amqp:not-allowed", "a connection begins with one open")
        if performative.max_frame_size < MIN_MAX_FRAME:
            raise ProtocolViolation("amqp:invalid-field", f"open.max_frame_size is below {MIN_MAX_FRAME}")
        self.peer_max_frame = min(performative.max_frame_size, MAX_FRAME)
        self._emit_open()
        if performative.idle_timeout:
            self._beat_after(max(performative.idle_timeout / 2000, 0.1))

    def _emit_open(self) -> None:
        self._opened = True
        self.emit(0, Open("airloop-eventhub", max_frame_size=MAX_FRAME, channel_max=MAX_CHANNEL))

    def _beat_after(self, interval_s: float) -> None:
        self._timers = [self._loop.call_later(interval_s, self._heartbeat, interval_s)]

    def _heartbeat(self, interval_s: float) -> None:
        if not self._closing:
            self.write(EMPTY_FRAME)
            self._beat_after(interval_s)

    def _begin(self, channel: int, begin: Begin) -> None:
        if channel in self._sessions or channel > MAX_CHANNEL:
            raise ProtocolViolation("amqp:not-allowed", f"channel {channel} cannot begin a session")
        self._ended.discard(channel)
        self._sessions[channel] = Session(self._broker, self, channel, begin)
        self.emit(channel, Begin(channel, 0, WINDOW, WINDOW, MAX_HANDLE))

    def _end(self, channel: int) -> None:
        if channel not in self._ended:
            self._session(channel).release()
            del self._sessions[channel]
            self._ended.add(channel)
            self.emit(channel, End())

    def _in_session(self, frame: Frame, performative: Performative, payload: bytes) -> None:
        if frame.channel in self._ended:
            return
        session = self._session(frame.channel)
        if isinstance(performative, Attach):
            fields = [*map(Raw, items(frame.body, skip(frame.body, 1))), *([Raw(b"\x40")] * 7)]
            session.attach(performative, fields[5], fields[6])
        else:
            session.handle(performative, payload)

    def _session(self, channel: int) -> Session:
        session = self._sessions.get(channel)
        if session is None:
            raise ProtocolViolation("amqp:not-allowed", f"channel {channel} has no session")
        return session

    @property
    def writable(self) -> bool:
        """Whether the peer reads what is sent."""
        return not self._paused and not self._closing

    def write(self, *data: bytes | memoryview) -> None:
        """Bytes for the peer, soon."""
        self._out.extend(data)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def emit(self, channel: int, performative: Performative) -> None:
        """A frame for the peer, soon."""
        self.write(build(channel, performative))

    def schedule(self, link: Pumped) -> None:
        """Pump a link when more can be written."""
        self._ready[link] = None
        self.write()

    def end(self, channel: int, error: AmqpError) -> None:
        """End a session with an error."""
        session = self._sessions.pop(channel, None)
        if session is not None:
            session.release()
            self._ended.add(channel)
            self.emit(channel, End(error_value(error)))

    def _flush(self) -> None:
        self._flush_due = False
        if not self._closing:
            for session in self._sessions.values():
                session.write_outcomes()
            self._send()
            self._guarded(self._pump)
        self._send()

    def _pump(self) -> None:
        """Give every link that has something to send one share; those with more have asked for another turn."""
        if self.writable:
            ready, self._ready = self._ready, {}
            for link in ready:
                link.pump()

    def _send(self) -> None:
        if self._out and not self._transport.is_closing():
            data = b"".join(self._out)
            self._out.clear()
            self._transport.write(data)

    def shut_down(self) -> None:
        """The endpoint stops: tell the peer, and go."""
        if self._opened and not self._closing:
            self._close(AmqpError("amqp:connection:forced", "The endpoint stops."))
        self._transport.close()

    def _close(self, error: AmqpError | None) -> None:
        """Say everything that is due, then close; the peer has a moment to read it."""
        self._broker.commit()
        for session in self._sessions.values():
            session.write_outcomes()
        self.emit(0, Close(error_value(error)))
        self._send()
        self._closing = True
        self._release()
        if error is None:
            self._transport.close()
        else:
            self._timers = [self._loop.call_later(LINGER_S, self._transport.close)]

    def _fail(self, error: AmqpError) -> None:
        peer = self._transport.get_extra_info("peername")
        logger.warning("connection from %s closed: %s: %s", peer, error.condition, error.description)
        if self._closing:
            return
        if self._on_frame == self._amqp:
            if not self._opened:
                self._emit_open()
            self._close(error)
            return
        refusal = build(0, SaslOutcome(_REFUSED_BY_SASL), kind=SASL_FRAME)
        self._out.append(refusal if self._on_frame == self._sasl else AMQP_HEADER)
        self._send()
        self._closing = True
        self._transport.close()

    def _release(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []
        self._ready = {}
        for session in self._sessions.values():
            session.release()
        self._sessions.clear()
