"""What training leaves for the check: the reference, the limits, and how each device used to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.core.drift.measures import MONTHS, filled
from shared.core.drift.statistic import KINDS, Others, scale_of
from shared.core.intake.readings import Doubles, Longs
from shared.core.profile.bins import CELLS
from shared.errors import ContractBroken

PREFIX = "drift_"
QUALITY = ("ratio", "mae", "coverage")
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Arrays of `baseline.npz` that begin with `drift_`; W watched features, C stored columns, D training devices.

    Args:
        names: Names of the watched features, shape (W,).
        versions: Their versions, shape (W,).
        edges: Edges of their bins, shape (W, BINS + 1).
        counts: Training rows by month of the year, shape (12, W, BINS + 1).
        weights: See `Others`, shape (W, W).
        low: See `Others`, shape (W,).
        high: See `Others`, shape (W,).
        limits: Of the statistics `KINDS`: inf for a feature that does not decide, NaN when not calibrated, (3, W).
        forecast_edges: Edges of the bins of forecasts, shape (BINS + 1,).
        forecast_counts: Out-of-fold forecasts by month of the year, shape (12, BINS + 1).
        forecast_limit: Of the distance of forecasts, NaN when not calibrated, shape (1,).
        history: Days in a window, delay in hours until a forecast is counted, years of history, windows the limits
            were calibrated on, shape (4,).
        columns: Stored columns, shape (C,).
        latest: Place of each column's newest value among the watched features, -1 without, shape (C,).
        common: The commonest value of each column, shape (C,).
        runs: Hours of one same value that are still normal: elsewhere, and at the commonest value, shape (2, C).
        jumps: Limits in bins on a departure from the other devices: newest day against the days before, and level
            against the usual one, shape (2, C).
        lonely: The first of them for a device without others, shape (C,).
        absent: Share of training rows without a value, shape (C,).
        devices: Training devices, shape (D,).
        offsets: Usual level of a device less the median of all, in bins, NaN when unknown, shape (D, C).
        quality: Limits named by `QUALITY`: the first two from above, coverage from below, NaN without, shape (3,).
        quantum: Unit of the error sums, shape (1,).
    """

    names: Array
    versions: Longs
    edges: Doubles
    counts: Longs
    weights: Doubles
    low: Doubles
    high: Doubles
    limits: Doubles
    forecast_edges: Doubles
    forecast_counts: Longs
    forecast_limit: Doubles
    history: Doubles
    columns: Array
    latest: Longs
    common: Doubles
    runs: Longs
    jumps: Doubles
    lonely: Doubles
    absent: Doubles
    devices: Array
    offsets: Doubles
    quality: Doubles
    quantum: Doubles

    @property
    def watched(self) -> tuple[tuple[str, int], ...]:
        """Names and versions."""
        return tuple((str(name), int(version)) for name, version in zip(self.names, self.versions, strict=True))

    @property
    def others(self) -> Others:
        """What the channels let expect of each other."""
        return Others(self.weights, self.low, self.high)

    @property
    def reference(self) -> Doubles:
        """Counts by month of the year, with short gaps between months closed."""
        return filled(self.counts)

    @property
    def scale(self) -> Doubles:
        """Standard deviation of each feature, in bins."""
        return scale_of(self.counts)

    @property
    def calibrated(self) -> bool:
        """Whether there was history enough for limits."""
        return bool(np.isfinite(self.limits).any())

    def arrays(self) -> dict[str, Array]:
        """As it is stored; counts as uint32."""
        found = {PREFIX + field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("counts", "forecast_counts"):
            found[PREFIX + name] = found[PREFIX + name].astype(np.uint32)
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Baseline:
        """Read it back.

        Raises:
            ContractBroken: An array is missing or has another shape than its fellows.
        """
        missing = [PREFIX + f.name for f in fields(cls) if PREFIX + f.name not in arrays]
        if missing:
            raise ContractBroken(
                f"baseline.npz: {', '.join(missing)} missing: trained by a version without drift limits"
            )
        found = {f.name: arrays[PREFIX + f.name] for f in fields(cls)}
        for name in ("counts", "forecast_counts"):
            found[name] = found[name].astype(np.int64)
        _check(found)
        return cls(**found)


def _check(found: Mapping[str, Array]) -> None:
    width, columns, devices = len(found["names"]), len(found["columns"]), len(found["devices"])
    shapes = {
        "versions": (width,), "edges": (width, CELLS), "counts": (MONTHS, width, CELLS), "weights": (width, width),
        "low": (width,), "high": (width,), "limits": (len(KINDS), width), "forecast_edges": (CELLS,),
        "forecast_counts": (MONTHS, CELLS), "forecast_limit": (1,), "history": (4,), "latest": (columns,),
        "common": (columns,), "runs": (2, columns), "jumps": (2, columns), "lonely": (columns,), "absent": (columns,),
        "offsets": (devices, columns), "quality": (len(QUALITY),), "quantum": (1,),
    }  # fmt: skip
    wrong = [f"{PREFIX}{name} {found[name].shape} is not {shape}" for name, shape in shapes.items()
             if found[name].shape != shape]  # fmt: skip
    if wrong:
        raise ContractBroken(f"baseline.npz: {'; '.join(wrong)}")
