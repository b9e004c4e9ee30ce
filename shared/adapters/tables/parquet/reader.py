"""A program that decodes one Parquet file within limits: a file that ends it ends nothing else.

It is given the file's name and its limits, and answers on its standard output: one byte once it has started, the
length of the schema and the number of rows (8 bytes each), the schema, and then, once a line of JSON on its standard
input has said which columns are wanted and how many rows at once, these columns as an Arrow stream. The last line of
its standard error is its verdict, in JSON; whoever reads without finding one knows that it died.

Texts stay encoded by their dictionary until it is known how long the rows are: a stretch is cut so that it stays small.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from shared.adapters.confined import STARTED, confine

WORD = 8  # bytes of a length
STRETCH_BYTES = 16_000_000  # decoded
ROW_BYTES = 1 << 20  # as of the longest line of a text file
_BUFFER = 1 << 20


class TooLarge(Exception):
    """A limit was passed; the text says which."""


def opened(path: str) -> parquet.ParquetFile:
    """The file, its texts to be read with their dictionaries."""
    schema = parquet.read_schema(path)
    texts = [field.name for field in schema if _is_text(field.type)]
    return parquet.ParquetFile(path, read_dictionary=texts, buffer_size=_BUFFER, pre_buffer=False)


def check(file: parquet.ParquetFile, unpacked_bytes: int) -> None:
    """Refuse what the file says of itself: more than may be decoded.

    Raises:
        TooLarge: It says so.
    """
    about = file.metadata
    packed = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    held = max(packed, about.num_rows * about.num_columns * 8)
    if held > unpacked_bytes:
        raise TooLarge(
            f"{about.num_rows} rows, {about.num_columns} columns, {held} bytes, FILE_MB allows {unpacked_bytes}"
        )


def plain(schema: pa.Schema) -> pa.Schema:
    """A schema without dictionaries."""
    return pa.schema([pa.field(field.name, _value_type(field.type)) for field in schema])


def stretches(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in parts that stay small when their texts are written out.

    Raises:
        TooLarge: A row is too long.
    """
    sizes = sum((_row_bytes(column) for column in batch.columns), np.zeros(batch.num_rows, np.int64))
    if sizes.max(initial=0) > ROW_BYTES:
        raise TooLarge(f"a row of {int(sizes.max())} bytes is longer than {ROW_BYTES}")
    ends = np.cumsum(sizes)
    start = 0
    while start < batch.num_rows:
        before = int(ends[start - 1]) if start else 0
        end = int(np.searchsorted(ends, before + STRETCH_BYTES, side="right"))
        part = batch.slice(start, max(end, start + 1) - start)
        yield pa.record_batch([_written_out(column) for column in part.columns], schema=plain(batch.schema))
        start += part.num_rows


def _row_bytes(column: pa.Array) -> Any:
    """Bytes of each row once written out."""
    if pa.types.is_dictionary(column.type):
        lengths = _lengths(column.dictionary)
        return np.append(lengths, 0)[column.indices.fill_null(len(lengths)).to_numpy(zero_copy_only=False)]
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        counts = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        return counts.astype(np.int64) * (1 + column.nbytes // max(int(counts.sum()), 1))
    return np.full(len(column), 8, np.int64)


def _lengths(values: pa.Array) -> Any:
    if _is_text(values.type):
        return pc.binary_length(values).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.full(len(values), 8, np.int64)


def _written_out(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return any(
        fits(kind)
        for fits in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    )


def answer(path: str, unpacked_bytes: int) -> int:
    """Serve one file on standard input and output; returns the number of rows that were sent."""
    out, rows, size = sys.stdout.buffer, 0, 0
    file = opened(path)
    check(file, unpacked_bytes)
    schema = plain(file.schema_arrow)
    raw = schema.serialize().to_pybytes()
    out.write(len(raw).to_bytes(WORD, "big") + file.metadata.num_rows.to_bytes(WORD, "big") + raw)
    out.flush()
    line = sys.stdin.readline()
    if not line:
        return 0
    wanted = json.loads(line)
    names = wanted["columns"]
    with pa.ipc.new_stream(out, pa.schema([schema.field(name) for name in names])) as stream:
        for batch in file.iter_batches(wanted["rows"], columns=names, use_threads=False):
            for part in stretches(batch.select(names)):
                size += part.nbytes
                if size > unpacked_bytes:
                    raise TooLarge(f"{rows} rows are {size} bytes once written out, FILE_MB allows {unpacked_bytes}")
                stream.write_batch(part)
                rows += part.num_rows
            out.flush()
    return rows


def main() -> None:
    """Read the file that the arguments name: its name, most bytes unpacked, most MB of memory, most seconds."""
    path, unpacked_bytes, memory_mb, seconds = sys.argv[1], *map(int, sys.argv[2:5])
    pa.set_cpu_count(1)
    confine(memory_mb, seconds)
    sys.stdout.buffer.write(STARTED)
    sys.stdout.buffer.flush()
    try:
        verdict: dict[str, object] = {"rows": answer(path, unpacked_bytes)}
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        verdict = {"left": "nobody reads any more"}
    except (TooLarge, MemoryError, pa.ArrowMemoryError) as error:
        verdict = {"too_large": str(error) or "out of memory"}
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError) as error:
        verdict = {"damaged": str(error).partition("\n")[0][:200]}
    os.write(2, b"\n" + json.dumps(verdict).encode() + b"\n")
    os._exit(0)  # without the farewell of threads and pools, which may end in a signal of its own


if __name__ == "__main__":
    main()
