"""The hourly features against pandas in float64, and the laws they obey.

`python -m tests.unit.core.forecast.test_features` rewrites
tests/golden/features.txt, the reviewed list of names and versions.
"""

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.forecast.features.block import version_of
from shared.core.forecast.features.featurizer import BLOCK, Featurizer
from shared.core.forecast.features.vapour import absolute_humidity, dew_point, saturation_pressure
from shared.core.intake.readings import Floats, Longs
from shared.core.model.feature import Feature
from shared.core.scenario import Scenario, parse
from shared.errors import ConfigError
from tests import ROOT

GOLDEN = ROOT / "tests" / "golden" / "features.txt"
AS_OF = 412_345  # 2017-01-15 01:00 UTC
SPANS = (6, 12, 24, 72, 120)
NAN = math.nan


def raw_scenario() -> dict[str, Any]:
    raw: dict[str, Any] = msgspec.toml.decode((ROOT / "scenarios" / "air_quality.toml").read_bytes())
    return raw


def scenario_with(*channels: str, **changes: Any) -> Scenario:
    raw = raw_scenario() | changes
    raw["channels"] = [channel for channel in raw["channels"] if channel["name"] in channels]
    return parse(raw)


SCENARIO = parse(raw_scenario())
FEATURIZER = Featurizer(SCENARIO)
NAMES = [feature.name for feature in FEATURIZER.features]
COLUMNS = SCENARIO.stored
LIMITS = {c.name: (c.minimum, c.maximum) for c in SCENARIO.channels} | {"wind_dir_u": (-1, 1), "wind_dir_v": (-1, 1)}


def plausible(rng: np.random.Generator, count: int, missing: float = 0.1) -> Floats:
    """Windows that drift, jump and pause like real ones, values within the channels' limits."""
    walk = np.cumsum(rng.normal(size=(121, len(COLUMNS), count)), axis=0)
    middle = np.array([15, 0, 60, 0, 0, 3, 1010, 80], float)[:, None]
    width = np.array([1.0, 0.1, 3.0, 0.0, 0.0, 0.4, 0.8, 9.0])[:, None]
    window = middle + width * walk
    angle = np.cumsum(rng.normal(size=(121, count)), axis=0)
    window[:, 3], window[:, 4] = np.sin(angle), np.cos(angle)
    for column, name in enumerate(COLUMNS):
        np.clip(window[:, column], *LIMITS[name], out=window[:, column])
    window[rng.random(window.shape) < missing] = NAN
    window[:, 4][np.isnan(window[:, 3])] = NAN
    window[:, 3][np.isnan(window[:, 4])] = NAN
    return window.astype(np.float32)


def hours(rng: np.random.Generator, count: int) -> Longs:
    """As-of hours up to the year 2038, some unknown."""
    return np.maximum(rng.integers(-60_000, 600_000, count), -1)


def features_of(window: Floats, as_of: int = AS_OF) -> dict[str, float]:
    """Named features of one window of shape (121, columns)."""
    row = FEATURIZER.matrix(np.ascontiguousarray(window[:, :, None]), np.array([as_of]))[0]
    return dict(zip(NAMES, row.tolist(), strict=True))


def one_window(**columns: npt.ArrayLike) -> Floats:
    """A window in which every column is missing but the named ones, each a value or 121 of them."""
    window = np.full((121, len(COLUMNS)), NAN, np.float32)
    for name, values in columns.items():
        window[:, COLUMNS.index(name)] = np.asarray(values)
    return window


def oracle(window: Floats, as_of: int) -> dict[str, float]:
    """All features of one window, written from their definitions with pandas in float64."""
    frame = pd.DataFrame(window.astype(np.float64), columns=list(COLUMNS))
    row: dict[str, float] = {}
    for name in ("temp", "precip", "rel_humidity", "wind_spd", "atmos_press", "pm25"):
        row |= {f"{name}.{key}": value for key, value in level(frame[name], name).items()}
    for name in ("wind_dir_u", "wind_dir_v"):
        row[f"{name}.latest"] = frame[name].ffill().iloc[-1]
    for name in SCENARIO.channel_names:
        column = frame["wind_dir_u" if name == "wind_dir" else name]
        valid = np.flatnonzero(column.notna())
        row[f"{name}.hours_since_valid"] = 120 - valid[-1] if len(valid) else NAN
        for span in (24, 120):
            row[f"{name}.share_missing_{span}"] = column.tail(span).isna().mean()
    return row | wind(frame) | vapour(frame) | calendar(as_of)


