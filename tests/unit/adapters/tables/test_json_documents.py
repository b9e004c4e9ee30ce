"""JSON documents: objects over several lines, and arrays of readings that an object wraps."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.tables.json import documents as json_documents
from shared.adapters.tables.json.documents import Documents
from shared.adapters.tables.source import Source
from shared.core.intake.layouts.objects import of_file
from shared.core.scenario import with_overrides
from tests.unit.adapters.tables.table_files import AIR, Read, read

READINGS: list[dict[str, Any]] = [
    {"station": "S1", "timestamp": "2026-05-04T10:00:00Z", "pm25": 9.5},
    {"station": "S1", "timestamp": "2026-05-04T11:00:00Z", "pm25": 9.75, "note": 'a "] , { text'},
]
EXPECTED = ["S1", "S1"], [29631480, 29631540], [9.5, 9.75]


def of(found: Read) -> tuple[list[str], list[int], list[float]]:
    return found.devices, found.minutes, found.column("pm25")


def bare(reading: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in reading.items() if key != "station"}


FORMS: dict[str, str] = {
    "pretty, one after the other": "\n".join(json.dumps(each, indent=2) for each in READINGS),
    "pretty array": json.dumps(READINGS, indent=2),
    "results": json.dumps({"results": READINGS}),
    "results, pretty": json.dumps(
        {"meta": {"found": 2, "x": [1]}, "results": READINGS, "links": ["}", [{}]]}, indent=1
    ),
    "device outside": json.dumps({"station": "S1", "data": [bare(each) for each in READINGS]}),
    "names and rows": json.dumps(
        {"fields": ["timestamp", "pm25"], "station": "S1", "data": [[e["timestamp"], e["pm25"]] for e in READINGS]}
    ),
    "named fields": json.dumps(
        {
            "channel": {"id": 12, "name": "Yard", "field1": "PM2.5 (ug/m3)", "field2": "x"},
            "feeds": [{"timestamp": e["timestamp"], "entry_id": 1, "field1": str(e["pm25"])} for e in READINGS],
        }
    ).replace("12", '"S1"'),
    "a document a line": "\n".join(json.dumps({"batch": 1, "data": [each]}) for each in READINGS),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_the_same_readings_in_any_document(form: str, bom: bytes) -> None:
    found = read(bom + FORMS[form].encode(), "a.json", chunk_rows=1)
    assert of(found) == EXPECTED
    assert (found.reasons, found.table.problem, found.table.rows) == ([], None, 2)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(FORMS)), st.integers(1, 60))
def test_a_document_that_is_read_in_pieces_of_any_size_gives_the_same_lines(form: str, size: int) -> None:
    data = FORMS[form].encode()
    if data.startswith(b"["):
        return
    whole, pieces = (
        Documents(of_file(AIR, "a.json")).blocks(Source(io.BytesIO(data)), data, cut) for cut in (1 << 20, size)
    )
    assert whole is not None
    assert pieces is not None
    assert b"".join(pieces) == b"".join(whole)


@pytest.mark.parametrize(
    "line",
    [
        '{"station":"S1","timestamp":"2026-05-04T10:00:00Z","pm25":9.5}',
        '{"station":"S1","timestamp":"2026-05-04T10:00:00Z","pm25":9.5,"more":[{"pm25":1}]}',
        '{"station":"S1","timestamp":"2026-05-04T10:00:00Z","pm25":9.5,"more":[[1],[2]],"tags":["a"]}',
    ],
)
def test_a_file_of_lines_stays_one(line: str) -> None:
    assert Documents(of_file(AIR, "a.json")).blocks(Source(io.BytesIO(b"")), line.encode()) is None
    found = read(f"{line}\nnonsense\n{line[:-1]}\n{line}\n".encode())
    assert (found.positions, found.reasons) == ([1, 4], [(2, "not_json"), (3, "not_json")])


def test_a_first_line_that_is_no_json_is_refused_alone() -> None:
    lines = "".join(f"{json.dumps(each)}\n" for each in READINGS)
    found = read(f"nonsense\n{lines}".encode(), "a.jsonl")
    assert (of(found), found.reasons) == (EXPECTED, [(1, "not_json")])


def test_each_reading_of_a_document_stands_for_itself() -> None:
    rows = [*READINGS, {"station": "S1", "timestamp": "x", "pm25": 1}, 5, {"station": "S2"}]
    found = read(json.dumps({"results": rows}).encode())
    assert (found.positions, found.reasons) == ([1, 2], [(3, "bad_time"), (4, "not_an_object"), (5, "missing_time")])


def test_a_row_that_does_not_fit_its_names_is_refused_alone() -> None:
    rows = [["S1", "2026-05-04T10:00:00Z", 1], ["S1", "2026-05-04T11:00:00Z"], ["S1", "2026-05-04T12:00:00Z", 3]]
    found = read(json.dumps({"fields": ["station", "timestamp", "pm25"], "data": rows}).encode())
    assert (found.column("pm25"), found.reasons) == ([1.0, 3.0], [(2, "not_an_object")])


@pytest.mark.parametrize("cut", [1, 2, 30, 80])
def test_a_document_that_does_not_end_keeps_what_stood_before(cut: int) -> None:
    found = read(FORMS["results"].encode()[:-cut])
    assert found.table.problem is not None
    assert found.table.problem.startswith("truncated: the JSON document does not end")
    assert found.devices == ["S1"] * (2 if cut == 1 else 1)


def test_a_value_without_end_is_refused_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_documents, "LONGEST_LINE", 1000)
    data = json.dumps({"results": [READINGS[0], {"note": "x" * 5000}]}).encode()
    source = Source(io.BytesIO(data))
    found = Documents(of_file(AIR, "a.json")).blocks(source, data, 100)
    assert found is not None
    assert max(map(len, found)) <= 1101
    assert (source.reason, source.problem) == ("too_large", "a value is longer than 1000 bytes")


def test_what_a_service_calls_its_names_is_said_in_the_scenario() -> None:
    names = {"device": ["sensor_index"], "time": ["time_stamp"]}
    answer = {
        "time_stamp": 1777888800, "sensor_index": 70001, "average": 60,
        "fields": ["time_stamp", "humidity", "pm25"], "data": [[1777888800, 41, 6.5], [1777892400, 40, 5.5]],
    }  # fmt: skip
    found = read(json.dumps(answer).encode(), scenario=with_overrides(AIR, names=names))
    assert of(found) == (["70001", "70001"], [29631480, 29631540], [6.5, 5.5])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ['{"results":[', '{"station":"a","pm25":1}', "]", "}", "{", "[", ",", '"', "\\", "\n", "1", ":"]
        )
    )
)
def test_any_brackets_end_in_rows_or_a_refusal(parts: list[str]) -> None:
    found = read(('{"results":[{"pm25":1}' + "".join(parts)).encode(), "a.json")
    assert found.devices == []


@pytest.mark.parametrize(("limit", "arrays"), [("_MOST_ARRAYS", True), ("_MOST_KEYS", False)])
def test_readings_are_looked_for_among_the_first_of_an_objects_values_only(
    monkeypatch: pytest.MonkeyPatch, limit: str, *, arrays: bool
) -> None:
    """Each array is looked at with all that stands before it: many of them would take the square of their number."""
    document = json.dumps({"a": [{}] if arrays else 1, "b": 2, "results": READINGS}, indent=1).encode()
    monkeypatch.setattr(json_documents, limit, 2)
    assert of(read(document, "a.json")) == EXPECTED
    monkeypatch.setattr(json_documents, limit, 1)
    assert read(document, "a.json").devices == []
