"""Wide files: a row is one window, each channel's cell a list of one number per hour of the history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from shared.adapters.tables.cells import doubles
from shared.adapters.tables.csv.files import Reader
from shared.adapters.tables.csv.header import Header
from shared.adapters.tables.parquet.files import ParquetSource, as_json, value_of
from shared.adapters.tables.source import Source
from shared.adapters.tables.wide.cells import WideCells
from shared.core.intake.columns import DEVICE, FIRST_CHANNEL, Layout, plain
from shared.core.intake.readings import Doubles, Floats, Longs, Mask, Rejection, id_problem, shown
from shared.core.intake.tables import Progress, WideChunk, WideTable
from shared.core.intake.values.dropped import joined
from shared.core.intake.values.quantities import missing, normalise
from shared.core.intake.values.words import Words, understood
from shared.core.scenario import Channel, Scenario

if TYPE_CHECKING:
    import pyarrow as pa

ROW, GROUP, TARGET, WINDOW = range(4)
_LOCATION, _TRUTH = "location", "target"


class Windows:
    """Turns the rows of one wide file into chunks; remembers the ids it has seen."""

    def __init__(self, scenario: Scenario, layout: Layout, names: Sequence[str], progress: Progress) -> None:
        self._scenario = scenario
        self._layout = layout
        self._progress = progress
        self._ids: set[str] = set()
        written = [plain(name) for name in names]
        device = layout.picks[DEVICE]
        group = written.index(_LOCATION) if _LOCATION in written else device
        target = written.index(_TRUTH) if _TRUTH in written else -1
        self.picks = (layout.row, group, target, *layout.picks[FIRST_CHANNEL:])
        progress.ignored = tuple(name for i, name in enumerate(names) if i not in self.picks)
        progress.converted.update(layout.converted)

    def chunk(
        self,
        columns: Sequence[pa.Array | None],
        position: Longs,
        raw: Callable[[int], bytes],
        refused: Sequence[Rejection] = (),
    ) -> WideChunk:
        """Check a stretch of rows.

        Args:
            columns: Row id, group, target and each channel, None where the file has no such column.
            position: Row numbers, shape (n,).
            raw: Original bytes of a row.
            refused: Rows that could not be parsed.
        """
        faults: dict[int, tuple[str, str]] = {}
        ids = self._check_ids(columns[ROW], faults)
        window = np.full((self._scenario.history_steps, len(self._scenario.stored), len(position)), np.nan, np.float32)
        read = []
        for c, channel in enumerate(self._scenario.channels):
            column = columns[WINDOW + c]
            if column is not None:
                read.append(self._windows(column, c, channel, faults))
                self._fill(window, channel, read[-1].values.T)
        truth = [self._target(column) for column in columns[TARGET : TARGET + 1] if column is not None]
        sound = np.isin(np.arange(len(position)), list(faults), invert=True)
        for i in np.flatnonzero(np.isnan(window).all(axis=(0, 1))).tolist():
            dropped = filter(None, (each.first_dropped(i) for each in read))
            faults.setdefault(i, next(dropped, ("no_values", "no channel has a value")))
        rejected = [*refused, *(Rejection(int(position[i]), *faults[i], raw(i)) for i in faults)]
        good = np.delete(np.arange(len(position)), list(faults))
        groups = [""] * len(position) if columns[GROUP] is None else _texts(columns[GROUP])
        return WideChunk(
            ids=tuple(ids[i] for i in good.tolist()),
            position=position[good],
            window=np.ascontiguousarray(window[:, :, good]) if faults else window,
            target=truth[0].values[good, 0] if truth else np.full(len(good), np.nan, np.float32),
            group=tuple(groups[i] for i in good.tolist()),
            rejected=sorted(rejected, key=lambda rejection: rejection.position),
            values=joined(each.counted(sound) for each in (*read, *truth)),
        )

    def _check_ids(self, column: pa.Array | None, faults: dict[int, tuple[str, str]]) -> list[str]:
        ids = _texts(column)
        for i, name in enumerate(ids):
            if missing(name):
                faults[i] = ("missing_id", "no row id")
            elif problem := id_problem(name):
                faults[i] = ("device_id", f"the row id {shown(name)} {problem}")
            elif name in self._ids:
                faults[i] = ("duplicate_id", f"the row id {shown(name)} stood in the file before")
            self._ids.add(name)
        return ids

    def _windows(self, column: pa.Array, c: int, channel: Channel, faults: dict[int, tuple[str, str]]) -> WideCells:
        """One channel's hours of rows that have as many as they should."""
        history = self._scenario.history_steps
        lists, counts = _lists(column)
        whole = counts == history
        for i in np.flatnonzero(~whole).tolist():
            faults.setdefault(i, ("window", f"{channel.name}: {counts[i]} numbers, {history} are needed"))
        flat = lists.filter(_mask(whole)).flatten()
        numeric, words = _numbers(flat, channel)
        values, wrong, found = normalise(channel, numeric, self._layout.units[c])
        wrong = words.put(values, wrong)
        self._progress.converted.update((channel.name, name) for name in found)
        filled = np.full((len(counts), history), np.nan, np.float32)
        filled[whole] = values.reshape(-1, history)
        return WideCells(channel, filled, np.repeat(np.flatnonzero(whole), history), flat, wrong)

    def _fill(self, window: Floats, channel: Channel, values: Floats) -> None:
        stored = self._scenario.stored
        if channel.aggregate == "circular":
            angle = np.deg2rad(values)
            window[:, stored.index(f"{channel.name}_u")] = np.sin(angle)
            window[:, stored.index(f"{channel.name}_v")] = np.cos(angle)
        else:
            window[:, stored.index(channel.name)] = values

    def _target(self, column: pa.Array) -> WideCells:
        channel = self._scenario.target_channel
        numeric, words = doubles(column, channel, _TRUTH)
        values, wrong, _ = normalise(channel, numeric, None)
        wrong = words.put(values, wrong)
        return WideCells(channel, values[:, None], np.arange(len(column)), column, wrong)


