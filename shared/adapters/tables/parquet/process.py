"""The process that decodes a Parquet file, as the app sees it; `reader` is its other side."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, cast

import msgspec

from shared.adapters.confined import STARTED, start
from shared.adapters.tables.limits import MB, FileLimits
from shared.adapters.tables.verdicts import damaged_file, died, end, verdict
from shared.errors import BadEvent, TransientFailure

if TYPE_CHECKING:
    import pyarrow as pa

PROGRAM = "shared.adapters.tables.parquet.reader"
WHAT = "Parquet file"
WORD = 8  # as `reader` has it, which costs an import of pyarrow


class Reading:
    """A file while it is decoded.

    Attributes:
        schema: The file's columns, without dictionaries.
        rows: Rows that it says it has.

    Raises:
        BadEvent: `format` or `too_large`, it cannot be read.
        TransientFailure: The process does not start, or was ended from outside.
    """

    def __init__(self, path: str, limits: FileLimits) -> None:
        self._limits = limits
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        given = (path, limits.unpacked_mb * MB, limits.reader_mb, limits.reader_s)
        self._process = start(PROGRAM, given, self._said)
        self._close = weakref.finalize(self, end, self._process, self._said)
        self._in, self._out = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        if self._out.read(1) != STARTED:
            raise TransientFailure(f"the reader of Parquet files does not start: exit code {self._process.wait()}")
        length = self._out.read(WORD)
        rows = self._out.read(WORD)
        raw = self._out.read(int.from_bytes(length, "big"))
        if len(rows) < WORD or len(raw) < int.from_bytes(length, "big"):
            raise self._verdict() or self._died()
        self.schema: pa.Schema = _schema(raw)
        self.rows = int.from_bytes(rows, "big")

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Some columns, in stretches of at most `rows` rows.

        Raises:
            BadEvent: `format` or `too_large`; what came before it is right.
            TransientFailure: The process was ended from outside.
        """
        import pyarrow as pa

        try:
            self._in.write(msgspec.json.encode({"columns": list(names), "rows": rows}) + b"\n")
            self._in.close()
            with pa.ipc.open_stream(self._out) as stream:
                yield from stream
        except (pa.ArrowInvalid, OSError) as error:  # it ended in the middle
            raise self._verdict() or self._died() from error
        self._process.wait()
        if problem := self._verdict():
            raise problem
        self._close()

    def _verdict(self) -> BadEvent | None:
        """What the process says of the file; None when it read all of it."""
        return verdict(self._process, self._said, WHAT, self._limits)

    def _died(self) -> BadEvent:
        return died(self._process, WHAT, self._limits)


def damaged(text: str) -> BadEvent:
    """A damaged file, in its reader's words."""
    return damaged_file(WHAT, text)


def _schema(raw: bytes) -> pa.Schema:
    import pyarrow as pa

    return pa.ipc.read_schema(pa.py_buffer(raw))
