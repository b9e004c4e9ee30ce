"""A bare AMQP peer for what the real clients never do: wrong frames, odd windows, big messages, no reading."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from local.eventhub.amqp.encode import Described, Long, Symbol, ULong, encode
from local.eventhub.amqp.frames import AMQP_HEADER, SASL_HEADER, Frame, FrameReader
from local.eventhub.amqp.performatives import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    Flow,
    Open,
    Performative,
    SaslInit,
    Transfer,
)
from local.eventhub.amqp.transport import AMQP_FRAME, SASL_FRAME, build, parse

P = TypeVar("P", bound=Performative)
SELECTOR = Symbol("apache.org:selector-filter:string")


class Peer:
    """One connection, opened with a session on channel 1 unless told otherwise."""

    def __init__(self, port: int, *, open_it: bool = True, max_frame: int = 65_536, window: int = 100_000) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=15)
        self._reader = FrameReader(1 << 21)
        self._frames: list[Frame] = []
        if open_it:
            self.raw(SASL_HEADER)
            self.send(SaslInit(Symbol("ANONYMOUS")), channel=0, kind=SASL_FRAME)
            self.raw(AMQP_HEADER)
            self.send(Open("raw", max_frame_size=max_frame), channel=0)
            self.expect(Open)
            self.send(Begin(None, 0, window, 100_000))
            self.expect(Begin)

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.socket.sendall(data)

    def send(self, performative: Performative, payload: bytes = b"", channel: int = 1, kind: int = AMQP_FRAME) -> None:
        """One frame."""
        self.raw(build(channel, performative, payload, kind))

    def frame(self) -> Frame:
        """The next frame of any kind.

        Raises:
            EOFError: If the endpoint closed the connection.
        """
        while not self._frames:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._frames += self._reader.feed(data)
        return self._frames.pop(0)

    def until_gone(self) -> None:
        """Read until the endpoint closes the connection."""
        with suppress(EOFError, ConnectionResetError):
            while True:
                self.frame()
        self.socket.close()

    def next(self) -> tuple[Performative, bytes]:
        """The next frame with a performative."""
        frame = self.frame()
        while frame.kind != AMQP_FRAME or not frame.body:
            frame = self.frame()
        return parse(frame.body)

    def expect(self, kind: type[P], suits: Callable[[P], bool] = lambda _: True) -> P:
        """The next performative of a kind; others are passed over."""
        while True:
            performative, _ = self.next()
            if isinstance(performative, kind) and suits(performative):
                return performative

    def producer(self, address: str, handle: int = 0, channel: int = 1) -> None:
        """A link to send on."""
        source, target = Described(ULong(0x28), ["here"]), Described(ULong(0x29), [address])
        attach = Attach(f"p{handle}", handle, False, source=source, target=target, initial_delivery_count=0)
        self.send(attach, channel=channel)

    def consumer(
        self, address: str, handle: int = 0, *, position: str = "x-opt-offset > '-1'", epoch: int | None = None
    ) -> None:
        """A link to receive on."""
        filters = {SELECTOR: Described(SELECTOR, f"amqp.annotation.{position}")}
        source = Described(ULong(0x28), [address, None, None, None, None, None, None, filters])
        properties = None if epoch is None else {Symbol("com.microsoft:epoch"): Long(epoch)}
        target = Described(ULong(0x29), ["here"])
        self.send(Attach(f"c{handle}", handle, True, source=source, target=target, properties=properties))

    def credit(self, credit: int, handle: int = 0, *, drain: bool = False, window: int = 100_000, **more: Any) -> None:
        """Allow the endpoint to send; counts and ids are those of a fresh link if not given."""
        flow = Flow(0, window, 0, 100_000, handle, 0, credit, drain=drain)
        self.send(flow._replace(**more))

    def publish(self, *messages: bytes, handle: int = 0, first: int = 0, frame_size: int = 60_000) -> None:
        """Send messages, each in frames of at most this payload."""
        for number, message in enumerate(messages, first):
            parts = [message[at : at + frame_size] for at in range(0, len(message), frame_size)]
            for part in parts[:-1]:
                self.send(Transfer(handle, number, b"t", 0, more=True), part)
            self.send(Transfer(handle, number, b"t", 0), parts[-1])

    def message(self) -> bytes:
        """The next message, put together from its frames."""
        whole = b""
        while True:
            performative, payload = self.next()
            if isinstance(performative, Transfer):
                whole += payload
                if not performative.more:
                    return whole

    def outcome(self) -> Disposition:
        """The next disposition."""
        return self.expect(Disposition)

    def detached(self) -> tuple[str, str]:
        """Condition and description of the next detach with an error."""
        return error_of(self.expect(Detach).error)

    def closed(self) -> tuple[str, str]:
        """Condition and description of the close; after it the endpoint ends the connection."""
        error = error_of(self.expect(Close).error)
        self.send(Close(), channel=0)
        self.socket.close()
        return error


def error_of(error: Any) -> tuple[str, str]:
    """Condition and description of an error."""
    assert isinstance(error, Described)
    return error.value[0], error.value[1]


def event(body: bytes) -> bytes:
    """A message with this body."""
    return b"\x00\x53\x75" + encode(body)
