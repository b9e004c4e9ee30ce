"""Axes: sensible ticks, positions, and fewer points than pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np

from shared.core.intake.readings import Doubles, Longs

UNKNOWN = "\u2013"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis, 0 to 1; a minor one may be left out where room is scarce."""

    at: float
    label: str
    minor: bool = False

    def labelled(self, sign: str) -> Tick:
        """The tick with a sign after its number."""
        return Tick(self.at, f"{self.label}{sign}", self.minor)


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear axis from `low` to `high`."""

    low: float
    high: float

    def at(self, values: Doubles) -> Doubles:
        """Positions of values, 0 to 1 within the axis."""
        return (values - self.low) / (self.high - self.low)

    def ticks(self, wanted: int = 5) -> list[Tick]:
        """Round numbers on the axis."""
        step = nice_step((self.high - self.low) / wanted)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [
            Tick((k * step - self.low) / (self.high - self.low), plain(k * step, step), minor=bool((k - first) % 2))
            for k in range(first, last + 1)
        ]


def nice_step(rough: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten.

    >>> [nice_step(x) for x in (0.7, 1.4, 23.0, 0.041)]
    [1.0, 2.0, 25.0, 0.05]
    """
    power = 10.0 ** math.floor(math.log10(rough))
    return float(next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999999) * power)


def scale(*arrays: Doubles, zero: bool = True) -> Scale:
    """An axis with round ends that holds all finite values, and 0 when `zero`."""
    joined = np.concatenate([array[np.isfinite(array)] for array in arrays]) if arrays else np.empty(0)
    low, high = (float(joined.min()), float(joined.max())) if len(joined) else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if not high > low:
        low, high = low - (0.0 if zero else 1.0), low + 1.0
    step = nice_step((high - low) / 5)
    return Scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


def plain(value: float | None, step: float = 0.0) -> str:
    """A number for people: thousands separated, as many decimals as the step needs; a dash where it is unknown.

    >>> plain(12500.0, 2500.0), plain(0.25, 0.05), plain(3.14159), plain(None) == UNKNOWN
    ('12,500', '0.25', '3.14', True)
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    decimals = _decimals(step) if step > 0 else 0 if abs(value) >= 1000 else 2 - int(math.log10(max(abs(value), 1.0)))
    shown = f"{value:,.{decimals}f}"
    return shown.replace("-", "\u2212") if float(shown.replace(",", "")) else shown.lstrip("-")


def count(value: float | None) -> str:
    """A whole number for people; a dash where it is unknown."""
    return plain(value, 1.0)


def percent(share: float | None, step: float = 0.1) -> str:
    """A share in percent.

    >>> percent(0.887)
    '88.7 %'
    """
    return UNKNOWN if share is None else f"{plain(100 * share, step)} %"


def duration(seconds: float) -> str:
    """A stretch of time for people.

    >>> duration(0.0421), duration(6.1), duration(96.1), duration(3725)
    ('42 ms', '6.1 s', '1 min 36 s', '1 h 2 min')
    """
    if not seconds >= 0:
        return UNKNOWN
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _decimals(step: float) -> int:
    return next((places for places in range(8) if math.isclose(round(step, places), step, rel_tol=1e-6)), 8)


def moment(hour: float, *, clock: bool = True) -> str:
    """A time for people, UTC.

    >>> moment(473352), moment(473352, clock=False)
    ('1 Jan 2024 00:00', '1 Jan 2024')
    """
    when = _EPOCH + timedelta(hours=hour)
    day = f"{when.day} {when:%b %Y}"
    return f"{day} {when:%H:%M}" if clock else day


def time_ticks(first: int, last: int) -> list[Tick]:
    """Ticks between two hours since 1970, at most some nine: hours, days, months or years, whichever fits.

    Args:
        first: Hour at the axis' left end.
        last: Hour at its right end, later than `first`.
    """
    span = last - first
    if span > 120 * 24:
        found = list(_months(first, last))
    else:
        step = next(step for step in (1, 3, 6, 12, 24, 48, 96, 168, 336) if span / step <= 8 or step == 336)
        start = -(-first // step) * step
        found = [(hour, _label(hour, step, hour == start)) for hour in range(start, last + 1, step)]
    return [Tick((hour - first) / span, label, minor=bool(i % 2)) for i, (hour, label) in enumerate(found)]


def _label(hour: int, step: int, opening: bool) -> str:
    when = _EPOCH + timedelta(hours=hour)
    if step < 24 and when.hour and not opening:
        return f"{when:%H:%M}"
    return f"{when.day} {when:%b}"


def _months(first: int, last: int) -> Iterator[tuple[int, str]]:
    months = (last - first) / 730.5
    step = next((step for step in (1, 2, 3, 6, 12) if months / step <= 9), 12 * math.ceil(months / 108))
    start = _EPOCH + timedelta(hours=first)
    index = start.year * 12 + start.month - 1
    index += -index % step
    opening = True
    while True:
        when = datetime(index // 12, index % 12 + 1, 1, tzinfo=timezone.utc)
        hour = int((when - _EPOCH).total_seconds()) // 3600
        if hour > last:
            return
        if hour >= first:
            yield (
                hour,
                f"{when:%Y}" if step >= 12 else f"{when:%b %Y}" if opening or when.month <= step else f"{when:%b}",
            )
            opening = False
        index += step


def thin(x: Doubles, y: Doubles, buckets: int = 600) -> tuple[Doubles, Doubles]:
    """At most two points a bucket of the axis, its smallest and largest value in their order; gaps (NaN) stay.

    Args:
        x: Rising positions, shape (n,).
        y: Values, shape (n,), NaN where there is a gap.
        buckets: Buckets over the whole axis.
    """
    if len(x) <= 2 * buckets:
        return x, y
    bucket = np.minimum((np.arange(len(x)) * buckets) // len(x), buckets - 1)
    starts = np.searchsorted(bucket, np.arange(buckets))
    keep: list[int] = []
    for low, high in zip(starts, [*starts[1:], len(x)], strict=True):
        part = y[low:high]
        if np.isnan(part).all():
            keep.append(int(low))
        else:
            keep += sorted({int(low + np.nanargmin(part)), int(low + np.nanargmax(part))})
    chosen: Longs = np.array(keep, dtype=np.int64)
    return x[chosen], y[chosen]
