"""Layouts of JSON: dotted paths reach into nested objects, in lines, arrays, documents and envelopes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.core.intake.layouts.objects import flat
from shared.errors import BadEvent
from tests.unit.adapters.tables.envelope_files import jsonl, routed
from tests.unit.adapters.tables.layout_files import read, with_layout

NESTED = with_layout(
    device=["unit.id"], time=["measured.at"], channels={"data.pm2_5.value": "pm25", "data.temp.*": "temp"}
)
READING = {
    "unit": {"id": "S1", "kind": "box"},
    "measured": {"at": "2026-05-04T10:00:00Z"},
    "data": {"pm2_5": {"value": 9.5}, "temp": {"celsius": 21}},
}
RIGHT = ("S1", "2026-05-04T10:00", {"temp": 21.0, "pm25": 9.5})


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (json.dumps(READING) + "\n" + json.dumps(READING) + "\n", 2),
        (json.dumps([READING, READING]), 2),
        (json.dumps(READING, indent=1), 1),
        (json.dumps({"results": [READING, READING]}), 2),
        (json.dumps({"meta": {"found": 1}, "data": {"items": [READING], "next": {"at": []}}}, indent=1), 1),
    ],
    ids=["lines", "array", "pretty", "results", "array in an inner object"],
)
def test_paths_reach_into_nested_objects(data: str, count: int) -> None:
    found = read(data, "a.json", scenario=NESTED)
    assert (found.rows, found.rejected) == ([RIGHT] * count, [])
    assert (found.table.layout, found.table.ignored) == ("mine", ("unit.kind",))
    assert found.table.meaning["data.pm2_5.value"] == "pm25"


def test_a_key_with_dots_goes_before_a_path_that_reads_the_same() -> None:
    both = {**READING, "data.pm2_5.value": 3, "measured": {"at": "2026-05-04T10:00:00Z"}}
    assert read(json.dumps(both), "a.json", scenario=NESTED).rows[0][2] == {"temp": 21.0, "pm25": 3.0}
    assert flat({"a": {"b": {"c": 1}, "b.c": 2}}) == {"a.b.c": 2}


def test_what_has_not_all_that_the_layout_needs_is_read_without_it() -> None:
    plain = {"station": "S2", "ts": "2026-05-04T11:00Z", "temp": 1, "data": {"pm2_5": {"value": 7}}}
    found = read(json.dumps(READING) + "\n" + json.dumps(plain), "a.json", scenario=NESTED)
    assert found.rows == [RIGHT, ("S2", "2026-05-04T11:00", {"temp": 1.0})]


@pytest.mark.parametrize(
    ("keys", "record", "time", "values"),
    [
        ({"time": ["d", "c"], "date_order": "dmy"}, {"d": "4/5/2026", "c": "10:00", "temp": 1}, "10:00", {"temp": 1.0}),
        ({"time_parts": ["y.m.d", "m", "d", "h"]}, {"y": {"m": {"d": 2026}}, "m": 5, "d": "4", "h": 9, "temp": 1},
         "09:00", {"temp": 1.0}),
        ({"time": ["n"], "time_numbers": "excel"}, {"n": 46146.5, "temp": 1}, "12:00", {"temp": 1.0}),
        ({"time": ["ts"], "hour": "ending", "units": {"temp": "degF"}}, {"ts": "2026-05-04T11:00", "temp": 50},
         "10:00", {"temp": 10.0}),
        ({"time": ["ts"], "zone": "Europe/Berlin"}, {"ts": "2026-05-04T12:00", "temp": 1}, "10:00", {"temp": 1.0}),
        ({"time": ["ts"], "missing_values": [-99, "ND"]},
         {"ts": "2026-05-04T10:00", "temp": -99, "rh": "nd", "pm25": 2}, "10:00", {"pm25": 2.0}),
        ({"time": ["ts"], "decimal": ","}, {"ts": "2026-05-04T10:00", "temp": "1,5"}, "10:00", {"temp": 1.5}),
    ],
    ids=["two keys, day first", "parts", "serial days", "hour ending", "zone", "missing values", "decimal comma"],
)  # fmt: skip
def test_a_key_of_a_layout_does_in_lines_what_it_does_in_tables(
    keys: dict[str, Any], record: dict[str, Any], time: str, values: dict[str, float]
) -> None:
    plain = {"station": "S2", "timestamp": "2026-05-04T10:00Z", "pm25": -99, "temp": 2}
    data = jsonl([{"device": "S1", **record}, plain])
    found = read(data, "a.jsonl", scenario=with_layout(**keys))
    assert found.rows == [("S1", f"2026-05-04T{time}", values), ("S2", "2026-05-04T10:00", {"temp": 2.0})]
    assert found.rejected == []


def test_a_device_of_two_keys() -> None:
    data = jsonl([{"at": {"state": 6, "site": " 7"}, "ts": "2026-05-04T10:00Z", "temp": 1}])
    found = read(data, "a.jsonl", scenario=with_layout(device=["at.state", "at.site"]))
    assert found.rows == [("6-7", "2026-05-04T10:00", {"temp": 1.0})]


def test_a_device_is_told_for_objects_by_the_name_of_their_file_or_by_an_option() -> None:
    data = jsonl([{"ts": "2026-05-04T10:00Z", "temp": 1}, {"station": "B", "ts": "2026-05-04T10:00Z", "temp": 2}])
    named = read(data, "log_yard.jsonl", scenario=with_layout(files=["log_{device}.jsonl"]))
    assert [device for device, _, _ in named.rows] == ["yard", "B"]
    assert [device for device, _, _ in read(data, "a.jsonl", device="shed").rows] == ["shed", "B"]


def test_a_layout_reads_what_stands_in_an_envelope() -> None:
    scenario = with_layout(header=["data.pm2_5.value"], time=["measured.at"], channels={"data.pm2_5.value": "pm25"})
    body = {key: READING[key] for key in ("measured", "data")}
    found = read(jsonl([routed(body, "yard-1")]), "a.json", scenario=scenario)
    assert found.rows == [("yard-1", "2026-05-04T10:00", {"pm25": 9.5})]


def test_a_zone_that_is_declared_for_the_file_is_stronger_than_the_layouts() -> None:
    data = jsonl([{"device": "S1", "ts": "2026-05-04T19:00", "temp": 1}])
    found = read(data, "a.json", scenario=with_layout(time=["ts"], zone="Europe/Berlin"), zone="Asia/Tokyo")
    assert found.rows[0][1] == "2026-05-04T10:00"


def test_nesting_has_its_limits() -> None:
    deep: Any = {"x": 1}
    for _ in range(32):
        deep = {"x": deep}
    found = read(jsonl([{**READING, "deep": deep}, READING]), "a.json", scenario=NESTED)
    assert (found.rows, found.reasons) == ([RIGHT], [(1, "too_deep")])
    wide = {**READING, "more": {f"k{i}": i for i in range(1000)}}
    found = read(jsonl([wide, READING]), "a.json", scenario=NESTED)
    assert (found.rows, found.reasons) == ([RIGHT], [(1, "too_large")])
    assert "more than 1000 keys, those of nested objects counted" in found.rejected[0].detail
    assert flat({"a" * 300: {"b": 1}, "c": {"d" * 300: 2, "e": 3}}) == {"c.e": 3}


KEYS = st.sampled_from(["a", "b", "a.b", "unit", "id", "measured", "at", "data", "pm2_5", "value", ""])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just("2026-05-04T10:00Z")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


def most_in(entry: dict[str, Any]) -> int:
    """Rows of an object at most: where no layout knows it, objects in a list under `data` are readings each."""
    held = entry.get("data")
    return len(held) if isinstance(held, list) and held and all(isinstance(each, dict) for each in held) else 1


@settings(max_examples=150, deadline=None)
@example(objects=[{"a": None, "data": [{}, {}]}], array=True)
@given(objects=st.lists(st.dictionaries(KEYS, VALUES, max_size=5), max_size=6), array=st.booleans())
def test_whatever_objects_hold_each_is_a_row(objects: list[dict[str, Any]], *, array: bool) -> None:
    whole = [READING, *({**each, **READING} if i % 2 else each for i, each in enumerate(objects))]
    data = json.dumps(whole).encode() if array else jsonl(whole)
    found = read(data, "a.json", scenario=NESTED, chunk_rows=3)
    assert len(whole) <= found.table.rows <= sum(map(most_in, whole))
    assert found.rows.count(RIGHT) >= (len(whole) + 1) // 2


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_paths_are_those_of_a_plain_walk(value: dict[str, Any]) -> None:
    def walk(entry: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
        if isinstance(entry, dict) and entry:
            return [found for key, inner in entry.items() for found in walk(inner, (*path, key))]
        return [(path, entry)]

    leaves = walk(value, ()) if value else []
    found = flat(value)
    assert found.keys() == {".".join(path) for path, _ in leaves}
    for name, entry in found.items():
        fewest = min(len(path) for path, _ in leaves if ".".join(path) == name)
        assert any(entry is leaf for path, leaf in leaves if ".".join(path) == name and len(path) == fewest)


def test_too_many_keys_are_refused_before_they_take_memory() -> None:
    with pytest.raises(BadEvent, match="too_large"):
        flat({f"a{i}": {f"b{j}": {} for j in range(1000)} for i in range(2)})


def test_one_value_an_object_makes_readings_as_one_value_a_row_does() -> None:
    scenario = with_layout(
        time=["at.time"], device=["at.site"], parameter="what", value="value", unit="unit", decimal=","
    )

    def said(site: object, what: object, value: object, unit: str | None = None) -> dict[str, object]:
        return {"at": {"time": "2026-05-04T10:00Z", "site": site}, "what": what, "value": value, "unit": unit}

    lines = [
        said("A", "pm25", 12.5),
        said("A", "temp", "18,5", "C"),
        said("A", "ozone", 3),
        said(7, "rh", 40),
        said("A", "pm25", [1]),
    ]
    found = read(b"nonsense\n" + jsonl(lines), "a.jsonl", scenario=scenario)
    assert found.rows == [
        ("A", "2026-05-04T10:00", {"temp": 18.5, "pm25": 12.5}), ("7", "2026-05-04T10:00", {"rel_humidity": 40.0}),
    ]  # fmt: skip
    assert found.reasons == [(1, "not_json"), (6, "bad_value")]
    assert found.table.ignored == ("ozone",)


def test_a_key_a_station() -> None:
    lines = [{"time": "2026-05-04T10:00Z", "North": 12, "South": None}, {"time": "2026-05-04T11:00Z", "North": 13}]
    found = read(jsonl(lines), "a.jsonl", scenario=with_layout(files=["a.*"], stations="pm25"))
    assert found.rows == [("North", "2026-05-04T10:00", {"pm25": 12.0}), ("North", "2026-05-04T11:00", {"pm25": 13.0})]
