"""Timestamps written as texts, a layout at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from shared.core.intake.quantities import MISSING, number
from shared.core.intake.readings import Codes, Longs, Mask
from shared.core.intake.timestamps import ABSENT, BAD, OK, UNZONED, Stamps, from_epoch

_ISO = re.compile(
    r"\s*(\d{4})([-/]?)(\d\d)\2(\d\d)[Tt ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,]\d{1,9})?)?)?"
    r"\s*([Zz]|UTC|GMT|([+-])(\d\d):?(\d\d)?)?\s*",
    re.ASCII,
)


_LONGEST = 48
_ROUNDS = 8


def from_texts(texts: Sequence[str]) -> Stamps:
    """Timestamps written as texts, n of them."""
    joined = "".join(texts)
    if not joined.isascii():
        texts = [text if text.isascii() else "?" for text in texts]
        joined = "".join(texts)
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    return from_bytes(np.frombuffer(joined.encode(), np.uint8), np.concatenate((np.zeros(1, np.int64), ends)))


def from_bytes(data: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], bounds: Longs) -> Stamps:
    """Timestamps that stand one after the other in one buffer.

    All texts with the layout of the first unread one are read at once; what is left after some layouts, one by one.

    Args:
        data: Characters, uint8.
        bounds: Where each begins and the last ends, int64, shape (n + 1,).
    """
    starts, lengths = bounds[:-1], np.diff(bounds)
    stamps = Stamps.blank(len(starts))
    left = np.flatnonzero(lengths > 0)
    for _ in range(_ROUNDS):
        if not len(left):
            return stamps
        length = lengths[left[0]]
        alike = left[lengths[left] == length] if length <= _LONGEST else left[:1]
        done = _read_alike(_columns(data, starts[alike], int(length)), alike, stamps)
        left = np.setdiff1d(left, done, assume_unique=True)
    for row in left.tolist():
        text = data[starts[row] : starts[row] + min(lengths[row], _LONGEST + 1)].tobytes().decode("ascii", "replace")
        stamps.local[row], stamps.offset[row], stamps.fault[row] = _one(text)
    return stamps


def _columns(data: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], starts: Longs, length: int) -> Codes:
    """Texts of one length as columns of characters, shape (length, n)."""
    n = len(starts)
    if starts[-1] - starts[0] == (n - 1) * length and length * n > 0:
        rows = data[starts[0] : starts[0] + n * length].reshape(n, length)
        return np.ascontiguousarray(rows.T)
    return np.take(data, starts[None, :] + np.arange(length)[:, None])


def _read_alike(columns: Codes, rows: Longs, stamps: Stamps) -> Longs:
    """Read every text that has the layout of the first; the rows that were read."""
    text = columns[:, 0].tobytes().decode("ascii", "replace")
    match = _ISO.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None and not (text.isdigit() and len(text) <= 18):
        first = rows[:1]
        stamps.local[first], stamps.offset[first], stamps.fault[first] = _one(text)
        return first
    same = _same_layout(columns, text)
    digits = columns[:, same].astype(np.int64) - ord("0")
    read = _fields(digits, match) if match else _digits(digits)
    stamps.put(rows[same], read)
    return rows[same]


def _same_layout(columns: Codes, text: str) -> Mask:
    same = np.ones(columns.shape[1], np.bool_)
    for column, character in zip(columns, text, strict=True):
        same &= (column - np.uint8(ord("0")) <= 9) if character.isdigit() else column == ord(character)
    return same


def _digits(digits: Longs) -> Stamps:
    value = np.zeros(digits.shape[1])
    for row in digits:
        value = value * 10 + row
    return from_epoch(value)


def _fields(digits: Longs, match: re.Match[str]) -> Stamps:
    def field(group: int) -> Longs:
        value = np.zeros(digits.shape[1], np.int64)
        for place in range(*match.span(group)):
            value = value * 10 + digits[place]
        return value

    year, month, day, hour, minute, second = (field(group) for group in (1, 3, 4, 5, 6, 7))
    first, length = _months(year, month)
    fine = (year > 0) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= length)
    fine &= (hour < 24) & (minute < 60) & (second <= 60)
    offset = np.full(len(fine), UNZONED if match[8] is None else 0, np.int64)
    if match[9]:
        offset = (field(10) * 60 + field(11)) * (-1 if match[9] == "-" else 1)
        fine &= (field(10) < 24) & (field(11) < 60)
    local = np.where(fine, ((first + day - 1) * 24 + hour) * 60 + minute, 0)
    return Stamps(local, offset, np.where(fine, OK, BAD).astype(np.uint8))


def _months(year: Longs, month: Longs) -> tuple[Longs, Longs]:
    """First day of each month in days since 1970, and the month's length in days."""
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first, following = ((months + k).astype("M8[M]").astype("M8[D]").astype(np.int64) for k in (0, 1))
    return first, following - first


def _one(text: str) -> tuple[int, int, int]:
    """One timestamp with a layout of its own: epoch with a fraction or sign, a word for missing, or none at all."""
    if len(text) > _LONGEST:
        return 0, 0, BAD
    if text.strip().casefold() in MISSING:
        return 0, 0, ABSENT
    if match := _ISO.fullmatch(text):
        digits = np.array([[ord(character) - ord("0")] for character in text], np.int64)
        return _first(_fields(digits, match))
    try:
        return _first(from_epoch(np.array([number(text)])))
    except ValueError:
        return 0, 0, BAD


def _first(stamps: Stamps) -> tuple[int, int, int]:
    return int(stamps.local[0]), int(stamps.offset[0]), int(stamps.fault[0])
