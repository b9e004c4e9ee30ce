"""Folds: the past trains, the future validates, and no truth is used before it was known."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from shared.core.readings import Longs

FIRST_SHARE = 0.4
"""Share of the rows that only ever train: the first validation needs a past long enough to have seasons."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Row numbers to train on and to validate on; neither is empty."""

    train: Longs
    valid: Longs


def rolling(as_of: Longs, horizon: int, count: int) -> tuple[Fold, ...]:
    """Rolling-origin folds: each validates the stretch after what it trains on, all of one fold later than the last.

    Boundaries lie between hours, never within one, and split the rows after the first 40 % evenly. A row trains only
    when its truth (as_of + horizon) was known as the validation's first hour began.

    Args:
        as_of: Hours, rising, shape (n,).
        horizon: Hours from as_of to the truth.
        count: Folds wanted; one without rows on either side is left out.

    Source:
        Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.10.
    """
    if not len(as_of):
        return ()
    shares = FIRST_SHARE + (1 - FIRST_SHARE) * np.arange(count) / count
    starts = [int(as_of[int(share * len(as_of))]) for share in shares]
    edges = [*starts, int(as_of[-1]) + 1]
    folds = []
    for start, end in pairwise(edges):
        known, first, last = np.searchsorted(as_of, [start - horizon + 1, start, end])
        if known and first < last:
            folds.append(Fold(np.arange(known), np.arange(first, last)))
    return tuple(folds)


def blocks(rows: int, count: int) -> tuple[Fold, ...]:
    """Contiguous blocks of rows, each validated by a model of all others: for rows without a time.

    Rows that overlap in time may stand on both sides, so the score is not one of a forecast.
    """
    edges = np.linspace(0, rows, count + 1).astype(np.int64)
    every = np.arange(rows)
    spans = [(low, high) for low, high in pairwise(edges) if 0 < high - low < rows]
    return tuple(Fold(np.concatenate([every[:low], every[high:]]), every[low:high]) for low, high in spans)