def level(column: "pd.Series[float]", name: str) -> dict[str, float]:
    latest = column.ffill().iloc[-1]
    lags = (0, 1, 2, 3, 6, 12, 18, 24, 48, 72, 96, 120) if name == "pm25" else (3, 6, 12, 24, 48)
    changes = {"pm25": (3, 6, 24), "atmos_press": (3, 24), "precip": ()}.get(name, (24,))
    row = {"latest": latest}
    row |= {f"lag_{hours}": column[120 - hours] for hours in lags}
    row |= {f"change_{hours}": column[120] - column[120 - hours] for hours in changes}
    for span in SPANS:
        tail = column.tail(span)
        row |= {f"mean_{span}": tail.mean(), f"std_{span}": tail.std(ddof=0)}
        row |= {f"min_{span}": tail.min(), f"max_{span}": tail.max()}
        if name == "precip":
            row[f"sum_{span}"] = tail.sum(min_count=1)
    if name != "precip":
        row["latest_minus_mean_24"] = latest - row["mean_24"]
        row["mean_24_minus_mean_72"] = row["mean_24"] - row["mean_72"]
    if name == "pm25":
        days = column[::24]
        row |= {"same_hour_mean": days.mean(), "same_hour_min": days.min(), "same_hour_max": days.max()}
    return row


def wind(frame: pd.DataFrame) -> dict[str, float]:
    parts = pd.DataFrame({"u": frame.wind_dir_u * frame.wind_spd, "v": frame.wind_dir_v * frame.wind_spd})
    parts["speed"] = frame.wind_spd
    row: dict[str, float] = {}
    for span in SPANS:
        mean = parts.tail(span).dropna().mean()
        row |= {f"wind.u_{span}": mean.u, f"wind.v_{span}": mean.v}
        length = math.hypot(mean.u, mean.v)
        row[f"wind.steadiness_{span}"] = min(length / mean.speed, 1.0) if mean.speed > 0 else NAN
    return row


def vapour(frame: pd.DataFrame) -> dict[str, float]:
    temp, humidity = frame.temp.ffill().iloc[-1], frame.rel_humidity.ffill().iloc[-1]
    slope = 17.62 * temp / (243.12 + temp)
    saturation = 6.112 * math.exp(slope)
    pressure = saturation * humidity / 100
    log = math.log(max(humidity, 1) / 100) + slope if humidity == humidity else NAN
    return {
        "vapour.saturation_pressure": saturation,
        "vapour.deficit": saturation - pressure,
        "vapour.absolute_humidity": 216.68 * pressure / (temp + 273.15),
        "vapour.dew_point": 243.12 * log / (17.62 - log),
    }


def calendar(as_of: int) -> dict[str, float]:
    time = pd.Timestamp(as_of * 3600, unit="s") if as_of >= 0 else pd.NaT
    hour, day = 2 * math.pi * time.hour / 24, 2 * math.pi * (time.dayofyear - 1) / 365.25
    return {
        "time.hour_of_day_sin": math.sin(hour),
        "time.hour_of_day_cos": math.cos(hour),
        "time.day_of_year_sin": math.sin(day),
        "time.day_of_year_cos": math.cos(day),
    }


