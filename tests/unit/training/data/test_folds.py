"""Folds by time."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.data import folds

HOURS = st.lists(st.integers(0, 3000), min_size=1, max_size=300).map(lambda hours: np.array(sorted(hours), np.int64))


@given(as_of=HOURS, horizon=st.integers(1, 168), count=st.integers(2, 6))
def test_no_truth_is_trained_on_before_it_was_known_and_no_hour_stands_on_both_sides(
    as_of: np.ndarray, horizon: int, count: int
) -> None:
    for fold in folds.rolling(as_of, horizon, count):
        assert as_of[fold.train].max() + horizon <= as_of[fold.valid].min()


@given(as_of=HOURS, horizon=st.integers(1, 168), count=st.integers(2, 6))
def test_each_fold_validates_later_rows_than_the_one_before_and_never_a_row_twice(
    as_of: np.ndarray, horizon: int, count: int
) -> None:
    found = folds.rolling(as_of, horizon, count)
    for earlier, later in pairwise(found):
        assert as_of[earlier.valid].max() < as_of[later.valid].min()
        assert set(earlier.train) <= set(later.train)


@given(as_of=HOURS, horizon=st.integers(1, 168), count=st.integers(2, 6))
def test_every_row_that_could_be_known_in_time_is_trained_on(as_of: np.ndarray, horizon: int, count: int) -> None:
    for fold in folds.rolling(as_of, horizon, count):
        usable = np.flatnonzero(as_of + horizon <= as_of[fold.valid].min())
        np.testing.assert_array_equal(fold.train, usable)


def test_a_year_of_hours_gives_the_wanted_number_of_folds_of_equal_size_after_the_first_share() -> None:
    found = folds.rolling(np.repeat(np.arange(10_000), 3), 24, 3)
    assert [len(fold.valid) for fold in found] == [6000, 6000, 6000]
    assert found[0].valid[0] == 12_000
    assert len(found[0].train) == 12_000 - 3 * 23


def test_too_little_time_gives_no_fold_rather_than_one_without_a_gap() -> None:
    assert folds.rolling(np.arange(20), 24, 3) == ()
    assert folds.rolling(np.zeros(0, np.int64), 24, 3) == ()


@given(rows=st.integers(0, 200), count=st.integers(2, 10))
def test_blocks_validate_every_row_once_and_train_on_all_others(rows: int, count: int) -> None:
    found = folds.blocks(rows, count)
    validated = np.concatenate([np.zeros(0, np.int64), *(fold.valid for fold in found)])
    assert sorted(validated) == (list(range(rows)) if rows > 1 else [])
    for fold in found:
        assert sorted([*fold.train, *fold.valid]) == list(range(rows))
        assert np.all(np.diff(fold.valid) == 1)
