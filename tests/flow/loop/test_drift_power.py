"""The drift check on undrifted history and on shifted history: calibrated on the first years, checked on the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.drift_power import power
from benchmarks.drift_replay import Replay, calibrated, file_history, fleet_history, shifted, spread_of
from local.fleet.__main__ import Fleet
from shared.core.drift.baseline import Baseline
from shared.core.forecast.window.history import Hourly
from shared.core.scenario import Scenario
from tests.kit.data.sensor_history import air_quality
from tests.unit.adapters.tables.test_tables import BEIJING

AIR = air_quality()
YEAR = 364
CHANNEL = {"generator": "temp", "real": "rel_humidity"}  # the one whose power is asserted


@pytest.fixture(scope="module", params=["generator", "real"])
def replayed(request: pytest.FixtureRequest) -> tuple[str, dict[str, Hourly], Replay, Baseline, list[int]]:
    """Two years to calibrate on, two to check."""
    if request.param == "generator":
        history = fleet_history(AIR, Fleet(seed=11, stations=4, hours=24 * (4 * YEAR + 20)))
    elif BEIJING.exists():
        history = file_history(AIR, BEIJING)
    else:
        pytest.skip(f"{BEIJING.name} is not here")
    baseline, behind = calibrated(AIR, history, 2 * YEAR)
    replay = Replay.of(AIR, history)
    return request.param, history, replay, baseline, replay.weeks(behind)


Case = tuple[str, dict[str, Hourly], Replay, Baseline, list[int]]


def test_at_most_one_in_twenty_weekly_checks_of_undrifted_history_raises_drift(replayed: Case) -> None:
    _, _, replay, baseline, weeks = replayed
    kinds = Counter(replay.check(baseline, end).kind for end in weeks)
    assert len(weeks) >= 100
    assert kinds["population"] <= 0.05 * len(weeks), kinds
    assert kinds["not enough data"] + kinds["pipeline"] <= 0.05 * len(weeks), kinds


def test_a_shift_of_one_deviation_is_found_within_two_checks(replayed: Case) -> None:
    name, history, replay, baseline, weeks = replayed
    channel = CHANNEL[name]
    other = Replay.of(AIR, shifted(AIR, history, channel, spread_of(AIR, history, channel)))
    assert power(replay, other, baseline, weeks[:50]).within_two >= 0.9


def test_a_single_stuck_device_is_found_and_never_raises_drift(replayed: Case) -> None:
    _, history, replay, baseline, weeks = replayed
    name = sorted(history)[1]
    for column in ("pm25", "rel_humidity"):
        for end in weeks[3::25]:
            stuck = replay.with_device(name, _stuck(AIR, history[name], column, end))
            verdict = stuck.check(baseline, end)
            assert verdict.kind == "device", verdict.reasons
            assert (name, "stuck", column) in [(f.device, f.fault, f.channel) for f in verdict.faulty]
            after = stuck.without(name, end + 2).check(baseline, end + 7, quarantined=(name,))
            assert after.kind in ("none", "device"), after.reasons


def _stuck(scenario: Scenario, hours: Hourly, column: str, end: int) -> Hourly:
    """One value, low for what the column shows, from a week before a check until it."""
    values, at = hours.values.copy(), scenario.stored.index(column)
    stop = (end + 3) * 24 - hours.first_hour
    values[stop - 10 * 24 : stop, at] = np.nanquantile(values[:, at], 0.01)
    return replace(hours, values=values)
