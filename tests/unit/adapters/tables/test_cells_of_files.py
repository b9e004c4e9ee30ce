"""Headers and cells as people's files write them, and refusals that say what to do."""

from __future__ import annotations

import gzip
import math

import numpy as np
import pandas as pd
import pytest

from shared.core.scenario import with_overrides
from shared.errors import BadEvent
from tests.unit.adapters.tables.table_files import AIR, read

HOUR, LATER = "2026-05-04T10:00:00Z", "2026-05-04T11:00:00Z"


def when(read_minutes: list[int]) -> list[str]:

    return [str(np.datetime64(minute, "m")) for minute in read_minutes]


# times


def test_hour_24_is_the_first_of_the_next_day() -> None:
    found = read(
        b"station,timestamp,pm25\nS1,2026-05-01 23:00,12.1\nS1,2026-05-01 24:00,13.5\nS1,2026-05-02 01:00,11.0\n"
    )
    assert when(found.minutes) == ["2026-05-01T23:00", "2026-05-02T00:00", "2026-05-02T01:00"]
    assert found.reasons == []


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 50_000])
@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_the_second_two_o_clock_in_autumn_is_an_hour_after_the_first(
    chunk_rows: int, form: str, newest_first: bool
) -> None:
    hours = ["01:00", "02:00", "02:00", "03:00"]
    rows = [(f"2025-10-26 {hour}", 10 + i, device) for i, hour in enumerate(hours) for device in ("S1", "S2")]
    rows = rows[::-1] if newest_first else rows
    if form == "csv":
        text = "station,timestamp,pm25\n" + "".join(f"{device},{time},{value}\n" for time, value, device in rows)
    else:
        text = "".join(
            f'{{"station":"{device}","timestamp":"{time}","pm25":{value}}}\n' for time, value, device in rows
        )
    found = read(text.encode(), zone="Europe/Berlin", chunk_rows=chunk_rows)
    expected = {10.0: "2025-10-25T23:00", 11.0: "2025-10-26T00:00", 12.0: "2025-10-26T01:00", 13.0: "2025-10-26T02:00"}
    assert when(found.minutes) == [expected[value] for value in found.column("pm25")]
    assert (len(found.minutes), found.reasons) == (8, [])


# headers


def test_a_quoted_header_is_split_and_its_refusal_names_what_is_missing() -> None:
    assert read(f'"station","timestamp","pm25"\n"S1","{HOUR}",9\n'.encode()).column("pm25") == [9.0]
    for header, missing in (
        ('"timestamp","foo","bar"', "no column for the device"),
        ('"timestamp","pm25","bar"', "device"),
    ):
        with pytest.raises(BadEvent, match=missing) as refused:
            read(f'{header}\n"{HOUR}",9,1\n'.encode())
        assert (refused.value.reason, "expected after" in refused.value.detail) == ("header", False)


def test_a_plain_table_may_stand_between_bars() -> None:
    found = read(f"station|timestamp|pm25\nS1|{HOUR}|9.5\n".encode())
    assert (found.column("pm25"), found.reasons) == ([9.5], [])


# units


def test_a_unit_in_an_alias_counts() -> None:
    channels = tuple(
        {"name": "temp", "unit": "degC", "minimum": -60, "maximum": 60, "role": "temperature",
         "aliases": ["temperature_degF", "air [F]", "t_k"],
         "units": {"degF": {"factor": 5 / 9, "offset": -160 / 9}, "K": {"factor": 1.0, "offset": -273.15}}}
        if channel.name == "temp" else channel for channel in AIR.channels
    )  # fmt: skip
    scenario = with_overrides(AIR, channels=channels)
    for name, value in (
        ("temperature_degF", 41),
        ("Temperature degF", 41),
        ("air [F]", 41),
        ("t_k", 278.15),
        ("temp", 5),
    ):
        found = read(f"station,timestamp,{name}\nS1,{HOUR},{value}\n".encode(), scenario=scenario)
        assert found.column("temp") == pytest.approx([5.0], abs=1e-5), name


@pytest.mark.parametrize(
    ("name", "cell", "channel", "value"),
    [
        ("Temperature (C)", 18.5, "temp", 18.5),
        ("Temperature [°C]", 18.5, "temp", 18.5),
        ("temperature_F", 68, "temp", 20.0),
        ("Temperature (Deg. F)", 68, "temp", 20.0),
        ("Pressure (mbar)", 1001.3, "atmos_press", 1001.3),
        ("Pressure (hPa)", 1001.3, "atmos_press", 1001.3),
        ("Humidity (%)", 55, "rel_humidity", 55),
        ("PM2.5 (ug/m3)", 12, "pm25", 12),
        ("PM2.5 [µg m⁻³]", 12, "pm25", 12),
        ("PM2.5 (μg/m^3)", 12, "pm25", 12),
        ("wind speed (kmh)", 36, "wind_spd", 10),
        ("wind_speed_mph", 10, "wind_spd", 4.4704),
        ("pressure_inHg", 29.92, "atmos_press", 1013.2076),
        ("rain (in)", 1, "precip", 25.4),
        ("wind direction (°)", 90, "wind_dir", 90),
    ],
)  # fmt: skip
def test_the_usual_spellings_of_a_unit_are_known(name: str, cell: float, channel: str, value: float) -> None:
    found = read(f"station,timestamp,{name}\nYard,{HOUR},{cell}\n".encode())
    assert found.column(channel) == pytest.approx([value], rel=1e-6)


