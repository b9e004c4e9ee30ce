"""Interval offsets on errors whose distribution is known."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.intake.readings import Floats
from shared.core.model.manifest import Interval
from shared.core.model.scoring import bounds
from shared.core.scenario import Scenario
from shared.errors import ContractBroken
from tests.kit.data.sensor_history import air_quality
from training.data.folds import Fold, blocks
from training.model import intervals
from training.model.evaluate import coverage


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return air_quality()


def draw(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts of 50 to 450 whose errors' spread is a fifth of the forecast, skewed."""
    random = np.random.default_rng(seed)
    forecast = random.uniform(50, 450, rows)
    truth = forecast + 0.2 * forecast * (random.gamma(2.0, 1.0, rows) - 2) / math.sqrt(2)
    return forecast.astype(np.float32), truth.astype(np.float32)


def test_fresh_truths_are_covered_as_promised_overall_and_in_each_band(scenario: Scenario) -> None:
    interval = intervals.fit(0.9, *draw(20_000, 1))
    forecast, truth = draw(20_000, 2)
    lower, upper = bounds(scenario, interval, forecast)
    assert coverage(lower, upper, truth) == pytest.approx(0.9, abs=0.01)
    band = np.searchsorted(interval.edges, forecast, side="right")
    for index in range(len(interval.edges) + 1):
        rows = band == index
        assert coverage(lower[rows], upper[rows], truth[rows]) == pytest.approx(0.9, abs=0.03)


def test_intervals_are_wider_where_errors_are(scenario: Scenario) -> None:
    interval = intervals.fit(scenario.interval, *draw(20_000, 1))
    widths = [high - low for low, high in zip(interval.lower, interval.upper, strict=True)]
    assert all(narrow < wide for narrow, wide in pairwise(widths))
    assert widths[-1] == pytest.approx(
        0.2 * 425 * (4.7439 - 0.3554) / math.sqrt(2), rel=0.1
    )  # gamma(2) at 95 % and 5 %


def test_few_errors_give_the_order_statistics_of_the_finite_sample_correction() -> None:
    forecast = np.full(39, 100, np.float32)
    truth = (100 + np.arange(-19, 20)).astype(np.float32)
    interval = intervals.fit(0.9, forecast, truth)  # of 40 places 2 lie beyond each end: the second of 39 on each side
    assert (interval.edges, interval.lower, interval.upper) == ([], [-18.0], [18.0])


def test_too_few_errors_for_the_nominal_share_give_the_outermost_ones() -> None:
    interval = intervals.fit(0.9, np.zeros(3, np.float32), np.array([-1, 0, 5], np.float32))
    assert (interval.lower, interval.upper) == ([-1.0], [5.0])


ERRORS = st.floats(-500, 500, width=32)


@given(
    values=st.lists(st.tuples(st.floats(0, 1000, width=32), ERRORS), min_size=1, max_size=60), repeat=st.integers(1, 12)
)
@example(values=[(0.0, 0.0)] * 4 + [(1.0, 0.0)] * 4, repeat=10)
def test_whatever_the_errors_the_interval_is_usable_and_holds_its_forecast(
    values: list[tuple[float, float]], repeat: int
) -> None:
    forecast, error = (np.tile(np.array(column, np.float32), repeat * 10) for column in zip(*values, strict=True))
    interval = intervals.fit(0.9, forecast, forecast + error)
    intervals.check(interval)
    assert len(interval.lower) == len(interval.upper) == len(interval.edges) + 1


@pytest.mark.parametrize(
    "interval",
    [
        Interval(nominal=0.9, edges=[2.0, 1.0], lower=[-1.0] * 3, upper=[1.0] * 3),
        Interval(nominal=0.9, edges=[], lower=[math.nan], upper=[1.0]),
        Interval(nominal=0.9, edges=[], lower=[-1.0], upper=[math.inf]),
        Interval(nominal=0.9, edges=[], lower=[0.5], upper=[1.0]),
    ],
)
def test_an_interval_that_serving_could_not_use_is_refused(interval: Interval) -> None:
    with pytest.raises(ContractBroken, match="interval"):
        intervals.check(interval)


def covered(scenario: Scenario, folds: tuple[Fold, ...], forecast: Floats, truth: Floats) -> float:
    lower, upper = intervals.honest_bounds(scenario, folds, forecast, truth)
    return coverage(lower, upper, truth)


def test_honest_bounds_judge_a_fold_by_the_errors_of_the_others(scenario: Scenario) -> None:
    forecast, truth = draw(2000, 3)
    folds = blocks(2000, 2)
    calm = truth.copy()
    calm[folds[0].valid] = forecast[folds[0].valid]  # without errors in the first half its intervals cover no error
    assert covered(scenario, folds, forecast, calm) == pytest.approx(0.5, abs=0.01)
    assert covered(scenario, folds, forecast, truth) == pytest.approx(0.9, abs=0.03)
