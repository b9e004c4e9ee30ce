"""Cutting a file by time: each row lands in one part, where its time says or next to its predecessor."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.demo.splitting import cut, moments, read
from shared.adapters.stores import scenario_files
from shared.core.scenario import Scenario
from shared.errors import BadEvent
from tests.kit import HOUR, SCENARIO

START = HOUR // 24 * 24
CSV = "device_id,timestamp,pm"
DAYS = 10


def row(hour: int, device: str = "a", pm: str = "5") -> str:
    return f"{device},{np.datetime64(START + hour, 'h')}:00Z,{pm}"


def parts_of(
    folder: Path,
    data: bytes,
    days_before: tuple[int, ...] = (5,),
    scenario: Scenario = SCENARIO,
    zone: str | None = None,
) -> tuple[list[int], list[bytes]]:
    """The moments, as hours from the start, and what each part holds."""
    source = folder / "source"
    source.write_bytes(data)
    parts = [folder / "parts" / f"{number}.gz" for number in range(len(days_before) + 1)]
    at = cut([source], scenario, zone, days_before, parts)
    return [hour - START for hour in at], [gzip.decompress(part.read_bytes()) for part in parts]


HOURLY = [row(hour) for hour in range(DAYS * 24)]


def test_a_csv_file_is_cut_at_midnight_and_each_part_has_the_header(tmp_path: Path) -> None:
    at, parts = parts_of(tmp_path, "\n".join([CSV, *HOURLY]).encode(), (5, 2))
    assert at == [120, 192]
    for part, rows in zip(parts, (HOURLY[:120], HOURLY[120:192], HOURLY[192:]), strict=True):
        assert part.decode().splitlines() == [CSV, *rows]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_gzip_and_line_ends_change_nothing(tmp_path: Path, zipped: bool, end: str) -> None:
    data = ((end or "\n").join([CSV, *HOURLY]) + end).encode()
    _, parts = parts_of(tmp_path, gzip.compress(data) if zipped else data)
    assert [part.decode().split() for part in parts] == [[CSV, *HOURLY[:120]], [CSV, *HOURLY[120:]]]


def test_json_lines_have_no_header(tmp_path: Path) -> None:
    lines = [f'{{"device_id": "a", "timestamp": {(START + hour) * 3600}, "pm": 1}}' for hour in range(DAYS * 24)]
    _, parts = parts_of(tmp_path, "\n".join(lines).encode())
    assert [part.decode().splitlines() for part in parts] == [lines[:120], lines[120:]]


def test_a_rejected_row_goes_where_the_row_before_it_went(tmp_path: Path) -> None:
    rows = [f"{CSV}", "x,first,1", row(0), "a,never,1", row(200), "a,b,c,d", row(1), row(2, pm="-7"), row(239), "end"]
    _, parts = parts_of(tmp_path, "\n".join(rows).encode())
    assert [part.decode().splitlines()[1:] for part in parts] == [
        ["x,first,1", row(0), "a,never,1", row(1), row(2, pm="-7")],
        [row(200), "a,b,c,d", row(239), "end"],
    ]


ROWS = st.lists(
    st.one_of(st.integers(0, 400).map(row), st.sampled_from(["", "x", "a,b,c", 'a,"2017', row(3, pm="-1"), "é,1,2"])),
    min_size=1,
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(ROWS)
def test_nothing_is_lost_or_doubled_and_the_order_stays(tmp_path: Path, rows: list[str]) -> None:
    rows += [row(5), row(399)]
    (at,), parts = parts_of(tmp_path, "\n".join([CSV, *rows]).encode())
    found = [part.decode().splitlines() for part in parts]
    assert [lines[0] for lines in found] == [CSV, CSV]
    assert sorted(found[0][1:] + found[1][1:]) == sorted(rows)
    places = [rows.index(line) for line in found[0][1:] if rows.count(line) == 1]
    assert places == sorted(places)
    good = {row(hour): hour for hour in range(401)}
    assert all(good[line] < at for line in found[0] if line in good)
    assert all(good[line] >= at for line in found[1] if line in good)


def test_a_file_with_a_byte_order_mark_is_text_all_the_same(tmp_path: Path) -> None:
    _, parts = parts_of(tmp_path, b"\xef\xbb\xbf" + "\n".join([CSV, *HOURLY]).encode())
    assert [part.count(b"\n") for part in parts] == [121, 121]


def test_a_declared_zone_moves_the_cut(tmp_path: Path) -> None:
    rows = [line.replace("Z", "") for line in HOURLY]
    _, parts = parts_of(tmp_path, "\n".join([CSV, *rows]).encode(), zone="+08:00")
    assert parts[0].decode().splitlines()[-1] == row(103).replace("Z", "")


def test_parquet_is_refused_clearly(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    out = tmp_path / "made.parquet"
    stamps = pa.array([(START + hour) * 3600 for hour in range(48)], pa.int64())
    parquet.write_table(pa.table({"device_id": ["a"] * 48, "timestamp": stamps, "pm": [1.0] * 48}), out)
    with pytest.raises(BadEvent, match="give it CSV or JSON lines"):
        parts_of(tmp_path, out.read_bytes(), (1,))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty_file"),
        (CSV.encode(), "empty_file"),
        (f"{CSV}\nx,y,z\n".encode(), "no usable reading"),
        (b"\x00\xff\xfe" * 100, "encoding|format|header"),
        (b"a,b\n1,2\n", "header"),
    ],
)
def test_a_file_without_readings_is_refused_with_its_reason(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(BadEvent, match=why):
        parts_of(tmp_path, data)


def test_a_wide_file_has_no_times_to_cut_at(tmp_path: Path) -> None:
    cell = ",".join(["1.0"] * SCENARIO.history)
    with pytest.raises(BadEvent, match="wide file without times"):
        parts_of(tmp_path, f'ID,pm,rain,wind\nx,"{cell}","{cell}","{cell}"\n'.encode())


def test_a_truncated_gzip_is_refused_with_how_far_it_goes(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join([CSV, *HOURLY]).encode())
    with pytest.raises(BadEvent, match="truncated: source: the gzip stream ends early"):
        parts_of(tmp_path, whole[: len(whole) // 2])


@pytest.mark.parametrize("hours", [[0], [0, 5, 20], [0, 47], [0, 200]])
def test_a_file_that_is_too_short_for_its_parts_is_refused(tmp_path: Path, hours: list[int]) -> None:
    with pytest.raises(BadEvent, match=r"spans \d+\.\d days; that is too short for 4 parts"):
        parts_of(tmp_path, "\n".join([CSV, *map(row, hours)]).encode(), (6, 4, 2))


def test_moments_are_full_days_before_the_end() -> None:
    assert moments(np.arange(START, START + 240), (10, 3, 0)) == [START, START + 168, START + 240]
    assert moments(np.arange(START, START + 250), (3,)) == [START + 168]  # a day that has begun does not count


UCI = (
    '"No","year","month","day","hour","PM2.5","PM10","SO2","NO2","CO","O3",'
    '"TEMP","PRES","DEWP","RAIN","wd","WSPM","station"'
)
UCI_DAYS = [(month, day) for month, days in ((3, 31), (4, 30)) for day in range(1, days + 1)]


def uci(station: str) -> list[str]:
    """Rows of two months of a station as the publisher writes them; local time, 8 hours ahead of UTC."""
    return [
        f"{24 * i + hour + 1},2013,{month},{day},{hour},{'NA' if hour == 5 else 9},NA,4,7,300,77,"
        f'-0.7,1023,-18.8,0,"NNW",4.4,"{station}"'
        for i, (month, day) in enumerate(UCI_DAYS)
        for hour in range(24)
    ]


def test_files_of_several_stations_are_cut_at_the_same_moment_under_one_header(tmp_path: Path) -> None:
    scenario = scenario_files.load("air_quality")
    stations = {"Aotizhongxin": uci("Aotizhongxin"), "Dongsi": uci("Dongsi")[: 40 * 24]}
    sources = [tmp_path / f"PRSA_Data_{name}_20130301-20170228.csv" for name in stations]
    for path, rows in zip(sources, stations.values(), strict=True):
        path.write_text("\n".join([UCI, *rows]))  # no line end behind the last row
    parts = [tmp_path / "history.csv.gz", tmp_path / "next.csv.gz"]
    at = cut(sources, scenario, None, (30,), parts)
    # The last hour, 2013-04-30 23:00 in Beijing, is 15:00 UTC: the last full day ends at that day's midnight.
    assert [np.datetime64(hour, "h") for hour in at] == [np.datetime64("2013-03-31T00", "h")]
    before = 30 * 24 + 8  # rows until 2013-03-31 08:00 in Beijing
    found = [gzip.decompress(part.read_bytes()).decode().splitlines() for part in parts]
    assert found[0] == [UCI, *(row for rows in stations.values() for row in rows[:before])]
    assert found[1] == [UCI, *(row for rows in stations.values() for row in rows[before:])]
    assert [len(read(part, scenario, None).hour) for part in parts] == [2 * before, 61 * 24 + 40 * 24 - 2 * before]


def test_files_with_other_headers_are_refused_by_name(tmp_path: Path) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_text("\n".join([CSV, *HOURLY]))
    other.write_text("\n".join([f"{CSV},rain", *(f"{row},0" for row in HOURLY)]))
    with pytest.raises(BadEvent, match=r"header: other\.csv has another header than one\.csv"):
        cut([one, other], SCENARIO, None, (5,), [tmp_path / "a.gz", tmp_path / "b.gz"])


def test_lines_in_front_of_the_header_stand_in_each_part(tmp_path: Path) -> None:
    _, parts = parts_of(tmp_path, "\n".join(["sep=,", CSV, *HOURLY]).encode())
    assert [part.decode().splitlines() for part in parts] == [
        ["sep=,", CSV, *HOURLY[:120]],
        ["sep=,", CSV, *HOURLY[120:]],
    ]


OBJECTS = ",".join(f'{{"device_id": "a", "timestamp": {(START + hour) * 3600}, "pm": 1}}' for hour in range(240))


@pytest.mark.parametrize(
    "data", [f"[{OBJECTS}]".encode(), "\n".join([CSV, *HOURLY]).encode("utf-16")], ids=["an array", "UTF-16"]
)
def test_what_has_no_lines_of_bytes_cannot_be_cut(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadEvent, match="give it CSV or JSON lines"):
        parts_of(tmp_path, data)
