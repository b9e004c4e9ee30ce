"""JSON as devices send it: what msgspec refuses gets a second reading, then a reason.

The second reading knows NaN and Infinity, also as C writes them (`nan`, `-inf`, `nan(0x8000)`), and the NUL with which
C ends its texts.

How deep it may nest is decided before either reads it: their own limit is the interpreter's, another one in each
version of Python, and what was refused by one must not be accepted by the next.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TypeAlias

import msgspec
import numpy as np

from shared.errors import BadEvent

Body: TypeAlias = bytes | msgspec.Raw
DEEPEST = 32
VALUES_AT_ONCE = 200_000
_BYTES_A_VALUE = 320
_BLANKS = " \t\r\n"
_BOM = b"\xef\xbb\xbf"
_C_END = " \t\r\n\0"
_NO_NUMBER = re.compile(
    r'("[^"\\]*+(?:\\.[^"\\]*+)*+"?)|[+-]?\b(?:nan\b(?:\([0-9a-z_]{0,32}\))?|inf(?:inity)?\b)',
    re.IGNORECASE | re.DOTALL,
)
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_UNMARKED = bytes(set(range(256)) - set(b'"\\[]{}'))
_decode = msgspec.json.Decoder().decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_standard = json.JSONDecoder()


def at_once(bodies: Iterable[bytes]) -> int:
    """How many of the first bodies may be decoded together, at least one: with `VALUES_AT_ONCE` values in all.

    Args:
        bodies: As they were before a device packed them.
    """
    room, count = VALUES_AT_ONCE, -1
    for count, body in enumerate(bodies):
        room -= weight(body)
        if room < 0 and count:
            return count
    return count + 1


def weight(body: bytes) -> int:
    """Most values that a body may hold; a long text counts like the values that could stand in its place.

    A body of 256 kB may hold 65,535 elements or lines, each of which takes a kilobyte until it is judged.
    """
    return max(body.count(b",") + body.count(b"\n") + 1, len(body) // _BYTES_A_VALUE)


def value_of(body: Body) -> object:
    """The JSON value of a body.

    Raises:
        BadEvent: `empty`, `encoding`, `too_deep` or `not_json`.
    """
    # an element of an array was looked at with it; most messages nest nothing, and counting takes several times as long
    if not isinstance(body, msgspec.Raw) and (b"[" in body or body.rfind(b"{") > 0):
        _check_levels(body)
    try:
        return _decode(body)
    except ValueError:
        return _second_reading(bytes(body))


def elements(body: bytes) -> list[Body]:
    """The elements of a JSON array, each as its own original bytes; `body` begins with a bracket.

    Raises:
        BadEvent: `encoding`, `too_deep` or `not_json`.
    """
    _check_levels(body)
    try:
        return list(_decode_elements(body))
    except ValueError:
        return _slices(_text(body).rstrip(_C_END))


def lines(body: bytes) -> list[Body]:
    """The readings of a body that is JSON lines, each as its own bytes; none where it is something else.

    Each line is an object, and at least the first one is whole: a JSON value over several lines that was damaged is
    not taken for many.
    """
    found = [line for line in body.removeprefix(_BOM).rstrip(_C_END.encode()).split(b"\n") if line.strip()]
    if len(found) < 2 or not all(line.lstrip().startswith(b"{") for line in found):
        return []
    try:
        value_of(found[0])
    except BadEvent:
        return []
    return list(found)


def _check_levels(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") > DEEPEST and _levels(body) > DEEPEST:
        raise BadEvent("too_deep", f"nested deeper than {DEEPEST} levels")


def _levels(body: bytes) -> int:
    """How many brackets are open at once, those in texts not counted, as far as it is JSON."""
    marks = body.translate(None, _UNMARKED)
    if b"\\" in marks:
        marks = _TEXT.sub(b"", body).translate(None, _UNMARKED)
    else:
        marks = _TEXT.sub(b"", marks.replace(b'""', b""))  # most texts hold no mark
    signs = np.frombuffer(marks.translate(None, b'"\\'), np.uint8)
    opening = (signs == ord("[")) | (signs == ord("{"))
    return int(np.cumsum(np.where(opening, 1, -1)).max(initial=0))


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadEvent("encoding", f"byte {error.start} is not UTF-8") from error


def _second_reading(body: bytes) -> object:
    text = _text(body).rstrip(_C_END)
    if not text.strip():
        raise BadEvent("empty", "no bytes but blanks")
    try:
        return json.loads(_numbers(text))
    except ValueError as error:
        raise _refusal(error) from error


def _numbers(text: str) -> str:
    """A text in which what C writes for no number stands as JSON's readers know it, everything at its place.

    >>> _numbers('{"nan": nan, "a": -nan(ind), "b": [-inf, +NaN, "inf"]}')
    '{"nan": NaN, "a": NaN      , "b": [NaN , NaN , "inf"]}'
    """
    return _NO_NUMBER.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    word = match[0]
    if match[1] or word in ("NaN", "Infinity", "-Infinity"):
        return word
    return "NaN".ljust(len(word))


def _slices(text: str) -> list[Body]:
    found: list[Body] = []
    spelled = _numbers(text)
    place, character = text.index("["), ","
    while character == ",":
        place = _after_blanks(text, place + 1)
        try:
            _, end = _standard.raw_decode(spelled, place)
        except ValueError as error:
            raise _refusal(error) from error
        found.append(text[place:end].encode())
        place = _after_blanks(text, end)
        character = text[place : place + 1]
    if character != "]" or text[place + 1 :].strip(_BLANKS):
        raise BadEvent("not_json", f"neither a comma nor the array's end at character {place}")
    return found


def _after_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place] in _BLANKS:
        place += 1
    return place


def _refusal(error: ValueError) -> BadEvent:
    if isinstance(error, json.JSONDecodeError):
        return BadEvent("not_json", f"{error.msg.lower()} at character {error.pos}")
    return BadEvent("not_json", "a number with more digits than can be read")
