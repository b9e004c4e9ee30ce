"""Whatever a file holds and a layout says of it: rows and rejections, or a refusal in words, and nothing is lost."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from shared.adapters.tables.avro import files as avro_files
from shared.adapters.tables.avro import reader as avro_reader
from shared.adapters.tables.limits import FileLimits
from shared.adapters.tables.open import open_table
from shared.adapters.tables.parquet import files as parquet_files
from shared.adapters.tables.parquet import reader as parquet_reader
from shared.adapters.tables.source import Source
from shared.core.intake.reasons import REASONS
from shared.core.intake.tables import LongTable
from shared.core.scenario import FileLayout, Scenario, with_overrides
from shared.core.scenario.layouts import problems
from shared.errors import BadEvent
from tests.unit.adapters.tables.envelope_files import avro, jsonl
from tests.unit.adapters.tables.table_files import AIR, NOW

NAMES = ["site", "time", "clock", "what", "value", "unit", "temp", "pm25", "air.temp", "air.pm", "x"]
some = st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple)
one = st.sampled_from(NAMES)
KEYS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "files": st.just(("*",)),
        "header": st.just(("site",)) | some,
        "time": st.sampled_from([("time",), ("time", "clock")]) | some,
        "time_parts": st.just(("site", "time", "clock")),
        "date_order": st.sampled_from(["dmy", "mdy"]),
        "time_numbers": st.just("excel"),
        "hour": st.just("ending"),
        "zone": st.sampled_from(["Europe/Berlin", "-03:30"]),
        "device": st.just(("site",)) | some,
        "decimal": st.just(","),
        "channels": st.dictionaries(
            st.sampled_from(["air.*", "x", "*"]), st.sampled_from(["temp", "pm25"]), max_size=2
        ),
        "units": st.just({"temp": "degF"}),
        "missing_values": st.just((-99, "x")),
        "stations": st.just("pm25"),
    },
)
LAYOUTS = st.one_of(KEYS, KEYS.map(lambda keys: {**keys, "parameter": "what", "value": "value", "unit": "unit"}))
TEXTS = st.sampled_from(
    ["", "a", "x", "2026-05-04", "2026-05-04 10:00", "4/5/2026", "10:00", "12", "1,5", "pm25", "C", "\u00fc"]
)
CELLS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), TEXTS),
    "binary": (pa.binary(), st.sampled_from([b"a", b"2026-05-04T10:00Z", b"\xff"])),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), TEXTS),
    "float": (pa.float64(), st.floats()),
    "half": (pa.float32(), st.sampled_from([1.5, float("nan"), float("inf")])),
    "integer": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "unsigned": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "epoch": (pa.int32(), st.integers(1_700_000_000, 1_777_888_800)),
    "bool": (pa.bool_(), st.booleans()),
    "instant": (pa.timestamp("us", "UTC"), st.integers(-(2**50), 2**50)),
    "clock": (pa.timestamp("ns"), st.integers(-(2**62), 2**62)),
    "date": (pa.date32(), st.integers(-(10**5), 10**5)),
    "span": (pa.time64("us"), st.integers(0, 86_399_999_999)),
    "decimal": (pa.decimal128(10, 2), st.integers(-999, 999).map(Decimal)),
    "list": (pa.list_(pa.float64()), st.lists(st.floats(), max_size=2)),
    "struct": (pa.struct([("temp", pa.float64())]), st.fixed_dictionaries({"temp": st.floats()})),
    "null": (pa.null(), st.none()),
}


FITTING = {
    "site": ["text", "dictionary", "integer", "binary"],
    "time": ["text", "instant", "clock", "epoch", "float", "date"],
    "clock": ["text", "span"],
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A table of any columns, of which most are of a kind that fits their name."""
    n = draw(st.integers(1, 4))
    columns = {}
    for name in ("site", "time", *draw(st.lists(one, min_size=1, max_size=6, unique=True))):
        kinds = FITTING.get(name, ["float", "text"]) if draw(st.integers(0, 9)) else sorted(CELLS)
        kind, cell = CELLS[draw(st.sampled_from(kinds))]
        cells = draw(st.lists(st.none() | cell, min_size=n, max_size=n))
        columns[name] = pa.array(cells, kind)
    return pa.table(columns)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """One with a layout that makes sense."""
    layout = FileLayout(name="mine", **draw(LAYOUTS))
    assume(not list(problems((layout,), AIR.channels)))
    return with_overrides(AIR, layouts=(layout,))


class InProcess:
    """Decodes a Parquet file here and now: starting a process takes as long as a hundred small files."""

    def __init__(self, path: str, _: FileLimits) -> None:
        self._file = parquet_reader.opened(path)
        self.schema = parquet_reader.plain(self._file.schema_arrow)
        self.rows = self._file.metadata.num_rows

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        for batch in self._file.iter_batches(rows, columns=list(names)):
            yield from parquet_reader.stretches(batch)


def avro_in_process(packed: Source, _: FileLimits) -> Source:
    """The lines of an Avro file, likewise."""
    held = io.BytesIO(packed.read(1 << 20))
    return Source(io.BytesIO(b"".join(line + b"\n" for line in avro_reader.lines(held))))  # type: ignore[arg-type]


