"""Truths read anew from the lake, for whoever must not believe what a training job says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.adapters.lake import rows as lake_rows
from shared.adapters.lake.delta_tables import DeltaTables
from shared.adapters.lake.schema import READINGS
from shared.core.forecast.outcome import APPLIED, DISPOSITIONS
from shared.core.forecast.ring import hourly
from shared.core.gate.evidence import Evidence
from shared.core.intake.readings import Floats, Readings
from shared.core.retrain.history import DATASET
from shared.core.scenario import Scenario
from shared.errors import ContractBroken

HOURS, HOUR_US = 24, 3_600_000_000
ORDER = ("device_id", "timestamp", "partition", "epoch", "sequence_number", "position")


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
        import pyarrow as pa

        named = DATASET.fullmatch(dataset)
        if named is None:
            raise ContractBroken(f"dataset {dataset[:80]!r} is not a version of the lake, such as lake@12")
        out = np.full(len(evidence), np.nan, np.float32)
        if not len(evidence):
            return out
        target = evidence.as_of + self.scenario.horizon
        view = self.tables.opened(READINGS, int(named[1]))
        if view is None:
            raise ContractBroken(f"{dataset}: there is no lake")
        first, last = int(target.min()), int(target.max())
        pieces = [_applied(rows, first, last) for rows in view.read(days=(first // HOURS, last // HOURS + 1))]
        found = pa.concat_tables(pieces, promote_options="default") if pieces else ()
        hours = hourly(self.scenario, self._readings(found)) if len(found) else {}
        for place, name in enumerate(evidence.devices):
            mine = np.flatnonzero(evidence.device == place)
            if name in hours and len(mine):
                values = hours[name].values[:, self.scenario.target_column]
                at = target[mine] - hours[name].first_hour
                there = (at >= 0) & (at < len(values))
                out[mine[there]] = values[at[there]]
        return out

    def _readings(self, rows: Any) -> Readings:
        rows = rows.sort_by([(name, "ascending") for name in ORDER])
        device = rows["device_id"].combine_chunks().dictionary_encode()
        return Readings(
            tuple(device.dictionary.to_pylist()),
            device.indices.to_numpy().astype(np.int32),
            lake_rows.minutes_of(rows),
            rows["position"].to_numpy(),
            lake_rows.values_of(tuple(self.scenario.channel_names), rows),
        )


def _applied(rows: Any, first: int, last: int) -> Any:
    """Applied readings of the hours from `first` to `last` (since 1970)."""
    import pyarrow.compute as pc

    hour = rows["timestamp"].cast("int64").to_numpy() // HOUR_US
    applied = pc.equal(rows["disposition"], DISPOSITIONS[APPLIED]).to_numpy(zero_copy_only=False)
    return rows.filter((hour >= first) & (hour <= last) & applied)