def wide_csv(scenario: Scenario, header: Header, source: Source, chunk_rows: int) -> WideTable:
    """A wide CSV file, from behind its header; see `open.open_table`."""
    progress = Progress()
    windows = Windows(scenario, header.layout, header.names, progress)
    reader = Reader(header, windows.picks, range(0))

    def parts(progress: Progress) -> Iterator[WideChunk]:
        for stretch in reader.stretches(source, chunk_rows):
            progress.rows += stretch.count
            progress.bytes_read = source.bytes_read
            yield windows.chunk(stretch.columns, stretch.position, stretch.raw, stretch.refused)
        progress.bytes_read = source.bytes_read
        if source.problem is not None:
            progress.problem = f"{source.reason}: {source.problem}; {progress.rows} rows were read"

    return _table(parts, progress, windows)


def wide_parquet(scenario: Scenario, layout: Layout, file: ParquetSource, chunk_rows: int) -> WideTable:
    """A wide Parquet file, its cells texts or lists; see `open.open_table`."""
    progress = Progress(bytes_read=file.bytes_read)
    windows = Windows(scenario, layout, file.names, progress)

    def parts(progress: Progress) -> Iterator[WideChunk]:
        for columns in file.batches(windows.picks, min(chunk_rows, 2000), progress):
            n = len(columns[ROW] or ())
            raw = partial(_row, [file.names[pick] for pick in windows.picks], columns)
            yield windows.chunk(columns, np.arange(progress.rows - n + 1, progress.rows + 1), raw)

    return _table(parts, progress, windows)


def parquet_windows(file: ParquetSource, layout: Layout) -> bool:
    """Whether a Parquet file's channels hold texts or lists, not numbers."""
    import pyarrow as pa

    def listed(kind: pa.DataType) -> bool:
        return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))

    columns = [column for column in file.empty(layout.picks)[FIRST_CHANNEL:] if column is not None]
    return any(listed(column.type) or _is_text(column.type) for column in columns)


def _table(parts: Callable[[Progress], Iterator[WideChunk]], progress: Progress, windows: Windows) -> WideTable:
    return WideTable(parts, progress, has_target=windows.picks[TARGET] >= 0, has_groups=windows.picks[GROUP] >= 0)


def _row(names: Sequence[str], columns: Sequence[pa.Array | None], i: int) -> bytes:
    pairs = zip(names, columns, strict=True)
    return as_json({name: value_of(column, i) for name, column in pairs if column is not None})


def _texts(column: pa.Array | None) -> list[str]:
    return [] if column is None else ["" if text is None else str(text).strip() for text in column.to_pylist()]


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _lists(column: pa.Array) -> tuple[pa.Array, Longs]:
    """Cells as lists, and how many entries each has."""
    import pyarrow.compute as pc

    if _is_text(column.type):
        column = pc.split_pattern(column.fill_null(""), ",")
    counts = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return column, counts.astype(np.int64)


def _mask(keep: Mask) -> pa.Array:
    import pyarrow as pa

    return pa.array(keep)


def _numbers(column: pa.Array, channel: Channel) -> tuple[Doubles, Words]:
    import pyarrow as pa

    if _is_text(column.type):
        try:
            plain_numbers = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
            return plain_numbers, understood(channel, (), ())
        except pa.ArrowInvalid:
            pass  # not all of it is plain numbers: cell by cell
    return doubles(column, channel)
