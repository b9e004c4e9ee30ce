"""A file's bytes as they are needed: gunzipped by content, in blocks of whole lines, in bounded memory."""

from __future__ import annotations

import codecs
import contextlib
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from shared.adapters.tables.limits import DEFAULTS, FREE_BYTES, MB, FileLimits

BLOCK = 4 << 20
LONGEST_LINE = 1 << 20
_PIECE = 1 << 18
_LOST, _NO_UTF8 = "\ufffd".encode(), b"\xff"
_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's window bits for a gzip header and trailer


class Bytes(Protocol):
    """Bytes that are taken as they are needed.

    Attributes:
        bytes_read: Bytes taken of the file as it is stored.
        problem: What is wrong with the data, None when nothing was found yet.
        reason: The reason code that goes with a problem.
    """

    bytes_read: int
    problem: str | None
    reason: str

    def read(self, size: int) -> bytes:
        """Take `size` bytes, fewer at the end."""


class Source:
    """Reads a stream, gunzipping it when it begins like gzip.

    Attributes:
        bytes_read: Bytes taken from the stream.
        problem: What is wrong with the data, None when nothing was found yet.
        reason: The reason code that goes with a problem: `truncated`, or `too_large` beyond a limit.
    """

    def __init__(self, stream: BinaryIO, limits: FileLimits = DEFAULTS) -> None:
        self._stream = stream
        self._limits = limits
        self._unpacked = 0
        self.reason = "truncated"
        self._ahead = b""
        self._engine: zlib._Decompress | None = None
        self._ended = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self.bytes_read = 0
        self.problem: str | None = None
        self._tail = self._take(2)
        if self._tail == _MAGIC:
            self._engine = zlib.decompressobj(_GZIP)

    def decode(self, encoding: str) -> None:
        """Give the file as UTF-8 from here on.

        What is none of its encoding becomes none of UTF-8: a letter that cannot be read must not become one that can,
        or the device of that name would be another one.

        Args:
            encoding: Of the file, as Python calls it.
        """
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._ahead = self._as_utf8(self._ahead)

    def _as_utf8(self, part: bytes) -> bytes:
        if self._decoder is None:
            return part
        return self._decoder.decode(part, final=self._ended).encode().replace(_LOST, _NO_UTF8)

    def peek(self, size: int) -> bytes:
        """The next bytes, without taking them: `size` of them, fewer at the end."""
        self._ahead = self.read(size)
        return self._ahead

    def read(self, size: int) -> bytes:
        """Take `size` bytes, fewer at the end."""
        parts = [self._ahead[:size]]
        self._ahead = self._ahead[size:]
        missing = size - len(parts[0])
        while missing > 0 and (part := self._part(missing)):
            parts.append(part)
            missing -= len(part)
        if missing < 0:
            parts[-1], self._ahead = parts[-1][:missing], parts[-1][missing:]
        return b"".join(parts)

    def _part(self, size: int) -> bytes:
        part = b""
        while not part and not self._ended:
            part = self._inflate(self._engine, size) if self._engine is not None else self._plain(size)
            self._unpacked += len(part)
            part = self._as_utf8(part)
        if part and (limit := passed(self._limits, self._unpacked, self.bytes_read)):
            self.reason = "too_large"
            self._end(limit)
        return part

    def _plain(self, size: int) -> bytes:
        part, self._tail = self._tail[:size], self._tail[size:]
        part = part or self._take(size)
        self._ended = not part
        return part

    def _take(self, size: int) -> bytes:
        part = self._stream.read(size)
        self.bytes_read += len(part)
        return part

    def _inflate(self, engine: zlib._Decompress, size: int) -> bytes:
        if engine.eof:
            self._next_member(engine.unused_data)
            return b""
        data = self._tail or engine.unconsumed_tail or self._take(_PIECE)
        self._tail = b""
        if not data:
            self._end("the gzip stream ends early")
            return b""
        spare = engine.copy()
        try:
            return engine.decompress(data, size)
        except zlib.error as error:
            self._end(f"the gzip stream is damaged ({str(error).split(': ')[-1]})")
            return _until_damage(spare, data, size)

    def _next_member(self, rest: bytes) -> None:
        """Go on behind a finished member: the next member, padding, the end, or something that is none of these."""
        rest = rest.lstrip(b"\0")
        while len(rest) < len(_MAGIC) and (more := self._take(_PIECE)):
            rest = (rest + more).lstrip(b"\0")
        if rest.startswith(_MAGIC):
            self._engine, self._tail = zlib.decompressobj(_GZIP), rest
        elif rest:
            self._end("something that is not gzip follows the gzip stream")
        else:
            self._ended = True

    def _end(self, problem: str) -> None:
        self._ended = True
        self.problem = problem


def passed(limits: FileLimits, unpacked: int, packed: int) -> str | None:
    """The limit that was passed once `packed` bytes have become `unpacked` ones, if one was."""
    if unpacked > limits.unpacked_mb * MB:
        return f"more than FILE_MB = {limits.unpacked_mb} MB once unpacked"
    if unpacked > FREE_BYTES and unpacked > limits.ratio * packed:
        return f"more than FILE_RATIO = {limits.ratio} times larger than its {packed} packed bytes"
    return None


def _until_damage(engine: zlib._Decompress, data: bytes, size: int) -> bytes:
    """What can be inflated before the error, which zlib keeps to itself when it meets it."""
    found = bytearray()
    with contextlib.suppress(zlib.error):
        for i in range(len(data)):
            found += engine.decompress(data[i : i + 1], size)
    return bytes(found)


def blocks(source: Bytes, size: int = BLOCK) -> Iterator[bytes]:
    """Whole lines, about `size` bytes of them at a time; only the last block may lack its line end.

    A line longer than LONGEST_LINE is cut, but stays longer than LONGEST_LINE.
    """
    carry = b""
    while part := source.read(size):
        cut = part.rfind(b"\n") + 1
        if cut:
            yield carry + part[:cut]
            carry = part[cut:]
        else:
            carry += part
        carry = carry[: LONGEST_LINE + 1]
    if carry:
        yield carry
