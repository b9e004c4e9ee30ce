"""The lake as a place to look things up: where a forecast stands, and how many each model made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.adapters.lake import rows as lake_rows
from shared.adapters.lake.delta.files import Bounds, View
from shared.adapters.lake.delta_lake import DeltaLake
from shared.adapters.lake.schema import COMMITS, PREDICTIONS

if TYPE_CHECKING:
    import pyarrow as pa


class LakeArchive(DeltaLake):
    """The tables of one task, also looked up by forecast and by model."""

    def places(self, device: str, as_of: int) -> list[tuple[int, int, int]]:
        """Partition, epoch and sequence number of every forecast of a device's as-of hour, without repetition."""
        import pyarrow.compute as pc

        view = self.delta.opened(PREDICTIONS)
        cadence = self.files.scenario.cadence
        day, hour = as_of // cadence.day, as_of * cadence.step_us
        found: set[tuple[int, int, int]] = set()
        for rows in () if view is None else view.read({"as_of": (hour, hour)}, (day, day + 1)):
            mine = rows.filter(pc.equal(rows["device_id"], device))
            columns = (mine[name].to_pylist() for name in ("partition", "epoch", "sequence_number"))
            found.update(zip(*columns, strict=True))
        return sorted(found)

    def ends(self, apps: Sequence[str]) -> dict[str, int]:
        """Event up to which the lake holds everything, by application id; without those that it has nothing of."""
        return self.delta.transactions(COMMITS, apps)

    def forecast_days(self, first: int, last: int) -> list[tuple[int, Callable[[str | None], dict[str, Any]]]]:
        """Days with forecasts of as-of hours `first` to `last`, newest first, each with what reads the served ones."""
        view = self.delta.opened(PREDICTIONS)
        if view is None:
            return []
        cadence = self.files.scenario.cadence
        held = {file.day for file in view.files if first // cadence.day <= file.day <= last // cadence.day}
        read = partial(self._served, view, {"as_of": (first * cadence.step_us, last * cadence.step_us)})
        return [(day, partial(read, day)) for day in sorted(held, reverse=True)]

    def _served(self, view: View, bounds: Bounds, day: int, device: str | None) -> dict[str, Any]:
        """Served forecasts of a day as columns, of one device or of all."""
        import pyarrow as pa
        import pyarrow.compute as pc

        pieces = [self._schemas[PREDICTIONS].empty_table()]
        for rows in view.read(bounds, (day, day + 1)):
            mine = rows if device is None else rows.filter(pc.equal(rows["device_id"], device))
            pieces.append(mine.filter(mine["served"]))
        found = pa.concat_tables(pieces, promote_options="default")
        return {**lake_rows.forecasts_of(self.files, found), "epoch": found["epoch"].to_numpy()}

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
