"""However a time is written, the same instant comes out: against datetime and zoneinfo of the standard library."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.intake.times.forms import ISO, DateOrder, TimeForm, advice
from shared.core.intake.times.texts import from_texts
from shared.core.intake.times.timestamps import ABSENT, BAD, OK, from_number

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a local clock
DAY_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001
LOCAL = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31))  # noqa: DTZ001

ALWAYS = ("{0:%Y-%m-%d %H:%M}", "{0.year}-{0.month}-{0.day} {0.hour}:{0:%M}",
          "{0.year}/{0.month}/{0.day}, {0:%H.%M.%S}",
          "{0:%Y.%m.%d %H:%M:%S}", "{0:%d.%m.%Y %H:%M}", "{0.day}.{0.month}.{0.year}  {0.hour}:{0:%M}:{0:%S}",
          "{0:%Y%m%dT%H%M}", "{0:%Y-%m-%d %I:%M %p}", "{0:%Y-%m-%dT%I:%M:%S%p}")  # fmt: skip
TOLD: dict[DateOrder, tuple[str, ...]] = {
    "ymd": (),
    "dmy": ("{0:%d/%m/%Y %H:%M}", "{0.day}/{0.month}/{0.year} {0:%I:%M %p}", "{0:%d-%m-%y %H:%M:%S}"),
    "mdy": ("{0:%m/%d/%Y %H:%M}", "{0.month}/{0.day}/{0.year} {0:%I:%M:%S %p}", "{0:%m-%d-%y %H.%M}"),
}


def minute(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(minutes=1)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["ymd", "dmy", "mdy"]), st.lists(st.tuples(LOCAL, st.integers(0, 11)), min_size=1, max_size=40))
def test_every_way_of_writing_a_moment_gives_that_minute_and_its_second_where_it_stands_there(
    order: DateOrder, rows: list[tuple[datetime, int]]
) -> None:
    ways = ALWAYS + TOLD[order]
    chosen = [ways[way % len(ways)] for _, way in rows]
    texts = [form.format(moment) for form, (moment, _) in zip(chosen, rows, strict=True)]
    stamps = from_texts(texts, TimeForm(order=order))
    assert stamps.fault.tolist() == [OK] * len(rows)
    assert stamps.local.tolist() == [minute(moment) for moment, _ in rows]
    written = [moment.second * ("%S" in form) for form, (moment, _) in zip(chosen, rows, strict=True)]
    assert stamps.second.tolist() == written


@settings(max_examples=100, deadline=None)
@given(st.lists(LOCAL, min_size=1, max_size=20))
def test_the_serial_days_of_a_spreadsheet_are_read_to_the_second(moments: list[datetime]) -> None:
    whole = [moment.replace(microsecond=0) for moment in moments]
    days = [(moment - DAY_ZERO) / timedelta(days=1) for moment in whole]
    form = TimeForm(numbers="excel")
    for stamps in (form.from_numbers(np.array(days)), from_texts([f"{day:.7f}" for day in days], form)):
        assert stamps.fault.tolist() == [OK] * len(days)
        assert stamps.local.tolist() == [minute(moment) for moment in whole]
        assert stamps.second.tolist() == [moment.second for moment in whole]


@pytest.mark.parametrize(
    "written",
    [1777888805, 1777888805.9, 1777888805999, 1777888805999999, 20260504100005, 20260504100005250, "1777888805", "-5",
     "2026-05-04T10:00:60Z"],
)  # fmt: skip
def test_seconds_of_numbers_are_read_in_every_unit(written: float | str) -> None:
    """A leap second is the last one of its minute; before 1970 seconds count forward too."""
    stamps = from_texts([written]) if isinstance(written, str) else from_number(np.array([float(written)]))
    assert stamps.fault.tolist() == [OK]
    wanted = {"-5": (-1, 55), "2026-05-04T10:00:60Z": (1777888800 // 60, 59)}.get(str(written), (1777888800 // 60, 5))
    assert (int(stamps.local[0]), int(stamps.second[0])) == wanted


@pytest.mark.parametrize("day", [0.0, -1.0, 1e7, 1e300, float("inf")])
def test_what_no_spreadsheet_shows_as_a_day_is_a_bad_time(day: float) -> None:
    stamps = TimeForm(numbers="excel").from_numbers(np.array([day, np.nan, 46_146.5]))
    assert stamps.fault.tolist() == [BAD, ABSENT, OK]


@settings(max_examples=50, deadline=None)
@given(st.dates(datetime(2000, 1, 1).date(), datetime(2099, 12, 31).date()))  # noqa: DTZ001
def test_hour_24_is_the_first_minute_of_the_next_day(day: datetime) -> None:
    after = datetime(day.year, day.month, day.day) + timedelta(days=1)  # noqa: DTZ001
    stamps = from_texts(
        [f"{day:%Y-%m-%d} 24:00", f"{day:%Y-%m-%d}T24:00:00", f"{day:%Y%m%d}T24Z", f"{day:%d.%m.%Y} 24:00"]
    )
    assert (stamps.local.tolist(), stamps.fault.tolist()) == ([minute(after)] * 4, [OK] * 4)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01 24:01", "2026-03-01 24:00:01", "2026-03-01 25:00", "2026-03-01 13:00 PM", "2026-03-01 0:30 AM",
        "2026-03-01 123:00", "2026-3-1T123", "2026-3/1 12:00", "29.02.2026 12:00", "04/05/2026 10:00", "04.05.26 10:00",
        "2026 03 01", "2026-03-01 7 PMM", "46146.4166667x",
    ],
)  # fmt: skip
def test_what_is_no_time_or_could_be_two_is_a_bad_one(text: str) -> None:
    stamps = from_texts([text, "2026-03-01 12:00"])
    assert stamps.fault.tolist() == [BAD, OK]


def test_noon_and_midnight_on_a_clock_of_twelve_hours() -> None:
    stamps = from_texts(["2026-03-01 12:00 AM", "2026-03-01 12:00 PM", "2026-03-01 1:05 a.m.", "2026-03-01 11:59pm"])
    assert (stamps.local - minute(datetime(2026, 3, 1))).tolist() == [0, 720, 65, 1439]  # noqa: DTZ001


def test_a_day_or_a_month_in_front_is_read_as_told() -> None:
    text = ["04/05/2026 10:00"]
    assert from_texts(text, TimeForm(order="dmy")).local.tolist() == [minute(datetime(2026, 5, 4, 10))]  # noqa: DTZ001
    assert from_texts(text, TimeForm(order="mdy")).local.tolist() == [minute(datetime(2026, 4, 5, 10))]  # noqa: DTZ001
    assert from_texts(text, ISO).fault.tolist() == [BAD]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("21/1/2026 7:00 PM", "date_order"),
        ("1/21/26 07:00", "date_order"),
        ("46146.4166667", "time_numbers"),
        (46146.5, "time_numbers"),
        ("10/03/2026", 'time = ["Date", "Time"]'),
        ("18.00.00", 'time = ["Date", "Time"]'),
        ("7:00 PM", 'time = ["Date", "Time"]'),
        ("yesterday", ""),
        (None, ""),
        ("9" * 400, ""),
    ],
)
def test_a_time_that_has_to_be_told_is_refused_with_the_key_that_tells(cell: object, told: str) -> None:
    assert told in advice(cell)
    assert bool(told) == bool(advice(cell))
