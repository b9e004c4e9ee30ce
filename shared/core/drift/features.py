"""The part of a verdict that stands for each feature, and for the forecasts."""

from __future__ import annotations

import numpy as np

from shared.core.drift.baseline import Baseline
from shared.core.drift.measures import filled, measures, seasonal
from shared.core.drift.statistic import KINDS, scale_of, shift
from shared.core.drift.verdict import FeatureDrift, ForecastDrift, Statistic
from shared.core.intake.readings import Doubles, Longs
from shared.core.model.scoring import CHAMPION, ROLES
from shared.core.profile.bins import BINS, CELLS, MISSING
from shared.core.profile.merged import MergedProfile
from shared.validation import number


def features_of(
    baseline: Baseline, now: Longs, values: Doubles, allowed: Doubles, middle: float
) -> tuple[FeatureDrift, ...]:
    """Measures, statistics and ratios of every watched feature.

    Args:
        baseline: Reference and limits.
        now: Counts of the window, shape (W, BINS + 1).
        values: Statistics, shape (3, W).
        allowed: What single devices add to them, shape (3, W).
        middle: Middle of the window, days since 1970.
    """
    reference = _weighed(seasonal(baseline.reference, middle), baseline.counts)
    live = measures(reference, now, baseline.edges)
    center = (baseline.edges[:, 1:] + baseline.edges[:, :-1]) / 2
    total = reference[:, :BINS].sum(1)
    mean = np.divide((reference[:, :BINS] * center).sum(1), total, out=np.full(len(total), np.nan), where=total > 0)
    share = reference[:, MISSING] / np.maximum(reference.sum(1), 1e-300)
    found = []
    for place, (name, version) in enumerate(baseline.watched):
        own = tuple(
            _statistic(kind, values[k, place], baseline.limits[k, place], allowed[k, place])
            for k, kind in enumerate(KINDS)
        )
        ratios = [one.ratio for one in own if one.ratio is not None]
        found.append(
            FeatureDrift(
                name=name,
                version=version,
                decides=bool(np.isfinite(baseline.limits[:, place]).all()),
                rows=int(live.rows[place]),
                reference_missing=number(share[place]),
                reference_mean=number(mean[place]),
                statistics=own,
                ratio=max(ratios) if ratios else None,
                **{key: number(getattr(live, key)[place]) for key in _SHOWN},
            )
        )
    return tuple(found)


_SHOWN = (
    "missing", "minimum", "maximum", "mean", "difference", "euclidean", "wasserstein", "psi", "jensen_shannon", "ks",
)  # fmt: skip


def _statistic(kind: str, value: float, limit: float, allowance: float) -> Statistic:
    ratio = max(abs(value) - allowance, 0.0) / limit if np.isfinite(limit) and limit > 0 else float("nan")
    return Statistic(
        kind=kind, value=number(value), limit=number(limit), allowance=float(allowance), ratio=number(ratio)
    )


def _weighed(mixture: Doubles, counts: Longs) -> Doubles:
    """Shares as counts of one year's month, so that half a count weighs as it should."""
    rows = counts.sum((0, 2)) / len(counts)
    gone = np.nan_to_num(mixture[:, MISSING])
    out = np.empty_like(mixture)
    out[:, :BINS] = np.nan_to_num(mixture[:, :BINS]) * ((1 - gone) * rows)[:, None]
    out[:, MISSING] = gone * rows
    return out


def forecasts_of(baseline: Baseline, merged: MergedProfile, model: str, days: range) -> ForecastDrift:
    """The champion's forecasts of some days beside the out-of-fold ones at this time of the year."""
    live = np.zeros((1, CELLS), np.int64)
    for day in days:
        live += merged.forecasts.get((day, ROLES[CHAMPION], model), np.zeros(CELLS, np.int64))
    counts = baseline.forecast_counts[:, None]
    middle = (days.start + days.stop) / 2
    reference = _weighed(seasonal(filled(counts), middle), counts)
    own = measures(reference, live, baseline.forecast_edges[None])
    distance = float(shift(filled(counts), live, middle, scale_of(counts)).distance[0])
    names = ("mean", "difference", "wasserstein", "psi", "jensen_shannon", "ks")
    return ForecastDrift(
        rows=int(live[0, :BINS].sum()),
        ratio=number(distance / float(baseline.forecast_limit[0])),
        **{name: number(getattr(own, name)[0]) for name in names},
    )