@pytest.mark.parametrize("name", ["pressure_psi", "pressure (psi)", "Pressure mmHg"])
def test_a_known_channel_in_an_unknown_unit_is_refused_and_told_what_to_write(name: str) -> None:
    with pytest.raises(BadEvent, match=r"psi|mmHg") as refused:
        read(f"station,timestamp,{name},pm25\nYard,{HOUR},14.5,5\n".encode())
    assert refused.value.reason == "unit"
    assert 'units = { "' in refused.value.detail


@pytest.mark.parametrize("name", ["temp_in", "temp_max", "pressure_in", "station_pressure_psi"])
def test_a_name_that_only_resembles_is_no_unit(name: str) -> None:
    assert read(f"station,timestamp,{name},pm25\nYard,{HOUR},14.5,5\n".encode()).table.ignored == (name,)


def test_an_unknown_unit_beside_the_channel_itself_is_another_column() -> None:
    found = read(f"station,timestamp,pressure,pressure_psi\nYard,{HOUR},1001,14.5\n".encode())
    assert (found.column("atmos_press"), found.table.ignored) == ([1001.0], ("pressure_psi",))


# rows


@pytest.mark.parametrize("blank", [";;;", " ; ;;", '"";"";;', ";", ";;;;;;"])
def test_a_row_in_which_everything_is_empty_is_blank(blank: str) -> None:
    found = read(
        f"station;timestamp;temp;pm25\nA1;{HOUR};13;5\n{blank}\nA1;2026-05-04T11:00Z;14;6\n{blank}\r\n".encode()
    )
    assert (found.positions, found.reasons, found.table.rows) == ([1, 3], [], 2)


def test_a_row_with_anything_in_it_is_none_that_is_blank() -> None:
    assert read(f"station;timestamp;temp;pm25\nA1;{HOUR};13;5\n;;;x\n".encode()).reasons == [(2, "missing_device")]


# encodings


def test_a_byte_that_is_not_utf8_costs_nothing_in_a_column_that_nobody_reads() -> None:
    rows = b'station,timestamp,Unit,pm25\nA1,2026-05-04T10:00:00Z,\xb5g/m3,12\nA2,2026-05-04T10:00:00Z,"\xb5,g",13\n'
    found = read(rows)
    assert (found.devices, found.column("pm25"), found.reasons) == (["A1", "A2"], [12.0, 13.0], [])


def test_a_header_in_windows_1252_is_understood_where_the_scenario_knows_the_names() -> None:
    found = read(
        "station,timestamp,Temperature (°C),PM2.5 (µg/m³)\r\nA1,2026-05-04T10:00Z,18.5,12.5\r\n".encode("cp1252")
    )
    assert (found.column("temp"), found.column("pm25")) == ([18.5], [12.5])
    assert found.table.header == "station,timestamp,Temperature (°C),PM2.5 (µg/m³)"


def test_a_device_that_is_not_utf8_is_never_guessed() -> None:
    """The same bytes are other letters in other code pages, and a wrong letter is another device."""
    found = read(
        "station,timestamp,pm25\nPlatz München,2026-05-04T10:00:00Z,1\nA,2026-05-04T10:00:00Z,2\n".encode("cp1252")
    )
    assert (found.devices, found.reasons) == (["A"], [(1, "encoding")])
    assert found.rejected[0].raw == "Platz München,2026-05-04T10:00:00Z,1".encode("cp1252")
    assert "UTF-8" in found.rejected[0].detail


@pytest.mark.parametrize(
    ("row", "reason"),
    [(b"A,2026-05-04T10:00:00Z,1\xb5", "bad_value"), (b"A,2026-05-04\xb510:00:00Z,1", "bad_time"),
     (b"A\xb5", "encoding"), (b"A,\xb5", "columns"), (b'A,"\xb5', "columns")],
)  # fmt: skip
def test_a_byte_that_is_not_utf8_is_refused_where_it_stands(row: bytes, reason: str) -> None:
    found = read(b"station,timestamp,pm25\nA,2026-05-04T10:00:00Z,1\n" + row + b"\nA,2026-05-04T10:00:00Z,1\n")
    assert (found.positions, found.reasons) == ([1, 3], [(2, reason)])
    assert found.rejected[0].raw == row


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("packed", [False, True])
def test_utf_16_says_itself_what_it_is(encoding: str, packed: bool) -> None:
    """What spreadsheets call Unicode text."""
    text = "".join(f"Platz M\u00fcnchen\t2026-05-04T10:{i % 60:02}:00Z\t{i}\r\n" for i in range(900))
    text = ("" if encoding == "utf-16" else "\ufeff") + "station\ttimestamp\tpm25\r\n" + text
    data = text.encode(encoding)
    found = read(gzip.compress(data) if packed else data, "a.txt", chunk_rows=100)
    assert set(found.devices) == {"Platz M\u00fcnchen"}
    assert (found.column("pm25"), found.reasons) == ([float(i) for i in range(900)], [])


