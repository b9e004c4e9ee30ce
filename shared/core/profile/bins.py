"""Fixed bins in which values are counted, and the watched features whose values these are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Floats, Longs, Mask
from shared.core.model.feature import Feature
from shared.errors import ContractBroken

BINS = 512
MISSING = BINS  # the cell behind the last bin counts missing values
CELLS = BINS + 1
LONG_TAIL = 90.0
BEND = 6.0
COUNT = "<u4"  # on disk; counts of a day stay far below four thousand million
K = TypeVar("K")

Edges = npt.NDArray[np.float64]
Places = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Watched:
    """Features whose distribution is followed.

    Args:
        features: The features, W of them, in the order of the task's.
        columns: Their columns in the matrix of all features, int64, shape (W,).
        edges: Edges of their bins, rising, float64, shape (W, BINS + 1).
        deciding: Whether a drift of each is decided on, shape (W,); the others are reported, as one that decides
            shifts as they do.
        newest: Place of the feature that is the newest value of a stored column.
        derived: Stored columns that a feature rests on, where it is not the one in its name.
    """

    features: tuple[Feature, ...]
    columns: Longs
    edges: Edges
    deciding: Mask
    newest: Mapping[str, int]
    derived: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.features)

    @property
    def names(self) -> tuple[tuple[str, int], ...]:
        """Names and versions."""
        return tuple((f.name, f.version) for f in self.features)

    def rules(self) -> list[str]:
        """What counts over these bins rest on, in words."""
        return [f"{f.name} version {f.version} in {described(f.low, f.high, f.unit)}" for f in self.features]

    def rests_on(self, name: str) -> tuple[str, ...]:
        """Stored columns that a feature is computed from."""
        return self.derived.get(name, (name.rsplit(".", 1)[0],))


def place(values: Floats, edges: Edges) -> Places:
    """The bin of each value; a value beyond the range falls into the bin at that end, a missing one into `MISSING`.

    A bin holds its lower edge; the last one holds its upper edge too, as `numpy.histogram` has it.

    Args:
        values: NaN where missing, shape (n, W).
        edges: Shape (W, BINS + 1).

    Returns:
        uint16, shape (n, W).
    """
    columns = np.ascontiguousarray(values.T, np.float64)
    out = np.empty(columns.shape, np.uint16)
    for bins, column, own in zip(out, columns, edges, strict=True):
        bins[:] = np.searchsorted(own[1:-1], column, side="right")
    out[np.isnan(columns)] = MISSING
    return out.T


def count(places: Places) -> Longs:
    """How often each bin was hit.

    Args:
        places: Bins from `place`, shape (n, W).

    Returns:
        int64, shape (W, BINS + 1); the last cell counts missing values.
    """
    width = places.shape[1]
    cells = places + np.arange(width) * CELLS
    return np.bincount(cells.ravel(), minlength=width * CELLS).reshape(width, CELLS)


def by_key(key: Longs, places: Places) -> dict[int, Longs]:
    """Counts of the rows of each key, as `count` gives them."""
    return {int(value): count(places[key == value]) for value in np.unique(key)}


def add_sums(sums: dict[K, Longs], more: Mapping[K, Longs]) -> None:
    """Add sums to those of the same key; the arrays themselves are never changed, so that a copy may share them."""
    for key, row in more.items():
        sums[key] = sums[key] + row if key in sums else row


def counts_of(raw: bytes, shape: tuple[int, ...]) -> Longs:
    """Counts as they stand on disk.

    Raises:
        ContractBroken: They are not of this shape.
    """
    counts = np.frombuffer(raw, COUNT)
    if counts.size != np.prod(shape):
        raise ContractBroken(f"{counts.size} counts are not {' x '.join(map(str, shape))}")
    return counts.reshape(shape).astype(np.int64)


def edges_of(low: float, high: float, unit: str) -> Edges:
    """Edges of the bins of a value within these limits, shape (BINS + 1,)."""
    part = np.linspace(0.0, 1.0, CELLS)
    if _tailed(low, high, unit):
        part = np.sinh(BEND * part) / np.sinh(BEND)  # fine bins where most values are
    edges = (low + (high - low) * part).astype(np.float32)  # values are float32, so edges lie on them on every machine
    return np.asarray(edges, np.float64)


def described(low: float, high: float, unit: str) -> str:
    """The bins of `edges_of` in words."""
    return f"{BINS} {'widening' if _tailed(low, high, unit) else 'even'} bins from {low:.9g} to {high:.9g} {unit}"


def _tailed(low: float, high: float, unit: str) -> bool:
    """Whether small values are common and large ones rare: an amount that begins at zero and has a far limit."""
    return low == 0 and high >= LONG_TAIL and unit != "%"
