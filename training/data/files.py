"""Files of sensor history -> readings in the order of time, or windows of the wide form, with what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shared.adapters.tables.open import LongTable, WideChunk, WideTable, open_table
from shared.core.intake.readings import Floats, Parsed, Readings
from shared.core.scenario import Scenario
from shared.errors import BadEvent, PipelineError

Advance = Callable[[float, float], None]


class DataRefused(PipelineError):
    """The data cannot be trained on: nothing was written; the message lists every problem, one a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What one file gave.

    Args:
        name: File name without its folder.
        rows: Data rows seen.
        rejected: Rejected rows by reason code.
        ignored: Columns that were not used.
        converted: Channel -> unit it was converted from.
        problem: Why the file could not be read to its end, or at all.
    """

    name: str
    rows: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    converted: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything read.

    Args:
        readings: Long files' readings sorted by time; of equal minutes the earlier file's first.
        windows: Wide files' chunks in the order of their rows.
        sources: One entry a file.
    """

    readings: Readings
    windows: tuple[WideChunk, ...]
    sources: tuple[Source, ...]


@dataclass(slots=True)
class _Gathered:
    devices: dict[str, int] = field(default_factory=dict)
    parts: list[Readings] = field(default_factory=list)
    owners: list[np.ndarray[tuple[int], np.dtype[np.int32]]] = field(default_factory=list)
    windows: list[WideChunk] = field(default_factory=list)

    def add(self, parsed: Parsed) -> None:
        readings = parsed.readings
        own = [self.devices.setdefault(name, len(self.devices)) for name in readings.devices]
        self.parts.append(readings)
        self.owners.append(np.array(own, dtype=np.int32)[readings.device])

    def readings(self, channels: int) -> Readings:
        minute = np.concatenate([np.zeros(0, np.int32), *(part.minute for part in self.parts)])
        order = np.argsort(minute, kind="stable")
        values: Floats = np.concatenate([np.zeros((0, channels), np.float32), *(part.values for part in self.parts)])
        return Readings(
            devices=tuple(self.devices),
            device=np.concatenate([np.zeros(0, np.int32), *self.owners])[order],
            minute=minute[order],
            position=order.astype(np.int64) + 1,
            values=values[order],
        )


def read(
    paths: Sequence[Path],
    scenario: Scenario,
    *,
    zone: str | None = None,
    not_after_minute: int,
    advance: Advance = lambda _done, _total: None,
) -> Inputs:
    """Read files, and the files of folders in the order of their names.

    Args:
        paths: Files of any form `open_table` reads, or folders of such files.
        scenario: Channels, names and units.
        zone: Zone of timestamps without one; without it the station's or the scenario's.
        not_after_minute: Readings after this minute (since 1970) are rejected as future.
        advance: Called with bytes read so far and in all.

    Raises:
        DataRefused: A path does not exist, a file named by itself cannot be used, or nothing was found.
    """
    files = _files(paths)
    total = sum(path.stat().st_size for path in files)
    gathered, sources, done = _Gathered(), [], 0
    for path in files:
        sources.append(_read_one(path, scenario, zone, not_after_minute, gathered))
        done += path.stat().st_size
        advance(done, total)
    unusable = [s for s, path in zip(sources, files, strict=True) if s.problem and not s.rows and path in paths]
    if unusable:
        raise DataRefused("\n".join(f"{source.name}: {source.problem}" for source in unusable))
    return Inputs(
        readings=gathered.readings(len(scenario.channels)), windows=tuple(gathered.windows), sources=tuple(sources)
    )


def _files(paths: Iterable[Path]) -> list[Path]:
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise DataRefused("\n".join(f"{path}: there is no such file or folder" for path in missing))
    found: dict[Path, None] = {}
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        found.update(dict.fromkeys(p for p in inside if p == path or not _hidden(p.relative_to(path))))
    if not found:
        raise DataRefused(f"{', '.join(map(str, paths))}: no files in it")
    return list(found)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read_one(path: Path, scenario: Scenario, zone: str | None, not_after: int, gathered: _Gathered) -> Source:
    table: LongTable | WideTable | None = None
    rejected: Counter[str] = Counter()
    problem = None
    try:
        with path.open("rb") as stream:
            table = open_table(path.name, stream, scenario, zone=zone, not_after_minute=not_after)
            _gather(table, gathered, rejected)
    except BadEvent as error:
        problem = str(error)
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    if table is None:
        return Source(name=path.name, problem=problem)
    return Source(
        name=path.name,
        rows=table.rows,
        rejected=dict(rejected),
        ignored=table.ignored,
        converted=dict(table.converted),
        problem=problem or table.problem,
    )


def _gather(table: LongTable | WideTable, gathered: _Gathered, rejected: Counter[str]) -> None:
    if isinstance(table, WideTable):
        for chunk in table:
            gathered.windows.append(chunk)
            rejected.update(rejection.reason for rejection in chunk.rejected)
    else:
        for parsed in table:
            gathered.add(parsed)
            rejected.update(rejection.reason for rejection in parsed.rejected)
