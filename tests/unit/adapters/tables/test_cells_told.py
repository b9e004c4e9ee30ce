"""Cells whose meaning a layout of the scenario tells: dates, clocks, encodings, units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shared.core.scenario import Scenario, with_overrides
from tests.unit.adapters.tables.table_files import AIR, read


def told(**keys: Any) -> Scenario:
    """The air scenario with one layout for all files."""
    return with_overrides(AIR, layouts=[{"name": "mine", "files": ["*"], **keys}])


def when(minutes: list[int]) -> list[str]:
    return [str(np.datetime64(minute, "m")) for minute in minutes]


def test_a_day_in_front_and_a_clock_of_twelve_hours() -> None:
    rows = "A1,21/1/2026 7:00 PM,102\nA1,21/1/2026 8:00 PM,96\nA1,2026-01-21T21:00:00+07:00,90\n"
    data = f"station,timestamp,pm25\n{rows}".encode()
    found = read(data, scenario=told(date_order="dmy", zone="Asia/Ho_Chi_Minh"))
    assert when(found.minutes) == ["2026-01-21T12:00", "2026-01-21T13:00", "2026-01-21T14:00"]
    assert [reason for _, reason in read(data).reasons] == ["bad_time", "bad_time"]


def test_date_and_clock_in_two_columns_with_a_decimal_comma_and_an_empty_last_row() -> None:
    data = b"station;Date;Time;temperature;humidity\nA1;10/03/2026;18.00.00;13,6;48,9\n"
    data += b"A1;10/03/2026;19.00.00;13,3;47,7\n;;;;\n"
    found = read(data, scenario=told(time=["Date", "Time"], date_order="dmy", decimal=","))
    assert when(found.minutes) == ["2026-03-10T18:00", "2026-03-10T19:00"]
    assert [*found.column("temp"), *found.column("rel_humidity")] == pytest.approx([13.6, 13.3, 48.9, 47.7])
    assert (found.reasons, found.table.rows) == ([], 2)


def test_the_days_of_a_spreadsheet() -> None:
    data = b"station,timestamp,pm25\nS1,46146.4166667,9.5\nS1,46146.4583333,9.75\nS1,46146,9\n"
    found = read(data, scenario=told(time_numbers="excel"))
    assert when(found.minutes) == ["2026-05-04T10:00", "2026-05-04T11:00", "2026-05-04T00:00"]


def test_an_hour_named_by_its_end_stands_at_its_beginning_also_on_the_night_when_clocks_are_set_back() -> None:
    rows = "".join(f"S1,2025-10-26 {hour},{value}\n" for value, hour in enumerate(["01:00", "02:00", "02:00", "03:00"]))
    data = f"station,timestamp,pm25\n{rows}S1,2026-05-04 24:00,4\n".encode()
    found = read(data, scenario=told(hour="ending", zone="Europe/Berlin"))
    expected = ["2025-10-25T22:00", "2025-10-25T23:00", "2025-10-26T00:00", "2025-10-26T01:00", "2026-05-04T21:00"]
    assert when(found.minutes) == expected


def test_a_device_in_windows_1252_has_its_letters_once_the_layout_says_so() -> None:
    text = "station,timestamp,Temperature (°C),PM2.5 (µg/m³)\r\nPlatz München,2026-05-04T10:00:00Z,18.5,12.4\r\n"
    found = read(text.encode("windows-1252"), scenario=told(header=["station", "timestamp"], encoding="windows-1252"))
    assert (found.devices, found.column("temp")) == (["Platz München"], [18.5])
    assert found.column("pm25") == pytest.approx([12.4])


def test_a_unit_of_a_source_is_that_of_its_columns_where_they_name_none() -> None:
    data = b"timestamp,station,temperature,pressure (kPa),pm25\n2026-01-14T10:00:00Z,7,41,100.3,6.1\n"
    found = read(data, scenario=told(header=["station", "timestamp"], units={"temp": "degF", "atmos_press": "bar"}))
    assert [*found.column("temp"), *found.column("atmos_press")] == pytest.approx([5.0, 1003.0])
    assert read(data).column("temp") == [41.0]
