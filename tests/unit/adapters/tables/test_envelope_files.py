"""Files of messages in Azure's envelopes, dropped as Azure wrote them."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.tables import source
from shared.adapters.tables.json import array as json_array
from shared.adapters.tables.limits import FileLimits
from shared.adapters.tables.open import open_table
from shared.core.intake.columns import Columns
from shared.core.intake.envelopes.carriers import Carrier
from shared.core.intake.tables import LongTable
from shared.errors import BadEvent
from tests.unit.adapters.tables.envelope_files import CAPTURE, ROUTE, avro, captured, jsonl, routed, text
from tests.unit.adapters.tables.table_files import AIR, NOW, Read, read

CARRIER = Carrier(Columns(AIR))
BODY = b'{"timestamp": "2026-05-04T10:00:00Z", "temperature": 14.5, "humidity": 61}'
EARLIER = b'{"timestamp": "2026-05-04T09:00:00Z", "temperature": 13.5}'
ADDED = {"EventProcessedUtcTime": "2026-05-04T12:01:00.1015921Z", "PartitionId": 3}


def found(table: Read) -> list[tuple[str, str, float]]:
    assert table.rejected == []
    times = [str(np.datetime64(minute, "m")) for minute in table.minutes]
    return list(zip(table.devices, times, table.column("temp"), strict=True))


def test_a_route_of_iot_hub_is_read_whatever_form_its_bodies_have() -> None:
    bodies = [json.loads(BODY), text(BODY), BODY.decode(), {"temperature": 13.0}]
    table = read(jsonl([routed(body, f"yard-{i}") for i, body in enumerate(bodies)]), "part-0")
    expected = [(f"yard-{i}", "2026-05-04T10:00", 14.5) for i in range(3)]
    assert found(table) == [*expected, ("yard-3", "2026-05-04T12:00", 13.0)]
    assert (table.positions, table.table.ignored) == ([1, 2, 3, 4], ())


def test_a_clock_without_zone_is_read_in_the_declared_zone_and_never_as_a_later_utc() -> None:
    line = jsonl([routed(text(b'{"timestamp": "2026-05-04T13:00:21.303468", "temperature": 23.0}'))])
    assert found(read(line, "a.json", zone="Europe/London")) == [("yard-1", "2026-05-04T12:00", 23.0)]
    (rejection,) = read(line, "a.json").rejected
    assert rejection.reason == "future"
    assert rejection.detail.endswith(
        "it has no zone: declare one for its station ([stations.ID] zone), or for its file"
    )


def test_exports_of_iot_central_and_lines_of_stream_analytics_are_read() -> None:
    about = {"applicationId": "0", "messageSource": "telemetry", "deviceId": "yard-1", "schema": "default@v1"}
    central = {**about, "enqueuedTime": "2026-05-04T10:00:05.143Z", "telemetry": {"temperature": 14.5}}
    hub = {"ConnectionDeviceId": "yard-1", "EnqueuedTime": "2026-05-04T11:00:05.6250000Z", "MessageId": None}
    selected = {"deviceId": "yard-1", "temperature": 15.5, **ADDED, "EventEnqueuedUtcTime": "2026-05-04T11:00:05Z"}
    expected = [("yard-1", "2026-05-04T10:00", 14.5), ("yard-1", "2026-05-04T11:00", 15.5)]
    values = [central, {**selected, "IoTHub": hub}]
    assert found(read(jsonl(values), "a.json")) == expected
    array = b"[" + json.dumps(values[0]).encode() + b"\r\n," + json.dumps(values[1], indent=1).encode() + b"]\n"
    assert found(read(array, "a")) == expected
    assert found(read(gzip.compress(array), "a.json.gz")) == expected


def test_further_readings_of_a_body_move_the_numbers_of_those_behind_it() -> None:
    plain = {"site": "s", "ts": "2026-05-04T10:00Z", "temp": 1.0}
    both = routed([json.loads(BODY), json.loads(EARLIER), {"temperature": 900}])
    data = jsonl([plain, both, plain]) + b"\n" + jsonl([both, plain])
    for chunk_rows in (1, 2, 50):
        tables = open_table("a", io.BytesIO(data), AIR, zone=None, not_after_minute=NOW, chunk_rows=chunk_rows)
        assert isinstance(tables, LongTable)
        parts = list(tables)
        places = [place for part in parts for place in part.readings.position.tolist()]
        assert places == [1, 2, 3, 5, 7, 8, 10]
        assert [(r.position, r.reason) for part in parts for r in part.rejected] == [
            (4, "out_of_range"),
            (9, "out_of_range"),
        ]
        assert tables.rows == 9


ELEMENTS = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(st.sampled_from('a"\\[]{},\n\u00fc'), max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from('a"],'), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ELEMENTS, max_size=5), st.sampled_from([None, 1]), st.integers(1, 40))
def test_an_array_is_the_lines_of_its_elements_wherever_it_is_cut(
    elements: list[Any], indent: int | None, size: int
) -> None:
    data = b"\xef\xbb\xbf \n" + json.dumps(elements, indent=indent, ensure_ascii=False).encode() + b"\n"
    lines = b"".join(json_array.blocks(source.Source(io.BytesIO(data)), CARRIER, size)).splitlines()
    assert [json.loads(line) for line in lines if line.strip()] == elements


def test_an_array_that_does_not_end_says_so_and_one_that_is_followed_by_something_refuses_that() -> None:
    whole = json.dumps({"site": "s", "ts": "2026-05-04T10:00Z", "temp": 1.0}).encode()
    cut = read(b"[" + whole + b"," + whole[:-4], "a.json")
    assert (cut.positions, cut.reasons) == ([1], [(2, "truncated")])
    assert cut.table.problem == "truncated: the JSON array does not end; 2 rows were read"
    more = read(b"[" + whole + b"] [" + whole + b"]\nmore\n", "a.json")
    assert (more.positions, more.reasons, more.table.problem) == ([1, 2], [(3, "not_json")], None)


def test_an_element_of_an_array_has_the_limit_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_array, "LONGEST_LINE", 100)
    stream = source.Source(io.BytesIO(b'[{"a": 1}, "' + b"x" * 200 + b'", 2]'))
    assert b"".join(json_array.blocks(stream, CARRIER, 50)).splitlines()[0] == b'{"a": 1}'
    assert (stream.reason, stream.problem) == ("too_large", "an element is longer than 100 bytes")


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_capture_is_read_as_the_messages_it_holds(codec: str) -> None:
    twin = captured(4, b'{"version": 3}')
    twin["SystemProperties"]["iothub-message-source"] = "twinChangeEvents"
    records = [captured(1, BODY), captured(2, b"[" + BODY + b"," + EARLIER + b"]", "yard-2"),
               captured(3, b'{"temperature": 9}', "yard-3"), twin, captured(5, b"hello")]  # fmt: skip
    table = read(avro(records, codec=codec), "0.avro")
    assert table.reasons == [(5, "not_telemetry"), (6, "not_json")]
    assert table.devices == ["yard-1", "yard-2", "yard-2", "yard-3"]
    assert table.minutes == [int(np.datetime64(f"2026-05-04T{hour:02d}", "m").astype(int)) for hour in (10, 10, 9, 12)]
    assert (table.positions, table.column("temp")) == ([1, 2, 3, 4], [14.5, 14.5, 13.5, 9.0])


def test_a_route_in_avro_and_plain_readings_in_avro_are_read() -> None:
    assert found(read(avro([routed(BODY)], ROUTE), "00")) == [("yard-1", "2026-05-04T10:00", 14.5)]
    fields = [{"name": "site", "type": "string"}, {"name": "temp", "type": ["null", "double"]}]
    stamp = {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}}
    records = [{"site": "a", "temp": 1.5, "ts": 1777888805123}, {"site": "a", "temp": None, "ts": 1777888805123}]
    table = read(avro(records, {"type": "record", "name": "R", "fields": [*fields, stamp]}), "a.avro")
    assert (table.devices, table.column("temp"), table.reasons) == (["a"], [1.5], [(2, "no_values")])
    assert table.minutes == [1777888805123 // 60_000]


def test_a_capture_without_events_has_no_rows_and_is_no_error() -> None:
    table = read(avro([]), "0.avro")
    assert (table.table.rows, table.rejected, table.table.problem) == (0, [], None)


def test_an_avro_file_and_the_same_lines_give_the_same() -> None:
    records = [routed(BODY if i % 3 else b"[" + BODY + b",5]", f"yard-{i % 7}") for i in range(500)]
    lines = jsonl([{**record, "Body": text(record["Body"])} for record in records])
    one, other = read(avro(records, ROUTE, sync_interval=5000), "a"), read(lines, "b")
    assert (one.rows, one.positions, one.reasons) == (other.rows, other.positions, other.reasons)
    assert len(one.positions) == 500


def refused(data: bytes, **limits: int) -> BadEvent:
    with pytest.raises(BadEvent) as caught:
        list(open_table("a", io.BytesIO(data), AIR, zone=None, not_after_minute=NOW, limits=FileLimits(**limits)))
    return caught.value


def number(value: int) -> bytes:
    """An Avro long."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", value)
    return out.getvalue()


