"""One channel's cells of a stretch of a wide file: what was read, and what became missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from shared.adapters.tables.cells import distinct
from shared.core.intake.readings import Codes, Floats, Longs, Mask
from shared.core.intake.values.dropped import ChannelValues
from shared.core.intake.values.quantities import value_problem
from shared.core.intake.values.words import counted
from shared.core.scenario import Channel

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class WideCells:
    """Cells of the rows that have as many of them as they should.

    Args:
        channel: Whose they are.
        values: NaN where missing or wrong, float32, shape (n, width).
        rows: Row behind each cell, rising, shape (m,).
        cells: As they stand in the file, m of them.
        faults: What is wrong with each, shape (m,); None = nothing.
    """

    channel: Channel
    values: Floats
    rows: Longs
    cells: pa.Array
    faults: Codes | None

    def first_dropped(self, row: int) -> tuple[str, str] | None:
        """Reason and detail of a row's first value that became missing."""
        if self.faults is None:
            return None
        first, end = np.searchsorted(self.rows, (row, row + 1)).tolist()
        wrong = np.flatnonzero(self.faults[first:end])
        if not len(wrong):
            return None
        place = first + int(wrong[0])
        reason, detail = value_problem(self.channel, int(self.faults[place]), self.cells[place].as_py())
        return reason, f"hour {place - first}: {detail}"

    def counted(self, sound: Mask) -> dict[str, ChannelValues]:
        """What became of the values of sound rows; `sound` has shape (n,)."""
        kept = int(np.count_nonzero(~np.isnan(self.values[sound])))
        wrong = np.zeros(0, np.int64) if self.faults is None else np.flatnonzero(sound[self.rows] & (self.faults != 0))
        if self.faults is None or not len(wrong):
            return {self.channel.name: ChannelValues(kept)} if kept else {}
        found = counted(self.faults[wrong], distinct(self.cells, wrong))
        return {self.channel.name: replace(found, given=kept + len(wrong))}
