"""`check` says how a file would be read, without a stack."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from local.__main__ import main
from tests.unit.adapters.tables.envelope_files import avro

GOOD = "station,timestamp,temperature,pm25,rssi\nA,2026-05-04T10:00:00Z,18.5,12,-70\nA,2026-05-04T11:00:00Z,,11,-71\n"
LONG = "location_id,sensors_id,datetime,parameter,units,value\n7,1,2026-05-04T10:00Z,pm25,ug/m3,12\n"


def checked(tmp_path: Path, text: str, *more: str) -> int:
    (tmp_path / "a.csv").write_text(text)
    return main(["check", str(tmp_path / "a.csv"), *more])


def test_it_tells_what_columns_mean_which_are_not_used_and_the_first_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(tmp_path, GOOD + "A,yesterday,1,2,3\n") == 0
    said = capsys.readouterr().out
    assert "layout: none, a plain table" in said
    assert "'temperature' is the temp, in degC" in said
    assert "not used: 'rssi'" in said
    assert "2 readings would be accepted, 1 rows rejected" in said
    assert "row 1: 'A' 2026-05-04T10:00Z temp 18.5, pm25 12" in said
    assert "1 bad_time" in said
    assert "row 3: 'yesterday'" in said


def test_json_has_a_line_for_each_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(tmp_path, GOOD + "A,yesterday,1,2,3\n", "--json") == 0
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {
        "row": 1, "device": "A", "time": "2026-05-04T10:00Z", "values": {"temp": 18.5, "pm25": 12.0}, "missing": {},
        "rejected": None,
    }  # fmt: skip
    assert (second["row"], second["values"], second["missing"]) == (2, {"pm25": 11.0}, {"temp": "no value"})
    assert (third["row"], third["rejected"]["reason"]) == (3, "bad_time")


def test_a_dropped_value_has_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "station,timestamp,temperature,humidity,pm25\nA,2026-05-04T10:00Z,---,,3\nA,2026-05-04T11:00Z,99,50,x\n"
    assert checked(tmp_path, text, "--json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["missing"] == {"temp": "bad_value", "rel_humidity": "no value"}
    assert second["missing"] == {"temp": "out_of_range", "pm25": "bad_value"}
    assert checked(tmp_path, text) == 0
    said = capsys.readouterr().out
    assert "pm25: 1 of 2 values (50.0 %) were dropped, 1 bad_value; most often 'x' (1)" in said


def test_a_told_device_is_not_missed_and_the_refusal_says_what_tells_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(tmp_path, "timestamp,North,South\n2026-05-04T10:00Z,1,2\n", "--device", "yard") == 1
    said = capsys.readouterr().err
    assert "no column for the device" not in said
    assert "stations for a column a station" in said


def test_a_layout_is_named_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(tmp_path, LONG) == 0
    said = capsys.readouterr().out
    assert "layout: OpenAQ archive (line 1 has location_id" in said
    assert "'parameter' is the parameter" in said


def test_device_and_zone_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "timestamp,pm25\n2026-05-04T10:00,12\n"
    assert checked(tmp_path, text, "--device", "yard", "--zone", "Asia/Tokyo", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["device"], row["time"]) == ("yard", "2026-05-04T01:00Z")


def test_a_file_without_a_usable_row_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(tmp_path, "station,timestamp,pm25\nA,yesterday,1\n") == 1
    assert "no row would be accepted" in capsys.readouterr().out


def test_a_refused_file_says_what_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(tmp_path, "when,what\n1,2\n") == 1
    said = capsys.readouterr().err
    assert "a.csv would be refused, header: no column for the device" in said
    assert "[[layouts]]" in said


def test_a_capture_without_messages_is_said_to_be_empty_and_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.avro").write_bytes(avro([]))
    assert main(["check", str(tmp_path / "a.avro")]) == 0
    assert capsys.readouterr().out == "there is nothing in it: no rows\n"
    assert main(["check", str(tmp_path / "a.avro"), "--json"]) == 0


def test_a_file_that_ends_before_its_first_row_fails(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(b" \n" * 300_000 + b"{}")[:-30])
    assert main(["check", str(tmp_path / "a.jsonl")]) == 1


def test_local_times_that_never_were_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "station,timestamp,pm25\nA,2026-03-29T02:30,12\nA,2026-03-29T03:00,12\n"
    assert checked(tmp_path, text, "--zone", "Europe/Berlin") == 0
    assert "local times that never were: 1, such as '2026-03-29T02:30'" in capsys.readouterr().out