def assert_agrees(window: Floats, as_of: Longs) -> None:
    """Compare with the oracle: 1e-4 relative, and 2e-6 of the column's largest value for what cancels to about zero."""
    matrix = FEATURIZER.matrix(window, as_of)
    largest = np.nanmax(np.abs(window), axis=0, initial=1.0)
    for i in range(window.shape[2]):
        expected = oracle(window[:, :, i], int(as_of[i]))
        assert sorted(expected) == sorted(NAMES)
        for name, value in zip(NAMES, matrix[i].tolist(), strict=True):
            column = name.split(".")[0]
            scale = float(largest[COLUMNS.index(column), i]) if column in COLUMNS else 20.0
            assert value == pytest.approx(expected[name], rel=1e-4, abs=2e-6 * scale, nan_ok=True), (i, name)


def test_every_feature_agrees_with_pandas_in_float64() -> None:
    rng = np.random.default_rng(11)
    parts = [plausible(rng, 12, missing) for missing in (0.0, 0.1, 0.6, 0.97)]
    outages = plausible(rng, 12)
    for i in range(12):
        outages[121 - 10 * i :, i % 8, i] = NAN
        outages[: 10 * i, (i + 3) % 8, i] = NAN
    window = np.concatenate([*parts, outages], axis=2)
    window[:, 4][np.isnan(window[:, 3])] = NAN
    window[:, 3][np.isnan(window[:, 4])] = NAN
    assert_agrees(window, hours(rng, window.shape[2]))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.01, 0.1, 0.5]), missing=st.sampled_from([0.0, 0.3, 0.9]))
def test_jumps_between_a_channels_limits_stay_accurate_and_in_range(seed: int, share: float, missing: float) -> None:
    rng = np.random.default_rng(seed)
    limits = np.array([LIMITS[name] for name in COLUMNS], np.float32)[:, :, None]
    window = np.where(rng.random((121, 8, 3)) < share, limits[:, 1], limits[:, 0])
    window[rng.random(window.shape) < missing] = NAN
    window[:, 3:5] = np.where(np.isnan(window[:, 3:4]), NAN, np.array([[0.6], [-0.8]]))
    assert_agrees(window, np.full(3, AS_OF))
    assert_within_limits(FEATURIZER.matrix(window, np.full(3, AS_OF)))


def assert_within_limits(matrix: Floats) -> None:
    for feature, values in zip(FEATURIZER.features, matrix.T, strict=True):
        known = values[~np.isnan(values)]
        slack = 1e-5 * (feature.high - feature.low)
        assert ((known >= feature.low - slack) & (known <= feature.high + slack)).all(), feature


@pytest.mark.parametrize("count", [1, 2, 7, 16, BLOCK, BLOCK + 1, 1000])
def test_a_row_has_the_same_bits_in_batches_of_any_size(count: int) -> None:
    rng = np.random.default_rng(count)
    window, as_of = plausible(rng, 1000), hours(rng, 1000)
    window[:, 3:5, ::5] *= 0  # calms and signed zeros
    window[:, :, ::9] = NAN
    whole = FEATURIZER.matrix(window, as_of)
    for start in rng.integers(0, 1000 - count + 1, 4):
        part = slice(start, start + count)
        assert FEATURIZER.matrix(window[:, :, part].copy(), as_of[part]).tobytes() == whole[part].tobytes()


def test_a_row_has_the_same_bits_wherever_it_stands() -> None:
    rng = np.random.default_rng(4)
    window, as_of = plausible(rng, 77), hours(rng, 77)
    whole = FEATURIZER.matrix(window, as_of)
    order = rng.permutation(77)
    assert FEATURIZER.matrix(window[:, :, order], as_of[order]).tobytes() == whole[order].tobytes()
    for place in range(77):
        others = np.full((121, 8, 77), NAN, np.float32)
        others[:, :, place] = window[:, :, 5]
        assert FEATURIZER.matrix(others, np.full(77, as_of[5]))[place].tobytes() == whole[5].tobytes()


def test_a_sliding_view_of_a_long_series_gives_the_bits_of_copied_windows() -> None:
    series = np.random.default_rng(2).uniform(0, 50, (150, 8)).astype(np.float32)
    view = np.lib.stride_tricks.sliding_window_view(series, 121, axis=0).transpose(2, 1, 0)
    as_of = AS_OF + np.arange(30)
    assert FEATURIZER.matrix(view, as_of).tobytes() == FEATURIZER.matrix(view.copy(), as_of).tobytes()


