"""The numbers that decide about drift: the same for the check and for the calibration of its limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.core.drift.measures import POSITION, moments, seasonal, shares
from shared.core.intake.readings import Doubles, Longs
from shared.core.profile.bins import BINS

KINDS = ("distance", "given_others", "twice")
FORMULA = (
    "magnitude = max over the deciding features and over the three statistics of |statistic| / limit; drift is > 1. "
    "Values are counted at their place on the scale of the feature's bins, in standard deviations of the training "
    "history; the reference is the training history at this time of the year (the two nearest months). "
    "distance = Wasserstein distance to the reference over the last window. "
    "given_others = shift of the mean less what the shifts of the other channels let expect (ridge regression). "
    "twice = the smaller given_others of the last two windows, 0 when their signs differ. "
    "Limits come from windows left out of the training history; a shift that one device alone could cause is "
    "taken off before."
)


@dataclass(frozen=True, slots=True)
class Shift:
    """A window beside its reference, in standard deviations of the whole history, NaN where a side is empty.

    Args:
        mean: Mean less the reference's, shape (W,).
        distance: Wasserstein distance, shape (W,).
    """

    mean: Doubles
    distance: Doubles


@dataclass(frozen=True, slots=True)
class Others:
    """What the other channels let expect of a feature's shift.

    Args:
        weights: Weight of each shift (row) in what is expected of each feature (column), shape (W, W).
        low: Shifts below are taken as this: beyond what was seen nothing is known, shape (W,).
        high: Shifts above are taken as this, shape (W,).
    """

    weights: Doubles
    low: Doubles
    high: Doubles

    def expected(self, mean: Doubles) -> Doubles:
        """Expected shifts, NaN where a channel that they rest on is missing.

        Args:
            mean: Shifts, shape (..., W).
        """
        known = np.isfinite(mean)
        found = np.where(known, np.clip(mean, self.low, self.high), 0) @ self.weights
        blind = (~known).astype(float) @ np.abs(self.weights) > 0
        return np.where(blind, np.nan, found)


def shift(counts: Doubles | Longs, live: Longs, middle: float, scale: Doubles) -> Shift:
    """Compare a window with the season.

    Args:
        counts: Reference counts by month of the year, shape (12, W, BINS + 1).
        live: The window's counts, shape (W, BINS + 1).
        middle: Middle of the window, days since 1970.
        scale: Standard deviation of each feature over the whole history, in bins, shape (W,).
    """
    p, q = seasonal(counts, middle)[:, :BINS], shares(live)
    mean = (q @ POSITION - moments(p)[0]) / scale
    return Shift(mean, np.abs(np.cumsum(q - p, axis=1)).sum(1) / scale)


def statistics(others: Others, now: Shift, before: Shift) -> Doubles:
    """The deciding statistics.

    Args:
        others: What is expected.
        now: The last window; its arrays may have leading axes.
        before: The window before it.

    Returns:
        In the order of `KINDS`, signed but for the distance, shape (3, ..., W).
    """
    last, first = (one.mean - others.expected(one.mean) for one in (now, before))
    smaller = np.where(np.abs(last) < np.abs(first), last, first)
    twice = np.where(np.isnan(last) | np.isnan(first), np.nan, np.where(last * first > 0, smaller, 0.0))
    return np.stack([now.distance, last, twice])


def scale_of(counts: Longs | Doubles) -> Doubles:
    """Standard deviation of each feature over all months, in bins, at least one bin, shape (W,)."""
    return np.maximum(np.nan_to_num(moments(shares(counts.sum(0)))[1]), 1.0)