def rows_of(data: bytes, name: str, scenario: Scenario, device: str | None) -> int | None:
    """Rows that a file was read as, each once; None where it is refused as a whole."""
    places: list[int] = []
    problem: BadEvent | None = None
    try:
        table = open_table(
            name, io.BytesIO(data), scenario, zone=None, not_after_minute=NOW, chunk_rows=3, device=device
        )
        if not isinstance(table, LongTable):
            return None
        for part in table:
            places += [*part.readings.position.tolist(), *(rejection.position for rejection in part.rejected)]
            assert {rejection.reason for rejection in part.rejected} <= REASONS.keys()
            assert all(rejection.detail.isprintable() for rejection in part.rejected)
    except BadEvent as refused:
        problem = refused
    if problem is not None:
        assert problem.reason in REASONS
        assert problem.detail.isprintable()
        return None
    assert len(set(places)) == len(places) == table.rows
    return table.rows


def every_row_counts(rows: int | None, n: int, scenario: Scenario) -> None:
    """Each row is read or refused; where a row has one value those of other channels are left, of a column a station
    those without a value."""
    (layout,) = scenario.layouts
    assert rows is None or rows == n or layout.parameter or layout.stations


@settings(max_examples=60, deadline=None)
@example(
    table=pa.table({"time": ["2026-05-04T10:00Z"], "x": [[1.0]]}),
    scenario=with_overrides(AIR, layouts=(FileLayout(name="mine", time=("time",), stations="pm25"),)),
    device=None,
)
@given(table=tables(), scenario=scenarios(), device=st.sampled_from([None, "d"]))
def test_any_parquet_file_under_any_layout(table: pa.Table, scenario: Scenario, device: str | None) -> None:
    file = io.BytesIO()
    parquet.write_table(table, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_files, "Reading", InProcess)
        every_row_counts(rows_of(file.getvalue(), "a.parquet", scenario, device), table.num_rows, scenario)


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    TEXTS,
    st.just("2026-05-04T10:00Z"),
    st.just("A"),
)
INNER = st.dictionaries(st.sampled_from(["temp", "pm", "air.temp", "site"]), LEAVES, max_size=3)
VALUES = st.one_of(LEAVES, INNER, st.lists(LEAVES | INNER, max_size=2))
OBJECTS = st.dictionaries(st.sampled_from([*NAMES, "air", "payload", "n", "bn", "v", "body"]), VALUES, max_size=7)


@settings(max_examples=150, deadline=None)
@given(
    objects=st.lists(OBJECTS, max_size=5),
    scenario=scenarios(),
    device=st.sampled_from([None, "d"]),
    array=st.booleans(),
)
def test_any_json_under_any_layout(
    objects: list[dict[str, Any]], scenario: Scenario, device: str | None, *, array: bool
) -> None:
    whole = [{"site": "A", "time": "2026-05-04T10:00Z", "temp": 1}, *objects]
    data = json.dumps(whole).encode() if array else jsonl(whole)
    rows = rows_of(data, "a.json", scenario, device)
    (layout,) = scenario.layouts
    assert layout.parameter or layout.stations or (rows is not None and rows >= len(whole))


@settings(max_examples=150, deadline=None)
@given(
    objects=st.lists(OBJECTS, min_size=1, max_size=3), scenario=scenarios(), cut=st.integers(0, 300),
    flips=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=3),
)  # fmt: skip
def test_any_damaged_json_under_any_layout(
    objects: list[dict[str, Any]], scenario: Scenario, cut: int, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(jsonl(objects)[: -cut or None])
    for place, byte in flips:
        if place < len(data):
            data[place] = byte
    rows_of(bytes(data), "a.json", scenario, None)


FIELDS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (["null", "string"], st.none() | TEXTS),
    "double": ("double", st.floats()),
    "long": ("long", st.integers(-(2**63), 2**63 - 1)),
    "millis": ({"type": "long", "logicalType": "timestamp-millis"}, st.integers(0, 1_777_888_800_000)),
    "date": ({"type": "int", "logicalType": "date"}, st.integers(0, 20_000)),
    "bytes": (["null", "bytes"], st.none() | st.sampled_from([b"a", b"\xff", b'{"temp": 1}'])),
    "map": ({"type": "map", "values": "double"}, st.dictionaries(st.sampled_from(["temp", "pm"]), st.floats())),
    "array": ({"type": "array", "items": "string"}, st.lists(TEXTS, max_size=2)),
    "enum": ({"type": "enum", "name": "e", "symbols": ["A", "B"]}, st.sampled_from("AB")),
}


@st.composite
def captures(draw: st.DrawFn) -> tuple[bytes, int]:
    """An Avro file of any fields, and how many records it has."""
    n = draw(st.integers(1, 4))
    known = [name for name in (*NAMES, "air") if "." not in name]
    names = draw(st.lists(st.sampled_from(known), min_size=1, max_size=6, unique=True))
    kinds = {name: draw(st.sampled_from(sorted(FIELDS))) for name in names}
    fields = [{"name": name, "type": named(FIELDS[kind][0], name)} for name, kind in kinds.items()]
    records = [{name: draw(FIELDS[kind][1]) for name, kind in kinds.items()} for _ in range(n)]
    codec = draw(st.sampled_from(["null", "deflate"]))
    return avro(records, {"type": "record", "name": "R", "fields": fields}, codec=codec), n


def named(kind: Any, name: str) -> Any:
    return {**kind, "name": f"e_{name}"} if isinstance(kind, dict) and "symbols" in kind else kind


@settings(max_examples=60, deadline=None)
@given(file=captures(), scenario=scenarios(), device=st.sampled_from([None, "d"]))
def test_any_avro_file_under_any_layout(file: tuple[bytes, int], scenario: Scenario, device: str | None) -> None:
    data, n = file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(avro_files, "AvroSource", avro_in_process)
        every_row_counts(rows_of(data, "a.avro", scenario, device), n, scenario)
