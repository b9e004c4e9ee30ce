"""JSON as devices send it: what msgspec refuses gets a second reading that knows NaN and Infinity, then a reason.

How deep it may nest is decided before either reads it: their own limit is the interpreter's, another one in each
version of Python, and what was refused by one must not be accepted by the next.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np

from shared.errors import BadEvent

Body: TypeAlias = bytes | msgspec.Raw
DEEPEST = 64
VALUES_AT_ONCE = 200_000
_BLANKS = " \t\r\n"
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_UNMARKED = bytes(set(range(256)) - set(b'"\\[]{}'))
_decode = msgspec.json.Decoder().decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_standard = json.JSONDecoder()


def at_once(bodies: Sequence[bytes]) -> int:
    """How many of the first bodies may be decoded together, at least one: with `VALUES_AT_ONCE` values in all.

    A body of 256 kB may hold 65,535 elements, each of which takes a kilobyte until it is judged.
    """
    room = VALUES_AT_ONCE
    for count, body in enumerate(bodies):
        room -= body.count(b",") + 1
        if room < 0 and count:
            return count
    return len(bodies)


def value_of(body: Body) -> object:
    """The JSON value of a body.

    Raises:
        BadEvent: `empty`, `encoding`, `too_deep` or `not_json`.
    """
    if not isinstance(body, msgspec.Raw):  # an element of an array was looked at with it
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
        return _slices(_text(body))


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
    text = _text(body)
    if not text.strip():
        raise BadEvent("empty", "no bytes but blanks")
    try:
        return json.loads(text)
    except ValueError as error:
        raise _refusal(error) from error


def _slices(text: str) -> list[Body]:
    found: list[Body] = []
    place, character = text.index("["), ","
    while character == ",":
        place = _after_blanks(text, place + 1)
        try:
            _, end = _standard.raw_decode(text, place)
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
