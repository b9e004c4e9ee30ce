"""The lake as a place to look things up: where a forecast stands, and how many each model made."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from shared.adapters.delta_lake import DeltaLake
from shared.adapters.lake_rows import DAY_HOURS, HOUR_US
from shared.adapters.lake_schema import COMMITS, PREDICTIONS

if TYPE_CHECKING:
    import pyarrow as pa

EPOCH = date(1970, 1, 1)


class LakeArchive(DeltaLake):
    """The tables of one scenario, also looked up by forecast and by model."""

    def places(self, device: str, as_of: int) -> list[tuple[int, int, int]]:
        """Partition, epoch and sequence number of every forecast of a device's as-of hour, without repetition."""
        import pyarrow as pa
        import pyarrow.compute as pc

        hour = pa.scalar(as_of * HOUR_US, pa.timestamp("us", tz="UTC"))
        day = EPOCH + timedelta(days=as_of // DAY_HOURS)
        where = (pc.field("date") == day) & (pc.field("as_of") == hour) & (pc.field("device_id") == device)
        found = self._read(PREDICTIONS, where)
        if found is None:
            return []
        columns = (found[name].to_pylist() for name in ("partition", "epoch", "sequence_number"))
        return sorted(set(zip(*columns, strict=True)))

    def made(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Forecasts, and how many of them users saw, by model version and role; of complete commits only."""
        import pyarrow.compute as pc

        opened = self.delta.opened(PREDICTIONS)
        ends = self._ends()
        sums: dict[tuple[str, str], tuple[int, int]] = {}
        for rows in () if opened is None else self.delta.read(opened, PREDICTIONS):
            end = np.array([ends.get(key, 0) for key in _keys(rows)], np.int64)
            counted = rows.filter(pc.less(rows["sequence_number"], end))
            groups = counted.group_by(["model_version", "role"]).aggregate([("served", "count"), ("served", "sum")])
            for row in groups.to_pylist():
                key = row["model_version"], row["role"]
                made, served = sums.get(key, (0, 0))
                sums[key] = made + row["served_count"], served + (row["served_sum"] or 0)
        return sums

    def _ends(self) -> dict[tuple[int, int], int]:
        """Sequence number up to which the lake holds everything, by partition and epoch."""
        found = self._read(COMMITS, None)
        ends: dict[tuple[int, int], int] = {}
        if found is not None:
            for key, end in zip(_keys(found), found["next"].to_pylist(), strict=True):
                ends[key] = max(end, ends.get(key, 0))
        return ends


def _keys(rows: pa.Table) -> list[tuple[int, int]]:
    return list(zip(rows["partition"].to_pylist(), rows["epoch"].to_pylist(), strict=True))
