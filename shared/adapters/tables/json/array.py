"""A JSON array of readings or envelopes as lines of JSON, an element each, in bounded memory."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from shared.adapters.tables.source import BLOCK, LONGEST_LINE, Bytes
from shared.core.intake.envelopes.carriers import Carrier
from shared.core.intake.envelopes.senml import parts
from shared.core.intake.messages.json_bodies import value_of
from shared.errors import BadEvent

TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
_START = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*(\[?)")
_TOGETHER = 1000  # records of a SenML pack, among which those of one reading are joined
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def blocks(source: Bytes, carrier: Carrier, size: int = BLOCK) -> Iterator[bytes]:
    """Elements as whole lines; several arrays may follow each other, and what else follows is one line more.

    The records of a SenML pack, which `carrier` knows, stay together, as packs that each stand alone. An array that
    does not end is told as a problem of the source, and its last element lacks its line end.
    """
    rest, inside, pack = b"", False, _Pack(carrier)
    while part := source.read(size):
        lines, rest, inside = _lines(rest + part, pack, inside=inside)
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


class _Pack:
    """Tells an array that is a SenML pack from others, and cuts it where it is long."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._base: dict[str, Any] | None = None
        self.begun = False

    def begin(self) -> None:
        """An array begins."""
        self._base, self.begun = None, False

    def lines(self, elements: list[bytes]) -> list[bytes]:
        """Its next elements as lines."""
        if not self.begun and elements:
            self.begun = True
            self._base = {} if self._carrier.is_pack([_value(elements[0])]) else None
        if self._base is None:
            return elements
        records = [_value(element) for element in elements]
        if not all(isinstance(record, dict) for record in records):
            self._base = None
            return elements
        return [msgspec.json.encode(part) for part in parts(records, self._base, _TOGETHER)]


def _value(element: bytes) -> Any:
    """What an element says, None where it cannot be read."""
    try:
        return value_of(element)
    except BadEvent:
        return None


def _lines(data: bytes, pack: _Pack, *, inside: bool) -> tuple[bytes, bytes, bool]:
    """Whole elements as lines, the beginning of the next one, and whether an array is open there."""
    lines: list[bytes] = []
    place = 0
    while True:
        if not inside:
            start = _START.match(data, place)
            place = start.end() if start else place
            if not (start and start[1]):
                return b"".join(lines), data[place:], False
            pack.begin()
        found, place, ended = elements(data, place)
        lines += [element + b"\n" for element in pack.lines(found)]
        if not ended:
            return b"".join(lines), data[place:], True
        inside = False