def test_the_window_and_the_hours_are_only_read() -> None:
    window, as_of = plausible(np.random.default_rng(1), 5), np.full(5, AS_OF)
    kept = window.copy()
    window.setflags(write=False)
    as_of.setflags(write=False)
    FEATURIZER.matrix(window, as_of)
    assert window.tobytes() == kept.tobytes()


def test_a_value_stays_at_its_hour_when_hours_before_it_are_missing() -> None:
    values = np.arange(121, dtype=np.float32)  # hour k before the as-of hour holds 120 - k
    values[110:120] = NAN
    values[60:70] = NAN
    row = features_of(one_window(pm25=values, temp=values))
    assert (row["pm25.lag_0"], row["pm25.lag_12"], row["pm25.lag_72"], row["pm25.lag_120"]) == (120, 108, 48, 0)
    assert math.isnan(row["pm25.lag_1"])
    assert math.isnan(row["pm25.lag_6"])
    assert math.isnan(row["pm25.change_3"])
    assert (row["pm25.change_24"], row["pm25.mean_6"], row["pm25.min_12"]) == (24, 120, 109)
    assert (row["temp.lag_24"], row["temp.lag_48"]) == (96, 72)


def test_the_newest_valid_value_and_its_age_look_past_missing_hours() -> None:
    values = np.full(121, NAN, np.float32)
    values[[3, 100]] = 7, 9
    row = features_of(one_window(temp=values, pm25=np.where(np.arange(121) == 0, 4, NAN), wind_spd=1))
    assert (row["temp.latest"], row["temp.hours_since_valid"]) == (9, 20)
    assert (row["pm25.latest"], row["pm25.hours_since_valid"]) == (4, 120)
    assert math.isnan(row["pm25.mean_120"])  # the oldest hour lies before the longest span
    assert (row["wind_spd.hours_since_valid"], row["wind_spd.share_missing_120"]) == (0, 0)
    assert row["temp.share_missing_120"] == pytest.approx(118 / 120)


def test_a_window_without_any_value_is_nan_with_all_hours_counted_missing() -> None:
    row = features_of(one_window(), -1)
    shares = {name for name in NAMES if ".share_missing_" in name}
    assert {row[name] for name in shares} == {1.0}
    assert all(math.isnan(row[name]) for name in NAMES if name not in shares)


def test_an_unknown_as_of_hour_leaves_only_the_calendar_missing() -> None:
    window = plausible(np.random.default_rng(3), 4, missing=0.0)
    known, unknown = (FEATURIZER.matrix(window, np.full(4, hour)) for hour in (AS_OF, -1))
    dated = np.array([name.startswith("time.") for name in NAMES])
    assert dated.sum() == 4
    assert np.isnan(unknown[:, dated]).all()
    assert not np.isnan(known[:, dated]).any()
    assert unknown[:, ~dated].tobytes() == known[:, ~dated].tobytes()


@pytest.mark.parametrize("as_of", [-1, -25, np.iinfo(np.int64).min])
def test_any_negative_as_of_hour_is_unknown(as_of: int) -> None:
    row = features_of(one_window(temp=1), as_of)
    assert math.isnan(row["time.hour_of_day_sin"])
    assert math.isnan(row["time.day_of_year_cos"])


@pytest.mark.parametrize(
    ("time", "hour", "day"),
    [("1970-01-01T00", 0, 0), ("2015-12-31T23", 23, 364), ("2016-02-29T06", 6, 59), ("2016-12-31T18", 18, 365)],
)
def test_the_calendar_is_that_of_the_as_of_hour_in_utc(time: str, hour: int, day: int) -> None:
    row = features_of(one_window(), int(np.datetime64(time, "h").astype(np.int64)))
    hour_angle = math.atan2(row["time.hour_of_day_sin"], row["time.hour_of_day_cos"]) % (2 * math.pi)
    day_angle = math.atan2(row["time.day_of_year_sin"], row["time.day_of_year_cos"]) % (2 * math.pi)
    assert hour_angle == pytest.approx(2 * math.pi * hour / 24, abs=1e-6)
    assert day_angle == pytest.approx(2 * math.pi * day / 365.25, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 999.9, 1000.0])
