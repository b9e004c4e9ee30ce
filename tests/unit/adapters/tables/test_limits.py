"""Files that say little and hold much: refused before they take memory or disk, and nothing else suffers."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from shared.adapters.tables import source
from shared.adapters.tables.limits import FileLimits
from shared.adapters.tables.open import open_table
from shared.adapters.tables.parquet.process import Reading
from shared.adapters.tables.parquet.reader import ROW_BYTES, STRETCH_BYTES
from shared.core.intake.readings import Parsed
from shared.core.intake.tables import LongTable
from shared.errors import BadEvent, TransientFailure
from tests.unit.adapters.tables.table_files import AIR, GOOD, NOW, as_parquet, lines, sample

SAME = lines(*[GOOD] * 20_000)


def opened(data: bytes, name: str = "a.csv", chunk_rows: int = 10_000, **limits: int) -> LongTable:
    table = open_table(
        name, io.BytesIO(data), AIR, zone=None, not_after_minute=NOW, chunk_rows=chunk_rows, limits=FileLimits(**limits)
    )
    assert isinstance(table, LongTable)
    return table


def written(**columns: Any) -> bytes:
    """A Parquet file, its texts by dictionary and its pages compressed."""
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def long_file(rows: int, **more: Any) -> bytes:
    return written(**{"site": ["a"] * rows, "ts": [1_790_000_000] * rows, "temp": np.ones(rows), **more})


def counted(table: LongTable) -> tuple[int, list[Parsed]]:
    parts = list(table)
    return sum(len(part.readings) + len(part.rejected) for part in parts), parts


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ratio counts from the first thousand bytes on."""
    monkeypatch.setattr(source, "FREE_BYTES", 1000)


@pytest.mark.usefixtures("eager")
def test_a_file_that_unpacks_to_far_more_than_it_is_ends_where_that_is_seen() -> None:
    packed = gzip.compress(SAME)
    assert len(SAME) > 50 * len(packed)
    whole = opened(packed, ratio=2000)
    assert (counted(whole)[0], whole.problem) == (20_000, None)
    cut = opened(packed, ratio=50)
    rows, _ = counted(cut)
    assert cut.problem == (
        f"too_large: more than FILE_RATIO = 50 times larger than its {len(packed)} packed bytes; {rows} rows were read"
    )


def test_a_file_that_is_larger_than_allowed_is_read_up_to_there_and_says_so() -> None:
    many = lines(*[GOOD] * 200_000)
    table = opened(many, unpacked_mb=5)
    rows, parts = counted(table)
    assert rows == table.rows
    assert 5_000_000 < rows * len(GOOD + "\n") < 5_000_000 + source.BLOCK
    assert table.problem == f"too_large: more than FILE_MB = 5 MB once unpacked; {rows} rows were read"
    assert [rejection.reason for part in parts for rejection in part.rejected] in ([], ["truncated"])


@pytest.mark.parametrize(
    ("limits", "detail"),
    [
        ({"disk_mb": 1}, "a Parquet file of more than FILE_DISK_MB = 1 MB"),
        ({"unpacked_mb": 1}, "more than FILE_MB = 1 MB once unpacked; a Parquet file is of no use without its end"),
    ],
)
def test_a_parquet_file_takes_no_more_temporary_disk_than_allowed(limits: dict[str, int], detail: str) -> None:
    data = long_file(300_000, note=np.random.default_rng(1).random(300_000))
    assert len(data) > 1_500_000
    with pytest.raises(BadEvent) as refused:
        opened(data, "a.parquet", **limits)
    assert (refused.value.reason, refused.value.detail) == ("too_large", detail)


@pytest.mark.usefixtures("eager")
def test_a_packed_parquet_file_is_not_unpacked_to_disk_beyond_its_ratio() -> None:
    data = long_file(10, note=[" " * 500_000] * 10)
    with pytest.raises(BadEvent, match="too_large: more than FILE_RATIO = 3 times"):
        opened(gzip.compress(data + bytes(500_000) + data), "a.parquet.gz", ratio=3)


