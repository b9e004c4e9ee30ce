"""How far two histograms over the same bins are apart, feature by feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.core.intake.readings import Doubles, Longs
from shared.core.profile.bins import BINS, MISSING

PSI_GROUPS = 10  # parts of equal share of the reference: with hundreds of thin bins chance alone gives large values
HALF = 0.5
MONTHS = 12
GAP = 4
THIN = 0.1  # share of the fullest month: the last hours of a month say nothing of the month
YEAR_DAYS = 365.2425
POSITION = np.arange(BINS) + HALF  # a value's place on the scale of its bins, which even out a long tail


@dataclass(frozen=True, slots=True)
class Measures:
    """What live values are and how far they lie from the reference, shape (W,) each; NaN where a side is empty.

    Args:
        rows: Live values that are not missing.
        missing: Share of live rows whose value is missing.
        minimum: Lower edge of the lowest live bin that is not empty.
        maximum: Upper edge of the highest one.
        mean: Live mean, bins counted at their centres.
        difference: Live mean less the reference's, in the reference's standard deviations.
        euclidean: Euclidean distance of the shares per bin.
        wasserstein: First Wasserstein distance, in the feature's unit.
        psi: Population stability index over tenths of the reference, half a count added to each.
        jensen_shannon: Jensen-Shannon distance to base 2, from 0 to 1.
        ks: Kolmogorov-Smirnov distance.
    """

    rows: Longs
    missing: Doubles
    minimum: Doubles
    maximum: Doubles
    mean: Doubles
    difference: Doubles
    euclidean: Doubles
    wasserstein: Doubles
    psi: Doubles
    jensen_shannon: Doubles
    ks: Doubles


def measures(reference: Longs | Doubles, live: Longs, edges: Doubles) -> Measures:
    """Compare histograms, all features at once.

    Args:
        reference: Counts, or counts weighed, of the reference, the last cell those missing, shape (W, BINS + 1).
        live: Counts of now, same shape.
        edges: Edges of the bins, shape (W, BINS + 1).

    Source:
        Wasserstein and KS from the cumulated shares; PSI = sum (q - p) ln(q / p); Jensen-Shannon as
        `scipy.spatial.distance.jensenshannon(p, q, base=2)`.
    """
    p, q = shares(reference), shares(live)
    gap = np.cumsum(q - p, axis=1)
    center = (edges[:, 1:] + edges[:, :-1]) / 2
    mean_p, mean_q = (p * center).sum(1), (q * center).sum(1)
    spread = np.sqrt(np.maximum((p * center**2).sum(1) - mean_p**2, 0))
    lowest, highest = _ends(live[:, :BINS])
    row = np.arange(len(edges))
    some = ~np.isnan(mean_q)
    total = live.sum(1)
    return Measures(
        rows=live[:, :BINS].sum(1),
        missing=_divide(live[:, MISSING], total),
        minimum=np.where(some, edges[row, lowest], np.nan),
        maximum=np.where(some, edges[row, highest + 1], np.nan),
        mean=mean_q,
        difference=_divide(mean_q - mean_p, spread),
        euclidean=np.sqrt(((q - p) ** 2).sum(1)),
        wasserstein=(np.abs(gap) * np.diff(edges, axis=1)).sum(1),
        psi=_psi(reference[:, :BINS], live[:, :BINS]),
        jensen_shannon=_jensen_shannon(p, q),
        ks=np.abs(gap).max(1),
    )


def shares(counts: Longs | Doubles) -> Doubles:
    """Shares per bin of what is not missing, NaN where nothing is, shape (..., BINS)."""
    there = counts[..., :BINS]
    return _divide(there, there.sum(-1)[..., None])


def seasonal(counts: Longs | Doubles, day: float) -> Doubles:
    """What the reference was like at this time of the year: the two nearest months, the nearer one weighing more.

    Args:
        counts: Counts by month of the year, shape (12, W, BINS + 1).
        day: Day since 1970, with a fraction.

    Returns:
        Shares of the bins, and behind them the share missing, shape (W, BINS + 1); a month without rows leaves its
        weight to the other, and NaN where both have none.
    """
    place = day % YEAR_DAYS / YEAR_DAYS * MONTHS - HALF
    first = int(np.floor(place))
    pair = counts[[first % MONTHS, (first + 1) % MONTHS]]
    share = np.array([1 - (place - first), place - first])
    some = pair[..., :BINS].sum(-1) > 0
    weight = share[:, None] * some
    weight = _divide(weight, weight.sum(0))
    mixed = np.nansum(weight[..., None] * shares(pair), axis=0)
    mixed[~some.any(0)] = np.nan
    gone = _divide(pair[..., MISSING], pair.sum(-1))
    return np.concatenate([mixed, np.nansum(weight * gone, axis=0)[:, None]], axis=1)


def filled(counts: Longs | Doubles) -> Doubles:
    """Months without rows, or next to none, up to `GAP` in a row, become a mixture of the months around.

    Args:
        counts: Counts by month of the year, shape (12, W, BINS + 1).

    Returns:
        Shares, shape (12, W, BINS + 1), for a month that had none; the others, and longer gaps, as they are.
    """
    out = counts.astype(np.float64)
    rows = counts.sum((1, 2))
    full = (rows > 0) & (rows >= THIN * rows.max())
    for month in np.flatnonzero(~full):
        back = next((n for n in range(1, MONTHS) if full[(month - n) % MONTHS]), MONTHS)
        ahead = next((n for n in range(1, MONTHS) if full[(month + n) % MONTHS]), MONTHS)
        if back + ahead <= GAP + 1:
            sides = [counts[(month + n) % MONTHS] for n in (-back, ahead)]
            parts = [_divide(side, side.sum(1)[:, None]) for side in sides]
            out[month] = np.nan_to_num((parts[0] * ahead + parts[1] * back) / (back + ahead))
    return out


def month_of(days: Longs) -> Longs:
    """Month of the year, 0 to 11, of days since 1970."""
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % MONTHS


def moments(share: Doubles) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation of the places on the scale of the bins, NaN where there is nothing."""
    mean = share @ POSITION
    return mean, np.sqrt(np.maximum(share @ POSITION**2 - mean**2, 0))