def test_a_constant_has_no_spread_and_is_its_own_mean(value: float) -> None:
    exact = float(np.float32(value))
    row = features_of(one_window(pm25=value))
    for span in SPANS:
        assert [row[f"pm25.{kind}_{span}"] for kind in ("mean", "std", "min", "max")] == [exact, 0, exact, exact]
    assert (row["pm25.latest_minus_mean_24"], row["pm25.mean_24_minus_mean_72"], row["pm25.change_24"]) == (0, 0, 0)


def test_one_valid_hour_has_no_spread() -> None:
    values = np.full(121, NAN)
    values[115] = 42
    row = features_of(one_window(pm25=values))
    assert [row[f"pm25.{kind}_6"] for kind in ("mean", "std", "min", "max")] == [42, 0, 42, 42]
    assert [row[f"pm25.{kind}_120"] for kind in ("mean", "std", "min", "max")] == [42, 0, 42, 42]


def test_a_spread_too_small_for_float32_squares_is_a_number() -> None:
    rng = np.random.default_rng(6)
    window = np.full((121, 8, 4000), NAN, np.float32)
    window[-6:, COLUMNS.index("pm25")] = rng.random((6, 4000)) * 10.0 ** rng.uniform(-24, -20, 4000)
    spread = FEATURIZER.matrix(window, np.full(4000, AS_OF))[:, NAMES.index("pm25.std_6")]
    assert ((spread >= 0) & (spread < 1e-20)).all()


def test_zeros_of_either_sign_are_the_same_value() -> None:
    signs = np.where(np.random.default_rng(1).random((121, 8)) < 0.5, -0.0, 0.0).astype(np.float32)
    as_of = np.array([AS_OF])
    mixed, plain = (FEATURIZER.matrix(window[:, :, None], as_of) for window in (signs, signs + np.float32(0)))
    assert mixed.tobytes() == plain.tobytes()


def test_spans_end_with_the_as_of_hour_and_have_their_length() -> None:
    for span in SPANS:
        values = np.zeros(121)
        values[121 - span] = 60  # the oldest hour of the span
        row = features_of(one_window(pm25=values, precip=values))
        assert [row[f"pm25.max_{s}"] for s in SPANS] == [60 if s >= span else 0 for s in SPANS]
        assert row[f"precip.sum_{span}"] == pytest.approx(60, rel=1e-6)
        assert row[f"precip.mean_{span}"] == pytest.approx(60 / span, rel=1e-6)


def test_wind_from_one_side_is_steady_and_wind_from_two_sides_cancels() -> None:
    turning = np.where(np.arange(121) % 2, 1.0, -1.0)
    one = features_of(one_window(wind_dir_u=0.6, wind_dir_v=-0.8, wind_spd=5))
    assert [one["wind.u_24"], one["wind.v_24"], one["wind.steadiness_24"]] == pytest.approx([3, -4, 1], rel=1e-6)
    two = features_of(one_window(wind_dir_u=turning, wind_dir_v=0, wind_spd=5))
    assert [two["wind.u_24"], two["wind.steadiness_24"]] == [0, 0]
    calm = features_of(one_window(wind_dir_u=turning, wind_dir_v=0, wind_spd=0))
    assert (calm["wind.u_24"], calm["wind.v_24"]) == (0, 0)
    assert math.isnan(calm["wind.steadiness_24"])


def test_steadiness_never_exceeds_one() -> None:
    angle, window = np.linspace(0, 6, 500), np.full((121, 8, 500), 1.7, np.float32)
    window[:, 3], window[:, 4] = np.sin(angle), np.cos(angle)
    matrix = FEATURIZER.matrix(window, np.full(500, AS_OF))
    steadiness = matrix[:, [NAMES.index(f"wind.steadiness_{span}") for span in SPANS]]
    assert steadiness.max() == 1
    assert steadiness.min() == pytest.approx(1, abs=1e-5)


