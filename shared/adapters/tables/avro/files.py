"""Avro files as lines of JSON, a record each, decoded by a process of its own; `reader` is its other side."""

from __future__ import annotations

import tempfile
import weakref
from typing import IO, cast

from shared.adapters.confined import STARTED, start
from shared.adapters.tables.limits import FileLimits
from shared.adapters.tables.source import Source, passed
from shared.adapters.tables.spooling import store
from shared.adapters.tables.verdicts import end, verdict
from shared.errors import BadEvent, TransientFailure

MAGIC = b"Obj\x01"
WHAT = "Avro file"
_AHEAD = 1 << 18  # bytes that are decoded while we read those before them
_PROGRAM = "shared.adapters.tables.avro.reader"


class AvroSource:
    """The records of an Avro file as lines of JSON, bytes in base64; see `source.Bytes`.

    Raises:
        BadEvent: `truncated`, the gzip stream around it is damaged; `format`, `too_deep` or `too_large`, its header
            says what is not read.
        TransientFailure: The process does not start.
    """

    def __init__(self, source: Source, limits: FileLimits) -> None:
        self.problem: str | None = None
        self.reason = "truncated"
        self._limits = limits
        self._unpacked = 0
        with tempfile.NamedTemporaryFile() as file:
            self._packed = store(source, file, limits, "an Avro file")
            self.bytes_read = source.bytes_read
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
            self._process = start(_PROGRAM, (file.name, limits.reader_mb, limits.reader_s), self._said, _AHEAD)
            self._close = weakref.finalize(self, end, self._process, self._said)
            self._out = cast("IO[bytes]", self._process.stdout)
            if self._out.read(1) != STARTED:
                raise TransientFailure(f"the reader of Avro files does not start: exit code {self._process.wait()}")
            if not self._out.read(1) and (problem := self._verdict()):
                raise problem

    def read(self, size: int) -> bytes:
        """Take at most `size` bytes, few enough that the process works meanwhile; none at the end.

        Raises:
            BadEvent: `format` or `too_large`, before the first record.
        """
        if self.problem is not None:
            return b""
        part = self._out.read(min(size, _AHEAD))
        self._unpacked += len(part)
        if limit := passed(self._limits, self._unpacked, self._packed):
            self.reason, self.problem = "too_large", limit
            self._close()
        elif not part and (problem := self._verdict()):
            if not self._unpacked:
                raise problem
            self.reason = "too_large" if problem.reason == "too_large" else "truncated"
            self.problem = problem.detail
        return part

    def _verdict(self) -> BadEvent | None:
        return verdict(self._process, self._said, WHAT, self._limits)
