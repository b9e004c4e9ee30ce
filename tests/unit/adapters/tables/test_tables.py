"""Dropped files of every form against independent readers, and hostile ones."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from shared.adapters.tables import source
from shared.adapters.tables.open import LongTable, open_table
from shared.core.intake.readings import id_problem
from shared.core.intake.reasons import REASONS
from shared.core.scenario import with_overrides
from shared.errors import BadEvent
from tests import ROOT
from tests.unit.adapters.tables.table_files import AIR, GOOD, HEADER, NOW, as_csv, as_parquet, lines, many, read, sample

BEIJING = ROOT.parent / "shared" / "data" / "beijing_4_stations_hourly.csv.gz"


def dictionary_of_numbers(rows: list[dict[str, Any]]) -> bytes:
    table = pa.Table.from_pylist(rows)
    sink = io.BytesIO()
    parquet.write_table(table.set_column(3, "temp", table["temp"].dictionary_encode()), sink)
    return sink.getvalue()


FORMS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "comma.csv": as_csv,
    "semicolon.csv": lambda rows: as_csv(rows, ";"),
    "tab.txt": lambda rows: as_csv(rows, "\t"),
    "crlf.csv": lambda rows: as_csv(rows, end="\r\n"),
    "no_end.csv": lambda rows: as_csv(rows).removesuffix(b"\n"),
    "bom.csv": lambda rows: b"\xef\xbb\xbf" + as_csv(rows),
    "quoted.csv": lambda rows: pd.DataFrame(rows).to_csv(index=False, quoting=csv.QUOTE_ALL).encode(),
    "named_otherwise.parquet.csv": as_csv,
    "text.parquet": as_parquet,
    "typed.parquet": lambda rows: as_parquet(rows, ts=pa.timestamp("ms", "Asia/Shanghai"), site=pa.large_string()),
    "nanoseconds.parquet": lambda rows: as_parquet(rows, ts=pa.timestamp("ns", "UTC"), pm25=pa.float32()),
    "dictionary.parquet": lambda rows: as_parquet(rows, site=pa.dictionary(pa.int8(), pa.string())),
    "texts.pq": lambda rows: as_parquet(rows, pm25=pa.string(), temp=pa.dictionary(pa.int16(), pa.string())),
    "dictionary_of_times.parquet": lambda rows: as_parquet(rows, ts=pa.dictionary(pa.int32(), pa.string())),
    "dictionary_of_numbers.parquet": lambda rows: dictionary_of_numbers(rows),
    "binary.parquet": lambda rows: as_parquet(rows, site=pa.binary(), ts=pa.large_binary()),
    "lines.jsonl": lambda rows: "".join(json.dumps(row) + "\n" for row in rows).encode(),
    "no_suffix": lambda rows: "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode(),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_the_same_rows_in_any_form_give_the_same_readings(name: str, zipped: bool) -> None:
    rows = sample()
    expected = read(as_csv(rows))
    assert len(expected.rejected) > 50
    data = FORMS[name](rows)
    found = read(gzip.compress(data) if zipped else data, name, chunk_rows=200)
    assert found.rows == expected.rows
    assert found.positions == expected.positions
    assert found.reasons == expected.reasons
    assert found.table.ignored == ("dewp",)
    assert found.table.converted == {"atmos_press": "kPa"}
    assert (found.table.problem, found.table.rows) == (None, len(rows))
    assert found.table.bytes_read == len(gzip.compress(data) if zipped else data)


def test_clean_rows_agree_with_pandas() -> None:
    rows = [row for row in sample(3000) if row["temp"] is None or row["temp"] >= -60]
    rows = [row for row in rows if any(row[key] is not None for key in ("pm25", "temp", "pressure"))]
    frame = pd.read_csv(io.BytesIO(as_csv(rows)))
    found = read(as_csv(rows), chunk_rows=1000)
    assert found.rejected == []
    assert found.devices == frame["site"].tolist()
    stamps = pd.to_datetime(frame["ts"], utc=True).dt.tz_localize(None).to_numpy()
    assert found.minutes == (stamps.astype("datetime64[m]").astype(np.int64)).tolist()
    pressure = frame["pressure"].where(frame["pressure"] > 200, frame["pressure"] * 10).astype(np.float32)
    np.testing.assert_array_equal(found.column("pm25"), frame["pm25"].astype(np.float32))
    np.testing.assert_array_equal(found.column("temp"), frame["temp"].astype(np.float32))
    np.testing.assert_array_equal(found.column("atmos_press"), pressure)


@pytest.mark.skipif(not BEIJING.exists(), reason="the real data is not beside the repository")
def test_real_data_agrees_with_pandas_to_the_last_row() -> None:
    frame = pd.read_csv(BEIJING)
    found = read(BEIJING.read_bytes(), BEIJING.name)
    empty = frame[list(AIR.channel_names)].isna().all(axis=1)
    assert found.reasons == [(int(i) + 1, "no_values") for i in np.flatnonzero(empty)]
    kept = frame[~empty]
    assert found.devices == kept["site"].tolist()
    stamps = pd.to_datetime(kept["ts"]).to_numpy().astype("datetime64[m]").astype(np.int64) - 480
    assert found.minutes == stamps.tolist()
    values = np.frombuffer(b"".join(found.values), np.float32).reshape(-1, len(AIR.channels))
    np.testing.assert_array_equal(values, kept[list(AIR.channel_names)].to_numpy(np.float32))
    assert found.table.ignored == ("dewp",)


# zones of times without one


@pytest.mark.parametrize(
    ("header", "device", "zone", "ahead"),
    [
        ("site,ts,pm25", "x", None, 0),
        ("site,ts,pm25", "Dongsi", None, 480),
        ("site,ts,pm25", "Dongsi", "+02:00", 120),
        ("site,ts,pm25", "x", "Europe/Berlin", 60),
        ("site,utc,pm25", "Dongsi", "+02:00", 0),
        ("site,time (+01:00),pm25", "Dongsi", "+02:00", 60),
    ],
)
def test_a_zone_comes_from_the_header_then_the_file_then_the_station_then_the_scenario(
    header: str, device: str, zone: str | None, ahead: int
) -> None:
    found = read(lines(f"{device},2026-11-20 10:00,1", header=header), zone=zone)
    assert found.minutes == [NOW - 360 - ahead]
    typed = as_parquet([dict(zip(header.split(","), (device, "2026-11-20T10:00:00", 1.0), strict=True))])
    assert read(typed, zone=zone).minutes == [NOW - 360 - ahead]


def test_typed_timestamps_without_zone_take_the_declared_one() -> None:
    rows = [{"site": "x", "ts": "2026-11-20T10:00:00", "pm25": 1.0}]
    assert read(as_parquet(rows, ts=pa.timestamp("us")), zone="+02:00").minutes == [NOW - 480]


def test_epochs_in_columns_of_numbers_are_read() -> None:
    rows: list[dict[str, Any]] = [{"site": 12, "ts": NOW * 60, "pm25": 1}, {"site": 13, "ts": NOW * 60_000, "pm25": 2}]
    rows.append({"site": None, "ts": None, "pm25": 3})
    for data in (as_parquet(rows), as_parquet(rows, ts=pa.float64(), site=pa.float64()), as_csv(rows)):
        found = read(data)
        assert (found.devices, found.minutes) == (["12", "13"], [NOW, NOW])
        assert found.reasons == [(3, "missing_device")]


# rows that are not clean


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a,2026-11-20T15:00Z", "columns"),
        (GOOD + ",1", "columns"),
        ("garbage", "columns"),
        ("  ", "columns"),
        ('a,2026-11-20T15:00Z,30,"12', "columns"),
        ('"a,2026-11-20T15:00Z,30,12', "columns"),
        ('a,2026-11-20T15:00Z,"3"0",12', "columns"),
        ("a\r,2026-11-20T15:00Z,30,12", "columns"),
        ('\r"\rx', "columns"),
        (HEADER, "duplicate_header"),
        (HEADER + ",x", "columns"),
        (",2026-11-20T15:00Z,30,12", "missing_device"),
        ("a\x00,2026-11-20T15:00Z,30,12", "device_id"),
        ("x" * 200 + ",2026-11-20T15:00Z,30,12", "device_id"),
        ("a,,30,12", "missing_time"),
        ("a,NaT,30,12", "missing_time"),
        ("a,20/11/2026,30,12", "bad_time"),
        ("a,2099-01-01T00:00Z,30,12", "future"),
        ("a,1970-01-01T00:00Z,30,12", "ancient"),
        ("a,2026-11-20T15:00Z,abc,", "bad_value"),
        ("a,2026-11-20T15:00Z,inf,", "bad_value"),
        ("a,2026-11-20T15:00Z,1e999,", "bad_value"),
        ('a,2026-11-20T15:00Z,"3,5",', "bad_value"),
        ("a,2026-11-20T15:00Z,True,", "bad_value"),
        ("a,2026-11-20T15:00Z,\x00,", "bad_value"),
        ("a,2026-11-20T15:00Z,,61", "out_of_range"),
        ("a,2026-11-20T15:00Z,-1,", "out_of_range"),
        ("a,2026-11-20T15:00Z,,", "no_values"),
        ("a,2026-11-20T15:00Z,NaN,None", "no_values"),
    ],
)
def test_each_kind_of_bad_row_has_its_reason_and_keeps_its_bytes(row: str, reason: str) -> None:
    found = read(lines(GOOD, row, GOOD))
    assert found.positions == [1, 3]
    assert found.reasons == [(2, reason)]
    assert found.rejected[0].raw == row.encode()
    assert found.rejected[0].detail.isprintable()
    assert found.column("temp") == [12.5, 12.5]


@pytest.mark.parametrize(
    "row",
    [
        '"a",2026-11-20T15:00:00Z,30,12.5',
        'a,"2026-11-20T15:00:00Z","30","12.5"',
        " a , 2026-11-20T15:00:00Z , 30 , 12.5 ",
        "a,2026-11-20T15:00:00Z,+30,1.25e1",
        'a,2026-11-20T15:00:00Z,30,"12"".5"'.replace('"".', "."),
        "a,2026-11-20T15:00:00Z,30,12.5\r",
        '"a",2026-11-20T15:00:00Z,30,"12.5"\r',
    ],
)
def test_cells_may_be_quoted_or_padded(row: str) -> None:
    found = read(lines(row, GOOD))
    assert found.rejected == []
    assert found.rows[0] == found.rows[1]


@pytest.mark.parametrize(("cell", "name"), [('"a,""b"""', 'a,"b"'), ('a"b', 'a"b'), ('"a\rb"', None), ("'a'", "'a'")])
def test_quotes_and_delimiters_in_an_id_are_kept(cell: str, name: str | None) -> None:
    found = read(lines(GOOD, f"{cell},2026-11-20T15:00Z,1,1", GOOD))
    assert found.devices == (["a", name, "a"] if name else ["a", "a"])
    assert found.reasons == ([] if name else [(2, "device_id")])


