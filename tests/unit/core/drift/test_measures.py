"""Measures between histograms against SciPy on the raw values, and what must hold whatever the counts are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from shared.core.drift.measures import GAP, MONTHS, filled, measures, month_of, seasonal, shares
from shared.core.drift.statistic import Others, Shift, statistics
from shared.core.forecast.task import HourlyForecast
from shared.core.intake.readings import Longs
from shared.core.profile.bins import BINS, CELLS, count, place
from tests.kit.data.sensor_history import air_quality

WATCHED = HourlyForecast(air_quality()).watched
NAMES = [feature.name for feature in WATCHED.features]
SYMMETRIC = ("euclidean", "wasserstein", "jensen_shannon", "ks")


def draws(name: str, seed: int, rows: int, moved: float) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    if name.startswith("pm25"):
        return np.clip(random.lognormal(3.5 + moved, 0.9, rows), 0, 999).astype(np.float32)
    return np.clip(random.normal(55 + 15 * moved, 18, rows), 0, 100).astype(np.float32)


def counted(name: str, values: np.ndarray[Any, Any]) -> Longs:
    at = NAMES.index(name)
    return count(place(values[:, None], WATCHED.edges[at : at + 1]))


@pytest.mark.parametrize("name", ["pm25.latest", "rel_humidity.mean_24"])
@pytest.mark.parametrize("moved", [0.0, 0.3, 1.0])
def test_measures_agree_with_scipy_on_the_raw_values(name: str, moved: float) -> None:
    a, b = draws(name, 1, 6000, 0), draws(name, 2, 1500, moved)
    edges = WATCHED.edges[[NAMES.index(name)]]
    found = measures(counted(name, a), counted(name, b), edges)
    assert found.ks[0] == pytest.approx(ks_2samp(a, b).statistic, abs=0.005)
    assert found.wasserstein[0] == pytest.approx(wasserstein_distance(a, b), rel=0.04, abs=0.01 * float(a.std()))
    p, q = (np.histogram(x.astype(float), edges[0])[0] for x in (a, b))
    assert found.jensen_shannon[0] == pytest.approx(jensenshannon(p, q, base=2), abs=1e-9)
    assert found.euclidean[0] == pytest.approx(np.linalg.norm(p / p.sum() - q / q.sum()), abs=1e-12)
    assert found.mean[0] == pytest.approx(b.mean(), rel=0.01)
    widest = np.diff(edges[0]).max()
    assert b.min() - widest <= found.minimum[0] <= b.min()
    assert b.max() <= found.maximum[0] <= b.max() + widest


def test_psi_is_the_closed_form_over_tenths_of_the_reference() -> None:
    reference, live = np.zeros((1, CELLS), np.int64), np.zeros((1, CELLS), np.int64)
    reference[0, :10], live[0, :10] = 100, [200, 100, 100, 100, 100, 100, 100, 100, 100, 0]
    p = np.full(10, 100.5 / 1005)
    q = np.array([200.5, *[100.5] * 8, 0.5]) / 1005
    found = measures(reference, live, WATCHED.edges[:1])
    assert found.psi[0] == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=6, max_size=6), st.lists(st.integers(0, 50), min_size=6, max_size=6))
def test_distances_are_symmetric_and_zero_from_a_histogram_to_itself(left: list[int], right: list[int]) -> None:
    a, b = np.zeros((2, 1, CELLS), np.int64)
    a[0, 10:70:10], b[0, 10:70:10] = left, right
    edges = WATCHED.edges[:1]
    there, back, same = measures(a, b, edges), measures(b, a, edges), measures(a, a, edges)
    for name in SYMMETRIC:
        assert getattr(there, name)[0] == pytest.approx(getattr(back, name)[0], abs=1e-12, nan_ok=True)
    for name in (*SYMMETRIC, "psi"):
        assert getattr(same, name)[0] == (0 if sum(left) else pytest.approx(float("nan"), nan_ok=True))


def test_a_side_without_values_gives_no_number_and_no_warning() -> None:
    none, some = np.zeros((1, CELLS), np.int64), np.zeros((1, CELLS), np.int64)
    none[0, BINS], some[0, 7] = 40, 5
    for a, b in ((none, some), (some, none), (none * 0, none * 0)):
        found = measures(a, b, WATCHED.edges[:1])
        assert np.isnan([found.psi[0], found.ks[0], found.wasserstein[0], found.jensen_shannon[0]]).all()
    assert measures(some, none, WATCHED.edges[:1]).missing[0] == 1


def test_the_season_lies_between_the_two_nearest_months() -> None:
    counts = np.zeros((MONTHS, 1, CELLS), np.int64)
    counts[0, 0, 0], counts[1, 0, 1], counts[5, 0, 2] = 10, 500, 1
    middle_of_january, between = 365.2425 / 24, 365.2425 / 12
    assert seasonal(counts, middle_of_january)[0, :2] == pytest.approx([1, 0], abs=0.01)
    assert seasonal(counts, between)[0, :2] == pytest.approx([0.5, 0.5])
    assert np.isnan(seasonal(counts, 365.2425 * 9.5 / 12)[0, 0])


def test_short_gaps_between_months_are_closed_and_long_ones_are_not() -> None:
    counts = np.zeros((MONTHS, 1, CELLS), np.int64)
    counts[0, 0, 0], counts[2, 0, 2], counts[3, 0, 1] = 50, 4, 70  # the third month is next to empty
    closed = filled(counts)
    assert shares(closed[1])[0, :2] == pytest.approx([2 / 3, 1 / 3])
    assert MONTHS - 4 > GAP
    assert closed[7].sum() == 0


def test_months_of_days() -> None:
    assert month_of(np.array([0, 30, 31, 364, 365])).tolist() == [0, 0, 1, 11, 0]


def test_a_shift_counts_twice_only_when_both_windows_show_it_in_the_same_direction() -> None:
    others = Others(np.array([[0.0, 0.5], [0.0, 0.0]]), np.full(2, -2.0), np.full(2, 2.0))
    now, before = (Shift(np.array(mean), np.abs(mean)) for mean in ([3.0, 0.4], [1.0, 0.9]))
    found = statistics(others, now, before)
    assert found.tolist() == [[3.0, 0.4], [3.0, pytest.approx(-0.6)], [1.0, 0.0]]  # beyond 2 the first is taken as 2
    blind = statistics(others, Shift(np.array([np.nan, 0.4]), np.zeros(2)), before)
    assert np.isnan(blind[1]).all()
