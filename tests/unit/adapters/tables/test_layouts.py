"""Layouts that a scenario states, key by key, and what is refused."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.tables.arranged import files, records
from shared.core.scenario import Station
from shared.errors import BadEvent
from tests.unit.adapters.tables.layout_files import read, with_layout
from tests.unit.adapters.tables.table_files import AIR, NOW

PLAIN = "timestamp,temperature,pm25\n2026-05-04T10:00:00Z,18.5,12\n2026-05-04T11:00:00Z,18.9,11\n"
LONG = "site,time,what,value\n"


@pytest.mark.parametrize(
    ("data", "keys", "device", "expected"),
    [
        (PLAIN, {"files": ["{device}_*.csv"]}, "yard", {"temp": 18.5, "pm25": 12.0}),
        (
            "Name;Long\n\"Yard\";8.0\nTimestamp;\"Timezone\";Temperature\n1777888800;\"x\";18.5\n",
            {"time": ["Timestamp"], "files": ["{device}_*"]}, "yard", {"temp": 18.5},
        ),
        (
            "\t Temp\tHi\nDate\tTime\tOut\n05/04/26\t10:00\t18.5\n",
            {
                "files": ["{device}_*"], "preamble": 2, "columns": ["d", "t", "temp"], "delimiter": "\t",
                "time": ["d", "t"], "date_order": "mdy",
            },
            "yard", {"temp": 18.5},
        ),
        (
            '"TOA5","Yard"\n"TIMESTAMP","AirTC_Avg"\n"TS","Deg C"\n"",""\n"2026-05-04 10:00:00",18.5\n',
            {"files": ["{device}_*"], "time": ["TIMESTAMP"], "below": 2, "channels": {"AirTC_*": "temp"}},
            "yard", {"temp": 18.5},
        ),
        (
            "station;Date;Clock;temp;pm25\nA;4/5/2026;10.00;18,5;1.012,5\n".replace("1.012,5", "12,5"),
            {"time": ["Date", "Clock"], "date_order": "dmy", "decimal": ","}, "A", {"temp": 18.5, "pm25": 12.5},
        ),
        ("device,time,temp\nA,2026-05-04 11:00,65.3\n", {"files": ["*"], "hour": "ending", "units": {"temp": "degF"}},
         "A", {"temp": 18.5}),
        ("device,time,temp\nA,2026-05-04 12:00,18.5\n", {"files": ["*"], "zone": "Europe/Berlin"}, "A", {"temp": 18.5}),
        ("y,m,d,device,temp\n2026,5,4,A,18.5\n", {"time_parts": ["y", "m", "d"], "zone": "-10:00"}, "A",
         {"temp": 18.5}),
        ("a,b,time,temp\n7,8,2026-05-04T10:00Z,18.5\n", {"device": ["a", "b"]}, "7-8", {"temp": 18.5}),
    ],
    ids=["file's name", "preamble", "no header", "lines below", "parts and comma", "ending", "zone", "parts", "device"],
)  # fmt: skip
def test_a_key_does_what_it_says(data: str, keys: dict[str, Any], device: str, expected: dict[str, float]) -> None:
    found = read(data, "yard_2026.csv", scenario=with_layout(**keys))
    assert found.rows[0] == (device, "2026-05-04T10:00", expected)
    assert (found.table.layout, found.rejected) == ("mine", [])


@pytest.mark.parametrize(
    ("data", "quote", "rows", "reasons"),
    [
        ("'site';'time';'temp, in';pm25\n'A;1';2026-05-04T10:00Z;'18.5';12\n'it''s \"B\"';'2026-05-04T10:00Z';19;\n",
         "'", [("A;1", {"temp": 18.5, "pm25": 12.0}), ('it\'s "B"', {"temp": 19.0})], []),
        ("site;time;temp, in;pm25\n6\" pipe;2026-05-04T10:00Z;18.5;12\n\"A\";2026-05-04T10:00Z;19;13\n",
         "", [('6" pipe', {"temp": 18.5, "pm25": 12.0}), ('"A"', {"temp": 19.0, "pm25": 13.0})], []),
        ("site;time;temp, in\n'A;2026-05-04T10:00Z;18.5\nB;2026-05-04T10:00Z;19\n'';'';''\n;;\n",
         "'", [("B", {"temp": 19.0})], [(1, "columns")]),
        ("site;time;temp, in\n'A';2026-05-04T10:00Z;18.5\n", '"', [("'A'", {"temp": 18.5})], []),
    ],
    ids=["single", "none", "one that does not end", "double"],
)  # fmt: skip
def test_cells_are_quoted_as_told(
    data: str, quote: str, rows: list[tuple[str, dict[str, float]]], reasons: list[tuple[int, str]]
) -> None:
    keys: dict[str, Any] = {"header": ["site"], "channels": {"temp, in": "temp"}, "quote": quote}
    found = read(data, scenario=with_layout(**keys))
    assert [(device, values) for device, _, values in found.rows] == rows
    assert found.reasons == reasons


@settings(deadline=None)
@given(
    st.lists(st.text(st.sampled_from("ab;,'\" \u00fc"), min_size=1, max_size=6), min_size=1, max_size=6),
    st.sampled_from(["'", '"']),
)
def test_what_is_written_with_any_quote_is_read_back(sites: list[str], quote: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", quotechar=quote, lineterminator="\n")
    writer.writerows([("site", "time", "temp"), *((site, "2026-05-04T10:00Z", 1.5) for site in sites)])
    found = read(text.getvalue(), scenario=with_layout(header=["site"], delimiter=";", quote=quote))
    assert [device for device, _, _ in found.rows] == [site.strip() for site in sites if site.strip()]
    assert found.table.rows == len(sites)


def test_windows_1252_is_read_as_told() -> None:
    data = "station;time;temp\nPlatz M\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen;2026-05-04T10:00Z;18.5\n"
    found = read(data.encode("cp1252"), scenario=with_layout(files=["*"], encoding="windows-1252"))
    assert found.rows == [("Platz M\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen", "2026-05-04T10:00", {"temp": 18.5})]


def test_a_column_a_station() -> None:
    data = "timestamp,North,South,Harbour\n2026-05-04T10:00Z,12.0,11.0,x\n2026-05-04T11:00Z,12.4,,13.1\n"
    found = read(data, scenario=with_layout(files=["*"], stations="pm25"))
    assert found.rows == [
        ("North", "2026-05-04T10:00", {"pm25": 12.0}), ("South", "2026-05-04T10:00", {"pm25": 11.0}),
        ("North", "2026-05-04T11:00", {"pm25": 12.4}), ("Harbour", "2026-05-04T11:00", {"pm25": 13.1}),
    ]  # fmt: skip
    assert [place // found.table.per_row for place in found.positions] == [1, 1, 2, 2]
    assert [(place // found.table.per_row, reason) for place, reason in found.reasons] == [(1, "bad_value")]
    assert found.rejected[0].raw == b"2026-05-04T10:00Z,12.0,11.0,x"


def test_a_bad_time_of_a_row_with_a_column_a_station_is_one_rejected_row() -> None:
    """Stations may have zones of their own: the last time is of the future at one of them only."""
    scenario = replace(with_layout(files=["*"], stations="pm25"), stations={"North": Station(zone="-10:00")})
    lines = ["timestamp,North,South,Harbour", "never,1,2,3", "2026-05-04T10:00Z,x,2,y", "1999-05-04T10:00Z,,2,3"]
    found = read("\n".join([*lines, f"{np.datetime64(NOW, 'm')},4,5,6", ""]), scenario=scenario)
    values = [(6, "bad_value"), (8, "bad_value")]
    assert found.reasons == [(3, "bad_time"), *values, (10, "ancient"), (12, "future")]
    assert [device for device, _, _ in found.rows] == ["South", "South", "Harbour"]
    assert found.rejected[0].raw.decode() == lines[1]


def test_the_cells_of_a_row_share_its_bytes() -> None:
    """Otherwise a row of so many columns would be held so many times."""
    found = read("timestamp,North,South\n2026-05-04T10:00Z,x,y\n", scenario=with_layout(files=["*"], stations="pm25"))
    assert len(found.rejected) == 2
    assert found.rejected[0].raw is found.rejected[1].raw


def test_without_a_column_for_the_device_one_is_told() -> None:
    with pytest.raises(BadEvent, match="no column for the device"):
        read(PLAIN)
    found = read(PLAIN, device="yard")
    assert [device for device, _, _ in found.rows] == ["yard", "yard"]
    assert found.table.device == "yard"


def test_a_device_that_is_told_is_checked_like_any_other() -> None:
    assert read(PLAIN, device="a\tb").reasons == [(1, "device_id"), (2, "device_id")]


def test_a_column_for_the_device_is_stronger_than_what_is_told() -> None:
    found = read("station,time,temp\nA,2026-05-04T10:00Z,1\n", device="yard")
    assert (found.rows[0][0], found.table.layout) == ("A", None)


def test_a_plain_table_behind_other_lines_is_found() -> None:
    found = read("sep=;\nstation;timestamp;pm25\nA1;2026-05-04T10:00:00Z;12\n")
    assert found.rows == [("A1", "2026-05-04T10:00", {"pm25": 12.0})]
    assert found.table.why == "line 2 is a header"


def test_a_plain_table_has_no_layout_and_is_read_as_ever() -> None:
    found = read(
        "station,time,temp\nA,2026-05-04T10:00Z,1\n", scenario=with_layout(files=["other*"], units={"temp": "degF"})
    )
    assert (found.table.layout, found.rows[0][2]) == (None, {"temp": 1.0})


def test_a_second_value_of_one_time_is_a_reading_of_its_own() -> None:
    rows = "A,2026-05-04T10:00Z,pm25,12\nA,2026-05-04T10:00Z,temp,18.5\nA,2026-05-04T10:00Z,pm25,13\n"
    found = read(LONG + rows, scenario=with_layout(parameter="what", value="value"))
    assert [values for _, _, values in found.rows] == [{"pm25": 12.0, "temp": 18.5}, {"pm25": 13.0}]
    assert found.positions == [1, 3]


def test_a_rejected_reading_is_told_as_the_rows_that_it_was_made_of() -> None:
    rows = "A,2099-05-04T10:00Z,pm25,12\nA,2099-05-04T10:00Z,temp,18.5\nA,2026-05-04T10:00Z,temp,18.5\n"
    found = read(LONG + rows, scenario=with_layout(parameter="what", value="value"))
    assert found.reasons == [(1, "future"), (2, "future")]
    assert [rejection.raw for rejection in found.rejected] == [row.encode() for row in rows.splitlines()[:2]]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("AB"), st.integers(0, 5), st.sampled_from(["pm25", "temp", "ozone"]), st.integers(0, 9)
        ),
        max_size=30,
    )
)
def test_every_value_comes_once_in_whatever_order_rows_stand(rows: list[tuple[str, int, str, int]]) -> None:
    text = LONG + "".join(f"{site},2026-05-04T0{hour}:00Z,{what},{value}\n" for site, hour, what, value in rows)
    if not rows:
        return
    found = read(text, scenario=with_layout(parameter="what", value="value"))
    values = sorted(
        (device, int(time[11:13]), name, int(v)) for device, time, held in found.rows for name, v in held.items()
    )
    assert values == sorted(row for row in rows if row[2] != "ozone")
    if len({row[:3] for row in rows}) == len(rows):
        assert len(found.rows) == len({row[:2] for row in rows if row[2] != "ozone"})


@pytest.mark.parametrize(
    ("data", "keys", "said"),
    [
        (PLAIN, {"files": ["*"]}, "layout 'mine': no column for the device (give --device, or {device} in files)"),
        (PLAIN, {"files": ["*"], "device": ["post"]}, "layout 'mine': no line of the first 200 has post"),
        ("\n" * 300 + PLAIN, {"files": ["*"], "time": ["timestamp"]}, "no line of the first 200 has timestamp"),
        (
            ",".join(f"c{i}" for i in range(10_000)) + "\n1\n",
            {"files": ["*"], "time": ["c1"]},
            "no line of the first 200",
        ),
        ("device,when,temp\nA,1,2\n", {"files": ["*"]}, "no column for the time"),
    ],
    ids=["no device", "no such column", "preamble without end", "10,000 columns", "no time"],
)
def test_a_file_that_has_not_what_its_layout_needs_is_refused(data: str, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(BadEvent) as refused:
        read(data, scenario=with_layout(**keys))
    assert refused.value.reason == "header"
    assert said in refused.value.detail


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('"TOA5","Yard"\n"TIMESTAMP","RECORD","RH"\n"TS","RN","%"\n"2026-05-04 10:00:00",1,55\n',
         "line 2 has 'TIMESTAMP', 'RH', and only the device is missing there"),
        ("\t\tHi\nDate\tTime\tTemp\n05/04/26\t10:00\t18.5\n",
         "where no line names the columns, preamble and columns in a layout do"),
    ],
)  # fmt: skip
def test_the_refusal_of_a_first_line_says_what_stands_further_down(data: str, said: str) -> None:
    with pytest.raises(BadEvent) as refused:
        read(data)
    assert refused.value.reason == "header"
    assert refused.value.detail.endswith(said)


def test_parameters_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_PARAMETERS", 10)
    rows = "".join(f"A,2026-05-04T10:00Z,what{i},1\n" for i in range(11))
    with pytest.raises(BadEvent, match="more than 10 parameters and units in one file"):
        read(LONG + rows, scenario=with_layout(parameter="what", value="value"))


def test_rows_are_joined_within_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROWS", 2)
    rows = "".join(f"A,2026-05-04T10:00Z,{what},1\n" for what in ("pm25", "temp", "rh"))
    found = read(LONG + rows, scenario=with_layout(parameter="what", value="value"))
    assert [values for _, _, values in found.rows] == [{"pm25": 1.0, "temp": 1.0}, {"rel_humidity": 1.0}]


def test_a_layout_of_before_is_asked_for_by_its_name() -> None:
    scenario = with_layout(files=["log*"], columns=["time", "temp"], header=["time"])
    first = read("2026-05-04T10:00Z,18.5\n", "log.csv", scenario=scenario, device="yard")
    again = read(
        f"{first.table.header}\n2026-05-04T10:00Z,18.5\n", "rows.csv", scenario=scenario, device="yard", layout="mine"
    )
    assert again.rows == first.rows
    assert again.positions == [1]
    with pytest.raises(BadEvent, match="there is no layout 'gone'"):
        read("when,what\n1,2\n", "rows.csv", scenario=AIR, layout="gone")


def test_what_stands_for_nothing_is_missing() -> None:
    scenario = with_layout(files=["*"], missing_values=[99, "ND"])
    found = read("device,time,temp,rh,pm25\nA,2026-05-04T10:00Z,99.0,nd,12\n", scenario=scenario)
    assert (found.rows, found.rejected) == ([("A", "2026-05-04T10:00", {"pm25": 12.0})], [])


def test_a_decimal_comma_that_was_not_told_is_refused_with_the_key() -> None:
    found = read("device;time;pm25\nA;2026-05-04T10:00Z;12,4\n", scenario=with_layout(files=["*"]))
    assert [(each.reason, 'decimal = ","' in each.detail) for each in found.rejected] == [("bad_value", True)]


def test_a_row_of_one_value_that_stands_for_nothing_is_told_as_such() -> None:
    scenario = with_layout(files=["*"], parameter="what", value="number", missing_values=[-999])
    found = read("device,time,what,number\nA,2026-05-04T10:00Z,pm25,-999\n", scenario=scenario)
    assert (found.rows, [each.reason for each in found.rejected]) == ([], ["sentinel"])


def test_a_comment_that_is_all_there_is_holds_no_row() -> None:
    found = read("time,site,pm25\n# nothing was measured", scenario=with_layout(files=("a.csv",), comment="#"))
    assert (found.rows, found.rejected) == ([], [])


def test_what_cannot_be_split_at_tabs_is_told_in_signs_that_can_be_printed() -> None:
    found = read('site\tts\tpm25\n"a"b\t2026-11-20T15:00:00Z\t30\n')
    assert found.reasons == [(1, "columns")]
    assert found.rejected[0].detail.isprintable()


def test_a_last_line_that_is_a_mark_of_utf_8_alone_is_refused() -> None:
    found = read(b"site,ts,pm25\na,2026-11-20T15:00:00Z,30\n\xef\xbb\xbf", chunk_rows=1)
    assert (len(found.rows), found.reasons) == (1, [(2, "missing_device")])