def with_block(records: int, size: int, data: bytes) -> bytes:
    """A capture with one good block, and behind it one that declares what it likes."""
    whole = avro([captured(1, BODY)])
    return whole + number(records) + number(size) + data + whole[-16:]


@pytest.mark.parametrize(
    ("records", "size", "detail"),
    [
        (1, 1 << 40, "1099511627776 bytes are declared where 36 are left"),
        (1 << 40, 20, "1099511627776 records are declared in 20 bytes"),
        (1, -5, "-5 bytes are declared where 36 are left"),
    ],
)
def test_an_avro_file_that_declares_more_than_it_holds_ends_there(records: int, size: int, detail: str) -> None:
    table = read(with_block(records, size, bytes(20)), "a")
    assert found(table) == [("yard-1", "2026-05-04T10:00", 14.5)]
    assert table.table.problem == f"truncated: a damaged Avro file: {detail}; 1 rows were read"


def test_an_avro_file_that_is_damaged_before_its_first_record_is_refused() -> None:
    whole = avro([captured(1, BODY)])
    for data in (whole[:-60], whole[:200], b"Obj\x01", b"Obj\x01" + bytes(100), b"Obj\x01" + number(1 << 40) * 2):
        assert refused(data).reason == "format"
    assert refused(gzip.compress(whole)[:-20]).reason == "truncated"


