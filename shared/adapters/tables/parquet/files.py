"""Parquet files in the long form, a batch of rows at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from shared.adapters.tables.cells import sheet
from shared.adapters.tables.limits import FileLimits
from shared.adapters.tables.parquet.process import Reading, damaged
from shared.adapters.tables.source import Source
from shared.adapters.tables.spooling import store
from shared.core.intake.acceptance import Acceptance, Sheet, Zoning
from shared.core.intake.columns import Layout
from shared.core.intake.readings import Parsed
from shared.core.intake.tables import Progress
from shared.core.scenario import Scenario
from shared.errors import BadEvent

if TYPE_CHECKING:
    import pyarrow as pa


class ParquetSource:
    """A Parquet file on temporary disk, since its index stands at its end, decoded by a process of its own.

    Raises:
        BadEvent: `truncated`, the gzip stream around it is damaged; `format`, it is no Parquet file; `too_large`, it is
            beyond a limit.
        TransientFailure: That process does not start.
    """

    def __init__(self, source: Source, limits: FileLimits) -> None:
        with tempfile.NamedTemporaryFile() as file:
            store(source, file, limits, "a Parquet file")
            self._reading = Reading(file.name, limits)
        self._schema: pa.Schema = self._reading.schema
        self.names: tuple[str, ...] = tuple(self._schema.names)
        self.rows: int = self._reading.rows
        self.bytes_read: int = source.bytes_read

    def empty(self, picks: Sequence[int]) -> list[pa.Array | None]:
        """Columns of no rows with the file's types, by slot; None where a pick is negative."""
        import pyarrow as pa

        return [_usable(pa.array([], self._schema.field(pick).type)) if pick >= 0 else None for pick in picks]

    def batches(self, picks: Sequence[int], chunk_rows: int, progress: Progress) -> Iterator[list[pa.Array | None]]:
        """Columns by slot, a stretch of rows at a time; damage behind the first rows ends them with a problem."""
        names = [self.names[pick] for pick in picks if pick >= 0]
        try:
            for batch in self._reading.batches(names, chunk_rows):
                columns = {name: _usable(batch.column(batch.schema.get_field_index(name))) for name in names}
                progress.rows += batch.num_rows
                yield [columns[self.names[pick]] if pick >= 0 else None for pick in picks]
        except Exception as error:
            if not isinstance(error, (BadEvent, *_damage())):
                raise
            found = error if isinstance(error, BadEvent) else damaged(str(error))
            if not progress.rows:
                raise found from error
            reason = "too_large" if found.reason == "too_large" else "truncated"
            progress.problem = f"{reason}: {found.detail}; {progress.rows} rows were read"


def long_parts(
    scenario: Scenario,
    layout: Layout,
    file: ParquetSource,
    zoning: Zoning,
    not_after: int,
    chunk_rows: int,
    progress: Progress,
) -> Iterator[Parsed]:
    """Checked stretches of a long Parquet file; see `open.open_table`."""
    acceptance = Acceptance(scenario)
    progress.ignored = layout.ignored
    progress.meaning = layout.meaning(file.names, scenario.channel_names)
    progress.untold = layout.untold(file.names, scenario.channel_names)
    progress.converted.update(layout.converted)
    for columns in file.batches(layout.picks, chunk_rows, progress):
        yield acceptance.judge(records_of(scenario, layout, file.names, columns, progress), zoning, not_after)


def records_of(
    scenario: Scenario, layout: Layout, names: Sequence[str], columns: list[pa.Array | None], progress: Progress
) -> Sheet:
    """A stretch of a Parquet file as a sheet.

    Raises:
        BadEvent: `format`, a column's type cannot hold what its name says.
    """
    present = [(names[pick], column) for pick, column in zip(layout.picks, columns, strict=True) if column is not None]
    n = len(present[0][1])

    def cell(i: int, slot: int) -> object:
        column = columns[slot]
        value = None if column is None else value_of(column, i)
        return value if value is None or isinstance(value, str | int | float) else str(value)

    def raw(i: int) -> bytes:
        return as_json({name: value_of(column, i) for name, column in present})

    position = np.arange(progress.rows - n + 1, progress.rows + 1)
    return sheet(scenario, layout, columns, position, cell, raw, progress.converted)


def value_of(column: pa.Array, i: int) -> object:
    """One cell as a plain value; an instant as text, since not every instant is a datetime."""
    import pyarrow as pa

    if not pa.types.is_timestamp(column.type):
        return column[i].as_py()
    ticks = column[i].value
    zone = "" if column.type.tz is None else "Z"
    return None if ticks is None else f"{np.datetime64(ticks, column.type.unit)}{zone}"


def as_json(row: dict[str, object]) -> bytes:
    """A row for its dead letter."""
    return msgspec.json.encode(row, enc_hook=str)


def _damage() -> tuple[type[Exception], ...]:
    """What pyarrow raises for a damaged file."""
    import pyarrow as pa

    return pa.ArrowException, OSError, ValueError, LookupError, OverflowError


def _usable(column: pa.Array) -> pa.Array:
    """A column whose texts are known to be UTF-8, also where the file calls them binary."""
    import pyarrow as pa

    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.large_string())
    column.validate(full=True)
    return column
