"""JSON as devices send it: what msgspec refuses gets a second reading that knows NaN and Infinity, then a reason."""

from __future__ import annotations

import json
from typing import TypeAlias

import msgspec

from shared.errors import BadEvent

Body: TypeAlias = bytes | msgspec.Raw
_BLANKS = " \t\r\n"
_decode = msgspec.json.Decoder().decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_standard = json.JSONDecoder()


def value_of(body: Body) -> object:
    """The JSON value of a body.

    Raises:
        BadEvent: `empty`, `encoding`, `too_deep` or `not_json`.
    """
    try:
        return _decode(body)
    except (ValueError, RecursionError):
        return _second_reading(bytes(body))


def elements(body: bytes) -> list[Body]:
    """The elements of a JSON array, each as its own original bytes; `body` begins with a bracket.

    Raises:
        BadEvent: `encoding`, `too_deep` or `not_json`.
    """
    try:
        return list(_decode_elements(body))
    except (ValueError, RecursionError):
        return _slices(_text(body))


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
    except (ValueError, RecursionError) as error:
        raise _refusal(error) from error


def _slices(text: str) -> list[Body]:
    found: list[Body] = []
    place, character = text.index("["), ","
    while character == ",":
        place = _after_blanks(text, place + 1)
        try:
            _, end = _standard.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
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


def _refusal(error: Exception) -> BadEvent:
    if isinstance(error, RecursionError):
        return BadEvent("too_deep", "nested deeper than the decoder follows")
    if isinstance(error, json.JSONDecodeError):
        return BadEvent("not_json", f"{error.msg.lower()} at character {error.pos}")
    return BadEvent("not_json", "a number with more digits than can be read")