def test_a_parquet_file_that_claims_more_rows_than_allowed_is_refused_by_its_index() -> None:
    data = long_file(100_000)
    assert len(data) < 10_000
    with pytest.raises(BadEvent, match=r"too_large: .*100000 rows, 3 columns, 2400000 bytes, FILE_MB allows 2000000"):
        opened(data, "a.parquet", unpacked_mb=2)
    assert counted(opened(data, "a.parquet", unpacked_mb=3))[0] == 100_000


def test_a_text_that_every_row_repeats_is_written_out_a_few_rows_at_a_time() -> None:
    rows, length = 4000, 20_000
    table = opened(long_file(rows, site=["x" * length] * rows), "a.parquet")
    found, parts = counted(table)
    assert (found, table.rows, table.problem) == (rows, rows, None)
    assert max(len(part.rejected) for part in parts) * length <= STRETCH_BYTES
    assert {rejection.reason for part in parts for rejection in part.rejected} == {"device_id"}
    assert [rejection.position for part in parts for rejection in part.rejected] == list(range(1, rows + 1))


def test_a_text_that_every_row_repeats_ends_the_file_where_it_is_larger_than_allowed() -> None:
    rows, length = 4000, 20_000
    table = opened(long_file(rows, site=["x" * length] * rows), "a.parquet", unpacked_mb=40)
    found, _ = counted(table)
    assert found == table.rows
    assert 40_000_000 - STRETCH_BYTES < found * length < 40_000_000
    assert "bytes once written out, FILE_MB allows 40000000; " in str(table.problem)
    assert str(table.problem).startswith("too_large: ")


@pytest.mark.parametrize("good", [0, 5])
def test_a_row_of_more_bytes_than_a_line_may_have_ends_the_file(good: int) -> None:
    data = io.BytesIO()
    with parquet.ParquetWriter(data, pa.schema({"site": pa.string(), "ts": pa.int64(), "temp": pa.float64()})) as file:
        for site in ["a"] * good + ["x" * ROW_BYTES]:
            file.write_table(pa.table({"site": [site], "ts": [1_790_000_000], "temp": [1.0]}))
    table = opened(data.getvalue(), "a.parquet", chunk_rows=good or 1)
    if not good:
        with pytest.raises(BadEvent, match=f"too_large: .*a row of {ROW_BYTES + 16} bytes is longer than {ROW_BYTES}"):
            counted(table)
        return
    assert counted(table)[0] == good
    assert str(table.problem).startswith("too_large: ")
    assert str(table.problem).endswith(f"; {good} rows were read")


def test_a_reader_without_memory_refuses_the_file_and_not_the_host() -> None:
    with pytest.raises(BadEvent) as refused:
        counted(opened(long_file(100_000), "a.parquet", reader_mb=1))
    assert refused.value.reason in {"too_large", "format"}
    assert counted(opened(long_file(100), "a.parquet"))[0] == 100


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "a.parquet").write_bytes(as_parquet(sample(500)))
    return str(tmp_path / "a.parquet")


def test_a_reader_that_dies_refuses_the_file(path: str) -> None:
    reading = Reading(path, FileLimits())
    assert reading.rows == 500
    reading._process.kill()
    reading._process.wait()
    with pytest.raises(
        BadEvent, match=r"format: a Parquet file that ended its reader \(code -9; FILE_READER_MB = 1000"
    ):
        list(reading.batches(["site"], 100))


def test_a_reader_that_is_stopped_with_the_machine_says_nothing_of_the_file(path: str) -> None:
    reading = Reading(path, FileLimits())
    reading._process.terminate()
    with pytest.raises(TransientFailure, match="ended from outside: SIGTERM"):
        list(reading.batches(["site"], 100))


def test_a_reader_that_nobody_listens_to_ends(path: str) -> None:
    reading = Reading(path, FileLimits())
    process = reading._process
    assert next(reading.batches(["site"], 100)).num_rows == 100
    del reading
    assert process.poll() is not None


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="tells a process's environment on Linux only")
def test_a_reader_is_given_no_secret(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINGS", "Endpoint=sb://x;SharedAccessKey=secret")
    reading = Reading(path, FileLimits())
    environment = Path(f"/proc/{reading._process.pid}/environ").read_bytes()
    assert b"PYTHONPATH" in environment
    assert b"secret" not in environment
    assert os.environ["READINGS"].encode() not in environment
