"""Training rows: the right window, the right truth, the serving path's features."""

import numpy as np
import pytest

from shared.adapters.tables.open import WideChunk
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.forecast.window.columns import Layout, fingerprint, spread
from shared.core.forecast.window.history import Hourly, hourly
from shared.core.forecast.window.ring import Ring
from shared.core.forecast.window.windows import windows
from shared.core.intake.readings import Floats
from shared.core.scenario import Scenario
from shared.core.task.tasks import task_of
from tests.kit.data.sensor_history import FIRST_HOUR, air_quality, history, readings
from training.model.hourly import rows as data

HOURS = 1300  # more than one chunk


def bits(values: Floats) -> np.ndarray:
    return np.where(np.isnan(values), np.float32(np.nan), values).view(np.uint32)  # a NaN may have either sign


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return air_quality()


@pytest.fixture(scope="module")
def featurizer(scenario: Scenario) -> Featurizer:
    return Featurizer(scenario)


@pytest.fixture(scope="module")
def channels() -> list[Floats]:
    """Two devices; the first has a silent fortnight, single silent hours and hours without the target."""
    first, second = history(HOURS, 1), history(400, 2)
    first[300:640] = np.nan
    first[[50, 900, 901]] = np.nan
    first[[60, 700], 6] = np.nan
    return [first, second]


@pytest.fixture(scope="module")
def grid(scenario: Scenario, channels: list[Floats]) -> dict[str, Hourly]:
    return hourly(scenario, readings(*channels))


def test_rows_are_the_sampled_hours_whose_truth_came_and_the_others_are_counted(
    scenario: Scenario, channels: list[Floats], grid: dict[str, Hourly]
) -> None:
    rows = data.from_history(task_of(scenario), grid)
    expected, excluded = [], {"no_sample": 0, "target_not_yet": 0, "target_missing": 0}
    for device, values in enumerate(channels):
        for hour in range(len(values)):
            if np.isnan(values[hour]).all():
                excluded["no_sample"] += 1
            elif hour + 24 >= len(values):
                excluded["target_not_yet"] += 1
            elif np.isnan(values[hour + 24, 6]):
                excluded["target_missing"] += 1
            else:
                expected.append((FIRST_HOUR + hour, device, values[hour + 24, 6], values[hour, 6]))
    expected.sort()
    as_of, owner, target, latest = map(np.array, zip(*expected, strict=True))
    np.testing.assert_array_equal(rows.as_of, as_of)
    np.testing.assert_array_equal(rows.device, owner)
    np.testing.assert_array_equal(rows.target, target.astype(np.float32))
    np.testing.assert_array_equal(rows.latest, latest.astype(np.float32))
    assert rows.excluded == excluded
    assert rows.devices == ("d0", "d1")


def test_the_floors_mean_leaves_missing_hours_out(
    scenario: Scenario, channels: list[Floats], grid: dict[str, Hourly]
) -> None:
    rows = data.from_history(task_of(scenario), grid)
    for hour in (10, 60, 70, 710, 1200):
        (row,) = np.flatnonzero((rows.as_of == FIRST_HOUR + hour) & (rows.device == 0))
        expected = np.nanmean(channels[0][max(0, hour - 23) : hour + 1, 6].astype(np.float64))
        assert rows.mean_24[row] == pytest.approx(expected, rel=1e-6)


def test_training_rows_are_bit_for_bit_what_serving_computes_from_its_ring(
    scenario: Scenario, featurizer: Featurizer, channels: list[Floats], grid: dict[str, Hourly]
) -> None:
    rows = data.from_history(task_of(scenario), grid)
    layout = Layout.of(scenario)
    ring = Ring.empty(layout, 2)
    sent = readings(*channels)
    columns = spread(layout, sent.values)
    prints = fingerprint(sent.minute, columns)
    compared = 0
    for start in range(0, len(sent), 97):
        part = slice(start, start + 97)
        device, minute = sent.device[part].astype(np.int64), sent.minute[part].astype(np.int64)
        touched = np.unique(device)
        ring.advance(touched, np.array([minute[device == d].max() // 60 for d in touched]))
        ring.fold(device, minute, columns[part], prints[part])
        window = windows(ring.values(), touched, ring.head[touched], scenario.history)
        served = featurizer.matrix(window, ring.head[touched])
        for place, owner in enumerate(touched):
            for row in np.flatnonzero((rows.device == owner) & (rows.as_of == ring.head[owner])):
                np.testing.assert_array_equal(bits(rows.matrix[row]), bits(served[place]))
                compared += 1
    assert compared > 10


def test_a_later_start_gives_the_same_rows_from_there_on(scenario: Scenario, grid: dict[str, Hourly]) -> None:
    rows = data.from_history(task_of(scenario), grid)
    start = FIRST_HOUR + 200
    late = data.from_history(task_of(scenario), grid, since=start)
    keep = rows.as_of >= start
    np.testing.assert_array_equal(late.matrix, rows.matrix[keep])
    np.testing.assert_array_equal(late.target, rows.target[keep])


def test_cut_history_knows_no_truth_of_the_cut_hour_or_later(scenario: Scenario, grid: dict[str, Hourly]) -> None:
    cut = FIRST_HOUR + 250
    rows = data.from_history(task_of(scenario), data.before(grid, cut))
    assert rows.as_of.max() + scenario.horizon == cut - 1
    assert data.before(grid, FIRST_HOUR) == {}


def test_a_history_without_rows_gives_an_empty_set(scenario: Scenario, featurizer: Featurizer) -> None:
    rows = data.from_history(task_of(scenario), hourly(scenario, readings(history(10))))
    assert len(rows) == 0
    assert rows.matrix.shape == (0, len(featurizer.features))
    assert not rows.dated


def test_the_dataset_is_named_by_its_content(
    scenario: Scenario, channels: list[Floats], grid: dict[str, Hourly]
) -> None:
    name = data.dataset_hash(grid)
    assert data.dataset_hash(dict(reversed(grid.items()))) == name
    changed = [values.copy() for values in channels]
    changed[1][7, 6] += 1
    assert data.dataset_hash(hourly(scenario, readings(*changed))) != name


def test_wide_rows_have_no_time_and_keep_their_order(scenario: Scenario) -> None:
    window = np.random.default_rng(1).normal(10, 1, (scenario.history, len(scenario.stored), 4)).astype(np.float32)
    window[:, scenario.target_column] = np.nan
    chunk = WideChunk(
        ids=("a", "b", "c", "d"),
        position=np.arange(1, 5),
        window=window,
        target=np.array([1, np.nan, 3, 4], np.float32),
        group=("E", "A", "B", "E"),
        rejected=(),
    )
    rows = data.from_windows(task_of(scenario), [chunk])
    assert rows.target.tolist() == [1, 3, 4]
    assert [rows.devices[index] for index in rows.device] == ["E", "B", "E"]
    assert not rows.dated
    assert rows.excluded == {"target_missing": 1}
    calendar = [index for index, feature in enumerate(rows.features) if feature.name.startswith("time.")]
    assert calendar
    assert np.isnan(rows.matrix[:, calendar]).all()
    assert np.isnan(rows.latest).all()
