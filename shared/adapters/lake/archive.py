"""The lake as a place to look things up: where a forecast stands, and how many each model made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shared.adapters.lake.delta_lake import DeltaLake
from shared.adapters.lake.schema import COMMITS, PREDICTIONS
from shared.core.task.calendar import DAY_HOURS, HOUR_US

if TYPE_CHECKING:
    import pyarrow as pa


class LakeArchive(DeltaLake):
    """The tables of one task, also looked up by forecast and by model."""

    def places(self, device: str, as_of: int) -> list[tuple[int, int, int]]:
        """Partition, epoch and sequence number of every forecast of a device's as-of hour, without repetition."""
        import pyarrow.compute as pc

        view = self.delta.opened(PREDICTIONS)
        day, hour = as_of // DAY_HOURS, as_of * HOUR_US
        found: set[tuple[int, int, int]] = set()
        for rows in () if view is None else view.read({"as_of": (hour, hour)}, (day, day + 1)):
            mine = rows.filter(pc.equal(rows["device_id"], device))
            columns = (mine[name].to_pylist() for name in ("partition", "epoch", "sequence_number"))
            found.update(zip(*columns, strict=True))
        return sorted(found)

    def made(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Forecasts, and how many of them users saw, by model version and role; of complete commits only."""
        import pyarrow.compute as pc

        ends = self._ends()
        view = self.delta.opened(PREDICTIONS)
        sums: dict[tuple[str, str], tuple[int, int]] = {}
        for rows in () if view is None else view.read():
            end = np.array([ends.get(key, 0) for key in _keys(rows)], np.int64)
            counted = rows.filter(pc.less(rows["sequence_number"], end))
            groups = counted.group_by(["model_version", "role"], use_threads=False).aggregate(
                [("served", "count"), ("served", "sum")]
            )
            for row in groups.to_pylist():
                key = row["model_version"], row["role"]
                made, served = sums.get(key, (0, 0))
                sums[key] = made + row["served_count"], served + row["served_sum"]
        return sums

    def _ends(self) -> dict[tuple[int, int], int]:
        """Sequence number up to which the lake holds everything, by partition and epoch."""
        view = self.delta.opened(COMMITS)
        ends: dict[tuple[int, int], int] = {}
        for rows in () if view is None else view.read():
            for key, end in zip(_keys(rows), rows["next"].to_pylist(), strict=True):
                ends[key] = max(end, ends.get(key, 0))
        return ends


def _keys(rows: pa.Table) -> list[tuple[int, int]]:
    return list(zip(rows["partition"].to_pylist(), rows["epoch"].to_pylist(), strict=True))
