"""Schedules of timer triggers as the Functions host reads them: NCRONTAB of six fields, or else a .NET time span."""

from __future__ import annotations

import datetime as dt
import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from local.host.functions import HostError

NEVER = dt.datetime.max.replace(tzinfo=dt.timezone.utc)
LARGEST = 2**31 - 1
CALENDAR_YEARS = 400  # after so many years days and weekdays come again as they were
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_SPAN = re.compile(
    r"\s*(?:(?P<only>\d+)|(?:(?P<d>\d+)[.:])??"
    r"(?P<h>\d+):(?P<m>\d+)(?::(?P<s>\d+)(?:\.(?P<f>\d{1,7}))?)?)\s*",
    re.ASCII,
)


class Schedule(Protocol):
    """When a timer runs."""

    def after(self, moment: dt.datetime) -> dt.datetime:
        """The first run after an aware moment, `NEVER` when there is none."""
        ...

    def resumed(self, moment: dt.datetime, noted: dt.datetime) -> dt.datetime:
        """The first run after a moment at which the host starts again, having noted a later one before."""
        ...


class Field(NamedTuple):
    """One of the six fields: its name, limits, and names of its values if they have any."""

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()


FIELDS = (
    Field("seconds", 0, 59),
    Field("minutes", 0, 59),
    Field("hours", 0, 23),
    Field("days", 1, 31),
    Field("months", 1, 12, MONTHS),
    Field("days of the week", 0, 6, WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """What each field of an NCRONTAB expression allows, sorted; a day has to fit both of its fields.

    Args:
        seconds: 0 to 59.
        minutes: 0 to 59.
        hours: 0 to 23.
        days: 1 to 31.
        months: 1 to 12.
        weekdays: 0 (Sunday) to 6.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    def after(self, moment: dt.datetime) -> dt.datetime:
        """The first run after a moment; schedules are in UTC, which the Linux plans that scale know only."""
        start = moment.astimezone(dt.timezone.utc).replace(tzinfo=None, microsecond=0) + dt.timedelta(seconds=1)
        for day in self._days(start.date()):
            time = self._time(start.time() if day == start.date() else dt.time.min)
            if time is not None:
                return dt.datetime.combine(day, time, dt.timezone.utc)
        return NEVER

    def resumed(self, moment: dt.datetime, noted: dt.datetime) -> dt.datetime:  # noqa: ARG002 - the clock says it
        """What the clock says, whatever was noted: the schedule may be another one now."""
        return self.after(moment)

    def _days(self, start: dt.date) -> Iterator[dt.date]:
        """Days from one on that fit month, day and weekday."""
        for year in range(start.year, min(start.year + CALENDAR_YEARS, dt.MAXYEAR) + 1):
            for month in self.months:
                yield from (day for day in self._of(year, month) if day >= start)

    def _of(self, year: int, month: int) -> Iterator[dt.date]:
        _, longest = monthrange(year, month)
        for number in self.days:
            if number <= longest and (day := dt.date(year, month, number)).isoweekday() % 7 in self.weekdays:
                yield day

    def _time(self, start: dt.time) -> dt.time | None:
        """The first time of a day from one on."""
        times = ((h, m, s) for h in self.hours if h >= start.hour for m in self.minutes for s in self.seconds)
        found = next((time for time in times if time >= (start.hour, start.minute, start.second)), None)
        return None if found is None else dt.time(*found)


@dataclass(frozen=True, slots=True)
class Every:
    """A run after each span of time; in Azure on an App Service plan only."""

    span: dt.timedelta

    def after(self, moment: dt.datetime) -> dt.datetime:
        """A span after a moment."""
        return moment + self.span

    def resumed(self, moment: dt.datetime, noted: dt.datetime) -> dt.datetime:
        """What was noted, or else a host that is started often would never get there."""
        return min(noted, self.after(moment))


def schedule(text: str) -> Schedule:
    """The schedule that a timer trigger's expression means, read as NCrontab reads it.

    Numbers and names (`Monday`, or any beginning of it) stand in lists, ranges and steps. A range whose ends are the
    wrong way round is turned: `22-2` means 2 to 22, `SAT-MON` Monday to Saturday. `7`, `L`, `W`, `#` and `?` mean
    nothing.

    Source: atifaziz/NCrontab, CrontabFieldImpl and CrontabField; azure-webjobs-sdk-extensions, TimerSchedule.

    Raises:
        HostError: It is neither NCRONTAB of six fields nor a time span.

    >>> after = dt.datetime(2026, 12, 1, tzinfo=dt.timezone.utc)
    >>> schedule("0 0 0 1 * MON").after(after).isoformat()
    '2027-02-01T00:00:00+00:00'
    >>> schedule("00:01:30").after(after).isoformat()
    '2026-12-01T00:01:30+00:00'
    """
    tokens = [token for token in text.split(" ") if token]
    if len(tokens) == len(FIELDS):
        return Cron(*(_values(token, field, text) for token, field in zip(tokens, FIELDS, strict=True)))
    span = _span(text)
    if span is None:
        raise HostError(
            f"schedule {text!r} is neither NCRONTAB, which has six fields, seconds first, nor a time span hh:mm:ss"
        )
    if not dt.timedelta(0) < span < dt.timedelta.max / 2:
        raise HostError(f"schedule {text!r}: a time span is above 0")
    return Every(span)


def _values(token: str, field: Field, text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({value for part in token.split(",") for value in _part(part, field)}))
    except ValueError as error:
        raise HostError(f"schedule {text!r}: {field.name}: {token!r} is not NCRONTAB: {error}") from error


def _part(part: str, field: Field) -> range:
    """What one element of a list allows."""
    place, slash, step = part.partition("/")
    every = max(1, _number(step)) if slash else 1  # also where it says 0 or less
    if place == "*":
        return range(field.first, field.last + 1, every)
    begin, dash, end = place.partition("-")
    low = _value(begin, field)
    high = _value(end, field) if dash else field.last if slash else low
    low, high = sorted((low, high))
    if not field.first <= low <= high <= field.last:
        raise ValueError(f"outside {field.first} to {field.last}")
    return range(low, high + 1, every)


def _value(word: str, field: Field) -> int:
    if word[:1].isdecimal():
        return _number(word)
    for place, name in enumerate(field.names):
        if word and name.casefold().startswith(word.casefold()):
            return place + field.first
    known = f", nor one of {', '.join(field.names)}" if field.names else ""
    raise ValueError(f"{word!r} is not a number{known}")


def _number(word: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", word) or abs(int(word)) > LARGEST:
        raise ValueError(f"{word!r} is not a number")
    return int(word)


def _span(text: str) -> dt.timedelta | None:
    """A .NET time span: `d`, or `[d.]hh:mm[:ss[.f]]`; three numbers of which the first is no hour are days."""
    found = _SPAN.fullmatch(text)
    if found is None:
        return None
    if found["only"]:
        return _timedelta(int(found["only"]), 0, 0, 0, 0)
    d, h, m, s = (int(found[name] or 0) for name in "dhms")
    if h >= 24 and found["s"] and not (found["d"] or found["f"]):
        d, h, m, s = h, m, s, 0
    return _timedelta(d, h, m, s, int((found["f"] or "").ljust(7, "0")) // 10)


def _timedelta(d: int, h: int, m: int, s: int, micro: int) -> dt.timedelta | None:
    if h > 23 or m > 59 or s > 59 or d > 10_675_199:
        return None
    return dt.timedelta(days=d, hours=h, minutes=m, seconds=s, microseconds=micro)
