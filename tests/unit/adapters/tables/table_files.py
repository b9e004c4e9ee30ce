"""Files for the tests of tables, and how these read them."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from shared.adapters.stores.scenario_files import load
from shared.adapters.tables.open import LongTable, open_table
from shared.core.intake.readings import Rejection
from shared.core.intake.reasons import REASONS
from shared.core.scenario import Scenario

AIR = load("air_quality")
NOW = int(np.datetime64("2026-11-20T16:00", "m").astype(np.int64))
HEADER = "site,ts,pm25,temp"


@dataclass
class Read:
    """A long table read to its end."""

    table: LongTable
    devices: list[str] = field(default_factory=list)
    minutes: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)

    @property
    def reasons(self) -> list[tuple[int, str]]:
        return [(rejection.position, rejection.reason) for rejection in self.rejected]

    def column(self, channel: str) -> list[float]:
        c = AIR.channel_names.index(channel)
        return [float(np.frombuffer(row, np.float32)[c]) for row in self.values]

    @property
    def rows(self) -> list[tuple[str, int, bytes]]:
        return list(zip(self.devices, self.minutes, self.values, strict=True))


def read(
    data: bytes, name: str = "a.csv", *, zone: str | None = None, scenario: Scenario = AIR, chunk_rows: int = 50_000
) -> Read:
    table = open_table(name, io.BytesIO(data), scenario, zone=zone, not_after_minute=NOW, chunk_rows=chunk_rows)
    assert isinstance(table, LongTable)
    found = Read(table)
    for part in table:
        readings = part.readings
        assert len(readings) + len(part.rejected) <= chunk_rows
        found.devices += [readings.devices[d] for d in readings.device.tolist()]
        found.minutes += readings.minute.tolist()
        found.positions += readings.position.tolist()
        found.values += [row.tobytes() for row in readings.values]
        found.rejected += part.rejected
    places = found.positions + [rejection.position for rejection in found.rejected]
    assert len(set(places)) == len(places) == table.rows
    assert found.positions == sorted(found.positions)
    assert {rejection.reason for rejection in found.rejected} <= REASONS.keys()
    return found


def lines(*rows: str, header: str = HEADER) -> bytes:
    return "".join(row + "\n" for row in (header, *rows)).encode()


GOOD = "a,2026-11-20T15:00:00Z,30,12.5"


def sample(n: int = 500) -> list[dict[str, Any]]:
    source = random.Random(5)
    start = datetime(2026, 3, 28, tzinfo=timezone.utc)
    return [
        {
            "site": source.choice(["a/b", "Köln 'x'", "🌡️", "Dongsi"]),
            "ts": (start + timedelta(hours=i)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "pm25": source.choice([None, round(source.uniform(0, 900), 1)]),
            "temp": source.choice([None, round(source.uniform(-70, 60), 2)]),
            "pressure": source.choice([None, round(source.uniform(870, 1030), 1), 87.5]),
            "dewp": 1.0,
        }
        for i in range(n)
    ]


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",", end: str = "\n") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]], **types: pa.DataType) -> bytes:
    table = pa.Table.from_pylist(rows)
    for name, kind in types.items():
        column = table[name]
        if pa.types.is_timestamp(kind):
            column = pa.array([datetime.fromisoformat(str(v)) for v in column.to_pylist()])
        if pa.types.is_dictionary(kind):
            column = column.cast(pa.string()).combine_chunks().dictionary_encode()
        table = table.set_column(table.schema.get_field_index(name), name, column.cast(kind))
    sink = io.BytesIO()
    parquet.write_table(table, sink, row_group_size=130)
    return sink.getvalue()


def many(n: int) -> bytes:
    source = random.Random(1)
    return lines(*[f"s{i % 9},2026-11-{1 + i % 19:02}T15:00Z,{source.uniform(0, 900):.6f},1" for i in range(n)])


def mutated(source: random.Random, data: bytes) -> bytes:
    found = bytearray(data)
    snippets = [
        b'"',
        b"\n",
        b"\r",
        b"\r\n",
        b",",
        b",,",
        b'""',
        b"\x00",
        b"\xff",
        b"nan",
        b"\xc3\xa4",
        b"1e999",
        b" ",
        b"x",
    ]
    for _ in range(source.choice((0, 1, 2, 5, 20))):
        at = source.randrange(len(found) + 1)
        kind = source.randrange(4)
        if kind == 0:
            found[at:at] = source.choice(snippets)
        elif kind == 1:
            del found[at : at + source.randrange(1, 9)]
        elif kind == 2:
            found[at : at + 1] = source.choice(snippets)
        else:
            found[at : at + 1] = bytes([source.randrange(256)])
    return bytes(found)


def by_hand(data: bytes) -> int:
    """Rows of a mutated body by the plainest rule: lines that hold something."""
    found = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return sum(1 for line in found if line and not (b"," in line and not line.strip(b', "')))
