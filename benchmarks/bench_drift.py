"""The drift check on profiles against SciPy and evidently on raw values, and what it costs as readings pile up.

Twenty features; the others get 100,000 rows of them twice, ours the profiles of four partitions and the baseline.
evidently runs in an environment of its own. Run it with `python -m benchmarks.bench_drift`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import numpy as np
from scipy import stats
from scipy.spatial import distance

from benchmarks import beside_evidently
from benchmarks.drift_case import MODEL, Case, longer, more_devices
from benchmarks.drift_replay import baseline_of
from benchmarks.timing import milliseconds
from local.fleet import START, Fleet
from shared.core import drift, profile
from shared.core.drift_baseline import Baseline
from shared.core.drift_measures import measures
from shared.core.drift_verdict import Verdict
from shared.core.package import decode_arrays, encode_arrays
from shared.core.profile import Merged, Profile
from shared.core.readings import Doubles, Floats, Longs
from shared.core.scenario import Scenario
from shared.core.watched import BINS, count, place
from training.data import from_history

T = TypeVar("T")
ROWS, FEATURES = 100_000, 20
TRAINING = Fleet(stations=12, hours=400 * 24)
LIVE = Fleet(stations=64, hours=1563, start=START + timedelta(days=400), seed=8)
TIMES = (10, 100)
YEARS_HOURS = LIVE.hours * 100
GOAL_MS = 50
ROUNDS = 4
KB = 1024


@dataclass(frozen=True)
class Stored:
    """What a check reads: the profiles' bytes and those of the baseline."""

    scenario: Scenario
    profiles: list[bytes]
    baseline: bytes

    def merged(self) -> Merged:
        """The profiles, decoded and added up."""
        return profile.merge(self.scenario, map(profile.decode, self.profiles))

    def limits(self) -> Baseline:
        """The baseline, decoded."""
        return Baseline.from_arrays(decode_arrays("baseline.npz", self.baseline))

    def check(self, limits: Baseline, merged: Merged) -> Verdict:
        """The check of what has been read."""
        return drift.check(self.scenario.drift, limits, merged, merged.newest_hour, MODEL)

    def whole(self) -> Verdict:
        """All of it."""
        return self.check(self.limits(), self.merged())


def raw_rows(case: Case) -> Floats:
    """Values of the watched features, float32, shape (ROWS, FEATURES)."""
    rows = from_history(case.machine.scenario, case.machine.featurizer, case.history())
    assert len(rows) >= ROWS * 0.9, len(rows)
    chosen = np.random.default_rng(7).choice(len(rows), ROWS)
    return rows.matrix[np.ix_(chosen, case.machine.watched.columns)]


def by_scipy(reference: Floats, current: Floats, edges: Doubles) -> Doubles:
    """Kolmogorov-Smirnov and Wasserstein distance of the values, Jensen-Shannon over our bins, shape (3, FEATURES)."""
    found = []
    for p, q, bins in zip(reference.T, current.T, edges, strict=True):
        one, two = p[~np.isnan(p)], q[~np.isnan(q)]
        shares = (np.histogram(side.clip(bins[0], bins[-1]), bins)[0] for side in (one, two))
        found.append(
            (
                stats.ks_2samp(one, two).statistic,
                stats.wasserstein_distance(one, two),
                distance.jensenshannon(*shares, 2),
            )
        )
    return np.array(found).T


def by_us(reference: Longs, current: Longs, edges: Doubles) -> Doubles:
    """The same from counts."""
    found = measures(reference, current, edges)
    return np.stack([found.ks, found.wasserstein, found.jensen_shannon])


