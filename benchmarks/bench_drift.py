"""The drift check on profiles against SciPy and evidently on raw values, and what it costs as readings pile up.

Twenty features; the others get 100,000 rows of them twice, ours the profiles of four partitions and the baseline.
evidently runs in an environment of its own. Run it with `python -m benchmarks.bench_drift`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
from local.fleet.__main__ import START, Fleet
from shared.core.drift import check as drift
from shared.core.drift.baseline import Baseline
from shared.core.drift.measures import measures
from shared.core.drift.verdict import Verdict
from shared.core.intake.readings import Doubles, Floats, Longs
from shared.core.model.manifest import decode_arrays, encode_arrays
from shared.core.profile import merged as profile
from shared.core.profile.bins import count, place
from shared.core.profile.merged import MergedProfile, Profile
from shared.core.task.task import Task
from training.model.hourly.rows import from_history

T = TypeVar("T")
ROWS, FEATURES = 100_000, 20
TRAINING = Fleet(stations=12, hours=400 * 24)
LIVE = Fleet(stations=64, hours=1563, start=START + timedelta(days=400), seed=8)
TIMES = (10, 100)
GOAL_MS = 50
KS_ATOL, WASSERSTEIN_RTOL = 0.002, 0.03
ROUNDS = 4
KB = 1024


@dataclass(frozen=True)
class Stored:
    """What a check reads: the profiles' bytes and those of the baseline."""

    task: Task
    profiles: list[bytes]
    baseline: bytes

    def decoded(self) -> list[Profile]:
        """The profiles."""
        return [profile.decode(raw, self.task.losses) for raw in self.profiles]

    def merged(self) -> MergedProfile:
        """The profiles added up."""
        return profile.merge(self.task, self.decoded())

    def limits(self) -> Baseline:
        """The baseline."""
        return Baseline.from_arrays(decode_arrays("baseline.npz", self.baseline))

    def check(self, limits: Baseline, merged: MergedProfile) -> Verdict:
        """The check of what has been read."""
        return drift.check(self.task.scenario.drift, limits, merged, merged.newest_hour, MODEL)

    def whole(self) -> Verdict:
        """All of it."""
        return self.check(self.limits(), self.merged())


def raw_rows(case: Case) -> Floats:
    """Values of the watched features, float32, shape (ROWS, FEATURES)."""
    rows = from_history(case.task, case.history())
    assert len(rows) >= ROWS * 0.9, len(rows)
    chosen = np.random.default_rng(7).choice(len(rows), ROWS)
    return rows.matrix[np.ix_(chosen, case.task.watched.columns)]


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


def agree(ours: Doubles, theirs: Doubles) -> None:
    """Check that both found the same: exactly over the same bins, otherwise but for where in its bin a value lies."""
    np.testing.assert_allclose(ours[0], theirs[0], rtol=0, atol=KS_ATOL)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=WASSERSTEIN_RTOL)
    np.testing.assert_allclose(ours[2], theirs[2], rtol=0, atol=1e-9)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and its milliseconds."""
    start = time.perf_counter()
    return work(), (time.perf_counter() - start) * 1e3


def beside(stored: Stored, reference: Floats, current: Floats) -> None:
    """Print the check beside the others."""
    edges = stored.limits().edges
    before, now = (count(place(side, edges)) for side in (reference, current))
    theirs, scipy_ms = timed(lambda: by_scipy(reference, current, edges))
    agree(by_us(before, now, edges), theirs)
    whole, alone = milliseconds((stored.whole, lambda: measures(before, now, edges)), ROUNDS)
    _, placing = timed(lambda: count(place(current, edges)))
    lines = [
        (f"our check of a window of {stored.whole().rows:,} rows, all bytes decoded", whole),
        ("  its measures of two histograms alone", alone),
        (f"  counting {ROWS:,} rows, which the pipeline has done before", placing),
        ("SciPy: ks_2samp, wasserstein_distance, jensenshannon", scipy_ms),
    ]
    told = beside_evidently.check(reference, current)
    if told:
        lines += [("evidently: DataDriftPreset", told.seconds * 1e3), ("  its import", told.import_s * 1e3)]
    show(lines)
    print(f"evidently held {told.peak_mb:,.0f} MB" if told else "evidently could not be installed: not compared")


def show(lines: list[tuple[str, float]]) -> None:
    """Print the table; the ratio is to the first row."""
    print(f"\n{FEATURES} features; the others compare {ROWS:,} raw rows with {ROWS:,}; KS within {KS_ATOL},", end=" ")
    print(f"Wasserstein within {WASSERSTEIN_RTOL:.0%}, Jensen-Shannon over the same bins equal")
    print(f"{'':62}{'ms':>10}{'ratio':>8}")
    for label, spent in lines:
        print(f"{label:62}{spent:10.1f}{spent / lines[0][1]:8.1f}")


def cases(found: list[Profile]) -> Iterator[tuple[int, int, list[Profile]]]:
    """Devices, hours and profiles: as folded, for a hundred times the hours, then for more devices."""
    yield LIVE.stations, LIVE.hours, found
    yield LIVE.stations, LIVE.hours * TIMES[-1], [longer(one) for one in found]
    for times in TIMES:
        yield LIVE.stations * times, LIVE.hours, [more_devices(one, times) for one in found]


def growth(stored: Stored, found: list[Profile]) -> None:
    """Print bytes and times as readings pile up."""
    print(f"the first line is folded, the others drawn; goal: {GOAL_MS} ms of computing besides reading; medians")
    print(f"{'readings':>12}{'devices':>9}{'hours':>9}{'KB read':>9}", end="")
    print(f"{'decode ms':>11}{'merge':>8}{'baseline':>10}{'check':>8}")
    for devices, hours, profiles in cases(found):
        own = replace(stored, profiles=[profile.encode(one) for one in profiles])
        kb = (sum(map(len, own.profiles)) + len(own.baseline)) / KB
        print(f"{devices * hours:12,}{devices:9,}{hours:9,}{kb:9,.0f}", end="")
        print("{:11.1f}{:8.1f}{:10.1f}{:8.1f}".format(*parts(own)), flush=True)


def parts(stored: Stored) -> list[float]:
    """Milliseconds of decoding the profiles, adding them up, decoding the baseline, and the check."""
    limits, merged, decoded = stored.limits(), stored.merged(), stored.decoded()
    works = (
        stored.decoded,
        lambda: profile.merge(stored.task, decoded),
        stored.limits,
        lambda: stored.check(limits, merged),
    )
    return milliseconds(works, ROUNDS)


def run() -> None:
    """Train limits, fold the live readings, print both tables."""
    training, live = Case.of(TRAINING), Case.of(LIVE)
    assert len(training.task.watched) == FEATURES
    limits = baseline_of(training.task.scenario, training.history())
    found, folding = timed(live.folded)
    stored = Stored(training.task, [profile.encode(one) for one in found], encode_arrays(limits.arrays()))
    wide = replace(stored, profiles=[profile.encode(more_devices(one, TIMES[0])) for one in found])
    assert wide.whole().magnitude is not None
    print(f"{LIVE.stations} devices, {LIVE.hours:,} hours folded in {folding / 1e3:.1f} s")
    growth(stored, found)
    beside(wide, raw_rows(training), raw_rows(live))


if __name__ == "__main__":
    run()
