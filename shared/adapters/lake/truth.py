"""Truths read anew from the lake, for whoever must not believe what a training job says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared.adapters.lake import rows as lake_rows
from shared.adapters.lake.delta_tables import DeltaTables
from shared.adapters.lake.rows import DAY_HOURS, HOUR_US
from shared.adapters.lake.schema import READINGS
from shared.core.forecast.ring import Hourly, hourly
from shared.core.gate.evidence import Evidence
from shared.core.intake.readings import Floats
from shared.core.retrain.history import DATASET
from shared.core.scenario import Scenario
from shared.errors import ContractBroken


@dataclass(frozen=True, slots=True)
class LakeTruth:
    """The target's hourly values in a version of the readings.

    Args:
        scenario: Target, horizon and rules of aggregation.
        tables: The lake.
    """

    scenario: Scenario
    tables: DeltaTables

    def __call__(self, evidence: Evidence, dataset: str) -> Floats:
        """What came to each row of the evidence, NaN where the lake knows of nothing, float32, shape (n,).

        Raises:
            ContractBroken: `dataset` names no version of the lake, or a file of it is gone or damaged.
        """
        named = DATASET.fullmatch(dataset)
        if named is None:
            raise ContractBroken(f"dataset {dataset[:80]!r} is not a version of the lake, such as lake@12")
        out = np.full(len(evidence), np.nan, np.float32)
        if not len(evidence):
            return out
        target = evidence.as_of + self.scenario.horizon
        hours = self._hours(dataset, int(named[1]), int(target.min()), int(target.max()))
        for place, name in enumerate(evidence.devices):
            mine = np.flatnonzero(evidence.device == place)
            if name in hours and len(mine):
                values = hours[name].values[:, self.scenario.target_column]
                at = target[mine] - hours[name].first_hour
                there = (at >= 0) & (at < len(values))
                out[mine[there]] = values[at[there]]
        return out

    def _hours(self, dataset: str, version: int, first: int, last: int) -> Mapping[str, Hourly]:
        import pyarrow as pa

        view = self.tables.opened(READINGS, version)
        if view is None:
            raise ContractBroken(f"{dataset}: there is no lake")
        days = (first // DAY_HOURS, last // DAY_HOURS + 1)
        pieces = [lake_rows.applied(rows, first * HOUR_US, (last + 1) * HOUR_US) for rows in view.read(days=days)]
        found = pa.concat_tables(pieces, promote_options="default") if pieces else ()
        channels = tuple(self.scenario.channel_names)
        return hourly(self.scenario, lake_rows.readings_of(channels, found)) if len(found) else {}
