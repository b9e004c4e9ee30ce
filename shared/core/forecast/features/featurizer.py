"""The hourly featurizer: windows of hourly columns into a matrix, one implementation for training and serving."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from shared.core.forecast.features import spans, values
from shared.core.forecast.features.plan import plan
from shared.core.forecast.features.summary import LANES, Summary
from shared.core.forecast.features.vapour import vapour
from shared.core.intake.readings import Floats, Longs
from shared.core.model.feature import Feature
from shared.core.scenario import Scenario

BLOCK = 512  # windows at a time, at most: working memory is some 11 kB for each (measured: 256 takes a quarter longer)
BLOCKS = (
    values.latest,
    values.age,
    values.lags,
    values.changes,
    values.same_hour,
    spans.means,
    spans.deviations,
    spans.lows,
    spans.highs,
    spans.amounts,
    spans.departures,
    spans.flows,
    vapour,
    values.gaps,
    values.calendar,
)


def _transpose(source: Floats, out: Floats) -> None:
    for first in range(0, len(source), LANES):  # a cache line of the target at a time: twice as fast
        out[:, first : first + LANES] = source[first : first + LANES].T


class Featurizer:
    """The hourly features of a scenario, in a fixed order.

    Args:
        scenario: Its channels, target and history decide which features there are.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._plan = plan(scenario)
        self._blocks = tuple(make(self._plan) for make in BLOCKS)
        sizes = [len(block.features) for block in self._blocks]
        self._slices = [slice(stop - size, stop) for size, stop in zip(sizes, accumulate(sizes), strict=True)]
        self.features: tuple[Feature, ...] = tuple(f for block in self._blocks for f in block.features)

    def matrix(self, window: Floats, as_of: Longs) -> Floats:
        """Features of each window: the same bits whatever the other windows are and wherever it stands among them.

        Args:
            window: Hourly values of the scenario's stored columns, NaN where missing, float32, shape
                (history, columns, n), oldest hour first, the newest is the as-of hour. Any strides, so a sliding view
                of a longer series will do; read only.
            as_of: As-of hours since 1970 UTC, negative where unknown, int64, shape (n,).

        Returns:
            float32, shape (n, features), C-contiguous; NaN where the hours that a feature needs are missing.

        Raises:
            ValueError: A shape is not what it should be.
        """
        count = self._check(window, as_of)
        matrix = np.empty((count, len(self.features)), np.float32)
        parts = -(-count // BLOCK)
        width = -(-count // (parts * LANES)) * LANES if parts else LANES
        summary = Summary(self._plan, width)
        filled = np.empty((len(self.features), width), np.float32)
        with np.errstate(all="ignore"):
            for start in range(0, count, width):
                stop = min(start + width, count)
                summary.load(window[:, :, start:stop], as_of[start:stop])
                for block, rows in zip(self._blocks, self._slices, strict=True):
                    block.fill(summary, filled[rows])
                _transpose(filled[:, : stop - start], matrix[start:stop])
        return matrix

    def _check(self, window: Floats, as_of: Longs) -> int:
        expected = (self._plan.history, len(self._plan.stored))
        if window.ndim != 3 or window.shape[:2] != expected or as_of.shape != window.shape[2:]:
            raise ValueError(f"window {window.shape} and as_of {as_of.shape} are not {expected} + (n,) and (n,)")
        return len(as_of)


FEATURIZERS = {"hourly": Featurizer}


def featurizer_of(scenario: Scenario) -> Featurizer:
    """The scenario's featurizer."""
    return FEATURIZERS[scenario.featurizer](scenario)
