"""Ten digits that are a date and an hour, such as 2026042506, and no second since 1970.

By their size alone the two cannot be told apart: 2026042506 is also a second of the year 2034. It is an epoch where
that is not in the future of what brought it, so that an epoch is never read otherwise; else it is the date, if there is
one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from shared.core.intake.readings import Longs
from shared.core.intake.times.texts import from_texts
from shared.core.intake.times.timestamps import FUTURE_MINUTES, OK, Stamps

_FIRST, _LAST = 1_900_000_000 // 60, 2_100_000_000 // 60
_TEN = re.compile(r"\s*((?:19|20)\d{8})(?:\.0*)?\s*", re.ASCII)


def with_date_hours(stamps: Stamps, not_after: int | Longs, cell: Callable[[int], object]) -> Stamps:
    """Timestamps with those read as date and hour that are one, on a clock without a zone.

    Args:
        stamps: Timestamps as written, n of them.
        not_after: Minute that brought them; more than FUTURE_MINUTES later is the future. One, or shape (n,).
        cell: What was written.
    """
    epoch = (stamps.fault == OK) & (stamps.offset == 0) & (stamps.local >= _FIRST) & (stamps.local < _LAST)
    rows = np.flatnonzero(epoch & (stamps.local > np.asarray(not_after) + FUTURE_MINUTES))
    if not len(rows):
        return stamps
    written = [_TEN.fullmatch(str(cell(i))) for i in rows.tolist()]
    dates = from_texts([f"{match[1]}00" if match else "" for match in written])
    sound = dates.fault == OK
    found = Stamps.blank(len(stamps.local))
    found.put(np.arange(len(stamps.local)), stamps)
    found.put(rows[sound], dates.at(np.flatnonzero(sound)))
    return found