def test_a_line_of_carriage_returns_is_a_row_without_cells() -> None:
    assert read(lines(GOOD, "\r\r", GOOD)).reasons == [(2, "columns")]


def test_a_quote_that_never_ends_swallows_no_other_row() -> None:
    bad = 'x"y,"2026-11-20T15:00Z,1,1'
    found = read(lines(GOOD, bad, *[GOOD] * 5))
    assert found.positions == [1, 3, 4, 5, 6, 7]
    assert found.reasons == [(2, "columns")]


def test_a_line_that_is_not_utf8_is_refused_alone() -> None:
    found = read(lines(GOOD, "ü,2026-11-20T15:00Z,1,1") + b"\xfc,2026-11-20T15:00Z,1,1\n" + GOOD.encode())
    assert found.devices == ["a", "ü", "a"]
    assert found.reasons == [(3, "encoding")]
    assert found.rejected[0].raw == b"\xfc,2026-11-20T15:00Z,1,1"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_lines_are_no_rows_but_keep_the_numbering(end: str) -> None:
    data = end.join(["", "", HEADER, "", GOOD, "", "", GOOD, "bad", ""]).encode()
    found = read(data)
    assert (found.positions, found.reasons, found.table.rows) == ([2, 5], [(6, "columns")], 3)


@pytest.mark.parametrize("length", [source.LONGEST_LINE + 5, 3 * source.LONGEST_LINE, 9_000_000])
def test_a_line_without_end_is_refused_alone_and_only_its_beginning_is_kept(length: int) -> None:
    for name, good in (("a.csv", GOOD.encode()), ("a.jsonl", b'{"site":"a","ts":"2026-11-20T15:00Z","temp":12.5}')):
        head = HEADER.encode() + b"\n" if name == "a.csv" else b""
        found = read(head + good + b"\n" + b"x" * length + b"\n" + good + b"\n", name)
        assert found.column("temp") == [12.5, 12.5]
        assert found.reasons == [(2, "too_large")]
        assert len(found.rejected[0].raw) == 16 * 1024


