"""How fast files and messages are read and checked, and what memory that takes; each form in a process of its own.

Run it with `python -m benchmarks.bench_tables [ROWS]`.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from shared.adapters.stores.scenario_files import load
from shared.adapters.tables.open import open_table
from shared.core.intake.messages.decoding import Decoder

ROWS = 1_000_000
NOW = int(np.datetime64("2026-11-20T16:00", "m").astype(np.int64))
DEVICES = 1000
CHANNELS = (
    ("temp", -20.0, 40.0),
    ("precip", 0.0, 5.0),
    ("rel_humidity", 0.0, 100.0),
    ("wind_dir", 0.0, 360.0),
    ("wind_spd", 0.0, 20.0),
    ("atmos_press", 900.0, 1050.0),
    ("pm25", 0.0, 300.0),
)


def columns(rows: int) -> dict[str, list[object]]:
    """Clean readings of many devices, hour after hour."""
    rng = np.random.default_rng(1)
    hours = np.datetime64("2020-01-01T00:00:00") + np.arange(rows) // DEVICES * np.timedelta64(1, "h")
    values = {name: np.round(rng.uniform(low, high, rows), 1).tolist() for name, low, high in CHANNELS}
    return {"site": [f"device-{i % DEVICES:04}" for i in range(rows)], "ts": hours.astype(str).tolist(), **values}


def csv(rows: int, dirty: float = 0.0) -> bytes:
    """CSV, a share of whose rows holds garbage."""
    table = columns(rows)
    body = [",".join(map(str, row)) for row in zip(*table.values(), strict=True)]
    for i in range(0, rows if dirty else 0, int(1 / dirty) if dirty else 1):
        body[i] = body[i].rpartition(",")[0] + ",garbage"
    return "\n".join([",".join(table), *body]).encode()


def parquet_file(rows: int) -> bytes:
    """Typed columns."""
    table = columns(rows)
    sink = io.BytesIO()
    parquet.write_table(pa.table({**table, "ts": np.array(table["ts"], "M8[ms]")}), sink)
    return sink.getvalue()


def json_lines(rows: int) -> bytes:
    """One object a line."""
    table = columns(rows)
    return "\n".join(
        json.dumps(dict(zip(table, row, strict=True))) for row in zip(*table.values(), strict=True)
    ).encode()


TEXTS = {"type": "map", "values": "string"}
ROUTE = {
    "type": "record", "name": "Message", "fields": [
        {"name": "EnqueuedTimeUtc", "type": "string"}, {"name": "Properties", "type": TEXTS},
        {"name": "SystemProperties", "type": TEXTS}, {"name": "Body", "type": ["null", "bytes"]},
    ],
}  # fmt: skip


def routed(rows: int) -> Iterator[dict[str, Any]]:
    """Messages as an IoT Hub routes them to storage, a tenth as many as rows."""
    when = "2026-11-20T12:00:05.1230000Z"
    for place, body in enumerate(json_lines(rows // 10).split(b"\n")):
        told = {"connectionDeviceId": f"device-{place % DEVICES:04}", "enqueuedTime": when}
        yield {"EnqueuedTimeUtc": when, "Properties": {}, "SystemProperties": told, "Body": body}


def routed_avro(rows: int) -> bytes:
    """IoT Hub's default form."""
    sink = io.BytesIO()
    fastavro.writer(sink, ROUTE, routed(rows))
    return sink.getvalue()


def routed_lines(rows: int) -> bytes:
    """The same messages as lines of JSON, with bodies in base64."""
    texts = ({**each, "Body": base64.b64encode(each["Body"]).decode()} for each in routed(rows))
    return "\n".join(map(json.dumps, texts)).encode()


FILES: dict[str, Callable[[int], bytes]] = {
    "CSV": csv,
    "CSV, gzipped": lambda rows: gzip.compress(csv(rows), 6),
    "CSV, 0.2 % of the rows garbage": lambda rows: csv(rows, 0.002),
    "CSV, every row garbage": lambda rows: csv(rows, 1.0),
    "Parquet": parquet_file,
    "JSON lines": json_lines,
    "IoT Hub's routes, JSON lines": routed_lines,
    "IoT Hub's routes, Avro": routed_avro,
}


def read_file(name: str, rows: int, path: Path) -> str:
    """One row of the table, for a file that another process wrote."""
    scenario = load("air_quality")
    for part in open_table("a", io.BytesIO(FILES[name](10_000)), scenario, zone=None, not_after_minute=NOW):
        assert part.rejected is not None  # everything is imported now
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    with path.open("rb") as stream:
        table = open_table("a", stream, scenario, zone=None, not_after_minute=NOW)
        rejected = sum(len(part.rejected) for part in table)
    took, used = time.perf_counter() - start, time.process_time() - cpu
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert table.rows in (rows, rows // 10)
    rows, used = table.rows, used + sum(os.times()[2:4])
    return (
        f"{name:32}{path.stat().st_size / 1e6:7.1f} MB {rows / took / 1e3:6.0f} k rows/s"
        f"{used / rows * 1e6:6.2f} us CPU a row {rejected:8} rejected {grown:6.1f} MB more memory"
    )


def read_messages() -> str:
    """Messages in batches of 1,000 and one at a time."""
    decoder = Decoder(load("air_quality"))
    bodies = json_lines(1000).replace(b'", "temp', b'Z", "temp').split(b"\n")
    ids = [f"device-{i:04}" for i in range(1000)]
    times = []
    for size, repeats in ((1000, 50), (100, 100), (10, 200), (1, 500)):
        best = 1e9
        for _ in range(repeats):
            start = time.perf_counter()
            parsed = decoder.decode_many(
                bodies[:size], positions=range(size), identities=ids[:size], not_after_minutes=[NOW] * size
            )
            best = min(best, time.perf_counter() - start)
        assert len(parsed.readings) == size
        times.append(f"{best * 1e6:.0f} us for {size}")
    return f"{'messages':32}{', '.join(times)}"


def main() -> None:
    """Print the table; with more arguments, write one file or read it."""
    if len(sys.argv) == 5:
        rows, name, path, task = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4]
        if task == "write":
            path.write_bytes(FILES[name](rows))
        else:
            print(read_file(name, rows, path))
        return
    count = sys.argv[1] if len(sys.argv) > 1 else str(ROWS)
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            for task in ("write", "read"):
                command = [sys.executable, "-m", "benchmarks.bench_tables", count, name, f"{folder}/file", task]
                subprocess.run(command, check=True)  # noqa: S603 - ourselves
    print(read_messages())


if __name__ == "__main__":
    main()