def _divide(top: Longs | Doubles, bottom: Longs | Doubles) -> Doubles:
    under = np.broadcast_to(bottom, np.shape(top))
    return np.divide(top, under, out=np.full(np.shape(top), np.nan), where=under > 0)


def _ends(live: Longs) -> tuple[Longs, Longs]:
    some = live > 0
    return some.argmax(1), BINS - 1 - some[:, ::-1].argmax(1)


def _psi(reference: Longs | Doubles, live: Longs) -> Doubles:
    empty = (reference.sum(1) <= 0) | (live.sum(1) <= 0)
    below = np.cumsum(reference, axis=1) - reference
    group = np.minimum(below / np.maximum(reference.sum(1), 1e-300)[:, None] * PSI_GROUPS, PSI_GROUPS - 1).astype(int)
    cell = (np.arange(len(group))[:, None] * PSI_GROUPS + group).ravel()
    p, q = (_smoothed(side, cell) for side in (reference, live))
    return np.where(empty, np.nan, ((q - p) * np.log(q / p)).sum(1))


def _smoothed(counts: Longs | Doubles, cell: Longs) -> Doubles:
    grouped = np.bincount(cell, counts.ravel(), len(counts) * PSI_GROUPS).reshape(len(counts), PSI_GROUPS) + HALF
    return np.asarray(grouped / grouped.sum(1, keepdims=True))


def _jensen_shannon(p: Doubles, q: Doubles) -> Doubles:
    middle = (p + q) / 2
    total = np.zeros(len(p))
    for side in (p, q):
        ratio = np.divide(side, middle, out=np.ones_like(side), where=side > 0)
        total += (side * np.log2(ratio)).sum(1) / 2
    return np.sqrt(np.maximum(total, 0))
