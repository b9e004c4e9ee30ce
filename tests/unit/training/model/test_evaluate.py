"""Scores against hand-computed numbers."""

import numpy as np
import pytest

from training.model import evaluate
from training.model.evaluate import Evaluation

NAN = np.nan


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def evaluation() -> Evaluation:
    january, february = 24 * 10, 24 * 40
    return Evaluation(
        as_of=np.array([january, january, february, february]),
        device=np.array([0, 1, 0, 1], np.int32),
        devices=("a", "b", "silent"),
        truth=floats(10, 20, 30, 40),
        forecasts={
            "": floats(12, 20, 26, 100),
            "_damped": floats(14, 20, 30, NAN),
            "_persistence": floats(10, 26, 30, NAN),
        },
        lower=floats(11, 15, 20, 30),
        upper=floats(13, 25, 30, 50),
    )


def test_model_and_floors_are_scored_on_the_same_rows_and_the_others_are_counted() -> None:
    found = evaluation().metrics()
    assert found["rows_scored"] == 3
    assert found["rows_without_floor"] == 1
    assert found["rmse"] == pytest.approx(np.sqrt((4 + 0 + 16) / 3))
    assert found["rmse_damped"] == pytest.approx(np.sqrt(16 / 3))
    assert found["rmse_persistence"] == pytest.approx(np.sqrt(36 / 3))
    assert found["mae"] == pytest.approx(2)
    assert found["bias"] == pytest.approx(-2 / 3)
    assert found["improvement"] == pytest.approx(1 - np.sqrt(20 / 16))


def test_coverage_counts_truths_on_the_ends_as_covered() -> None:
    assert evaluation().metrics()["coverage"] == pytest.approx(3 / 4)
    assert np.isnan(evaluate.coverage(floats(), floats(), floats()))


def test_devices_without_rows_have_no_line() -> None:
    table = evaluation().by_device()
    assert [(row["group"], row["rows"]) for row in table] == [("a", 2), ("b", 1)]
    assert table[0]["rmse"] == pytest.approx(np.sqrt(10))


def test_months_are_those_of_the_as_of_hour_in_utc() -> None:
    assert [(row["group"], row["rows"]) for row in evaluation().by_month()] == [("1970-01", 2), ("1970-02", 1)]


def test_rows_without_a_time_have_no_months() -> None:
    undated = Evaluation(
        **{**{name: getattr(evaluation(), name) for name in Evaluation.__slots__}, "as_of": np.full(4, -1)}
    )
    assert undated.by_month() == []


def test_a_floor_that_is_never_defined_leaves_the_others_comparable() -> None:
    found = evaluate.compare(floats(1, 2), {"": floats(1, 3), "_persistence": floats(NAN, NAN)})
    assert found["rows_scored"] == 2
    assert found["rmse"] == pytest.approx(np.sqrt(0.5))
    assert "rmse_persistence" not in found


def test_a_forecast_that_is_not_a_number_is_never_scored_as_good() -> None:
    assert "rmse" not in evaluate.scores(floats(1, 2), {"": floats(1, NAN)})
