"""Out-of-fold forecasts as new as can be: folds after the champion's training, and the correction of the level."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from catboost import CatBoostRegressor
from hypothesis import given
from hypothesis import strategies as st

from shared.core.model.feature import Feature
from tests.kit.data.sensor_history import air_quality
from training.data import folds
from training.data.folds import Fold
from training.model import boosting, out_of_fold, recalibration
from training.model.boosting import Fitted, fit_folds
from training.model.hourly.rows import TrainingSet
from training.model.recalibration import Recalibration

SCENARIO = air_quality()
HORIZON = SCENARIO.horizon
DAYS, START = 90, 400_000
SINCE = START + 60 * 24
PARAMS = {"learning_rate": 0.3, "depth": 3, "l2_leaf_reg": 3.0, "subsample": 0.5, "rsm": 1.0, "random_strength": 0.0}
HOURS = st.lists(st.integers(0, 3000), min_size=1, max_size=600).map(lambda hours: np.array(sorted(hours), np.int64))


def world(change: float = 1.0, at_day: int = 65) -> TrainingSet:
    """Two devices whose target is ten times a feature, from a day on `change` times as much."""
    random = np.random.default_rng(3)
    as_of = np.repeat(np.arange(DAYS * 24, dtype=np.int64) + START, 2)
    matrix = random.uniform(0, 10, (len(as_of), 2)).astype(np.float32)
    factor = np.where(as_of + HORIZON < START + at_day * 24, 1.0, change)
    target = (10 + 10 * matrix[:, 0] * factor + random.normal(0, 1, len(as_of))).astype(np.float32)
    return TrainingSet(
        features=tuple(Feature(name, 1, "1", 0, 10, "") for name in "ab"),
        matrix=matrix,
        target=target,
        as_of=as_of,
        device=np.tile(np.array([0, 1], np.int32), DAYS * 24),
        devices=("d0", "d1"),
        latest=target,
        mean_24=target,
    )


def searched(rows: TrainingSet) -> tuple[tuple[Fold, ...], Fitted]:
    split = folds.rolling(rows.as_of, HORIZON, 2)
    return split, fit_folds(rows, split, PARAMS, max_trees=30, seed=1)


def rmse(found: np.ndarray, rows: TrainingSet, chosen: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found[chosen] - rows.target[chosen]) ** 2)))


def drawn(line: Recalibration, intercept: float, slope: float) -> None:
    assert line.intercept == pytest.approx(intercept, abs=1e-3)
    assert line.slope == pytest.approx(slope, abs=1e-4)


@given(as_of=HOURS, since=st.integers(0, 3100))
def test_recent_folds_forecast_every_hour_from_one_on_by_what_was_known_before(as_of: np.ndarray, since: int) -> None:
    found = folds.recent(as_of, SCENARIO, since)
    for fold in found:
        assert as_of[fold.train].max() + HORIZON <= as_of[fold.valid].min()
        assert len(fold.train) >= folds.LEAST_ROWS
    for earlier, later in pairwise(found):
        assert earlier.valid[-1] + 1 == later.valid[0] or as_of[earlier.valid[-1]] < as_of[later.valid[0]]
    if found:
        first = as_of[found[0].valid[0]]
        assert first >= since
        np.testing.assert_array_equal(np.concatenate([f.valid for f in found]), np.flatnonzero(as_of >= first))


def test_the_newest_of_the_recent_folds_are_half_a_week_long() -> None:
    as_of = np.arange(200 * 24, dtype=np.int64)
    found = folds.recent(as_of, SCENARIO, 60 * 24)
    assert [len(fold.valid) for fold in found] == [140 * 24 - 1512, 672, 336, 168, 168, 84, 84]
    assert folds.recent(as_of, SCENARIO, 200 * 24) == ()
    assert [len(fold.valid) for fold in folds.recent(as_of, SCENARIO, 200 * 24 - 90)] == [90]


def test_a_row_belongs_to_the_fold_that_trains_on_the_most() -> None:
    every = np.arange(100)
    many = [Fold(every[:20], every[30:60]), Fold(every[:50], every[60:100]), Fold(every[:40], every[45:80])]
    found = folds.owned(many)
    assert [(len(fold.train), fold.valid[0], fold.valid[-1]) for fold in found] == [
        (20, 30, 44),
        (40, 45, 59),
        (50, 60, 99),
    ]


def test_a_line_through_forecasts_and_truth_is_drawn_the_more_days_stand_behind_it() -> None:
    forecast = np.linspace(0, 50, 200, dtype=np.float32)
    truth = 3 + 1.5 * forecast
    drawn(recalibration.fit(forecast, truth, 10**9), 3, 1.5)
    half = recalibration.fit(forecast, truth, recalibration.PRIOR_DAYS)
    assert half.slope == pytest.approx(1.25, abs=1e-4)
    assert half(forecast).mean() == pytest.approx((forecast.mean() + truth.mean()) / 2, abs=1e-3)
    drawn(recalibration.fit(forecast, forecast, 14), 0, 1)
    flat = recalibration.fit(np.full(5, 7, np.float32), np.full(5, 9, np.float32), 10**9)
    assert flat(np.array([7], np.float32))[0] == pytest.approx(9)
    assert recalibration.fit(forecast, -9 * truth, 10**9).slope == recalibration.SLOPES[0]
    assert recalibration.fit(forecast[:0], truth[:0], 0) == Recalibration()


def test_the_newest_line_knows_no_truth_that_had_not_come() -> None:
    as_of = np.arange(1000, dtype=np.int64)
    forecast = np.tile(np.array([1, 2, 3, 4], np.float32), 250)
    truth = forecast.copy()
    truth[as_of + HORIZON > 800] = 1e6
    found, seen = recalibration.newest(as_of, SCENARIO, 800, forecast, truth)
    drawn(found, 0, 1)
    assert seen == 800
    later, _ = recalibration.newest(as_of, SCENARIO, 801, forecast, truth)
    assert later != found
    assert recalibration.newest(as_of, SCENARIO, 10, forecast, truth) == (Recalibration(), -1)


def test_a_corrected_model_says_what_the_correction_says() -> None:
    rows = np.random.default_rng(1).normal(size=(200, 3))
    model = CatBoostRegressor(iterations=5, verbose=False, allow_writing_files=False).fit(rows, rows[:, 0])
    plain = model.predict(rows).astype(np.float32)
    line = Recalibration(2.5, 1.3)
    line.into(model)
    np.testing.assert_allclose(model.predict(rows), line(plain), atol=1e-5)


def test_after_a_change_the_forecasts_are_corrected_and_so_is_the_model() -> None:
    rows = world(change=1.5)
    split, fitted = searched(rows)
    found = out_of_fold.gather(SCENARIO, rows, split, fitted, SINCE)
    plain = out_of_fold.gather(SCENARIO, rows, split, fitted, None)
    late = rows.as_of >= START + 75 * 24
    assert rmse(found.forecast, rows, late) < 0.7 * rmse(plain.forecast, rows, late)
    assert found.recalibration != Recalibration()
    before = rows.as_of < SINCE
    np.testing.assert_array_equal(found.forecast[before], plain.forecast[before])
    assert plain.recalibration == Recalibration()


def test_in_a_calm_world_nothing_is_corrected() -> None:
    rows = world()
    split, fitted = searched(rows)
    found = out_of_fold.gather(SCENARIO, rows, split, fitted, SINCE)
    assert found.recalibration == Recalibration()
    for fold in found.folds[-4:]:
        model = boosting.fit(rows, fold.train, PARAMS, fitted.trees, seed=SCENARIO.search.seed)
        np.testing.assert_array_equal(
            found.forecast[fold.valid], model.predict(rows.matrix[fold.valid]).astype(np.float32)
        )


def test_a_past_of_one_value_trains_no_model() -> None:
    rows = world()
    split, fitted = searched(rows)
    rows.target[rows.as_of < START + 50 * 24] = 7
    found = out_of_fold.gather(SCENARIO, rows, split, fitted, START + 20 * 24)
    assert rows.as_of[found.rows].min() >= rows.as_of[split[0].valid[0]]


def test_a_forecast_knows_nothing_of_what_came_after_its_hour() -> None:
    rows = world(change=1.5)
    split, fitted = searched(rows)
    before = out_of_fold.gather(SCENARIO, rows, split, fitted, SINCE)
    cut = START + 80 * 24
    rows.target[rows.as_of + HORIZON > cut] = -1000  # so far down that every correction upwards looks wrong
    after = out_of_fold.gather(SCENARIO, rows, split, fitted, SINCE)
    same = (rows.as_of >= SINCE) & (rows.as_of <= cut)
    np.testing.assert_array_equal(before.forecast[same], after.forecast[same])
    assert (before.forecast != after.forecast).any()
    assert (before.trained_until[before.rows] <= rows.as_of[before.rows]).all()
    recent = rows.as_of >= SINCE
    assert (rows.as_of - before.trained_until)[recent].max() == 23  # the correction has seen the truth of the night
    assert (before.trained_until[before.rows] > START).all()
    np.testing.assert_array_equal(before.rows, np.flatnonzero(rows.as_of >= rows.as_of[split[0].valid[0]]))
