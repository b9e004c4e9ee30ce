"""JSON objects with a layout that only a table can have: one value an object, or a key a station."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from shared.adapters.tables.arranged import records
from shared.adapters.tables.arranged.files import ROWS, Arranged
from shared.adapters.tables.csv.lines import Lines, original
from shared.adapters.tables.source import LONGEST_LINE, Bytes
from shared.core.intake.layouts.objects import flat
from shared.core.intake.layouts.plans import Plan
from shared.core.intake.messages.identities import LONGEST_INTEGER
from shared.core.intake.messages.json_bodies import value_of
from shared.core.intake.readings import Parsed, Rejection, shown
from shared.core.intake.tables import LongTable, Progress
from shared.core.scenario import Scenario
from shared.errors import BadEvent

if TYPE_CHECKING:
    import pyarrow as pa


_LOOKED_AT = 20  # lines


@dataclass(frozen=True, slots=True)
class Objects:
    """Lines of one file, an object each.

    Args:
        blocks: Whole lines; only the last may lack its end.
        source: Where they come from.
    """

    blocks: Iterator[bytes]
    source: Bytes

    def begun(self) -> tuple[tuple[str, ...], Objects]:
        """Names of the first object among the first lines, none where none is one, and the same lines again."""
        first = next(self.blocks, b"")
        again = Objects(chain([first] if first else [], self.blocks), self.source)
        for line in first.split(b"\n", _LOOKED_AT)[:_LOOKED_AT]:
            with contextlib.suppress(BadEvent):
                return tuple(_entries(line)), again
        return (), again

    def table(self, scenario: Scenario, plan: Plan, zone: str | None, not_after: int, chunk_rows: int) -> LongTable:
        """Their readings; see `open.open_table`."""
        progress = Progress(layout=plan.source.name, device=plan.told, per_row=plan.per_row, why=plan.why)
        most = ROWS if plan.value >= 0 else max(1, chunk_rows // plan.per_row)

        def parts(progress: Progress) -> Iterator[Parsed]:
            arranged = Arranged(scenario, plan, zone, not_after, progress, records.MOST_PARAMETERS)
            seen = 0
            for block in self.blocks:
                lines = Lines(block)
                cut = self.source.problem is not None and not block.endswith(b"\n")
                for low in range(0, len(lines), most):
                    part = lines.part(low, min(low + most, len(lines)))
                    stretch = _Stretch.of(part, seen, cut=cut and low + most >= len(lines))
                    seen += len(part)
                    position = np.array([seen - len(part) + 1 + i for i in stretch.lines], np.int64)
                    yield arranged.judge(stretch.columns(plan), position, stretch.raw, stretch.refused)
                progress.bytes_read = self.source.bytes_read
            if self.source.problem is not None:
                progress.problem = f"{self.source.reason}: {self.source.problem}; {progress.rows} rows were read"

        return LongTable(parts, progress)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Lines that were read: their entries by path, their places, and those that are no objects."""

    part: Lines
    lines: list[int]
    entries: list[dict[str, object]]
    refused: list[Rejection]

    @classmethod
    def of(cls, part: Lines, seen: int, *, cut: bool) -> _Stretch:
        """Read lines behind so many others; the last one is incomplete where the file is `cut` there."""
        found = cls(part, [], [], [])
        for i in range(len(part)):
            problem: BadEvent | None = None
            if cut and i == len(part) - 1:
                problem = BadEvent("truncated", "the file is damaged in this row")
            elif part[i].strip():
                problem = found.take(i)
            if problem is not None:
                found.refused.append(Rejection(seen + 1 + i, problem.reason, problem.detail, original(part, i)))
        return found

    def take(self, i: int) -> BadEvent | None:
        """Read a line; what is wrong with it, if anything is."""
        try:
            self.entries.append(_entries(self.part[i]))
        except BadEvent as error:
            return error
        self.lines.append(i)
        return None

    def raw(self, row: int) -> bytes:
        """A row's line."""
        return self.part[self.lines[row]]

    def columns(self, plan: Plan) -> dict[int, pa.Array]:
        """Columns that the plan reads, as texts."""
        import pyarrow as pa

        decimal = plan.layout.decimal

        def column(name: str) -> pa.Array:
            return pa.array([_text(each.get(name), decimal) for each in self.entries], pa.string())

        return {pick: column(plan.names[pick]) for pick in plan.reads}


def _entries(line: bytes) -> dict[str, object]:
    if len(line) > LONGEST_LINE:
        raise BadEvent("too_large", f"the line is longer than {LONGEST_LINE} bytes")
    value = value_of(line.removeprefix(b"\xef\xbb\xbf"))
    if not isinstance(value, dict):
        raise BadEvent("not_an_object", "a line that is no object")
    return flat(value)


def _text(cell: object, decimal: str) -> str | None:
    """A cell as it would be written in a table."""
    if cell is None:
        return None
    if isinstance(cell, str):
        return cell.encode(errors="replace").decode()  # halves of surrogate pairs are no text
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else str(cell).replace(".", decimal)
    return str(cell) if isinstance(cell, int) and cell.bit_length() < LONGEST_INTEGER else shown(cell)
