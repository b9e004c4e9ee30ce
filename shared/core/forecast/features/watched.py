"""Which features are watched for drift, and the fixed bins in which their values are counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.core.forecast.features.featurizer import Feature, Featurizer
from shared.core.intake.readings import Floats, Longs
from shared.core.scenario import Scenario

BINS = 512
MISSING = BINS  # the cell behind the last bin counts missing values
CELLS = BINS + 1
SUFFIXES = (".latest", ".mean_24")
NAMES = ("vapour.deficit",)
LONG_TAIL = 90.0
BEND = 6.0

Edges = npt.NDArray[np.float64]
Places = npt.NDArray[np.uint16]


class Featured(Protocol):
    """Anything with features in the order of a matrix's columns."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """Its features."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Features whose distribution is followed.

    Args:
        features: The features, W of them, in the order of the featurizer.
        columns: Their columns in the featurizer's matrix, int64, shape (W,).
        edges: Edges of their bins, rising, float64, shape (W, BINS + 1).
    """

    features: tuple[Feature, ...]
    columns: Longs
    edges: Edges

    @classmethod
    def of(cls, scenario: Scenario, featurizer: Featured | None = None) -> Watched:
        """What is watched in a scenario: newest values, means over a day, and the vapour pressure deficit.

        Args:
            scenario: Its channels decide on the features.
            featurizer: Whose columns are meant; None stands for the scenario's own.
        """
        known = (featurizer or Featurizer(scenario)).features
        columns = [place for place, f in enumerate(known) if f.name.endswith(SUFFIXES) or f.name in NAMES]
        features = tuple(known[place] for place in columns)
        edges = np.array([_edges(f.low, f.high, f.unit) for f in features]).reshape(len(features), CELLS)
        return cls(features, np.array(columns, np.int64), edges)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def names(self) -> tuple[tuple[str, int], ...]:
        """Names and versions."""
        return tuple((f.name, f.version) for f in self.features)

    def rules(self) -> list[str]:
        """What counts over these bins rest on, in words."""
        return [f"{f.name} version {f.version} in {_bins(f.low, f.high, f.unit)}" for f in self.features]


def forecast_edges(scenario: Scenario) -> Edges:
    """Edges of the bins of forecasts, over the limits of the target, shape (BINS + 1,)."""
    channel = scenario.target_channel
    return _edges(channel.minimum, channel.maximum, channel.unit)


def rules_of(scenario: Scenario) -> list[str]:
    """What all counts of a scenario rest on, in words."""
    channel = scenario.target_channel
    return [
        *Watched.of(scenario).rules(),
        f"forecasts in {_bins(channel.minimum, channel.maximum, channel.unit)}",
    ]


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


def _tailed(low: float, high: float, unit: str) -> bool:
    """Whether small values are common and large ones rare: an amount that begins at zero and has a far limit."""
    return low == 0 and high >= LONG_TAIL and unit != "%"


def _bins(low: float, high: float, unit: str) -> str:
    return f"{BINS} {'widening' if _tailed(low, high, unit) else 'even'} bins from {low:.9g} to {high:.9g} {unit}"


def _edges(low: float, high: float, unit: str) -> Edges:
    part = np.linspace(0.0, 1.0, CELLS)
    if _tailed(low, high, unit):
        part = np.sinh(BEND * part) / np.sinh(BEND)  # fine bins where most values are
    edges = (low + (high - low) * part).astype(np.float32)  # values are float32, so edges lie on them on every machine
    return np.asarray(edges, np.float64)
