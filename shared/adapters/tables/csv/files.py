"""CSV files, block by block: a fast typed reading, and a tolerant one for blocks that are not clean."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from shared.adapters.tables.cells import sheet
from shared.adapters.tables.csv.header import Header
from shared.adapters.tables.csv.lines import Lines, Rows, original, rows_of
from shared.adapters.tables.source import BLOCK, Source, blocks
from shared.core.intake.acceptance import Acceptance, Zoning
from shared.core.intake.columns import DEVICE, FIRST_CHANNEL
from shared.core.intake.readings import Longs, Parsed, Rejection
from shared.core.intake.tables import Progress
from shared.core.intake.values.quantities import MISSING
from shared.core.scenario import Scenario

if TYPE_CHECKING:
    import pyarrow as pa

_MISSING = sorted({form for word in MISSING for form in (word, word.upper(), word.title(), "NaN", "NaT", " ")})


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of one block, parsed: Arrow columns by slot (device, time, channels ...), and what was refused before.

    Args:
        lines: The block's lines.
        rows: Line index behind each parsed row, shape (n,).
        position: Row number of each parsed row, shape (n,).
        columns: By slot, None where the file has no such column.
        refused: Rows that could not be parsed.
        count: Rows in all, parsed or refused.
    """

    lines: Lines
    rows: Longs
    position: Longs
    columns: Sequence[pa.Array | None]
    refused: list[Rejection]
    count: int

    def raw(self, i: int) -> bytes:
        """The line of a parsed row."""
        return self.lines[int(self.rows[i])]


class Reader:
    """Parses the blocks of one CSV file, from behind its header."""

    def __init__(
        self,
        header: Header,
        picks: Sequence[int],
        numeric: range,
        clean: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Choose columns.

        Args:
            header: Of the file.
            picks: Index of the column for each slot, -1 = none.
            numeric: Slots that are read as numbers as long as a block is clean.
            clean: Empties lines of a block that are no rows.
        """
        self._header = header
        self._picks = picks
        self._numeric = numeric
        self._clean = clean
        self._seen = 0

    def stretches(self, source: Source, chunk_rows: int, size: int = BLOCK) -> Iterator[Stretch]:
        """Every row that is left, in stretches of at most `chunk_rows`, from blocks of about `size` bytes."""
        for block in blocks(source, size):
            lines = Lines(block if self._clean is None else self._clean(block))
            damaged = source.problem is not None and not block.endswith(b"\n")
            for low in range(0, len(lines), chunk_rows):
                high = min(low + chunk_rows, len(lines))
                stretch = self._stretch(lines.part(low, high), cut=damaged and high == len(lines))
                if stretch.count:
                    yield stretch

    def cell(self, stretch: Stretch, i: int, slot: int) -> str:
        """The original text of one cell."""
        line = stretch.raw(i).decode(errors="replace")
        try:
            return self._header.dialect.split(line)[self._picks[slot]]
        except csv.Error:  # a NUL or a very long cell, which Arrow reads and the csv module does not
            return line.split(self._header.delimiter)[self._picks[slot]]

    def _stretch(self, lines: Lines, *, cut: bool) -> Stretch:
        rows = rows_of(lines, self._header.dialect, self._header.line, self._picks[DEVICE], cut=cut)
        columns, wrong = self._parse(rows)
        for row, cells in wrong.items():
            detail = f"{cells} cells, the header has {len(self._header.names)}"
            rows.refused[int(rows.lines[row])] = ("columns", detail)
        good = np.delete(rows.lines, list(wrong)) if wrong else rows.lines
        first = self._seen + 1
        self._seen += len(lines)
        refused = [Rejection(first + i, *rows.refused[i], original(lines, i)) for i in sorted(rows.refused)]
        return Stretch(lines, good, first + good, columns, refused, len(lines) - rows.blank)

    def _parse(self, rows: Rows) -> tuple[list[pa.Array | None], dict[int, int]]:
        """Columns by slot, and row index -> number of cells where that is wrong."""
        import pyarrow as pa

        try:
            return self._read(rows, typed=True)
        except pa.ArrowInvalid:
            return self._read(rows, typed=False)

    def _read(self, rows: Rows, *, typed: bool) -> tuple[list[pa.Array | None], dict[int, int]]:
        import pyarrow as pa
        from pyarrow import csv as arrow

        kinds = {
            str(pick): pa.float64() if typed and slot in self._numeric else pa.string()
            for slot, pick in enumerate(self._picks)
            if pick >= 0
        }
        wrong: dict[int, int] = {}

        def skip(row: arrow.InvalidRow) -> str:
            wrong[row.number - 1] = row.actual_columns
            return "skip"

        names = [str(i) for i in range(len(self._header.names))]
        parse = {"delimiter": self._header.delimiter, "ignore_empty_lines": False, "invalid_row_handler": skip}
        convert = {"include_columns": list(kinds), "null_values": _MISSING, "strings_can_be_null": False}
        convert["decimal_point"] = self._header.layout.decimal
        found = {name: pa.array([], kind) for name, kind in kinds.items()}
        if len(rows.lines):
            data = rows.data if rows.data.endswith(b"\n") else rows.data + b"\n"  # a mark of UTF-8 alone is a row
            table = arrow.read_csv(
                pa.BufferReader(data),
                arrow.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
                arrow.ParseOptions(**parse),
                arrow.ConvertOptions(column_types=kinds, **convert),
            )
            found = {name: pa.concat_arrays(table[name].chunks or [found[name]]) for name in kinds}
        return [found[str(pick)] if pick >= 0 else None for pick in self._picks], wrong


def long_parts(
    scenario: Scenario,
    header: Header,
    source: Source,
    zoning: Zoning,
    not_after: int,
    chunk_rows: int,
    progress: Progress,
) -> Iterator[Parsed]:
    """Checked stretches of a long CSV file, from behind its header; see `open.open_table`."""
    layout = header.layout
    reader = Reader(header, layout.picks, range(FIRST_CHANNEL, len(layout.picks)))
    acceptance = Acceptance(scenario)
    progress.ignored = layout.ignored
    progress.meaning = layout.meaning(header.names, scenario.channel_names)
    progress.untold = layout.untold(header.names, scenario.channel_names)
    progress.converted.update(layout.converted)
    for stretch in reader.stretches(source, chunk_rows):
        progress.rows += stretch.count
        progress.bytes_read = source.bytes_read
        cell = partial(reader.cell, stretch)
        records = sheet(scenario, layout, stretch.columns, stretch.position, cell, stretch.raw, progress.converted)
        yield acceptance.judge(records, zoning, not_after, stretch.refused)
    progress.bytes_read = source.bytes_read
    if source.problem is not None:
        progress.problem = f"{source.reason}: {source.problem}; {progress.rows} rows were read"
