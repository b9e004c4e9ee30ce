"""The floor against a closed form."""

import numpy as np
import pytest

from shared.core.model.manifest import Damped
from training.model import damped_persistence
from training.model.hourly.rows import TrainingSet


def rows(latest: np.ndarray, mean_24: np.ndarray, target: np.ndarray) -> TrainingSet:
    count = len(target)
    return TrainingSet(
        features=(),
        matrix=np.zeros((count, 0), np.float32),
        target=target.astype(np.float32),
        as_of=np.arange(count),
        device=np.zeros(count, np.int32),
        devices=("a",),
        latest=latest.astype(np.float32),
        mean_24=mean_24.astype(np.float32),
    )


@pytest.fixture(scope="module")
def noisy() -> TrainingSet:
    random = np.random.default_rng(3)
    latest = random.gamma(2, 30, 400)
    mean_24 = 0.6 * latest + random.gamma(2, 10, 400)
    target = 20 + 0.4 * latest + 0.3 * mean_24 + random.normal(0, 10, 400)
    latest[::7] = np.nan
    return rows(latest, mean_24, target)


def test_coefficients_solve_the_normal_equations_on_the_rows_whose_value_is_there(noisy: TrainingSet) -> None:
    there = np.isfinite(noisy.latest)
    x1, x2, y = (v[there].astype(np.float64) for v in (noisy.latest, noisy.mean_24, noisy.target))
    (s11, s12), (_, s22) = np.cov(x1, x2)
    s1y, s2y = np.cov(x1, y)[0, 1], np.cov(x2, y)[0, 1]
    slope_1 = (s22 * s1y - s12 * s2y) / (s11 * s22 - s12**2)
    slope_2 = (s11 * s2y - s12 * s1y) / (s11 * s22 - s12**2)
    found = damped_persistence.fit(noisy)
    assert (found.latest, found.mean_24) == pytest.approx((slope_1, slope_2), rel=1e-9)
    assert found.intercept == pytest.approx(y.mean() - slope_1 * x1.mean() - slope_2 * x2.mean(), rel=1e-9)


def test_only_the_given_rows_are_fitted_on(noisy: TrainingSet) -> None:
    first = np.arange(200)
    spoiled = noisy.target.copy()
    spoiled[200:] = 1e6
    assert damped_persistence.fit(noisy, first) == damped_persistence.fit(
        rows(noisy.latest, noisy.mean_24, spoiled), first
    )
    assert damped_persistence.fit(noisy, first) != damped_persistence.fit(noisy)


def test_the_forecast_is_missing_exactly_where_the_value_as_of_now_is(noisy: TrainingSet) -> None:
    found = damped_persistence.forecast(Damped(intercept=5.0, latest=0.5, mean_24=0.25), noisy)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(noisy.latest))
    assert found[1] == pytest.approx(5 + 0.5 * noisy.latest[1] + 0.25 * noisy.mean_24[1])


def test_without_any_history_of_the_target_the_floor_is_its_mean() -> None:
    nothing = np.full(3, np.nan)
    wide = rows(nothing, nothing, np.array([1.0, 2.0, 6.0]))
    found = damped_persistence.fit(wide)
    assert found == Damped(intercept=3.0, latest=0.0, mean_24=0.0)
    np.testing.assert_array_equal(damped_persistence.forecast(found, wide), np.full(3, 3, np.float32))
