"""Files with a layout, read in stretches: text and Parquet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from shared.adapters.tables.arranged import records
from shared.adapters.tables.arranged.finding import Found
from shared.adapters.tables.csv.files import Reader
from shared.adapters.tables.csv.header import Header
from shared.adapters.tables.parquet.files import ParquetSource, as_json, value_of
from shared.adapters.tables.source import BLOCK, Source
from shared.core.intake.acceptance import Acceptance, Zoning
from shared.core.intake.layouts.joining import Part, joined
from shared.core.intake.layouts.plans import Plan, channel_of, parameter_of
from shared.core.intake.readings import Longs, Parsed, Readings, Rejection
from shared.core.intake.tables import LongTable, Progress
from shared.core.intake.values.units import CANONICAL
from shared.core.scenario import Scenario, Unit
from shared.errors import BadEvent

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 200_000  # of one value each, among which those of one reading are joined
_BLOCK = 16 << 20
_MOST_NAMES = 50


class Arranged:
    """Judges the stretches of one file with a layout."""

    def __init__(
        self, scenario: Scenario, plan: Plan, zone: str | None, not_after: int, progress: Progress, most: int
    ) -> None:
        self._plan = plan
        self._scenario = scenario = scenario.also_missing(plan.source.missing_values)
        self._acceptance = Acceptance(scenario)
        self._zoning = Zoning(scenario, plan.source.zone if zone is None else zone, in_order=True)
        self._not_after = not_after
        self._progress = progress
        self._most = most
        self._pairs: dict[tuple[str, str], tuple[int, Unit | None] | None] = {}
        progress.ignored = plan.ignored
        progress.meaning = plan.meaning(scenario.channel_names)
        progress.untold = plan.untold(scenario)
        progress.converted.update(plan.layout.converted)

    def judge(
        self, columns: records.Columns, position: Longs, raw: Callable[[int], bytes], refused: list[Rejection]
    ) -> Parsed:
        """Accepted readings of a stretch, and its rejected rows.

        Args:
            columns: Those that the plan reads, by index.
            position: Row numbers.
            raw: Original bytes of a row.
            refused: Rows that could not be parsed.
        """
        plan = self._plan
        refused = [replace(each, position=each.position * plan.per_row) for each in refused]
        if plan.value >= 0:
            parsed = self._values(records.values(plan, columns, position, raw), refused)
        else:
            c = None if plan.source.stations is None else channel_of(self._scenario, plan.source.stations)
            made = (
                records.table(plan, columns, position, raw)
                if c is None
                else records.stations(plan, c, columns, position, raw)
            )
            sheet = made.sheet(self._scenario, plan, self._progress.converted)
            parsed = self._acceptance.judge(sheet, self._zoning, self._not_after, refused)
            if plan.stations:
                parsed = records.times_once(parsed, plan.per_row)
        self._progress.rows += len(parsed.readings) + len(parsed.rejected)
        return parsed

    def _values(self, stretch: records.Values, refused: list[Rejection]) -> Parsed:
        parts = []
        for (name, unit), rows in stretch.rows.items():
            known = self._known(name, unit)
            if known is not None:
                c, own = known
                units = (None,) * c + (own,) + (None,) * (len(self._scenario.channels) - c - 1)
                plan = replace(self._plan, layout=replace(self._plan.layout, units=units))
                parts.append(Part(c, rows, stretch.of(c, rows).sheet(self._scenario, plan, self._progress.converted)))
        if not parts:
            return Parsed(_nothing(len(self._scenario.channels)), refused)
        whole = joined(parts, self._scenario, stretch.records.position, stretch.records.raw)
        return whole.by_row(self._acceptance.judge(whole.sheet, self._zoning, self._not_after, refused))

    def _known(self, name: str, unit: str) -> tuple[int, Unit | None] | None:
        """Channel and unit of a parameter; what is not used is told."""
        if (name, unit) not in self._pairs:
            if len(self._pairs) >= self._most:
                raise BadEvent("too_large", f"more than {self._most} parameters and units in one file")
            found = parameter_of(self._scenario, self._plan.source, name, unit)
            self._pairs[name, unit] = found
            if found is not None and found[1] not in (None, CANONICAL):
                self._progress.converted[self._scenario.channels[found[0]].name] = unit
            if found is not None and found[1] is None and len(self._pairs) <= _MOST_NAMES:
                self._progress.untold[name] = self._scenario.channels[found[0]].name
            if found is None and len(self._pairs) <= _MOST_NAMES:
                self._progress.ignored += (f"{name} in {unit}" if unit else name,)
        return self._pairs[name, unit]


def text(
    scenario: Scenario, found: Found, source: Source, ahead: int, zone: str | None, not_after: int, chunk_rows: int
) -> LongTable:
    """A text file from behind its header, and so many lines ahead of its rows; see `open.open_table`."""
    plan = found.plan
    header = Header(found.header, found.delimiter, plan.names, plan.layout, plan.source.quote)
    progress = Progress(
        header=header.text,
        ahead=ahead,
        layout=plan.source.name,
        device=plan.told,
        per_row=plan.per_row,
        why=plan.why,
    )

    def parts(progress: Progress) -> Iterator[Parsed]:
        reads = plan.reads
        reader = Reader(header, (plan.device[0] if plan.device else -1, *reads), range(0), _cleaner(plan))
        arranged = Arranged(scenario, plan, zone, not_after, progress, records.MOST_PARAMETERS)
        size = (ROWS, _BLOCK) if plan.value >= 0 else (max(1, chunk_rows // plan.per_row), BLOCK)
        for stretch in reader.stretches(source, *size):
            columns = dict(zip(reads, stretch.columns[1:], strict=True))
            yield arranged.judge(columns, stretch.position, stretch.raw, stretch.refused)
            progress.bytes_read = source.bytes_read
        progress.bytes_read = source.bytes_read
        if source.problem is not None:
            progress.problem = f"{source.reason}: {source.problem}; {progress.rows} rows were read"

    return LongTable(parts, progress)


def _cleaner(plan: Plan) -> Callable[[bytes], bytes] | None:
    """Empties the lines that are comments."""
    if not plan.source.comment:
        return None
    pattern = re.compile(rb"^" + re.escape(plan.source.comment.encode()) + rb".*$", re.MULTILINE)
    return partial(pattern.sub, b"")


def parquet(
    scenario: Scenario, plan: Plan, file: ParquetSource, zone: str | None, not_after: int, chunk_rows: int
) -> LongTable:
    """A Parquet file; see `open.open_table`."""
    progress = Progress(
        bytes_read=file.bytes_read, layout=plan.source.name, device=plan.told, per_row=plan.per_row, why=plan.why
    )

    def parts(progress: Progress) -> Iterator[Parsed]:
        reads = plan.reads
        arranged = Arranged(scenario, plan, zone, not_after, progress, records.MOST_PARAMETERS)
        read = Progress()
        for batch in file.batches(reads, ROWS if plan.value >= 0 else chunk_rows, read):
            columns = {pick: column for pick, column in zip(reads, batch, strict=True) if column is not None}
            n = len(columns[reads[0]])
            yield arranged.judge(columns, np.arange(read.rows - n + 1, read.rows + 1), partial(_row, plan, columns), [])
        progress.problem = read.problem

    return LongTable(parts, progress)


def _row(plan: Plan, columns: dict[int, pa.Array], i: int) -> bytes:
    return as_json({plan.names[pick]: value_of(column, i) for pick, column in columns.items()})


def _nothing(channels: int) -> Readings:
    none = np.empty(0, np.int32)
    return Readings((), none, none, none.astype(np.int64), np.empty((0, channels), np.float32))