def test_an_hour_without_speed_or_direction_is_left_out_of_the_wind() -> None:
    speed, u = np.full(121, 4.0), np.full(121, 1.0)
    speed[::2], u[1::4] = NAN, NAN
    row = features_of(one_window(wind_dir_u=u, wind_dir_v=np.where(np.isnan(u), NAN, 0), wind_spd=speed))
    assert (row["wind.u_72"], row["wind.steadiness_72"]) == (4, 1)


@pytest.mark.parametrize(("celsius", "pascal"), [(0, 611.2), (20, 2339), (40, 7385)])
def test_saturation_pressure_agrees_with_steam_tables(celsius: float, pascal: float) -> None:
    assert saturation_pressure(np.full(16, celsius, np.float32)) * 100 == pytest.approx(pascal, rel=5e-3)


def test_vapour_terms_agree_with_psychrometric_tables() -> None:
    warm, half = np.full(16, 20, np.float32), np.full(16, 50, np.float32)
    assert dew_point(warm, half) == pytest.approx(9.3, abs=0.05)
    assert dew_point(warm, half * 2) == pytest.approx(20, abs=1e-4)
    assert absolute_humidity(warm, saturation_pressure(warm)) == pytest.approx(17.3, abs=0.1)


@pytest.mark.parametrize(("temp", "humidity"), [(-60, 0), (60, 0), (-60, 100), (60, 100)])
def test_vapour_is_finite_at_the_limits_of_the_channels(temp: float, humidity: float) -> None:
    row = features_of(one_window(temp=temp, rel_humidity=humidity))
    matrix = np.array([[row[name] for name in NAMES]], np.float32)
    assert np.isfinite([row[name] for name in NAMES if name.startswith("vapour.")]).all()
    assert_within_limits(matrix)


def test_temperatures_beyond_the_formulas_reach_stay_finite() -> None:
    hostile = np.array([-1e30, -243.12, 1e30] * 16, np.float32)
    assert np.isfinite(saturation_pressure(hostile)).all()
    assert np.isfinite(dew_point(hostile, np.full(48, 50, np.float32))).all()


def test_plausible_windows_stay_within_the_stated_limits_of_every_feature() -> None:
    assert_within_limits(FEATURIZER.matrix(plausible(np.random.default_rng(8), 300), np.full(300, AS_OF)))


def test_names_versions_and_their_order_are_the_reviewed_ones() -> None:
    assert GOLDEN.read_text(encoding="utf-8") == golden_text()
    assert len(set(NAMES)) == len(NAMES)


def test_a_feature_is_told_by_name_and_version_alone() -> None:
    assert Feature("temp.lag_3", 1) in FEATURIZER.features
    assert Feature("temp.lag_3", 2) not in FEATURIZER.features
    assert all(feature.text and feature.unit and feature.low < feature.high for feature in FEATURIZER.features)


def test_a_version_is_that_of_the_first_matching_pattern() -> None:
    table = {"pm25.std_24": 3, "*.std_*": 2}
    assert [version_of(name, table) for name in ("pm25.std_24", "temp.std_24", "temp.min_24")] == [3, 2, 1]


def test_features_of_absent_channels_are_not_in_the_list() -> None:
    dry = Featurizer(scenario_with("temp", "pm25"))
    assert {feature.name.split(".")[0] for feature in dry.features} == {"temp", "pm25", "time"}
    window = plausible(np.random.default_rng(5), 9)
    wanted = [NAMES.index(feature.name) for feature in dry.features]
    as_of = np.full(9, AS_OF)
    matrix = dry.matrix(np.ascontiguousarray(window[:, [0, 7]]), as_of)
    assert matrix.tobytes() == np.ascontiguousarray(FEATURIZER.matrix(window, as_of)[:, wanted]).tobytes()


