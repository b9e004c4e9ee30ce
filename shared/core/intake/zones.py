"""Time zones, applied to whole columns of local minutes."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

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
        self._fixed = _fixed_offset(name)
        if self._fixed is None:
            self._zone = _by_name(name)
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