def test_a_bad_value_in_one_row_leaves_every_other_row_of_its_block_bit_for_bit() -> None:
    clean = lines(*[f"s{i % 7},2026-11-{1 + i % 19:02}T15:00Z,{i % 900}.{i % 10},{i % 50}.25" for i in range(2000)])
    dirty = clean + b"a,2026-11-20T15:00Z,abc,\n"
    assert read(dirty).rows == read(clean).rows


def test_a_file_of_bad_rows_only_is_read_to_its_end() -> None:
    found = read(lines(*["a,2026-11-20T15:00Z,abc,"] * 1000, *["x"] * 1000))
    assert found.rows == []
    assert Counter(rejection.reason for rejection in found.rejected) == {"bad_value": 1000, "columns": 1000}


def test_a_rejected_row_of_parquet_keeps_its_values_as_json() -> None:
    found = read(as_parquet([{"site": "a", "ts": datetime(2026, 11, 20, 15), "temp": 99.0, "x": 1}]))  # noqa: DTZ001
    assert found.reasons == [(1, "out_of_range")]
    assert json.loads(found.rejected[0].raw) == {"site": "a", "ts": "2026-11-20T15:00:00.000000", "temp": 99.0}


# files that cannot be used as a whole

ROW = b"a,2026-11-20T15:00Z,1,1\n"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.csv", b"", "empty_file"),
        ("a.csv", b" \r\n\n", "empty_file"),
        ("a.csv", b"\xef\xbb\xbf", "empty_file"),
        ("a.csv", HEADER.encode(), "empty_file"),
        ("a.csv", HEADER.encode() + b"\n\n", "empty_file"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "empty_file"),
        ("a.csv.gz", gzip.compress(b"x" * 1000, mtime=0)[:12], "truncated"),
        ("a.csv.gz", gzip.compress(HEADER.encode() + b"\n", mtime=0)[:-4], "truncated"),
        ("a.csv.gz", b"\x1f\x8b", "truncated"),
        ("a.csv.gz", b"\x1f\x8b" + b"x" * 100, "truncated"),
        ("a.csv", b"ts,pm25\n2026-11-20T15:00Z,1\n", "header"),
        ("a.csv", b"site,pm25\na,1\n", "header"),
        ("a.csv", b"site,ts,note\na,2026-11-20T15:00Z,1\n", "header"),
        ("a.csv", ROW, "header"),
        ("a.csv", b'"site,ts,pm25\n' + ROW, "header"),
        ("a.csv", b"x" * (2 << 20), "header"),
        ("a.csv", bytes(range(14, 120)) * 5, "header"),
        ("a.csv", b"site,ts,temp,temp\n" + ROW, "duplicate_header"),
        ("a.csv", b"site;ts;pm25;PM2.5\n" + ROW, "duplicate_header"),
        ("a.csv", b"site,ts,temp (R),pm25\n" + ROW, "unit"),
        ("a.csv", HEADER.encode("utf-16"), "empty_file"),
        ("a.csv", b"\xff\xfe\0\0" + HEADER.encode("utf-32-le"), "format"),
        ("a.csv", b"site,ts,pm25,temp\ra,2026-11-20T15:00Z,1,1\r", "format"),
        ("a.xlsx", b"PK\x03\x04" + b"\x00" * 50, "format"),
        ("a.parquet", lines(GOOD), "format"),
        ("a.parquet", b"PAR1" + b"x" * 100, "format"),
        ("a.parquet", b"PAR1", "format"),
        ("a.parquet", as_parquet(sample(5))[:-20], "format"),
        ("a.parquet.gz", gzip.compress(as_parquet(sample(500)))[:-20], "truncated"),
        ("a.parquet", as_parquet([{"site": "a", "ts": "x", "note": 1}]), "header"),
        ("a.parquet", as_parquet([{"site": "a", "ts": "x", "pm25": True}]), "format"),
        ("a.parquet", as_parquet([{"site": True, "ts": "x", "pm25": 1}]), "format"),
        ("a.parquet", as_parquet([{"site": "a", "ts": False, "pm25": 1}]), "format"),
        ("a.parquet", as_parquet([{"site": ["a"], "ts": "x", "pm25": 1}]), "format"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(BadEvent) as refused:
        read(data, name)
    assert refused.value.reason == reason
    assert reason in REASONS
    assert refused.value.detail.isprintable()


def test_a_header_without_a_needed_column_names_what_was_expected_and_what_was_found() -> None:
    with pytest.raises(BadEvent, match=r"one of device_id, device, .*; not known: 'when', 'p'"):
        read(b"when,p,pm25\n1,2,3\n")
    with pytest.raises(BadEvent, match=r"one of store_id, device_id, .*\); not known: 'p'$"):
        read(b"ts,p,Latitude,pm25\n1,2,3,4\n", scenario=with_overrides(AIR, key="store_id"))


def test_a_parquet_file_without_rows_is_empty() -> None:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"site": pa.array([], pa.string())}), sink)
    with pytest.raises(BadEvent, match="empty_file"):
        read(sink.getvalue())


