"""A JSON array of readings or envelopes as lines of JSON, an element each, in bounded memory."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from shared.adapters.tables.source import BLOCK, LONGEST_LINE, Bytes

TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
_START = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*(\[?)")
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def blocks(source: Bytes, size: int = BLOCK) -> Iterator[bytes]:
    """Elements as whole lines; several arrays may follow each other, and what else follows is one line more.

    An array that does not end is told as a problem of the source, and its last element lacks its line end.
    """
    rest, inside = b"", False
    while part := source.read(size):
        lines, rest, inside = _lines(rest + part, inside=inside)
        if lines:
            yield lines
        if len(rest) > LONGEST_LINE:
            source.reason, source.problem = "too_large", f"an element is longer than {LONGEST_LINE} bytes"
            break
    if inside and source.problem is None:
        source.problem = "the JSON array does not end"
    if rest.strip():
        yield line_of(rest)[: LONGEST_LINE + 1]


def line_of(value: bytes) -> bytes:
    """A JSON value on one line; line ends stand between its signs only."""
    return value.translate(_ONE_LINE)


def elements(data: bytes, place: int, most: int = sys.maxsize) -> tuple[list[bytes], int, bool]:
    """The whole elements from `place` on, where the next one begins, and whether the array ended."""
    found: list[bytes] = []
    depth = 1
    for token in TOKEN.finditer(data, place):
        sign = token[0]
        if sign == b'"':  # of a text that does not end here
            break
        if sign in b"[{":
            depth += 1
        elif sign in b"]}":
            depth -= 1
        if depth == 0 or (depth == 1 and sign == b","):
            found.append(line_of(data[place : token.start()]).strip())
            place = token.end()
            if depth == 0 or len(found) == most:
                return found, place, depth == 0
    return found, place, False


def _lines(data: bytes, *, inside: bool) -> tuple[bytes, bytes, bool]:
    """Whole elements as lines, the beginning of the next one, and whether an array is open there."""
    lines: list[bytes] = []
    place = 0
    while True:
        if not inside:
            start = _START.match(data, place)
            place = start.end() if start else place
            if not (start and start[1]):
                return b"".join(lines), data[place:], False
        found, place, ended = elements(data, place)
        lines += [element + b"\n" for element in found]
        if not ended:
            return b"".join(lines), data[place:], True
        inside = False