def deep(levels: int) -> Any:
    kind: Any = "int"
    for _ in range(levels):
        kind = {"type": "array", "items": kind}
    return {"type": "record", "name": "R", "fields": [{"name": "a", "type": kind}]}


def test_a_schema_that_is_too_deep_too_long_or_packed_otherwise_is_refused_before_it_is_used() -> None:
    assert read(avro([], deep(20)), "a").rejected == []
    assert "nested deeper than" in refused(avro([], deep(70))).detail
    long = {"type": "record", "name": "R", "doc": "x" * (1 << 20), "fields": []}
    assert "is longer than 1048576" in refused(avro([], long)).detail
    inner = {"type": "record", "name": "I", "fields": [{"name": "r", "type": ["null", "N.R"]}]}
    itself = {"type": "record", "name": "R", "namespace": "N", "fields": [{"name": "a", "type": inner}]}
    assert "a type of its schema holds itself" in refused(avro([], itself)).detail
    fields = [{"name": "a", "type": deep(2) | {"name": "I"}}, {"name": "b", "type": "I"}]
    twice = {"type": "record", "name": "R", "fields": fields}
    assert read(avro([], twice), "a").rejected == []
    other = avro([]).replace(b"\x08null", b"\x08zstd")
    assert "its codec is none of null, deflate, bzip2, xz" in refused(other).detail


def test_an_avro_file_that_takes_more_memory_or_room_than_allowed_is_refused() -> None:
    large = avro([captured(1, BODY + b" " * 30_000_000)], CAPTURE, codec="deflate")
    assert len(large) < 100_000
    error = refused(large, reader_mb=60)
    assert error.reason == "too_large"
    assert error.detail == "an Avro file beyond the limits: more memory than FILE_READER_MB = 60 is needed"
    assert refused(avro([captured(1, bytes(2_000_000))]), disk_mb=1).reason == "too_large"


def test_an_avro_file_that_unpacks_to_more_than_allowed_is_read_up_to_there() -> None:
    many = avro([captured(i, BODY) for i in range(40_000)], codec="deflate")
    tables = open_table("a", io.BytesIO(many), AIR, zone=None, not_after_minute=NOW, limits=FileLimits(unpacked_mb=5))
    assert isinstance(tables, LongTable)
    rows = sum(len(part.readings) + len(part.rejected) for part in tables)
    assert 0 < rows < 40_000
    assert tables.problem == f"too_large: more than FILE_MB = 5 MB once unpacked; {rows} rows were read"
