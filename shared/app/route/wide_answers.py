"""The answer to a wide file: a table of ID and target, and how good it is where the file knows the truth."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.app.score.serving import ActiveModels
from shared.core.intake.readings import Doubles, Floats
from shared.core.intake.tables import WideChunk
from shared.core.task.calendar import NO_HOUR
from shared.core.task.task import Task, names_of

ESCAPED = ("=", "+", "-", "@", "\t", "\r", "'")


@dataclass(slots=True)
class WideAnswers:
    """Answers of one file, chunk by chunk.

    Args:
        task: What is asked and answered.
        answering: Who answers.
    """

    task: Task
    answering: ActiveModels
    _text: io.StringIO = field(default_factory=io.StringIO)
    _errors: list[Doubles] = field(default_factory=list)

    def __post_init__(self) -> None:
        csv.writer(self._text, lineterminator="\n").writerow(["ID", "target"])

    def add(self, chunk: WideChunk) -> None:
        """Answer some windows.

        Raises:
            ContractBroken: The model's answers cannot be used.
        """
        column, *_ = names_of(self.task.answer, "number")
        value = self.answering.forecast(self._features(chunk))[column]
        rows = ((escaped(i), f"{v:.4f}") for i, v in zip(chunk.ids, value.tolist(), strict=True))
        csv.writer(self._text, lineterminator="\n").writerows(rows)
        self._errors.append((value.astype(np.float64) - chunk.target)[~np.isnan(chunk.target)])

    def table(self) -> bytes:
        """The answer as CSV."""
        return self._text.getvalue().encode()

    def scores(self) -> dict[str, Any]:
        """How many windows had a truth, and the errors against it."""
        off = np.concatenate([np.empty(0), *self._errors])
        return {
            "matured": len(off),
            "mae": float(np.abs(off).mean()) if len(off) else None,
            "rmse": float(np.sqrt((off**2).mean())) if len(off) else None,
            "model_version": self.answering.control.champion,
        }

    def _features(self, chunk: WideChunk) -> Floats:
        unknown = np.full(len(chunk.ids), NO_HOUR, np.int64)  # without timestamps there is no calendar
        return self.task.matrix(chunk.window, unknown)


def escaped(row_id: str) -> str:
    """A row's id as a spreadsheet may open it: one that could be a formula, or begins with ', gets a ' in front.

    Whoever reads the answer gets the id back by taking one ' from the front of cells that begin with one.

    >>> escaped("=1+1"), escaped("'tis"), escaped("ID_7")
    ("'=1+1", "''tis", 'ID_7')
    """
    return f"'{row_id}" if row_id.startswith(ESCAPED) else row_id
