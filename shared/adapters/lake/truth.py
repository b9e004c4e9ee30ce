"""Truths read anew from the lake, for whoever must not believe what a training job says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.adapters.lake import rows as lake_rows
from shared.adapters.lake.delta.tables import DeltaTables
from shared.adapters.lake.schema import READINGS
from shared.core.gate.evidence import Evidence
from shared.core.intake.readings import Floats
from shared.core.retrain.history import DATASET
from shared.core.task.task import Task, names_of
from shared.errors import ContractBroken


@dataclass(frozen=True, slots=True)
class LakeTruth:
    """Truths in a version of the readings.

    Args:
        task: Knows the truth when it sees readings.
        tables: The lake.
    """

    task: Task
    tables: DeltaTables

    def __call__(self, evidence: Evidence, dataset: str) -> Floats:
        """What came to each row of the evidence, NaN where the lake knows of nothing, float32, shape (n,).

        Raises:
            ContractBroken: `dataset` names no version of the lake, or a file of it is gone or damaged.
        """
        import pyarrow as pa

        match = DATASET.fullmatch(dataset)
        if match is None:
            raise ContractBroken(f"dataset {dataset[:80]!r} is not a version of the lake, such as lake@12")
        if not len(evidence):
            return np.empty(0, np.float32)
        view = self.tables.opened(READINGS, int(match[1]))
        if view is None:
            raise ContractBroken(f"{dataset}: there is no lake")
        target = self.task.target_hour(evidence.as_of)
        first, last = int(target.min()), int(target.max())
        cadence = self.task.scenario.cadence
        days, span = (
            (first // cadence.day, last // cadence.day + 1),
            (first * cadence.step_us, (last + 1) * cadence.step_us),
        )
        pieces = [lake_rows.applied(rows, *span) for rows in view.read(days=days)]
        found = pa.concat_tables(pieces, promote_options="default") if pieces else ()
        if not len(found):
            return np.full(len(evidence), np.nan, np.float32)
        readings = lake_rows.readings_of(names_of(self.task.row), cadence, found)
        return self.task.truths(readings, evidence.devices, evidence.device, evidence.as_of)
