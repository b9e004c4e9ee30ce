"""Folds: the past trains, the future validates, and no truth is used before it was known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from shared.core.intake.readings import Longs
from shared.core.scenario import Scenario

FIRST_SHARE = 0.4
"""Share of the rows that only ever train: the first validation needs a past long enough to have seasons."""

STRETCHES_H = (84, 84, 168, 168, 336, 672)
"""Hours of the recent folds, the newest first."""
LEAST_ROWS = 200


@dataclass(frozen=True, slots=True)
class Fold:
    """Row numbers to train on and to validate on; neither is empty."""

    train: Longs
    valid: Longs


def rolling(as_of: Longs, horizon: int, count: int) -> tuple[Fold, ...]:
    """Rolling-origin folds: each validates the stretch after what it trains on, all of one fold later than the last.

    Boundaries lie between hours, never within one, and split the rows after the first 40 % evenly. A row trains only
    when its truth (as_of + horizon) was known as the validation's first forecast is made, at the end of its first hour.

    Args:
        as_of: Steps, rising, shape (n,).
        horizon: Steps from as_of to the truth.
        count: Folds wanted; one without rows on either side is left out.

    Source:
        Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.10.
    """
    if not len(as_of):
        return ()
    shares = FIRST_SHARE + (1 - FIRST_SHARE) * np.arange(count) / count
    starts = [int(as_of[int(share * len(as_of))]) for share in shares]
    return tuple(_between(as_of, horizon, [*starts, int(as_of[-1]) + 1]))


def _between(as_of: Longs, horizon: int, edges: Sequence[int]) -> Iterator[Fold]:
    for start, end in pairwise(edges):
        known, first, last = np.searchsorted(as_of, [start - horizon + 1, start, end])
        if known and first < last:
            yield Fold(np.arange(known), np.arange(first, last))


def recent(as_of: Longs, scenario: Scenario, since: int) -> tuple[Fold, ...]:
    """Rolling-origin folds of the time from `since` on: the newer, the shorter, for that is where a change shows first.

    They validate the newest half weeks, the two weeks before, and so on up to nine weeks, and what lies before down to
    `since`. One that has fewer than 200 rows to train on is left out.

    Args:
        as_of: Steps, rising, shape (n,).
        scenario: Horizon and cadence.
        since: First step that is validated.
    """
    if not len(as_of) or since > as_of[-1]:
        return ()
    end = int(as_of[-1]) + 1
    stretches = np.array(STRETCHES_H) * scenario.cadence.hour
    starts = [end - back for back in np.cumsum(stretches).tolist() if end - back >= since + stretches[0] // 2]
    found = _between(as_of, scenario.horizon_steps, [since, *reversed(starts), end])
    return tuple(fold for fold in found if len(fold.train) >= LEAST_ROWS)


def owned(folds: Sequence[Fold]) -> tuple[Fold, ...]:
    """The folds with each row in one only: of those that validate it the one that trains on the most rows."""
    if not folds:
        return ()
    ranked = sorted(folds, key=lambda fold: len(fold.train))
    owner = np.full(1 + max(int(fold.valid[-1]) for fold in folds), -1)
    for number, fold in enumerate(ranked):
        owner[fold.valid] = number
    kept = [(fold.train, fold.valid[owner[fold.valid] == number]) for number, fold in enumerate(ranked)]
    found = [Fold(train, valid) for train, valid in kept if len(valid)]
    return tuple(sorted(found, key=lambda fold: int(fold.valid[0])))


def blocks(rows: int, count: int) -> tuple[Fold, ...]:
    """Contiguous blocks of rows, each validated by a model of all others: for rows without a time.

    Rows that overlap in time may stand on both sides, so the score is not one of a forecast.
    """
    edges = np.linspace(0, rows, count + 1).astype(np.int64)
    every = np.arange(rows)
    spans = [(low, high) for low, high in pairwise(edges) if 0 < high - low < rows]
    return tuple(Fold(np.concatenate([every[:low], every[high:]]), every[low:high]) for low, high in spans)