def test_half_a_letter_of_utf_16_is_never_a_device() -> None:
    lone = "station,timestamp,pm25\nM".encode("utf-16") + b"\x00\xd8" + ",2026-05-04T10:00Z,1\n".encode("utf-16-le")
    assert read(lone).reasons == [(1, "encoding")]


@pytest.mark.parametrize(
    ("data", "todo"),
    [
        (b"PK\x03\x04" + b"\x00" * 50, "save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0" + b"\x00" * 50, "save the sheet as CSV"),
        ("station".encode("utf-32"), "save it as UTF-8"),
        (b"BZh91AY", "pack it with gzip"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_what_to_do(data: bytes, todo: str) -> None:
    with pytest.raises(BadEvent, match=todo) as refused:
        read(data)
    assert refused.value.reason == "format"


# numbers


@pytest.mark.parametrize("chunk_rows", [1, 50_000])
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_decimal_comma_is_read_where_nothing_else_can_be_meant(delimiter: str, chunk_rows: int) -> None:
    rows = [
        "station;timestamp;temperature;humidity;pm25",
        f"Hof 1;{HOUR};18,5;55,2;12,4",
        f"Hof 1;{LATER};-0,125;52;NA",
    ]
    data = "\r\n".join(rows).replace(";", delimiter).encode()
    found = read(data, chunk_rows=chunk_rows)
    assert found.column("temp") == pytest.approx([18.5, -0.125])
    assert found.column("rel_humidity") == pytest.approx([55.2, 52])
    assert found.column("pm25") == pytest.approx([12.4, math.nan], nan_ok=True)


def test_a_point_in_a_file_of_decimal_commas_is_no_number_not_a_thousand() -> None:
    text = f"station;timestamp;pressure\nA;{HOUR};1013,2\nA;{LATER};1.013,2\nB;{LATER};1.013\nB;{HOUR};999,9\n"
    found = read(text.encode())
    assert found.column("atmos_press") == pytest.approx([1013.2, 999.9])
    assert found.reasons == [(2, "bad_value"), (3, "bad_value")]


@pytest.mark.parametrize(
    ("cells", "read_as"),
    [(["1,013"], []), (["917,5", "918.5"], [918.5]), (["918.5", "917,5"], [918.5]), (["918;5"], [])],
)
def test_a_comma_that_may_stand_for_thousands_or_beside_points_is_not_guessed(
    cells: list[str], read_as: list[float]
) -> None:
    rows = "".join(f"A;2026-05-04T1{i}:00Z;{cell}\n" for i, cell in enumerate(cells))
    found = read(f"station;timestamp;pressure\n{rows}".encode())
    assert found.column("atmos_press") == read_as
    assert [reason for _, reason in found.reasons] in (["bad_value"], ["columns"])


def test_every_number_that_a_writer_with_decimal_commas_gives_comes_back() -> None:
    frame = pd.DataFrame({"station": "A", "timestamp": pd.date_range("2026-05-04", periods=500, freq="h", tz="UTC")})
    frame["pm25"] = np.round(np.random.default_rng(1).uniform(0, 900, 500), 3)
    found = read(frame.to_csv(index=False, sep=";", decimal=",").encode())
    assert (found.reasons, found.column("pm25")) == ([], frame["pm25"].to_numpy(np.float32).tolist())


@pytest.mark.parametrize(
    ("row", "told"),
    [("A,21/1/2026 7:00 PM,1", "date_order"), ("A,46146.4166667,1", "time_numbers"), ("A,18.00.00,1", "time =")],
)
def test_a_time_that_has_to_be_told_names_the_key_of_the_layout(row: str, told: str) -> None:
    found = read(f"station,timestamp,pm25\n{row}\n".encode())
    assert told in found.rejected[0].detail
    assert found.rejected[0].detail.isprintable()


def test_a_german_spreadsheet_is_read_as_it_was_saved() -> None:
    rows = ["Station;Zeit;Temperatur;Luftfeuchte;PM2.5", "Hof 1;04.05.2026 10:00;18,5;55,2;12,4"]
    rows += ["Hof 1;04.05.2026 24:00;19,1;52,0;9"]
    found = read(b"\xef\xbb\xbf" + "\r\n".join(rows).encode(), zone="Europe/Berlin")
    assert when(found.minutes) == ["2026-05-04T08:00", "2026-05-04T22:00"]
    assert [*found.column("temp"), *found.column("rel_humidity")] == pytest.approx([18.5, 19.1, 55.2, 52.0])
    assert found.column("pm25") == pytest.approx([12.4, 9.0])
    assert found.reasons == []


def test_what_is_said_of_a_hostile_unit_is_printable() -> None:
    with pytest.raises(BadEvent) as refused:
        read("station,timestamp,temp (\ufeff\x07'x)\nA,2026-05-04T10:00Z,1\n".encode())
    assert (refused.value.reason, refused.value.detail.isprintable()) == ("unit", True)
