"""What the validation stops at, what it warns of, and what it leaves alone."""

import numpy as np
import pytest

from shared.core.forecast.window.history import hourly
from shared.core.intake.readings import Floats, Readings
from shared.core.scenario import Scenario
from tests.kit.data.sensor_history import FIRST_HOUR, air_quality, history, readings
from tests.unit.training.model.test_damped_persistence import rows
from training.data import validate
from training.data.files import DataRefused, Source
from training.data.folds import rolling
from training.data.validate import Finding, Limits

LIMITS = Limits()


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return air_quality()


def found(scenario: Scenario, *devices: Floats) -> dict[str, Finding]:
    findings = validate.check_history(scenario, hourly(scenario, readings(*devices)), LIMITS)
    return {finding.key: finding for finding in findings}


def three(hours: int = 500) -> list[Floats]:
    return [history(hours, seed) for seed in (1, 2, 3)]


def test_good_history_gives_no_finding(scenario: Scenario) -> None:
    assert found(scenario, *three()) == {}


def test_a_target_that_never_comes_is_an_error(scenario: Scenario) -> None:
    devices = three()
    for values in devices:
        values[:, 6] = np.nan
    finding = found(scenario, *devices)["pm25"]
    assert (finding.level, finding.text) == ("error", "the target has a value in 0 of 1500 hours, 1 is needed")


def test_a_constant_target_is_an_error(scenario: Scenario) -> None:
    devices = three()
    for values in devices:
        values[:, 6] = 12.5
    finding = found(scenario, *devices)["pm25"]
    assert (finding.level, finding.text) == ("error", "the target is 12.5 in all 1500 hours that have it")


def test_no_hours_at_all_are_an_error(scenario: Scenario) -> None:
    (finding,) = validate.check_history(scenario, {}, LIMITS)
    assert finding.level == "error"


@pytest.mark.parametrize(
    ("channel", "column", "value", "text"),
    [
        ("temp", 0, np.nan, "100.0% of hours are missing, limit 20%"),
        ("temp", 0, 21.0, "is 21 in all 1500 hours that have it"),
        ("precip", 1, 0.0, "is 0 in all 1500 hours that have it"),
    ],
)
def test_an_absent_or_constant_channel_is_a_warning(
    scenario: Scenario, channel: str, column: int, value: float, text: str
) -> None:
    devices = three()
    for values in devices:
        values[:, column] = value
    finding = found(scenario, *devices)[channel]
    assert (finding.level, finding.text) == ("warning", text)


def test_few_devices_long_gaps_and_caps_are_warnings(scenario: Scenario) -> None:
    device = history(900)
    device[100:300] = np.nan
    device[400:420, 6] = 999
    findings = found(scenario, device)
    assert {finding.level for finding in findings.values()} == {"warning"}
    assert findings["devices"].text == "1 are fewer than 3"
    assert "longest, 200 h, is at 'd0'" in findings["gaps"].text
    assert findings["pm25"].text == "20 hours stand at the largest value 999, which looks like a sensor's cap"


def test_a_physical_limit_is_no_cap(scenario: Scenario) -> None:
    devices = three()
    for values in devices:
        values[:100, 2] = 100  # fog: saturated air
    assert found(scenario, *devices) == {}


def test_a_gap_shorter_than_a_window_is_no_finding(scenario: Scenario) -> None:
    devices = three()
    devices[0][100:220] = np.nan
    assert found(scenario, *devices) == {}


def doubled(again: Readings, change: int) -> Readings:
    """The readings twice, the first `change` repetitions with another target."""
    values = again.values.copy()
    values[:change, 6] += 1
    order = np.argsort(np.concatenate([again.minute, again.minute]), kind="stable")
    return Readings(
        devices=again.devices,
        device=np.concatenate([again.device, again.device])[order],
        minute=np.concatenate([again.minute, again.minute])[order],
        position=np.arange(2 * len(again)),
        values=np.concatenate([again.values, values])[order],
    )


@pytest.mark.parametrize(
    ("change", "levels"),
    [
        (0, {"duplicates": "warning"}),
        (20, {"duplicates": "warning", "conflicts": "warning"}),
        (60, {"conflicts": "error"}),
    ],
)
def test_repeated_readings_warn_and_too_many_contradictions_stop(
    scenario: Scenario, change: int, levels: dict[str, str]
) -> None:
    sent = doubled(readings(history(500)), change)
    findings = {f.key: f.level for f in validate.check_duplicates(scenario, sent, None, LIMITS)}
    assert findings.items() >= levels.items()


def test_contradictions_in_the_test_span_are_not_looked_at(scenario: Scenario) -> None:
    sent = doubled(readings(history(500)), 500)
    assert list(validate.check_duplicates(scenario, sent, FIRST_HOUR, LIMITS)) == []


@pytest.mark.parametrize("rejected", [{}, {"range": 10}])
def test_no_accepted_row_is_an_error_that_names_the_reasons(rejected: dict[str, int]) -> None:
    source = Source(name="a.csv", rows=sum(rejected.values()), rejected=rejected)
    with pytest.raises(DataRefused, match=f"readings: 0 of {source.rows} rows were accepted"):
        validate.refuse(validate.check_sources([source], LIMITS))


def test_rejected_rows_and_cut_files_are_warnings() -> None:
    sources = [
        Source(name="a.csv", rows=100, rejected={"range": 3, "timestamp": 1}, problem="truncated: ended early"),
        Source(name="b.csv", rows=100),
    ]
    findings = list(validate.check_sources(sources, LIMITS))
    assert [finding.level for finding in findings] == ["warning", "warning"]
    assert str(findings[0]) == "a.csv: truncated: ended early"
    assert "4 of 200" in findings[1].text
    assert "range 3; timestamp 1" in findings[1].text


@pytest.mark.parametrize(
    ("count", "horizon", "keys"),
    [(300, 24, []), (199, 24, ["training rows"]), (300, 280, ["folds"]), (0, 24, ["training rows", "folds"])],
)
def test_too_few_rows_or_folds_are_errors(count: int, horizon: int, keys: list[str]) -> None:
    line = np.arange(count, dtype=np.float64)
    training = rows(line, line, line)
    findings = list(validate.check_rows(training, rolling(training.as_of, horizon, 3), LIMITS))
    assert [(finding.level, finding.key) for finding in findings] == [("error", key) for key in keys]


def test_a_fold_that_would_learn_from_one_and_the_same_truth_is_an_error() -> None:
    line = np.arange(300, dtype=np.float64)
    truth = np.where(line < 120, 4.0, line)
    (finding,) = validate.check_rows(rows(line, line, truth), rolling(np.arange(300), 24, 3), LIMITS)
    assert str(finding) == "fold 1: the truth is 4 in all 97 rows to train on"


def test_all_errors_are_told_at_once_and_warnings_stop_nothing() -> None:
    validate.refuse([Finding("warning", "a", "x")])
    with pytest.raises(DataRefused, match="b: y\nc: z"):
        validate.refuse([Finding("error", "b", "y"), Finding("warning", "a", "x"), Finding("error", "c", "z")])
