"""Texts of values: those that are no number and still say something of a channel, and how dropped ones are told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from shared.core.intake.readings import Codes, Floats, Ints, Longs, shown
from shared.core.intake.values.dropped import MOST_TEXTS, ChannelValues
from shared.core.intake.values.quantities import BAD, FINE, REASON, SENTINEL, number, sentinels
from shared.core.scenario import Channel

POINTS = ["n", "nne", "ne", "ene", "e", "ese", "se", "sse", "s", "ssw", "sw", "wsw", "w", "wnw", "nw", "nnw"]
CALM = frozenset({"calm", "clm", "variable", "var", "vrb"})  # there is no direction
_DEGREES = {point: i * 360 / len(POINTS) for i, point in enumerate(POINTS)} | dict.fromkeys(CALM, np.nan)
_FULL = re.compile(r"north|east|south|west")
_LONGEST = 40


class Words(NamedTuple):
    """Cells of a column that are no numbers.

    Args:
        place: Their indices, rising, int64, shape (k,).
        value: What each means in the channel's unit, NaN where nothing, float32, shape (k,).
        fault: What is wrong with each (`quantities.FINE, BAD, SENTINEL`), shape (k,).
    """

    place: Longs
    value: Floats
    fault: Codes

    def spread(self, places: Ints) -> Words:
        """The same of a column that holds the cells many times; `places` are their indices in it, shape (n,)."""
        if not len(self.place):
            return self
        which = np.full(max(int(self.place[-1]), int(places.max(initial=0))) + 1, -1, np.int32)
        which[self.place] = np.arange(len(self.place))
        rows = np.flatnonzero(which[places] >= 0)
        return Words(rows, self.value[which[places[rows]]], self.fault[which[places[rows]]])

    def put(self, values: Floats, faults: Codes | None) -> Codes | None:
        """Write what they mean into the column's values, shape (n,), and its faults; None = nothing is wrong."""
        values[self.place] = self.value
        if faults is None and not self.fault.any():
            return None
        faults = np.zeros(values.shape, np.uint8) if faults is None else faults
        faults[self.place] = self.fault
        return faults


def understood(channel: Channel, cells: Sequence[object], places: Sequence[int]) -> Words:
    """What the cells at some places mean for a channel; letters of the compass are directions of a circular one."""
    found = [_meaning(cells[i], channel.missing_values, circular=channel.aggregate == "circular") for i in places]
    value, fault = zip(*found, strict=True) if found else ((), ())
    return Words(np.array(places, np.int64), np.array(value, np.float32), np.array(fault, np.uint8))


def direction(text: str) -> float | None:
    """Degrees of a compass point, NaN where a word says that there is no direction, None where it is neither.

    >>> direction("NNW"), direction(" north-east"), direction("calm"), direction("NNX")
    (337.5, 45.0, nan, None)
    """
    letters = _FULL.sub(lambda match: match[0][0], re.sub(r"[\s_-]", "", text[:_LONGEST].casefold()))
    return _DEGREES.get(letters)


def _meaning(cell: object, missing: tuple[float | str, ...], *, circular: bool) -> tuple[float, int]:
    return _of_text(cell, missing, circular=circular) if isinstance(cell, str) and len(cell) <= _LONGEST else _NOTHING


@lru_cache(maxsize=1024)
def _of_text(text: str, missing: tuple[float | str, ...], *, circular: bool) -> tuple[float, int]:
    if text.strip().casefold() in sentinels(missing).words:
        return np.nan, SENTINEL
    degrees = direction(text) if circular else None
    return _NOTHING if degrees is None else (degrees, FINE)


_NOTHING = (np.nan, BAD)


def told(value: object) -> str:
    """A dropped value for people; a number is the same however it was written.

    >>> told("-999.0"), told(-999), told("n.v.")
    ('-999', '-999', "'n.v.'")
    """
    try:
        return f"{number(value):.12g}"
    except ValueError:
        return shown(value)


def counted(faults: Codes, values: Iterable[tuple[object, int]]) -> ChannelValues:
    """Dropped values of one channel, as long as nothing is known of the others.

    Args:
        faults: What is wrong with each, shape (n,).
        values: As written, and how often.
    """
    sums = np.bincount(faults, minlength=len(REASON) + 1).tolist()
    texts: Counter[str] = Counter()
    for value, count in values:
        texts[told(value)] += count
    reasons = {reason: sums[fault] for fault, reason in REASON.items() if sums[fault]}
    return ChannelValues(0, reasons, dict(texts.most_common(MOST_TEXTS)))
