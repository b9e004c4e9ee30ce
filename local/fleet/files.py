"""The fleet's readings as people send them: long CSV files, and wide ones with a whole window in each row."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, TextIO

import numpy as np

from local.fleet.faults import CHANNELS
from local.fleet.noise import Noise
from shared.core.intake.readings import Floats

MISSING = ("", "nan", "null")
WIDE = CHANNELS[:-1]
HISTORY, HORIZON = 121, 24
_ROW = "%s,%s," + ",".join(["%.1f"] * len(CHANNELS)) + "\n"


def write_long(path: Path, names: Sequence[str], first_hour: int, values: Floats) -> int:
    """Write one reading a row, sorted by time, then station; an hour in which a station was silent has no row.

    Args:
        path: File to write; gzip when its name ends with .gz.
        names: Device ids, length stations.
        first_hour: Hours since 1970 UTC of the first row of `values`.
        values: Readings, NaN where missing, shape (hours, stations, channels).

    Returns:
        The number of rows written.
    """
    written = 0
    with _text(path) as out:
        out.write(",".join(("device_id", "timestamp", *CHANNELS)) + "\n")
        for offset, hour in enumerate(values):
            stamp = iso((first_hour + offset) * 60)
            missing = np.isnan(hour)
            whole, silent = ~missing.any(axis=1), missing.all(axis=1)
            lines = []
            for station, row in enumerate(hour.tolist()):
                if whole[station]:
                    lines.append(_ROW % (names[station], stamp, *row))
                elif not silent[station]:
                    lines.append(_with_gaps(names[station], stamp, row, offset + station))
            out.write("".join(lines))
            written += len(lines)
    return written


def write_wide(path: Path, values: Floats, rows: int, *, seed: int, target: bool) -> int:
    """Write a look-alike of the AirQo competition's files: shuffled windows without timestamps, pressure in kPa.

    Args:
        path: File to write; gzip when its name ends with .gz.
        values: Readings, shape (hours, stations, channels); stations are called A to E, in turn.
        rows: Rows wanted; fewer are written when there are not so many windows.
        seed: Seed of the shuffle.
        target: Write PM2.5 24 hours after the window; windows for which it is missing are left out.

    Returns:
        The number of rows written.
    """
    cells = _cells(values)
    kind = "train" if target else "test"
    written = 0
    with _text(path) as out:
        out.write(",".join(("ID", "location", *WIDE, *(["target"] if target else []))) + "\n")
        for last, station in _windows(values, seed, target):
            if written == rows:
                break
            window = [",".join(cell[station][last - HISTORY + 1 : last + 1]) for cell in cells]
            truth = f",{values[last + HORIZON, station, -1]:.1f}" if target else ""
            out.write(f'ID_{kind}_{written},{"ABCDE"[station % 5]},"' + '","'.join(window) + f'"{truth}\n')
            written += 1
    return written


@lru_cache(maxsize=4096)
def iso(minute: float) -> str:
    """Timestamp of a time in minutes since 1970 UTC, with Z.

    >>> iso(28401120), iso(28401120 + 10 / 60)
    ('2024-01-01T00:00:00Z', '2024-01-01T00:00:10Z')
    """
    return f"{np.datetime64(round(minute * 60), 's')}Z"


def _with_gaps(name: str, stamp: str, row: list[float], turn: int) -> str:
    cells = [f"{cell:.1f}" if cell == cell else MISSING[(turn + i) % len(MISSING)] for i, cell in enumerate(row)]
    return f"{name},{stamp},{','.join(cells)}\n"


def _cells(values: Floats) -> list[list[list[str]]]:
    """Texts of the wide form by channel, station, hour."""
    texts = []
    for channel, name in enumerate(WIDE):
        form, factor = ("%.2f", 0.1) if name == "atmos_press" else ("%.1f", 1.0)
        columns = (values[:, :, channel].astype(np.float64) * factor).T.tolist()
        texts.append([[form % cell for cell in column] for column in columns])
    return texts


def _windows(values: Floats, seed: int, target: bool) -> Iterator[tuple[int, int]]:
    hours, stations, _ = values.shape
    ends = np.arange(HISTORY - 1, hours - HORIZON)
    order = np.argsort(Noise(seed, "shuffle").uniform(len(ends) * stations), kind="stable")
    for choice in order.tolist():
        last, station = int(ends[choice // stations]), choice % stations
        if not target or np.isfinite(values[last + HORIZON, station, -1]):
            yield last, station


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    """A text file to write; gzip without name and time inside, so that equal content gives equal bytes."""
    with path.open("wb") as raw:
        if path.suffix != ".gz":
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
                yield text
            return
        packed: IO[bytes] = gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=raw, mtime=0)  # type: ignore[assignment]
        with packed, io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:
            yield text
