"""Cutting files of readings in two at a time, line by line, so that the parts hold what the files held."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from shared.adapters.tables.open import open_table
from shared.core.intake.readings import Array
from shared.core.intake.tables import LongTable
from shared.core.scenario import Scenario
from shared.errors import BadEvent

GZIP, BOM = b"\x1f\x8b", b"\xef\xbb\xbf"
NOT_LINES = (b"PAR1", b"Obj\x01", b"[", b"\xff\xfe", b"\xfe\xff")  # Parquet, Avro, an array of JSON, UTF-16
HOURS_A_DAY = 24


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the accepted readings of a file stand in it, and in time.

    Args:
        path: The file.
        ahead: Lines in front of the first row.
        number: Of each reading's row, from 1, int64, shape (n,).
        hour: Of each, hours since 1970, int64, shape (n,).
    """

    path: Path
    ahead: int
    number: Array
    hour: Array


def read(path: Path, scenario: Scenario, zone: str | None) -> Rows:
    """Where a file's readings stand.

    Raises:
        BadEvent: The file cannot be used, is damaged, or its lines are no readings with a time.
    """
    numbers, hours = [], []
    with path.open("rb") as stream:
        now = int(time.time() // 60)
        table = open_table(path.name, stream, scenario, zone=zone, not_after_minute=now)
        if not isinstance(table, LongTable):
            raise BadEvent("format", f"{path.name} is a wide file without times; it cannot be cut in two by time")
        if "value" in table.meaning.values():
            raise BadEvent("format", f"{path.name} has one value a row; the demo cuts files of one reading a row")
        for parsed in table:
            numbers.append(parsed.readings.position // table.per_row)
            hours.append(parsed.readings.minute.astype(np.int64) // (scenario.cadence.ticks * scenario.cadence.hour))
    if table.problem is not None:
        raise BadEvent("truncated", f"{path.name}: {table.problem.removeprefix('truncated: ')}")
    if not sum(map(len, numbers)):
        raise BadEvent("empty_file", f"{path.name} holds no usable reading")
    return Rows(path, table.ahead, np.concatenate(numbers), np.concatenate(hours))


def moments(hours: Array, days_before: Sequence[int]) -> list[int]:
    """The full days (first hours, UTC) that lie so many days before the end of the files' time."""
    end = (int(hours.max()) + 1) // HOURS_A_DAY
    return [(end - days) * HOURS_A_DAY for days in days_before]


def cut(
    paths: Sequence[Path], scenario: Scenario, zone: str | None, days_before: Sequence[int], parts: Sequence[Path]
) -> list[int]:
    """Write the rows between moments into gzipped files; returns the moments, hours since 1970.

    A row that is not accepted goes where the row before it went.

    Args:
        paths: CSV with the same header or JSON lines, gzipped or not; each part holds the rows of one after the other.
        scenario: Names and limits.
        zone: Declared zone of timestamps without one.
        days_before: Days before the end at which is cut, falling.
        parts: The files to write, one more than there are cuts.

    Raises:
        BadEvent: A file cannot be used or cut, or has another header than the first.
    """
    sources = [read(path, scenario, zone) for path in paths]
    hour = np.concatenate([source.hour for source in sources])
    at = moments(hour, days_before)
    if len(np.unique(np.searchsorted(at, hour, side="right"))) < len(parts):
        days = (int(hour.max()) - int(hour.min()) + 1) / HOURS_A_DAY
        names = ", ".join(path.name for path in paths)
        raise BadEvent("format", f"{names} spans {days:.1f} days; that is too short for {len(parts)} parts")
    with ExitStack() as opened:
        outs = [opened.enter_context(_writer(part)) for part in parts]
        first: list[bytes] | None = None
        for source in sources:
            with _lines(source.path) as lines:
                header = list(islice(lines, source.ahead))
                if first is None:
                    first = header
                    for out in outs:
                        out.writelines(header)
                elif [line.strip() for line in header] != [line.strip() for line in first]:
                    raise BadEvent("header", f"{source.path.name} has another header than {paths[0].name}")
                _deal(lines, source, at, outs)
    return at


def _deal(lines: Iterable[bytes], source: Rows, at: Sequence[int], outs: Sequence[BinaryIO]) -> None:
    part = np.full(int(source.number.max()) + 1, -1, np.int8)
    part[source.number] = np.searchsorted(at, source.hour, side="right")
    target = outs[0]
    for number, line in enumerate(lines, 1):
        if number < len(part) and part[number] >= 0:
            target = outs[part[number]]
        target.write(line if line.endswith(b"\n") else line + b"\n")


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[bytes]]:
    """A file's lines, as they stand in it but for a byte order mark.

    Raises:
        BadEvent: Its rows are no lines.
    """
    with path.open("rb") as raw:
        zipped = raw.read(2) == GZIP
        raw.seek(0)
        lines = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if zipped else raw
        start = lines.readline().removeprefix(BOM)
        if start.lstrip().startswith(NOT_LINES):
            raise BadEvent("format", f"{path.name}: the demo cuts text files; give it CSV or JSON lines")
        yield chain([start], lines)


@contextmanager
def _writer(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb", compresslevel=1) as out:
        yield cast("BinaryIO", out)
