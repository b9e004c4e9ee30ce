"""Time zones, applied to whole columns of local minutes."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Longs
from shared.errors import BadEvent

ANCIENT_MINUTE = int(np.datetime64("2000-01-01T00:00", "m").astype(np.int64))
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2}):?(\d\d)?", re.ASCII)


class Zone:
    """A time zone applied to whole columns of local minutes.

    Raises:
        BadEvent: `zone`, the name is neither an IANA zone nor a fixed offset.
    """

    def __init__(self, name: str) -> None:
        self._name = name.strip()
        self._fixed = _fixed_offset(name)
        if self._fixed is None:
            self._zone = _by_name(name)

    @property
    def changes(self) -> bool:
        """Whether its clocks may be set; a fixed offset's never are."""
        return self._fixed is None

    def offsets(self, local: Longs, *, second: bool = False) -> Longs:
        """Minutes that the zone is ahead of UTC at each local minute, int64, shape (n,).

        Args:
            local: Minutes since 1970 on the zone's clocks, shape (n,).
            second: Of an hour that the clocks show twice, take the second.
        """
        if self._fixed is not None:
            return np.full(len(local), self._fixed, np.int64)
        hours = np.clip(local // 60, _FIRST_HOUR, _LAST_HOUR)  # beyond, any offset is as ancient or future
        page = hours // _PAGE_HOURS
        offsets = np.empty(len(local), np.int64)
        for number in _distinct(page):
            rows = slice(None) if number is None else np.flatnonzero(page == number)
            offsets[rows] = self._on_page(hours[rows], second)
        changing = offsets == _CHANGING
        offsets[changing] = [self._minute(minute, second) for minute in local[changing].tolist()]
        return offsets

    def _on_page(self, hours: Longs, second: bool) -> Longs:
        """Offsets of local hours that stand on one page."""
        if not len(hours):
            return hours
        number = int(hours[0]) // _PAGE_HOURS
        page, first = _page(self._name, number, second), number * _PAGE_HOURS
        offsets = page[hours - first].astype(np.int64)
        unknown = offsets == _UNKNOWN
        if unknown.any():
            for hour in np.unique(hours[unknown]).tolist():
                page[hour - first] = self._hour(hour, second)
            offsets = page[hours - first].astype(np.int64)
        return offsets

    def _hour(self, hour: int, second: bool) -> int:
        """Offset throughout a local hour, _CHANGING when it is not the same at its ends."""
        first, last = self._minute(hour * 60, second), self._minute(hour * 60 + 59, second)
        return first if first == last else _CHANGING

    def _minute(self, minute: int, second: bool) -> int:
        offset = (_EPOCH + timedelta(minutes=minute)).replace(tzinfo=self._zone, fold=second).utcoffset()
        return 0 if offset is None else offset // timedelta(minutes=1)


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a local clock's zero, its zone is put on afterwards
_FIRST_HOUR = ANCIENT_MINUTE // 60 - 48
_LAST_HOUR = _FIRST_HOUR + 200 * 366 * 24
_PAGE_HOURS = 8192  # about a year, 16 kB
_PAGES = 512  # of all zones together: 8 MB
_UNKNOWN, _CHANGING = -32768, 32767


@lru_cache(maxsize=_PAGES)
def _page(name: str, number: int, second: bool) -> npt.NDArray[np.int16]:  # noqa: ARG001 - the cache's key
    """A zone's offsets of some thousand local hours, filled in as they are asked for; the oldest pages go."""
    return np.full(_PAGE_HOURS, _UNKNOWN, np.int16)


def _distinct(page: Longs) -> list[int | None]:
    """Numbers of the pages; a lone None when all are the same, as nearly always."""
    return [None] if not len(page) or page.min() == page.max() else np.unique(page).tolist()


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


def _by_name(name: str) -> ZoneInfo:
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
