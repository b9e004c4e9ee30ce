"""Cutting a file of readings in two at a time, line by line, so that both parts hold what the file held."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from shared.adapters.tables.open import open_table
from shared.core.intake.readings import Array
from shared.core.intake.tables import LongTable
from shared.core.scenario import Scenario
from shared.errors import BadEvent

GZIP = b"\x1f\x8b"
HOURS_A_DAY = 24


def times(path: Path, scenario: Scenario, zone: str | None) -> tuple[Array, Array]:
    """Row numbers and hours of a file's accepted readings, each int64, shape (n,).

    Raises:
        BadEvent: The file cannot be used, is damaged, or is a wide one, which has no times.
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
    if table.problem is not None:
        raise BadEvent("truncated", f"{path.name}: {table.problem.removeprefix('truncated: ')}")
    if not positions or not sum(map(len, positions)):
        raise BadEvent("empty_file", f"{path.name} holds no usable reading")
    return np.concatenate(positions), np.concatenate(hours)


def moments(hours: Array, days_before: Sequence[int]) -> list[int]:
    """The full days (first hours, UTC) that lie so many days before the end of the file's time."""
    end = (int(hours.max()) + 1) // HOURS_A_DAY
    return [(end - days) * HOURS_A_DAY for days in days_before]


def cut(
    path: Path, scenario: Scenario, zone: str | None, days_before: Sequence[int], parts: Sequence[Path]
) -> list[int]:
    """Write the rows between moments into gzipped files; returns the moments, hours since 1970.

    A row that is not accepted goes where the row before it went.

    Args:
        path: CSV or JSON lines, gzipped or not.
        scenario: Names and limits.
        zone: Declared zone of timestamps without one.
        days_before: Days before its end at which it is cut, falling.
        parts: The files to write, one more than there are cuts.

    Raises:
        BadEvent: The file cannot be used or cut.
    """
    position, hour = times(path, scenario, zone)
    at = moments(hour, days_before)
    part = np.full(int(position.max()) + 1, -1, np.int8)
    part[position] = np.searchsorted(at, hour, side="right")
    if len(np.unique(part[position])) < len(parts):
        days = (int(hour.max()) - int(hour.min()) + 1) / HOURS_A_DAY
        raise BadEvent("format", f"{path.name} spans {days:.1f} days; that is too short for {len(parts)} parts")
    with _lines(path) as lines, ExitStack() as files:
        outs = [files.enter_context(_writer(name)) for name in parts]
        start = next(lines, b"")
        if start.startswith(b"PAR1"):
            raise BadEvent("format", f"{path.name}: the demo cuts text files; give it CSV or JSON lines")
        if start.lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
            _deal(chain([start], lines), part, outs)
        else:
            for out in outs:
                out.write(start)
            _deal(lines, part, outs)
    return at


def _deal(lines: Iterable[bytes], part: Array, outs: Sequence[BinaryIO]) -> None:
    target = outs[0]
    for number, line in enumerate(lines, 1):
        if number < len(part) and part[number] >= 0:
            target = outs[part[number]]
        target.write(line if line.endswith(b"\n") else line + b"\n")


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
