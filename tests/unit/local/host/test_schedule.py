"""Schedules of timers, against NCrontab's rules and a clock that is walked step by step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.host.functions import HostError
from local.host.schedule import FIELDS, NEVER, Field, schedule

UTC = dt.timezone.utc
START = dt.datetime(2026, 12, 1, tzinfo=UTC)
SECONDS, MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS = FIELDS


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("0 */5 * * * *", ["2026-12-01T00:05:00", "2026-12-01T00:10:00"]),
        ("15 30 * * * *", ["2026-12-01T00:30:15", "2026-12-01T01:30:15"]),
        ("0 0 6 * * 1-5", ["2026-12-01T06:00:00", "2026-12-02T06:00:00"]),
        ("0 0 0 1 1 *", ["2027-01-01T00:00:00", "2028-01-01T00:00:00"]),
        ("0 0 0 1 * MON", ["2027-02-01T00:00:00", "2027-03-01T00:00:00"]),
        ("0 0 22-2 * * *", ["2026-12-01T02:00:00", "2026-12-01T03:00:00"]),
        ("0 0 0 * * SAT-MON", ["2026-12-02T00:00:00", "2026-12-03T00:00:00"]),
        ("0 0 0 * * Monday", ["2026-12-07T00:00:00", "2026-12-14T00:00:00"]),
        ("0 0 0 * * mond", ["2026-12-07T00:00:00", "2026-12-14T00:00:00"]),
        ("0 0 0 * * S", ["2026-12-06T00:00:00", "2026-12-13T00:00:00"]),
        ("0 0 0 1 J,Mar *", ["2027-01-01T00:00:00", "2027-03-01T00:00:00"]),
        ("0 0 0 * * TUE/2", ["2026-12-03T00:00:00", "2026-12-05T00:00:00"]),
        ("0 0 20/2 * * *", ["2026-12-01T20:00:00", "2026-12-01T22:00:00"]),
        ("0 0 10-4/3 * * *", ["2026-12-01T04:00:00", "2026-12-01T07:00:00"]),
        ("0 0 */0 * * *", ["2026-12-01T01:00:00", "2026-12-01T02:00:00"]),
        ("0 0 0 29 2 *", ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
        ("0 0 0 29 2 TUE", ["2028-02-29T00:00:00", "2056-02-29T00:00:00"]),
        ("0 0 0 31 * *", ["2026-12-31T00:00:00", "2027-01-31T00:00:00"]),
        (" 0  0 12 * * * ", ["2026-12-01T12:00:00", "2026-12-02T12:00:00"]),
        ("00:01:30", ["2026-12-01T00:01:30", "2026-12-01T00:03:00"]),
        ("12:30", ["2026-12-01T12:30:00", "2026-12-02T01:00:00"]),
        ("1.00:00:00", ["2026-12-02T00:00:00", "2026-12-03T00:00:00"]),
        ("25:00:00", ["2026-12-26T00:00:00", "2027-01-20T00:00:00"]),
        ("2", ["2026-12-03T00:00:00", "2026-12-05T00:00:00"]),
        ("00:00:00.25", ["2026-12-01T00:00:00.250000", "2026-12-01T00:00:00.500000"]),
    ],
)
def test_a_schedule_runs_when_ncrontab_says(text: str, runs: list[str]) -> None:
    first = schedule(text).after(START)
    assert [first.isoformat(), schedule(text).after(first).isoformat()] == [f"{run}+00:00" for run in runs]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 0 0 * * 7", "days of the week: '7' is not NCRONTAB: outside 0 to 6"),
        ("0 0 0 L * *", "days: 'L' is not NCRONTAB"),
        ("0 0 0 15W * *", "days: '15W'"),
        ("0 0 0 * * MON#1", "days of the week: 'MON#1'"),
        ("0 0 0 * * 5L", "days of the week: '5L'"),
        ("0 0 0 ? * *", r"days: '\?'"),
        ("R 0 0 * * *", "seconds: 'R'"),
        ("0 61 * * * *", "minutes: '61' is not NCRONTAB: outside 0 to 59"),
        ("0 0 24 * * *", "hours: '24'"),
        ("0 0 0 0 * *", "days: '0' is not NCRONTAB: outside 1 to 31"),
        ("0 0 0 1 13 *", "months: '13'"),
        ("0 0 0 1 Mondary *", "months: 'Mondary'.*nor one of January"),
        ("0 0 0 0/5 * *", "days: '0/5'"),
        ("0 -5 * * * *", "minutes: '-5'"),
        ("0 5- * * * *", "minutes: '5-'"),
        ("0 1,,2 * * * *", "minutes: '1,,2'"),
        ("0 */2/2 * * * *", "minutes: '*/2/2'".replace("*", r"\*")),
        ("0 *-5 * * * *", r"minutes: '\*-5'"),
        ("0 ²* * * * *", "minutes"),
        ("0 99999999999 * * * *", "minutes"),
        ("a b c d e f", "seconds: 'a'"),
        ("*/5 * * * *", "six fields"),
        ("0 0 0 0 0 0 0", "six fields"),
        ("@hourly", "six fields"),
        ("", "six fields"),
        ("24:00", "six fields"),
        ("00:60:00", "six fields"),
        ("00:00:00", "above 0"),
        ("0.00:00:00", "above 0"),
    ],
)
def test_what_the_host_does_not_know_is_refused_with_the_field(text: str, why: str) -> None:
    with pytest.raises(HostError, match=why):
        schedule(text)


@pytest.mark.parametrize("text", ["0 0 0 30 2 *", "0 0 0 31 4,6,9,11 *"])
def test_a_day_that_never_comes_is_never(text: str) -> None:
    assert schedule(text).after(START) == NEVER


def test_a_span_goes_on_where_it_was_when_the_host_starts_again_and_a_clock_is_read_anew() -> None:
    later, sooner = START + dt.timedelta(hours=20), START + dt.timedelta(hours=3)
    assert schedule("12:00:00").resumed(START, sooner) == sooner
    assert schedule("12:00:00").resumed(START, later) == START + dt.timedelta(hours=12), "the span was made shorter"
    assert schedule("0 0 12 * * *").resumed(START, sooner) == START + dt.timedelta(hours=12)


@dataclass(frozen=True)
class Said:
    """A field as text, and what it allows by the words of its grammar."""

    text: str
    allowed: frozenset[int]


@st.composite
def fields(draw: st.DrawFn, field: Field) -> Said:
    """A list of elements of a field."""
    parts = draw(st.lists(elements(field), min_size=1, max_size=3))
    return Said(",".join(part.text for part in parts), frozenset().union(*(part.allowed for part in parts)))


@st.composite
def elements(draw: st.DrawFn, field: Field) -> Said:
    """A star, a value or a range either way round, with or without a step."""
    numbers = st.integers(field.first, field.last)
    low, high = draw(numbers), draw(numbers)
    step = draw(st.none() | st.integers(1, 70))
    kind = draw(st.sampled_from(["*", "value", "range"]))
    text = {"*": "*", "value": word(draw, field, low), "range": f"{word(draw, field, low)}-{word(draw, field, high)}"}
    begin, end = {"*": (field.first, field.last), "value": (low, low if step is None else field.last)}.get(
        kind, (min(low, high), max(low, high))
    )
    reached = {value for value in range(field.first, field.last + 1) if begin <= value <= end}
    allowed = frozenset(value for value in reached if (value - begin) % (step or 1) == 0)
    return Said(text[kind] + (f"/{step}" if step else ""), allowed)


def word(draw: st.DrawFn, field: Field, value: int) -> str:
    """A number, or a beginning of its name that no earlier name has."""
    if not field.names or draw(st.booleans()):
        return draw(st.sampled_from([str(value), f"0{value}"]))
    name = field.names[value - field.first]
    earlier = field.names[: value - field.first]
    shortest = next(n for n in range(1, len(name) + 1) if not any(each.startswith(name[:n]) for each in earlier))
    return draw(st.sampled_from([str.upper, str.lower, str.title]))(name[: draw(st.integers(shortest, len(name)))])


def walked(start: dt.datetime, step: dt.timedelta, steps: int) -> Iterator[dt.datetime]:
    """Moments after one, each a step later."""
    return (start + number * step for number in range(1, steps + 1))


NAIVE = dt.datetime(1999, 1, 1), dt.datetime(2100, 1, 1)  # noqa: DTZ001 - as Hypothesis wants them
MOMENTS = st.datetimes(*NAIVE, timezones=st.just(UTC))


@given(fields(SECONDS), fields(MINUTES), MOMENTS)
def test_seconds_and_minutes_are_those_of_a_clock_walked_second_by_second(s: Said, m: Said, start: dt.datetime) -> None:
    whole = start.replace(microsecond=0)
    clock = walked(whole, dt.timedelta(seconds=1), 7200)
    expected = next(now for now in clock if now.second in s.allowed and now.minute in m.allowed)
    assert schedule(f"{s.text} {m.text} * * * *").after(start) == expected


@given(fields(MINUTES), fields(HOURS), MOMENTS)
def test_minutes_and_hours_are_those_of_a_clock_walked_minute_by_minute(m: Said, h: Said, start: dt.datetime) -> None:
    whole = start.replace(second=0, microsecond=0)
    clock = walked(whole, dt.timedelta(minutes=1), 2880)
    expected = next(now for now in clock if now.minute in m.allowed and now.hour in h.allowed)
    assert schedule(f"0 {m.text} {h.text} * * *").after(start) == expected


@given(fields(DAYS), fields(MONTHS), fields(WEEKDAYS), MOMENTS)
def test_days_have_to_fit_all_three_fields_of_a_calendar_walked_day_by_day(
    d: Said, m: Said, w: Said, start: dt.datetime
) -> None:
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    days = (
        now
        for now in walked(midnight, dt.timedelta(days=1), 41 * 366)
        if now.month in m.allowed and now.day in d.allowed and (now.weekday() + 1) % 7 in w.allowed
    )
    found = schedule(f"0 0 0 {d.text} {m.text} {w.text}").after(start)
    expected = next(days, None)
    # a 29 February on a given weekday comes every 28 years, over 2100 after 40
    assert found == expected if expected is not None else found > midnight + dt.timedelta(days=41 * 366)


@given(fields(SECONDS), fields(HOURS), fields(DAYS), MOMENTS)
def test_a_run_is_after_the_moment_and_nothing_runs_in_between(s: Said, h: Said, d: Said, start: dt.datetime) -> None:
    when = schedule(f"{s.text} 0 {h.text} {d.text} * *")
    begin = start
    found = when.after(begin)
    assert found > begin
    between = begin + (found - begin) / 2
    assert when.after(between) == found or between == found
