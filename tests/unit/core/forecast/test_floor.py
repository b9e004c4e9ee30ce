"""The baseline's first forecasts against plain Python, and bit for bit alike whatever stands beside them."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.forecast.floor import MADE_OF, forecasts
from shared.core.forecast.losses import FORECAST
from shared.core.intake.readings import Floats
from shared.core.scenario import Scenario
from tests.kit import small

SHAPES = [
    small(),
    small(horizon=6, lateness=1, history=30),
    small(horizon=24, lateness=2, history=55),
    small(horizon=1, lateness=0, history=2),
    small(horizon=2, lateness=0, history=26, cadence_s=1200),
]
VALUES = st.one_of(st.none(), st.integers(0, 4000).map(lambda n: n / 4))


def plainly(scenario: Scenario, window: list[float | None]) -> tuple[float, float, float] | None:
    """Value, lower and upper end of one window by the words of the decision, None without an answer."""
    hour = 3600 // scenario.cadence_s
    now, size, ahead = window[-1], len(window), scenario.horizon * hour
    known = [value for value in window if value is not None]
    same = [v for i, v in enumerate(window) if v is not None and (size - 1 + ahead - i) % (24 * hour) == 0]
    if now is None:
        return None
    usual = fmean(same or known)
    value = (now + usual) / 2
    lags = [ahead]
    while lags[-1] > 1:
        lags.append(lags[-1] // 2)
    changes = {
        lag: sorted(abs(b - a) for a, b in zip(window, window[lag:], strict=False) if a is not None and b is not None)
        for lag in lags
    }
    lag = next((lag for lag in lags if len(changes[lag]) >= lag), None)
    lag = lag or next((lag for lag in lags if changes[lag]), None)
    if lag is None:
        return None
    found = changes[lag]
    rank = min(math.ceil((len(found) + 1) * scenario.interval), len(found))
    reach = found[rank - 1] * ahead / lag
    return value, max(value - reach, 0.0), min(value + reach, 1000.0)


def columns(windows: list[list[float | None]]) -> Floats:
    return np.array([[np.nan if value is None else value for value in row] for row in windows], np.float32).T


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SHAPES), st.data())
def test_a_first_forecast_is_half_way_to_the_usual_value_and_reaches_as_far_as_changes_did(
    scenario: Scenario, data: st.DataObject
) -> None:
    size = scenario.history * 3600 // scenario.cadence_s
    window = data.draw(st.lists(VALUES, min_size=size, max_size=size))
    found, wanted = forecasts(scenario, columns([window])), plainly(scenario, window)
    if wanted is None:
        assert all(np.isnan(column).all() for column in found.values())
    else:
        np.testing.assert_allclose([found[name][0] for name in FORECAST], wanted, rtol=1e-5, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_no_bit_of_a_forecast_depends_on_the_others(scenario: Scenario, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    windows = random.gamma(2, 30, (scenario.history, count)).astype(np.float32)
    windows[random.random(windows.shape) < 0.2] = np.nan
    together = forecasts(scenario, windows)
    alone = [forecasts(scenario, windows[:, [place]]) for place in range(count)]
    for name in (*FORECAST, *MADE_OF):
        assert together[name].dtype == np.float32
        assert together[name].tobytes() == np.concatenate([each[name] for each in alone]).tobytes()


def test_the_second_hour_gets_a_forecast_whose_interval_grows_with_the_horizon() -> None:
    scenario = small(horizon=6, lateness=1, history=30)
    first, second = ([None] * (30 - count) + [40.0, 44.0][:count] for count in (1, 2))
    found = forecasts(scenario, columns([first, second]))
    assert np.isnan([found[name][0] for name in FORECAST]).all()
    assert [found[name][1] for name in FORECAST] == [43.0, 43.0 - 6 * 4, 43.0 + 6 * 4]


@pytest.mark.parametrize(("level", "wanted"), [(0.0, (2.0, 0.0, 9.0)), (992.0, (994.0, 987.0, 1000.0))])
def test_limits_are_the_targets_own(level: float, wanted: tuple[float, ...]) -> None:
    window: list[float | None] = [
        level,
        level + 7,
        level + 7,
        level + 7,
        level,
        level + 7,
        level,
    ]  # on average level + 4
    found = forecasts(small(), columns([window]))
    assert [found[name][0] for name in FORECAST] == pytest.approx(wanted)


def test_a_daily_value_is_forecast_from_the_changes_of_a_day() -> None:
    scenario = small(horizon=24, lateness=2, history=55)
    window: list[float | None] = [None] * 55
    window[6], window[30], window[54] = 10.0, 30.0, 20.0
    found = forecasts(scenario, columns([window]))
    assert [found[name][0] for name in FORECAST] == [20.0, 0.0, 40.0]