def agree(ours: Doubles, theirs: Doubles, reference: Longs, edges: Doubles) -> None:
    """Check the numbers: Jensen-Shannon is the same; within a bin the others know nothing of the values' places."""
    np.testing.assert_allclose(ours[2], theirs[2], atol=1e-9)
    widest = np.diff(edges, axis=1).max(1)
    fullest = (reference[:, :BINS] / reference[:, :BINS].sum(1, keepdims=True)).max(1)
    assert (np.abs(ours[1] - theirs[1]) <= widest).all(), "Wasserstein distances differ by more than a bin"
    assert (theirs[0] - ours[0] <= 2 * fullest).all(), "KS distances differ by more than a bin holds"


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and its milliseconds."""
    start = time.perf_counter()
    return work(), (time.perf_counter() - start) * 1e3


def beside(stored: Stored, reference: Floats, current: Floats) -> None:
    """Print the check beside the others."""
    edges = stored.limits().edges
    counts = [count(place(side, edges)) for side in (reference, current)]
    theirs, scipy_ms = timed(lambda: by_scipy(reference, current, edges))
    agree(by_us(*counts, edges), theirs, counts[0], edges)
    whole, alone = milliseconds((stored.whole, lambda: measures(*counts, edges)), ROUNDS)
    _, placing = timed(lambda: count(place(current, edges)))
    rows = stored.whole().rows
    lines = [
        (f"our check, window of {rows:,} rows, profiles and baseline read", whole),
        ("  its measures of two histograms alone", alone),
        (f"  counting {ROWS:,} rows, which the pipeline has done before", placing),
        ("SciPy: ks_2samp, wasserstein_distance, jensenshannon", scipy_ms),
    ]
    told = beside_evidently.check(reference, current)
    if told:
        lines += [("evidently: DataDriftPreset", told.seconds * 1e3), ("evidently: its import", told.import_s * 1e3)]
    print(f"{FEATURES} features, {ROWS:,} rows each of reference and live values for the others")
    print(f"{'':62}{'ms':>10}{'ratio':>8}")
    for label, spent in lines:
        print(f"{label:62}{spent:10.1f}{spent / whole:8.1f}")
    print(f"evidently held {told.peak_mb:,.0f} MB" if told else "evidently could not be installed: not compared")


def growth(stored: Stored, found: Sequence[Profile]) -> None:
    """Print bytes and times as readings pile up."""
    count_of = LIVE.stations * LIVE.hours
    cases: list[tuple[int, int, int, list[Profile]]] = [
        (count_of, LIVE.stations, LIVE.hours, list(found)),
        (count_of * 100, LIVE.stations, YEARS_HOURS, [longer(one) for one in found]),
    ]
    for n in TIMES:
        cases.append((count_of * n, LIVE.stations * n, LIVE.hours, [more_devices(one, n) for one in found]))
    print(f"\nfolded, then for more hours and more devices drawn; goal: {GOAL_MS} ms of computing besides reading")
    print(
        f"{'readings':>12}{'devices':>9}{'hours':>9}{'KB read':>9}{'read ms':>9}{'merge':>7}{'baseline':>9}{'check':>7}"
    )
    for readings, devices, hours, profiles in cases:
        own = replace(stored, profiles=[profile.encode(one) for one in profiles])
        limits, merged, decoded = own.limits(), own.merged(), [profile.decode(raw) for raw in own.profiles]
        took = milliseconds(
            (
                lambda own=own: [profile.decode(raw) for raw in own.profiles],
                lambda decoded=decoded: profile.merge(stored.scenario, decoded),
                own.limits,
                lambda own=own, limits=limits, merged=merged: own.check(limits, merged),
            ),
            ROUNDS,
        )
        read = (sum(map(len, own.profiles)) + len(own.baseline)) / KB
        print(f"{readings:12,}{devices:9,}{hours:9,}{read:9,.0f}", end="")
        print(f"{took[0]:9.1f}{took[1]:7.1f}{took[2]:9.1f}{took[3]:7.1f}", flush=True)


def run() -> None:
    """Train limits, fold the live readings, print both tables."""
    training, live = Case.of(TRAINING), Case.of(LIVE)
    scenario = training.machine.scenario
    assert len(training.machine.watched) == FEATURES
    limits = baseline_of(scenario, training.history())
    found, folding = timed(live.folded)
    stored = Stored(scenario, [profile.encode(one) for one in found], encode_arrays(limits.arrays()))
    wide = replace(stored, profiles=[profile.encode(more_devices(one, TIMES[0])) for one in found])
    assert wide.whole().magnitude is not None
    print(f"{LIVE.stations} devices, {LIVE.hours:,} hours folded in {folding / 1e3:.1f} s")
    growth(stored, found)
    beside(wide, raw_rows(training), raw_rows(live))


if __name__ == "__main__":
    run()