def test_a_direction_without_a_speed_is_a_flow_of_unit_vectors() -> None:
    featurizer = Featurizer(scenario_with("wind_dir", "pm25"))
    names = [feature.name for feature in featurizer.features]
    window = np.zeros((121, 3, 1), np.float32)
    window[:, 0], window[::2, 1] = 0.6, 0.8
    row = dict(zip(names, featurizer.matrix(window, np.array([AS_OF]))[0].tolist(), strict=True))
    assert row["wind_dir.u_24"] == pytest.approx(0.6)
    assert row["wind_dir.v_24"] == pytest.approx(0.4)
    assert row["wind_dir.steadiness_24"] == pytest.approx(math.hypot(0.6, 0.4))
    assert not [name for name in names if name.startswith("wind.")]


@pytest.mark.parametrize(("channel", "unit"), [("temp", "K"), ("rel_humidity", "1")])
def test_vapour_needs_its_channels_in_the_formulas_units(channel: str, unit: str) -> None:
    raw = raw_scenario()
    changed = next(c for c in raw["channels"] if c["name"] == channel)
    changed["unit"] = unit
    with pytest.raises(ConfigError, match=f"{channel}.unit: '{unit}' is not "):
        parse(raw)
    del changed["role"]
    assert not [f for f in Featurizer(parse(raw)).features if f.name.startswith("vapour.")]


def test_a_short_history_has_only_the_lags_and_spans_that_fit() -> None:
    featurizer = Featurizer(scenario_with("temp", "wind_dir", "pm25", history=30, horizon=3, lateness=3))
    numbers = {int(part) for f in featurizer.features for part in f.name.split("_") if part.isdigit()}
    assert numbers == {0, 1, 2, 3, 6, 12, 18, 24}
    window = np.full((30, 4, 2), 0.5, np.float32)
    assert not np.isnan(featurizer.matrix(window, np.full(2, AS_OF))).any()


def test_a_history_shorter_than_every_span_still_has_values() -> None:
    featurizer = Featurizer(scenario_with("precip", "wind_dir", "pm25", history=3, horizon=1, lateness=1))
    assert not [f for f in featurizer.features if "mean_" in f.name or "share" in f.name]
    matrix = featurizer.matrix(np.ones((3, 4, 1), np.float32), np.array([AS_OF]))
    assert np.isfinite(matrix).all()


def test_a_longer_history_is_used_by_lags_and_ages_only() -> None:
    featurizer = Featurizer(scenario_with("pm25", history=200))
    names = [feature.name for feature in featurizer.features]
    window = np.full((200, 1, 1), NAN, np.float32)
    window[0] = 5
    row = dict(zip(names, featurizer.matrix(window, np.array([AS_OF]))[0].tolist(), strict=True))
    assert (row["pm25.latest"], row["pm25.hours_since_valid"], row["pm25.share_missing_120"]) == (5, 199, 1)
    assert math.isnan(row["pm25.mean_120"])


def test_no_windows_give_no_rows() -> None:
    matrix = FEATURIZER.matrix(np.empty((121, 8, 0), np.float32), np.empty(0, np.int64))
    assert matrix.shape == (0, len(NAMES))
    assert matrix.dtype == np.float32


@pytest.mark.parametrize(
    ("window", "as_of"), [((120, 8, 3), 3), ((121, 7, 3), 3), ((121, 8, 3), 2), ((121, 8), 3), ((3, 121, 8), 8)]
)
def test_a_wrong_shape_is_refused(window: tuple[int, ...], as_of: int) -> None:
    with pytest.raises(ValueError, match="are not"):
        FEATURIZER.matrix(np.zeros(window, np.float32), np.zeros(as_of, np.int64))


def golden_text() -> str:
    lines = [f"{feature.name} {feature.version}" for feature in FEATURIZER.features]
    head = "# name and version of each feature of scenarios/air_quality.toml, in order"
    return "\n".join([head, "# after a wanted change: python -m tests.unit.core.forecast.test_features", *lines, ""])


if __name__ == "__main__":
    GOLDEN.write_text(golden_text(), encoding="utf-8")
