"""Timestamps written as texts, a layout at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from shared.core.intake.readings import Codes, Longs, Mask
from shared.core.intake.times.forms import ISO, TimeForm
from shared.core.intake.times.timestamps import BAD, OK, UNZONED, Stamps, days
from shared.core.intake.values.quantities import MISSING, number

_LONGEST = 48
_SHORT_YEAR = 2
_ROUNDS = 24


def from_texts(texts: Sequence[str], form: TimeForm = ISO) -> Stamps:
    """Timestamps written as texts, n of them."""
    joined = "".join(texts)
    if not joined.isascii():
        texts = [text if text.isascii() else "?" for text in texts]
        joined = "".join(texts)
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    return from_bytes(np.frombuffer(joined.encode(), np.uint8), np.concatenate((np.zeros(1, np.int64), ends)), form)


def from_bytes(data: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], bounds: Longs, form: TimeForm = ISO) -> Stamps:
    """Timestamps that stand one after the other in one buffer.

    All texts with the layout of the first unread one are read at once; what is left after some layouts, one by one.

    Args:
        data: Characters, uint8.
        bounds: Where each begins and the last ends, int64, shape (n + 1,).
        form: How they are written.
    """
    starts, lengths = bounds[:-1], np.diff(bounds)
    stamps = Stamps.blank(len(starts))
    left = np.flatnonzero(lengths > 0)
    for _ in range(_ROUNDS):
        if not len(left):
            return stamps
        length = lengths[left[0]]
        alike = left[lengths[left] == length] if length <= _LONGEST else left[:1]
        done = _read_alike(_columns(data, starts[alike], int(length)), alike, stamps, form)
        left = np.setdiff1d(left, done, assume_unique=True)
    for row in left.tolist():
        text = data[starts[row] : starts[row] + min(lengths[row], _LONGEST + 1)].tobytes().decode("ascii", "replace")
        stamps.put(np.array([row]), _one(text, form))
    return stamps


def _columns(data: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], starts: Longs, length: int) -> Codes:
    """Texts of one length as columns of characters, shape (length, n)."""
    n = len(starts)
    if starts[-1] - starts[0] == (n - 1) * length and length * n > 0:
        rows = data[starts[0] : starts[0] + n * length].reshape(n, length)
        return np.ascontiguousarray(rows.T)
    return np.take(data, starts[None, :] + np.arange(length)[:, None])


def _read_alike(columns: Codes, rows: Longs, stamps: Stamps, form: TimeForm) -> Longs:
    """Read every text that has the layout of the first; the rows that were read."""
    text = columns[:, 0].tobytes().decode("ascii", "replace")
    match = form.match(text) if len(text) <= _LONGEST else None
    if match is None and not (text.isdigit() and len(text) <= 18):
        first = rows[:1]
        stamps.put(first, _one(text, form))
        return first
    same = _same_layout(columns, text)
    digits = columns[:, same].astype(np.int64) - ord("0")
    read = _fields(digits, match) if match else _digits(digits, form)
    stamps.put(rows[same], read)
    return rows[same]


def _same_layout(columns: Codes, text: str) -> Mask:
    same = np.ones(columns.shape[1], np.bool_)
    for column, character in zip(columns, text, strict=True):
        same &= (column - np.uint8(ord("0")) <= 9) if character.isdigit() else column == ord(character)
    return same


def _digits(digits: Longs, form: TimeForm) -> Stamps:
    value = np.zeros(digits.shape[1])
    for row in digits:
        value = value * 10 + row
    return form.from_numbers(value)


def _fields(digits: Longs, match: re.Match[str]) -> Stamps:
    def field(name: str) -> Longs:
        value = np.zeros(digits.shape[1], np.int64)
        for place in range(*match.span(name)):
            value = value * 10 + digits[place]
        return value

    year, month, day, hour, minute, second = map(field, ("year", "month", "day", "hour", "minute", "second"))
    if len(match["year"]) == _SHORT_YEAR:
        year += 2000
    date, fine = days(year, month, day)
    fine &= (minute < 60) & (second <= 60)
    if match["half"]:
        fine &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + (12 if match["half"] in "pP" else 0)
    fine &= (hour < 24) | ((hour == 24) & (minute == 0) & (second == 0))
    offset = np.full(len(fine), UNZONED if match["zone"] is None else 0, np.int64)
    if match["sign"]:
        offset = (field("zone_hour") * 60 + field("zone_minute")) * (-1 if match["sign"] == "-" else 1)
        fine &= (field("zone_hour") < 24) & (field("zone_minute") < 60)
    local = np.where(fine, (date * 24 + hour) * 60 + minute, 0)
    return Stamps(local, offset, np.where(fine, OK, BAD).astype(np.uint8), np.minimum(second, 59))


def _one(text: str, form: TimeForm) -> Stamps:
    """One timestamp with a layout of its own: a number with a fraction or sign, a word for missing, or none at all."""
    none = Stamps.blank(1)
    if len(text) <= _LONGEST and text.strip().casefold() in MISSING:
        return none
    none.fault[0] = BAD
    if len(text) > _LONGEST:
        return none
    if match := form.match(text):
        return _fields(np.array([[ord(character) - ord("0")] for character in text], np.int64), match)
    try:
        return form.from_numbers(np.array([number(text)]))
    except ValueError:
        return none
