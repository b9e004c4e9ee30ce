"""What training leaves when there is little to calibrate on."""

from __future__ import annotations

import numpy as np

from benchmarks.drift_replay import baseline_of, fleet_history
from local.fleet.__main__ import Fleet
from shared.core.drift.baseline import Baseline
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.profile.bins import BINS
from shared.core.task.tasks import task_of
from tests.kit.data.sensor_history import air_quality
from training.calibrate.limits import calibrate, margin
from training.model.evaluate import Evaluation
from training.model.hourly.rows import TrainingSet

AIR = air_quality()


def test_a_history_of_weeks_gives_a_reference_and_no_limits() -> None:
    found = baseline_of(AIR, fleet_history(AIR, Fleet(stations=2, hours=60 * 24)))
    assert found.counts[..., :BINS].sum() > 0
    assert not found.calibrated
    assert np.isnan(found.forecast_limit).all()
    assert found.runs.min() >= 12
    assert (found.jumps == np.inf).all()  # of two devices nobody can say which one departs
    assert np.isfinite(found.lonely).all() == (60 * 2 >= 200)


def test_rows_without_times_calibrate_nothing_and_can_still_be_read() -> None:
    features, none = Featurizer(AIR).features, np.zeros(3, np.float32)
    hours, device = np.full(3, -1, np.int64), np.zeros(3, np.int32)
    rows = TrainingSet(
        features=features, matrix=np.zeros((3, len(features)), np.float32), target=none, as_of=hours, device=device,
        devices=("A",), latest=none, mean_24=none,
    )  # fmt: skip
    evaluation = Evaluation(
        as_of=hours, device=device, devices=("A",), truth=none, lower=none, upper=none,
        forecasts={"": none, "_persistence": none, "_damped": none},
    )  # fmt: skip
    found = Baseline.from_arrays(calibrate(task_of(AIR), rows, evaluation))
    assert not found.calibrated
    assert np.isnan(found.quality).all()
    assert (found.counts.sum(), found.absent.min()) == (0, 1)


def test_limits_widen_when_few_years_are_known() -> None:
    assert [round(margin(years), 2) for years in (1, 1.5, 2, 4, 10)] == [1.2, 1.5, 1.4, 1.1, 1.02]