def test_rows_may_follow_a_header_after_any_stretch_of_blank_lines() -> None:
    found = read(HEADER.encode() + b"\n" * (3 << 20) + GOOD.encode())
    assert (found.devices, found.table.rows) == (["a"], 1)


def test_a_parquet_file_that_is_damaged_within_delivers_the_rows_before_the_damage() -> None:
    rows = [row for row in sample(2000) if row["pm25"] is not None]
    data = bytearray(as_parquet(rows))
    start = parquet.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(4).column(1).data_page_offset
    data[start : start + 400] = b"\xff" * 400
    found = read(bytes(data), "a.parquet", chunk_rows=130)
    assert found.table.rows == 4 * 130
    assert found.table.problem is not None
    assert found.table.problem.startswith("truncated: ")
    start = parquet.ParquetFile(io.BytesIO(as_parquet(rows))).metadata.row_group(0).column(1).data_page_offset
    data[start : start + 400] = b"\xff" * 400
    with pytest.raises(BadEvent, match="format: a damaged Parquet file"):
        read(bytes(data), "a.parquet", chunk_rows=130)


def test_a_wrong_zone_refuses_the_file() -> None:
    with pytest.raises(BadEvent, match="zone: 'Mars/Base'"):
        read(lines(GOOD), zone="Mars/Base")


