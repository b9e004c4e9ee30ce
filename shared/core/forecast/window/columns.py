"""The columns that hours are kept in: how samples become sums, and sums the values of hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Array, Doubles, Floats, Ticks
from shared.core.scenario import Scenario

_LANES = 16
WORD = 64  # bits of a mask
_MOST_PRINTS = 360
CHOSEN = ("max", "min", "last")  # aggregates that are one of the samples
Sums: TypeAlias = Floats | Doubles
Counts: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]  # one type: msgspec reads no union of such


@dataclass(frozen=True, slots=True)
class Layout:
    """What the scenario says about the ring: its columns, how samples make an hour, how many hours it holds.

    `chosen` columns hold one of an hour's samples, not a sum: the largest (`highest`), the one of the latest minute
    (`newest`), else the smallest. Of the first `remembered` samples it is known what they said.
    """

    circular: tuple[int, ...]
    sources: tuple[int, ...]
    summed: npt.NDArray[np.bool_]
    chosen: npt.NDArray[np.bool_]
    highest: npt.NDArray[np.bool_]
    newest: npt.NDArray[np.bool_]
    samples_per_step: int
    slots: int
    ticks: int
    fine: bool = False

    @property
    def remembered(self) -> int:
        """Samples of a step whose fingerprints are kept: those that make it complete, as far as memory allows."""
        return min(self.samples_per_step, _MOST_PRINTS)

    @property
    def words(self) -> int:
        """Words of the mask that tells which ticks of a step were seen."""
        return -(-self.ticks // WORD)

    @property
    def sum_type(self) -> type[np.floating[Any]]:
        """What samples are summed in: of ticks below a minute there are too many for float32."""
        return np.float64 if self.fine else np.float32

    @property
    def count_type(self) -> type[np.unsignedinteger[Any]]:
        """What samples are counted in, and the tick of the newest."""
        return np.uint8 if self.ticks <= np.iinfo(np.uint8).max else np.uint16

    @property
    def columns(self) -> int:
        """Number of stored columns."""
        return len(self.summed)

    @classmethod
    def of(cls, scenario: Scenario) -> Layout:
        """Layout of a scenario's ring."""
        sources = [i for i, c in enumerate(scenario.channels) for _ in range(1 + (c.aggregate == "circular"))]
        kinds = np.array([scenario.channels[i].aggregate for i in sources])
        return cls(
            circular=tuple(i for i, c in enumerate(scenario.channels) if c.aggregate == "circular"),
            sources=tuple(sources),
            summed=kinds == "sum",
            chosen=np.isin(kinds, CHOSEN),
            highest=kinds == "max",
            newest=kinds == "last",
            samples_per_step=scenario.samples_per_step,
            slots=scenario.slots,
            ticks=scenario.cadence.ticks,
            fine=scenario.cadence.fine,
        )


def spread(layout: Layout, values: Floats) -> Floats:
    """Stored columns of readings: a circular channel becomes its unit vector (sine, cosine).

    Args:
        layout: Columns of the ring.
        values: Channel values in the scenario's order, shape (n, channels).

    Returns:
        Values to be summed, NaN where missing, shape (n, columns).
    """
    out = values[:, layout.sources]
    for channel in layout.circular:
        first = layout.sources.index(channel)
        angle = np.deg2rad(values[:, channel].astype(np.float64))
        out[:, first] = _same_bits(np.sin, angle)
        out[:, first + 1] = _same_bits(np.cos, angle)
    return out


def _same_bits(function: Callable[[Array], Array], x: Array) -> Array:
    """Apply a transcendental so that a value's bits do not depend on its neighbours: contiguous, padded lanes."""
    padded = np.zeros(-(-len(x) // _LANES) * _LANES, dtype=np.float64)
    padded[: len(x)] = x
    return function(padded)[: len(x)]


def hour_values(layout: Layout, sums: Sums, counts: Counts) -> Floats:
    """Hourly values of sums and counts; an incomplete hour of a summed column counts as missing.

    Args:
        layout: Columns of the ring.
        sums: Sums of samples, shape (hours, columns, devices).
        counts: Number of samples behind each sum, same shape.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        values: Floats = np.divide(sums, counts, dtype=layout.sum_type).astype(np.float32, copy=False)
    values[counts == 0] = np.nan  # 0 / 0 gives a NaN of another sign, and bits are compared
    for column in np.flatnonzero(layout.summed):
        whole = counts[:, column] >= layout.samples_per_step
        values[:, column] = np.where(whole, sums[:, column], np.float32(np.nan))
    for column in np.flatnonzero(layout.chosen):
        values[:, column] = np.where(counts[:, column] > 0, sums[:, column], np.float32(np.nan))
    return values


def fingerprint(minute: Ticks, columns: Floats) -> npt.NDArray[np.uint32]:
    """A hash of each reading's tick and values, never 0, that tells a re-send from a conflicting reading.

    Args:
        minute: Ticks, shape (n,).
        columns: Values, NaN where missing (every NaN is the same), shape (n, columns).
    """
    bits = np.where(np.isnan(columns), np.float32(np.inf), columns + np.float32(0)).view(np.uint32)
    mixed = minute.astype(np.uint32) * np.uint32(2654435761)
    for column in range(bits.shape[1]):
        mixed = (mixed ^ bits[:, column]) * np.uint32(16777619)
        mixed ^= mixed >> np.uint32(15)
    return mixed | np.uint32(1)
