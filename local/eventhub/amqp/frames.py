"""AMQP 1.0 frames: cut a byte stream into frames, and build the one that has to be fast. Standard library only."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from local.eventhub.amqp.errors import ProtocolViolation
from local.eventhub.amqp.performatives import MAX_UINT
from local.eventhub.amqp.transport import AMQP_FRAME, SASL_FRAME

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
PROTOCOL_HEADER = -1
EMPTY_FRAME = b"\x00\x00\x00\x08\x02\x00\x00\x00"


class Frame(NamedTuple):
    """One frame, or a protocol header when kind is `PROTOCOL_HEADER` (then the body is the header)."""

    kind: int
    channel: int
    body: bytes


class FrameReader:
    """Cuts what arrives into frames; every byte is copied a bounded number of times, however it is split.

    Args:
        max_frame_size: Largest frame that was promised to be accepted, in bytes.
    """

    def __init__(self, max_frame_size: int) -> None:
        self._max = max_frame_size
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 8

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with these bytes.

        Raises:
            ProtocolViolation: For an impossible size; what follows on this connection has no meaning.
        """
        self._chunks.append(data)
        self._have += len(data)
        if self._have < self._need:
            return
        if len(self._chunks) > 1:
            data = b"".join(self._chunks)
        at, self._need = 0, 8
        while len(data) - at >= 8:
            self._need = self._size(data, at)
            if len(data) - at < self._need:
                break
            yield _frame(data, at, self._need)
            at, self._need = at + self._need, 8
        self._chunks, self._have = [data[at:]], len(data) - at

    def _size(self, data: bytes, at: int) -> int:
        if data[at : at + 4] == b"AMQP":
            return 8
        (size,) = struct.unpack_from(">I", data, at)
        if not 8 <= size <= self._max:
            raise ProtocolViolation("amqp:connection:framing-error", f"frame of {size} bytes; limit {self._max}")
        return int(size)


def _frame(data: bytes, at: int, size: int) -> Frame:
    if data[at : at + 4] == b"AMQP":
        return Frame(PROTOCOL_HEADER, 0, data[at : at + 8])
    offset, kind, channel = struct.unpack_from(">BBH", data, at + 4)
    if not 8 <= 4 * offset <= size or kind not in (AMQP_FRAME, SASL_FRAME):
        raise ProtocolViolation("amqp:connection:framing-error", f"frame of type {kind} with data offset {offset}")
    return Frame(kind, channel, data[at + 4 * offset : at + size])


_TRANSFER = struct.Struct(">IBBH6scIcI5sc5s")


def transfer_frame(channel: int, handle: int, delivery_id: int, *, more: bool, size: int) -> bytes:
    """A settled transfer of `size` payload bytes up to its payload; the hot path of delivery, hence the fixed layout.

    The delivery tag is the same for all: a tag is free again once its delivery is settled, and the Python client keeps
    every tag it has seen in a set.
    """
    return _TRANSFER.pack(
        TRANSFER_OVERHEAD + size, 2, AMQP_FRAME, channel,
        b"\x00\x53\x14\xc0\x16\x0b", b"\x70", handle, b"\x70", delivery_id & MAX_UINT,
        b"\xa0\x01\x00\x43\x41", b"\x41" if more else b"\x42", b"\x40\x40\x40\x40\x40",
    )  # fmt: skip


TRANSFER_OVERHEAD = _TRANSFER.size
