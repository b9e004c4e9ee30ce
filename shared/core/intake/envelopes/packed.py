"""Bodies that a device packed, by their content encoding, in bounded memory."""

from __future__ import annotations

import zlib

from shared.core.intake.readings import shown
from shared.errors import BadEvent

LARGEST_UNPACKED = 1 << 20
_PLAIN = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii", "identity"})
_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's window bits


def opened(body: bytes, encoding: str) -> bytes:
    """The same, and a body as it is where it cannot be unpacked: to know beforehand what it may hold."""
    try:
        return unpacked(body, encoding)
    except BadEvent:
        return body


def unpacked(body: bytes, encoding: str, largest: int = LARGEST_UNPACKED) -> bytes:
    """A body as it was before it was packed.

    Args:
        body: As it was sent.
        encoding: Its content encoding, in any case.
        largest: Most bytes that it may unpack to.

    Raises:
        BadEvent: `too_large`, it unpacks to more; `encoding`, it is not what its encoding says, or that is not read.
    """
    name = encoding.strip().casefold()
    if name in _PLAIN:
        return body
    if name not in ("gzip", "x-gzip", "deflate"):
        raise BadEvent("encoding", f"the content encoding {shown(encoding)} is none of gzip, deflate, utf-8")
    kinds = (_ZLIB, _RAW) if name == "deflate" else (_GZIP,)  # senders mean either by deflate
    for kind in kinds:
        engine = zlib.decompressobj(kind)
        try:
            found = engine.decompress(body, largest + 1)
        except zlib.error:
            continue
        if len(found) > largest:
            raise BadEvent("too_large", f"a {name} body unpacks to more than the {largest} bytes left to its message")
        if engine.eof:
            return found
    raise BadEvent("encoding", f"the body is not whole {name}, as its content encoding says")
