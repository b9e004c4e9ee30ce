"""Cutting a file of readings in two at a time, line by line, so that both parts hold what the file held."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from shared.adapters.tables import open_table
from shared.core.ring import Array
from shared.core.scenario import Scenario
from shared.core.tables import LongTable
from shared.errors import BadEvent

GZIP = b"\x1f\x8b"
HOURS_A_DAY = 24


def times(path: Path, scenario: Scenario, zone: str | None) -> tuple[Array, Array]:
    """Row numbers and hours of a file's accepted readings, each int64, shape (n,).

    Raises:
        BadEvent: The file cannot be used, or is a wide one, which has no times.
    """
    positions, hours = [], []
    with path.open("rb") as stream:
        now = int(time.time() // 60)
        table = open_table(path.name, stream, scenario, zone=zone, not_after_minute=now)
        if not isinstance(table, LongTable):
            raise BadEvent("format", f"{path.name} is a wide file without times; it cannot be cut in two by time")
        for parsed in table:
            positions.append(parsed.readings.position)
            hours.append(parsed.readings.minute.astype(np.int64) // 60)
    if not positions or not sum(map(len, positions)):
        raise BadEvent("empty_file", f"{path.name} holds no usable reading")
    return np.concatenate(positions), np.concatenate(hours)


def moment(hours: Array, share: float) -> int:
    """The full day (its first hour, UTC) at which `share` of the file's time has passed."""
    first, last = int(hours.min()), int(hours.max())
    return round((first + share * (last - first)) / HOURS_A_DAY) * HOURS_A_DAY


def cut(path: Path, scenario: Scenario, zone: str | None, share: float, before: Path, after: Path) -> int:
    """Write the rows before and after a moment into two gzipped files; returns the moment, hours since 1970.

    A row that is not accepted goes where the row before it went.

    Args:
        path: CSV or JSON lines, gzipped or not.
        scenario: Names and limits.
        zone: Declared zone of timestamps without one.
        share: Share of the file's time that comes before the moment.
        before: First part, written.
        after: Second part, written.

    Raises:
        BadEvent: The file cannot be used or cut.
    """
    position, hour = times(path, scenario, zone)
    at = moment(hour, share)
    later = np.zeros(int(position.max()) + 1, np.int8)
    later[position] = np.where(hour >= at, 2, 1)
    with _lines(path) as lines, _writer(before) as first, _writer(after) as second:
        start = next(lines, b"")
        if start.startswith(b"PAR1"):
            raise BadEvent("format", f"{path.name}: the demo cuts text files; give it CSV or JSON lines")
        number = 0
        target = first
        if start.lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
            number, target = _put(start, 0, later, target, first, second)
        else:
            first.write(start)
            second.write(start)
        for line in lines:
            number, target = _put(line, number, later, target, first, second)
    return at


def _put(
    line: bytes,
    number: int,
    later: Array,
    target: BinaryIO,
    first: BinaryIO,
    second: BinaryIO,
) -> tuple[int, BinaryIO]:
    number += 1
    if number < len(later) and later[number]:
        target = second if later[number] == 2 else first
    target.write(line if line.endswith(b"\n") else line + b"\n")
    return number, target


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[bytes]]:
    with path.open("rb") as raw:
        zipped = raw.read(2) == GZIP
        raw.seek(0)
        yield iter(cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if zipped else raw)


@contextmanager
def _writer(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb", compresslevel=1) as out:
        yield cast("BinaryIO", out)
