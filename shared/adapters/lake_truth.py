"""Truths read anew from the lake, for whoever must not believe what a training job says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.adapters import lake_rows
from shared.adapters.delta_tables import DeltaTables
from shared.adapters.lake_schema import READINGS
from shared.core.gate_evidence import Evidence
from shared.core.outcome import APPLIED, DISPOSITIONS
from shared.core.readings import Floats, Readings
from shared.core.ring import hourly
from shared.core.scenario import Scenario
from shared.errors import ContractBroken

DATASET = re.compile(r"lake@([0-9]{1,18})")
HOUR_US = 3_600_000_000
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
        named = DATASET.fullmatch(dataset)
        if named is None:
            raise ContractBroken(f"dataset {dataset[:80]!r} is not a version of the lake, such as lake@12")
        out = np.full(len(evidence), np.nan, np.float32)
        if not len(evidence):
            return out
        target = evidence.as_of + self.scenario.horizon
        opened = self.tables.opened(READINGS, int(named[1]))
        if opened is None:
            raise ContractBroken(f"{dataset}: there is no lake")
        found = list(self.tables.read(opened, READINGS, _between(int(target.min()), int(target.max()) + 1)))
        hours = hourly(self.scenario, self._readings(found)) if found else {}
        for place, name in enumerate(evidence.devices):
            mine = np.flatnonzero(evidence.device == place)
            if name in hours and len(mine):
                values = hours[name].values[:, self.scenario.target_column]
                at = target[mine] - hours[name].first_hour
                there = (at >= 0) & (at < len(values))
                out[mine[there]] = values[at[there]]
        return out

    def _readings(self, pieces: list[Any]) -> Readings:
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = pa.concat_tables(pieces)
        rows = rows.filter(pc.equal(rows["disposition"], DISPOSITIONS[APPLIED]))
        rows = rows.sort_by([(name, "ascending") for name in ORDER])
        device = rows["device_id"].combine_chunks().dictionary_encode()
        return Readings(
            tuple(device.dictionary.to_pylist()),
            device.indices.to_numpy().astype(np.int32),
            lake_rows.minutes_of(rows),
            rows["position"].to_numpy(),
            lake_rows.values_of(tuple(self.scenario.channel_names), rows),
        )


def _between(first: int, stop: int) -> Any:
    """Rows of the hours from `first` to before `stop`, hours since 1970; the day prunes files."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def date(day: int) -> Any:
        return pa.scalar(day, pa.int32()).cast(pa.date32())

    def when(hour: int) -> Any:
        return pa.scalar(hour * HOUR_US, pa.timestamp("us", tz="UTC"))

    days = (pc.field("date") >= date(first // 24)) & (pc.field("date") <= date(stop // 24))
    return days & (pc.field("timestamp") >= when(first)) & (pc.field("timestamp") < when(stop))
