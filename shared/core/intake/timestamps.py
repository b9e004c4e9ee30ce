"""Timestamps into minutes since 1970 UTC: ISO 8601 and epoch, with their own, a declared or no zone.

An ambiguous local time (clocks set back) is its first occurrence; one that does not exist (clocks set forward) is moved
forward by the gap. Seconds are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from shared.core.intake.quantities import MISSING, number
from shared.core.intake.readings import Codes, Ints, Longs, Mask
from shared.errors import BadEvent

FUTURE_MINUTES = 5
ANCIENT_MINUTE = int(np.datetime64("2000-01-01T00:00", "m").astype(np.int64))
UNZONED = -100_000
OK, ABSENT, BAD, NO_ZONE, FUTURE, ANCIENT = range(6)
REASON = ("", "missing_time", "bad_time", "no_zone", "future", "ancient")

_ISO = re.compile(
    r"\s*(\d{4})([-/]?)(\d\d)\2(\d\d)[Tt ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,]\d{1,9})?)?)?"
    r"\s*([Zz]|UTC|GMT|([+-])(\d\d):?(\d\d)?)?\s*",
    re.ASCII,
)
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2}):?(\d\d)?", re.ASCII)
_LONGEST = 48
_ROUNDS = 8
_MILLISECONDS_FROM = 1e11


@dataclass(frozen=True, slots=True)
class Stamps:
    """Timestamps as written: minutes on their own clock, what that clock is ahead of UTC, and what is wrong.

    Args:
        local: Minutes since 1970 on the written clock, int64, shape (n,).
        offset: Minutes ahead of UTC, UNZONED where none was written, int64, shape (n,).
        fault: OK, ABSENT or BAD, uint8, shape (n,).
    """

    local: Longs
    offset: Longs
    fault: Codes

    @classmethod
    def blank(cls, n: int) -> Stamps:
        """`n` timestamps that are absent."""
        return cls(np.zeros(n, np.int64), np.zeros(n, np.int64), np.full(n, ABSENT, np.uint8))

    def put(self, rows: Longs, other: Stamps) -> None:
        """Copy `other` into the given rows."""
        self.local[rows], self.offset[rows], self.fault[rows] = other.local, other.offset, other.fault


class Zone:
    """A time zone applied to whole columns of local minutes.

    Raises:
        BadEvent: `zone`, the name is neither an IANA zone nor a fixed offset.
    """

    def __init__(self, name: str) -> None:
        self._fixed = _fixed_offset(name)
        if self._fixed is None:
            self._zone = _named(name)
            self._hours = np.full(_HOURS, _UNKNOWN, np.int16)

    def offsets(self, local: Longs) -> Longs:
        """Minutes that the zone is ahead of UTC at each local minute, int64, shape (n,)."""
        if self._fixed is not None:
            return np.full(len(local), self._fixed, np.int64)
        hours = np.clip(local // 60 - _FIRST_HOUR, 0, _HOURS - 1)  # beyond, any offset is as ancient or future
        offsets = self._hours[hours].astype(np.int64)
        unknown = offsets == _UNKNOWN
        if unknown.any():
            for hour in np.unique(hours[unknown]).tolist():
                self._hours[hour] = self._hour(hour + _FIRST_HOUR)
            offsets = self._hours[hours].astype(np.int64)
        changing = offsets == _CHANGING
        offsets[changing] = [self._minute(minute) for minute in local[changing].tolist()]
        return offsets

    def _hour(self, hour: int) -> int:
        """Offset throughout a local hour, _CHANGING when it is not the same at its ends."""
        first, last = self._minute(hour * 60), self._minute(hour * 60 + 59)
        return first if first == last else _CHANGING

    def _minute(self, minute: int) -> int:
        offset = (_EPOCH + timedelta(minutes=minute)).replace(tzinfo=self._zone).utcoffset()
        return 0 if offset is None else offset // timedelta(minutes=1)


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a local clock's zero, its zone is put on afterwards
_FIRST_HOUR = ANCIENT_MINUTE // 60 - 48
_HOURS = 200 * 366 * 24
_UNKNOWN, _CHANGING = -32768, 32767


def _fixed_offset(name: str) -> int | None:
    if name.strip().upper() in ("Z", "UTC", "GMT"):
        return 0
    match = _OFFSET.fullmatch(name.strip().upper())
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3] or 0)
    if minutes >= 24 * 60 or int(match[3] or 0) >= 60:
        raise BadEvent("zone", f"the offset {name.strip()} is not below 24 hours")
    return -minutes if match[1] == "-" else minutes


def _named(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadEvent("zone", f"{name[:40]!r} is neither a known time zone nor an offset such as +08:00") from error


@lru_cache(maxsize=256)
def zone(name: str) -> Zone:
    """The zone of a name, shared.

    Raises:
        BadEvent: `zone`, as `Zone` does.
    """
    return Zone(name)


def utc(stamps: Stamps, zones: Sequence[Zone | None], which: Ints, not_after: int | Longs) -> tuple[Longs, Codes]:
    """Minutes since 1970 UTC, and the faults OK, ABSENT, BAD, NO_ZONE, FUTURE, ANCIENT.

    Args:
        stamps: Timestamps as written, n of them.
        zones: Zones for those written without one; None refuses.
        which: Index into `zones` per timestamp, shape (n,).
        not_after: Minute that brought the timestamp; more than FUTURE_MINUTES later is the future. One, or shape (n,).
    """
    bare = stamps.offset == UNZONED
    fault = stamps.fault.copy()
    minute = stamps.local - np.where(bare, 0, stamps.offset)
    for k, known in enumerate(zones):
        rows = np.flatnonzero(bare & (which == k))
        if known is None:
            fault[rows] = NO_ZONE
        else:
            minute[rows] -= known.offsets(stamps.local[rows])
    fine = fault == OK
    fault[fine & (minute > np.asarray(not_after) + FUTURE_MINUTES)] = FUTURE
    fault[fine & (minute < ANCIENT_MINUTE)] = ANCIENT
    return minute, fault


def from_epoch(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Stamps:
    """Epoch seconds, or milliseconds from 1e11 on (a second of the year 5138, a millisecond of 1973).

    >>> from_epoch(np.array([3600.0, 1.7e12])).local.tolist()
    [60, 28333333]
    """
    with np.errstate(invalid="ignore"):
        seconds = np.where(np.abs(values) >= _MILLISECONDS_FROM, values / 1000.0, values)
        minutes = np.floor_divide(np.clip(seconds, -1e14, 1e14), 60.0)
    fault = np.where(np.isnan(values), ABSENT, np.where(np.isinf(values), BAD, OK)).astype(np.uint8)
    local = np.where(fault == OK, minutes, 0.0).astype(np.int64)
    return Stamps(local, np.zeros(len(values), np.int64), fault)


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
