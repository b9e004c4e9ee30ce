"""Times that envelopes carry: ISO 8601, epoch, or as a clock in the United States shows them; always UTC."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from shared.core.intake.messages.records import read_times
from shared.core.intake.readings import Longs
from shared.core.intake.times.timestamps import OK, UNZONED

UNKNOWN = np.iinfo(np.int64).min
_CLOCK = re.compile(
    r"\s*(\d{1,2})/(\d{1,2})/(\d{4}),? (\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d+)?)?(?:\s?([AP])M)?\s*",
    re.ASCII | re.IGNORECASE,
)


def seconds_of(cells: Sequence[object]) -> Longs:
    """Seconds since 1970, UNKNOWN where there is none or it cannot be read, int64, shape (n,).

    >>> seconds_of(["1/2/1970 0:05:09 AM", "1/1/1970 12:30:00 PM", None])[:2].tolist()
    [86709, 45000]
    """
    if cells.count(None) == len(cells):
        return np.full(len(cells), UNKNOWN)
    stamps = read_times([_iso(cell) if isinstance(cell, str) and "/" in cell else cell for cell in cells])
    offset = np.where(stamps.offset == UNZONED, 0, stamps.offset)
    return np.where(stamps.fault == OK, (stamps.local - offset) * 60 + stamps.second, UNKNOWN)


def _iso(text: str) -> str:
    match = _CLOCK.fullmatch(text)
    if match is None:
        return text
    month, day, year, hour, minute, second, half = match.groups()
    hours = int(hour) if half is None else int(hour) % 12 + (12 if half in "pP" else 0)
    return f"{year}-{int(month):02d}-{int(day):02d}T{hours:02d}:{minute}:{second or '00'}"