def test_unlisted_stations_are_refused_row_by_row_where_the_scenario_says_so() -> None:
    found = read(lines(GOOD, GOOD.replace("a,", "Dongsi,")), scenario=with_overrides(AIR, unlisted_stations="reject"))
    assert (found.devices, found.reasons) == (["Dongsi"], [(1, "unknown_station")])


# gzip


def test_a_truncated_gzip_delivers_the_rows_before_the_cut_and_says_so() -> None:
    data = many(20_000)
    whole = read(data)
    packed = gzip.compress(data)
    found = read(packed[: len(packed) // 2], "a.csv.gz")
    assert 0 < found.table.rows < 20_000
    assert found.table.problem == f"truncated: the gzip stream ends early; {found.table.rows} rows were read"
    assert found.reasons == [(found.table.rows, "truncated")]
    assert found.rows == whole.rows[: found.table.rows - 1]


def test_a_damaged_gzip_delivers_the_rows_before_the_damage() -> None:
    data = bytearray(gzip.compress(many(20_000)))
    data[len(data) // 2 : len(data) // 2 + 100] = b"\xff" * 100
    found = read(bytes(data), "a.csv.gz")
    assert found.table.problem is not None
    assert found.table.problem.startswith("truncated: the gzip stream is damaged")
    assert 0 < found.table.rows < 20_000


def test_several_gzip_members_padding_and_a_tail_are_read_as_far_as_they_go() -> None:
    first, second = many(500), lines(GOOD).partition(b"\n")[2]
    both = gzip.compress(first) + gzip.compress(second) + b"\0" * 700_000
    assert (read(both).table.rows, read(both).table.problem) == (501, None)
    tail = read(both + b"tail")
    assert tail.table.rows == 501
    assert tail.table.problem == "truncated: something that is not gzip follows the gzip stream; 501 rows were read"


def test_a_truncated_gzip_of_json_lines_refuses_its_last_line_only() -> None:
    data = "".join(json.dumps(row) + "\n" for row in sample(3000)).encode()
    found = read(gzip.compress(data)[:-9], "a.jsonl.gz")
    assert found.reasons[-1][1] in {"truncated", "out_of_range", "no_values"}
    assert found.table.problem is not None
    cut = read(gzip.compress(data)[:20_000], "a.jsonl.gz")
    assert cut.reasons[-1] == (cut.table.rows, "truncated")


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time, as sockets do."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1) -> bytes:
        part, self._data = self._data[: min(size, 7)], self._data[min(size, 7) :]
        return part


@pytest.mark.parametrize("zipped", [False, True])
def test_a_stream_that_trickles_is_read_whole(zipped: bool) -> None:
    data = gzip.compress(many(300)) if zipped else many(300)
    table = open_table("a", Trickle(data), AIR, zone=None, not_after_minute=NOW)  # type: ignore[arg-type]
    assert isinstance(table, LongTable)
    assert sum(len(part.readings) for part in table) == 300


def test_the_cut_into_blocks_and_stretches_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = many(2000) + b"bad\n\n" + GOOD.encode()
    whole = read(data)
    for size in (100, 1000, 4096):
        monkeypatch.setattr(source.blocks, "__defaults__", (size,))
        found = read(data, chunk_rows=17)
        assert (found.rows, found.positions, found.rejected) == (whole.rows, whole.positions, whole.rejected)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_the_file() -> None:
    code = """
import io, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.unit.adapters.tables.table_files import AIR, NOW, many
from shared.adapters.tables.open import open_table
header, _, rows = many(20_000).partition(b"\\n")
class Long(io.RawIOBase):
    def __init__(self, times): self.parts = [header + b"\\n"] + [rows] * times
    def read(self, size=-1):
        if not self.parts: return b""
        part = self.parts.pop(0)
        if len(part) > size: self.parts.insert(0, part[size:])
        return part[:size]
def run(times):
    table = open_table("a.csv", Long(times), AIR, zone=None, not_after_minute=NOW)
    assert sum(len(part.readings) for part in table) == times * 20_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(run(20), run(120))
"""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True
    )
    short, long = map(int, done.stdout.split())
    assert long - short < 40_000  # kilobytes, for 70 MB more


def test_opening_the_module_loads_no_heavy_package() -> None:
    code = "import sys, shared.adapters.tables.open; print({'pyarrow', 'pandas'} & sys.modules.keys())"
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "set()"


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=6)
SMALL = st.text(st.sampled_from('a",\r; '), max_size=6)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.one_of(CELLS, SMALL), st.one_of(CELLS, SMALL)), max_size=8))
def test_cells_are_split_as_the_standard_library_splits_them(rows: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([note, name, "2026-11-20T15:00Z", i] for i, (note, name) in enumerate(rows))
    found = read(b"note,site,ts,pm25\nx,first,2026-11-20T15:00Z,1\n" + text.getvalue().encode())
    names = {i + 2: name.strip() for i, (_, name) in enumerate(rows)}
    missing = {p for p, name in names.items() if name.casefold() in ("", "nan", "null", "none")}
    unfit = {p for p, name in names.items() if id_problem(name) and p not in missing}
    assert found.table.rows == 1 + len(rows)
    assert dict(found.reasons) == {p: "missing_device" if p in missing else "device_id" for p in missing | unfit}
    assert found.devices == ["first", *(name for p, name in names.items() if p not in missing | unfit)]
    assert found.column("pm25") == [1.0, *(float(p - 2) for p in names if p not in missing | unfit)]


def test_instants_beyond_any_calendar_are_refused_one_by_one() -> None:
    ticks = [2**52, -(2**52), NOW * 60, None]
    for zone in (None, "UTC", "Asia/Shanghai"):
        for unit in ("s", "ms", "us", "ns"):
            table = pa.table({"site": ["a"] * 4, "ts": pa.array(ticks, pa.timestamp(unit, zone)), "pm2.5": [1.0] * 4})
            sink = io.BytesIO()
            parquet.write_table(table, sink, store_schema=True, coerce_timestamps=None)
            found = read(sink.getvalue(), "a.parquet")
            assert found.table.rows == 4
            assert found.reasons[-1] == (4, "missing_time")
            assert all(json.loads(rejection.raw)["site"] == "a" for rejection in found.rejected)
            assert all(rejection.detail.isprintable() for rejection in found.rejected)


def test_blank_lines_among_json_lines_are_no_rows_but_keep_the_numbering() -> None:
    line = b'{"site":"a","ts":"2026-11-20T15:00Z","temp":1}\n'
    found = read(b"\xef\xbb\xbf" + line + b"\n  \r\n" + line + b"x", "a.jsonl")
    assert (found.positions, found.reasons, found.table.rows) == ([1, 4], [(5, "not_json")], 3)


@pytest.mark.parametrize("note", ["\x00", "n" * 200_000])
def test_a_cell_that_the_csv_module_does_not_read_spoils_no_message(note: str) -> None:
    found = read(lines(f"{note},a,2026-11-20T15:00Z,,61", header="note," + HEADER))
    assert [(r.reason, r.detail) for r in found.rejected] == [("out_of_range", "temp: '61' is outside -60 to 60 degC")]


def test_a_header_of_thousands_of_columns_is_refused() -> None:
    with pytest.raises(BadEvent, match="header: 3004 columns are more than 2000"):
        read(lines(GOOD, header=HEADER + ",x" * 3000))


def test_a_header_is_told_all_that_it_lacks() -> None:
    with pytest.raises(BadEvent) as told:
        read(b"note\nx\n")
    words = str(told.value)
    assert [words.count(f"no column for {what} (one of ") for what in ("the device", "the time", "any channel")] == [
        1
    ] * 3
    assert "not known: 'note'; where no line names the columns" in words
