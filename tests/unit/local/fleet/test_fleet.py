import csv
import gzip
import math
import tomllib
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from local.fleet import __main__ as fleet
from local.fleet.__main__ import Fleet
from local.fleet.faults import CHANNELS, HIGH, LOW, Quality
from local.fleet.files import MISSING
from local.fleet.noise import Doubles, Noise
from shared.core.scenario import Scenario, parse
from tests import ROOT

TEMP, PRECIP, HUMID, WIND_DIR, WIND_SPD, PRESS, PM25 = range(7)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return parse(tomllib.loads((ROOT / "scenarios" / "air_quality.toml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def year() -> Fleet:
    return Fleet(seed=11, stations=8, hours=366 * 24)


@pytest.fixture(scope="module")
def small() -> Fleet:
    return Fleet(seed=3, stations=3, hours=600)


def correlation(left: Doubles, right: Doubles) -> float:
    return float(np.corrcoef(left.ravel(), right.ravel())[0, 1])


def test_raw_random_numbers_are_those_of_the_first_day() -> None:
    noise = Noise(7, "temp", 2)
    assert noise.uniform(3) == pytest.approx([0.5595568671687235, 0.005544412796679832, 0.5773044279948824], abs=1e-15)
    assert Noise(7, "temp", 2).normal(40_000).std() == pytest.approx(1.0, abs=0.02)


def test_a_seed_gives_the_same_fleet_again_and_another_seed_another_one(small: Fleet) -> None:
    np.testing.assert_array_equal(Fleet(seed=3, stations=3, hours=600).values, small.values)
    assert Fleet(seed=3, stations=3, hours=600).faults == small.faults
    assert not np.array_equal(Fleet(seed=4, stations=3, hours=600).values, small.values)


def test_more_stations_and_more_hours_leave_the_first_ones_as_they_are(small: Fleet) -> None:
    larger = Fleet(seed=3, stations=5, hours=900)
    np.testing.assert_array_equal(larger.values[:600, :3], small.values)
    assert larger.names[:3] == small.names
    inside = [f for f in larger.faults if f.station < 3 and f.last < 599]
    assert inside == [f for f in small.faults if f.last < 599]


def test_channels_and_limits_are_those_of_the_scenario(scenario: Scenario) -> None:
    assert scenario.channel_names == CHANNELS
    assert [channel.minimum for channel in scenario.channels] == LOW.tolist()
    assert [channel.maximum for channel in scenario.channels] == HIGH.tolist()


def test_every_reported_value_is_one_the_scenario_accepts(scenario: Scenario, year: Fleet) -> None:
    for index, channel in enumerate(scenario.channels):
        shown = year.values[..., index]
        assert np.nanmin(shown) >= channel.minimum
        assert np.nanmax(shown) <= channel.maximum


def test_values_have_one_decimal(small: Fleet) -> None:
    tenths = small.values.astype(np.float64) * 10
    assert np.nanmax(np.abs(tenths - np.round(tenths))) < 2e-3


def test_the_climate_is_that_of_a_temperate_valley(year: Fleet) -> None:
    truth = year.truth
    months = np.arange(year.hours) * 12 // year.hours
    monthly = np.stack([truth[months == month].mean(axis=(0, 1)) for month in range(12)])
    assert monthly[6:8, TEMP].mean() - monthly[[0, 11], TEMP].mean() > 12
    assert monthly[[0, 1, 11], PM25].mean() > 1.4 * monthly[5:8, PM25].mean()
    assert 4 < truth[..., TEMP].mean() < 14
    assert 400 < truth[..., PRECIP].sum(axis=0).mean() < 1800
    assert 0.03 < (truth[..., PRECIP] > 0.1).mean() < 0.15
    assert 20 < truth[..., PM25].mean() < 60
    assert 1.0 < truth[..., WIND_SPD].mean() < 4.0


def test_afternoons_are_warm_and_dry_and_rush_hours_are_dirty(year: Fleet) -> None:
    days = year.truth.reshape(-1, 24, 8, 7).mean(axis=(0, 2))
    assert days[14, TEMP] - days[4, TEMP] > 3
    assert days[4, HUMID] - days[14, HUMID] > 10
    kerb = year.truth[:, 1, PM25].reshape(-1, 24).mean(axis=0)
    assert kerb[18] > 1.2 * kerb[13]


def test_rain_wind_and_low_pressure_go_with_clean_air(year: Fleet) -> None:
    truth = year.truth
    level = truth[..., PM25]
    soon = level[6:] - level[:-6]
    rain = np.stack([truth[i : len(truth) - 6 + i, :, PRECIP] for i in range(1, 7)]).sum(axis=0)
    assert soon[rain > 2].mean() < -3
    assert abs(soon[rain < 0.1].mean()) < 2
    winter = slice(0, 60 * 24)
    assert correlation(np.log(level[winter]), np.log(truth[winter, :, WIND_SPD])) < -0.4
    calm = truth[winter, :, WIND_SPD] < 1.0
    assert level[winter][calm].mean() > 1.5 * level[winter][~calm].mean()


def test_dirt_gathers_over_stagnant_days(year: Fleet) -> None:
    daily = year.truth[: 90 * 24].reshape(90, 24, 8, 7).mean(axis=(1, 2))
    growth = np.diff(daily[:, PM25])
    still = daily[1:, WIND_SPD] < np.median(daily[:, WIND_SPD])
    assert growth[still].mean() > 2
    assert growth[~still].mean() < -2


def test_pressure_falls_with_height_as_the_barometric_formula_says(year: Fleet) -> None:
    height = year.sites[0].altitude_m
    expected = -height / (29.27 * 283.0)
    found = np.log(year.truth[..., PRESS].mean(axis=0) / 1016.0)
    assert np.argsort(height).tolist() == np.argsort(-year.truth[..., PRESS].mean(axis=0)).tolist()
    np.testing.assert_allclose(found, expected, atol=0.006)


def test_humidity_is_high_when_it_rains_and_never_beyond_saturation(year: Fleet) -> None:
    humid, rain = year.truth[..., HUMID], year.truth[..., PRECIP]
    assert humid.max() <= 100
    assert humid[rain > 0.5].min() > 85
    assert humid[rain == 0].mean() < 80


def test_wind_veers_from_south_east_to_north_west_when_the_barometer_turns(year: Fleet) -> None:
    truth = year.truth
    tendency = truth[12:, :, PRESS] - truth[:-12, :, PRESS]
    north = np.cos(np.radians(truth[12:, :, WIND_DIR])) * truth[12:, :, WIND_SPD]
    assert north[tendency < -8].mean() < -0.3
    assert north[tendency > 8].mean() > 0.5


def test_stations_share_the_weather_but_not_the_street(year: Fleet) -> None:
    level = year.truth[..., PM25]
    for other in range(1, 8):
        assert 0.6 < correlation(level[:, 0], level[:, other]) < 0.99
    kinds = {kind: level[:, [n.startswith(kind) for n in year.names]].mean() for kind in fleet.KINDS}
    assert kinds["kerb"] > kinds["town"] > kinds["park"] > kinds["hill"]


def test_values_differ_from_the_sound_ones_exactly_where_a_fault_is_recorded(year: Fleet) -> None:
    recorded = np.zeros(year.values.shape, dtype=bool)
    for fault in year.faults:
        channel = slice(None) if fault.channel is None else CHANNELS.index(fault.channel)
        recorded[fault.first : fault.last + 1, fault.station, channel] = True
    wrong = ~(year.values == year.sound.astype(np.float32))
    assert not (wrong & ~recorded).any()
    lost = np.zeros_like(recorded)
    for fault in year.faults:
        if fault.kind in ("gap", "outage"):
            channel = slice(None) if fault.channel is None else CHANNELS.index(fault.channel)
            lost[fault.first : fault.last + 1, fault.station, channel] = True
    np.testing.assert_array_equal(np.isnan(year.values), lost)


@pytest.mark.parametrize("kind", ["stuck", "spike", "drift"])
def test_each_kind_of_fault_does_what_it_says(kind: str) -> None:
    rates = {"stuck": 0.0, "spikes": 0.0, "drifts": 0.0}
    rates["stuck" if kind == "stuck" else f"{kind}s"] = 4.0
    broken = Fleet(seed=5, stations=6, hours=4000, quality=Quality(missing=0, outages=0, sensor_outages=0, **rates))
    assert len(broken.faults) >= 5
    assert {fault.kind for fault in broken.faults} == {kind}
    once = [f for f in broken.faults if f.channel not in {"wind_dir", "rel_humidity"}]
    for fault in once:
        channel = CHANNELS.index(fault.channel or "")
        shown = broken.values[fault.first : fault.last + 1, fault.station, channel].astype(np.float64)
        sound = broken.sound[fault.first : fault.last + 1, fault.station, channel]
        if kind == "stuck":
            assert len(set(shown.tolist())) == 1
            assert fault.last - fault.first >= 11 or fault.last == 3999
        else:
            kept = (shown > LOW[channel]) & (shown < HIGH[channel])
            ramp = fault.amount * np.arange(1, len(shown) + 1) / len(shown)
            np.testing.assert_allclose(shown[kept], (sound + ramp)[kept], atol=0.06)


def test_gaps_are_rare_singles_and_whole_outages(year: Fleet) -> None:
    share = np.isnan(year.values).mean()
    assert 0.01 < share < 0.05
    singles = sum(fault.kind == "gap" for fault in year.faults) / year.values.size
    assert singles == pytest.approx(0.005, rel=0.1)
    lengths = [f.last - f.first + 1 for f in year.faults if f.kind == "outage"]
    assert min(lengths) >= 1
    assert max(lengths) > 48
    perfect = Quality(noise=0.0, missing=0.0, outages=0.0, sensor_outages=0.0, stuck=0.0, spikes=0.0, drifts=0.0)
    assert not np.isnan(Fleet(seed=5, stations=3, hours=500, quality=perfect).values).any()


def test_a_fleet_of_nothing_or_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs stations and hours"):
        Fleet(stations=0)
    with pytest.raises(ValueError, match="no time zone"):
        Fleet(start=datetime(2024, 1, 1))  # noqa: DTZ001  a start without a zone is the point


def test_rows_come_by_time_then_station_and_leave_silent_stations_out(small: Fleet) -> None:
    rows = list(small.rows(10, 300))
    keys = [(row.minute, small.names.index(row.device)) for row in rows]
    assert keys == sorted(keys)
    heard = ~np.isnan(small.values[10:300]).all(axis=2)
    assert len(rows) == heard.sum()
    assert rows[0].minute == int(datetime(2024, 1, 1, 10, tzinfo=timezone.utc).timestamp()) // 60
    for row in rows[:50]:
        hour = int(row.minute // 60) - small.first_hour
        np.testing.assert_array_equal(
            np.array(row.values, dtype=np.float32), small.values[hour, small.names.index(row.device)]
        )


@pytest.mark.parametrize("name", ["fleet.csv", "fleet.csv.gz"])
def test_a_csv_holds_the_readings_with_all_ways_to_say_missing(small: Fleet, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    written = small.write_csv(path, 0, 400)
    opener = gzip.open if name.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", newline="") as text:
        head, *rows = list(csv.reader(text))
    assert head == ["device_id", "timestamp", *CHANNELS]
    assert len(rows) == written == sum(1 for _ in small.rows(0, 400))
    seen = set()
    for row, expected in zip(rows, small.rows(0, 400), strict=True):
        when = datetime.fromisoformat(row[1])
        assert (int(when.timestamp()) // 60, row[0]) == (expected.minute, expected.device)
        for cell, value in zip(row[2:], expected.values, strict=True):
            assert cell in MISSING if math.isnan(value) else float(cell) == value
            seen |= {cell} if math.isnan(value) else set()
    assert seen == set(MISSING)


def test_equal_fleets_write_equal_bytes(small: Fleet, tmp_path: Path) -> None:
    small.write_csv(tmp_path / "one.csv.gz", 0, 100)
    small.write_csv(tmp_path / "two.csv.gz", 0, 100)
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()


def wide(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def test_wide_rows_are_windows_of_the_readings_with_the_truth_a_day_later(tmp_path: Path) -> None:
    source = fleet.airqo_like(9, 400)
    assert source.write_wide(tmp_path / "wide.csv", 400) == 400
    rows = wide(tmp_path / "wide.csv")
    assert list(rows[0]) == ["ID", "location", *CHANNELS[:-1], "target"]
    assert {row["location"] for row in rows} == set("ABCDE")
    temps = {
        (",".join(f"{v:.1f}" for v in source.values[end - 120 : end + 1, station, TEMP].tolist())): (end, station)
        for end in range(120, source.hours - 24)
        for station in range(5)
    }
    ends = []
    for row in rows:
        end, station = temps[row["temp"]]
        ends.append(end)
        assert row["location"] == "ABCDE"[station]
        assert float(row["target"]) == pytest.approx(float(source.values[end + 24, station, PM25]), abs=0.01)
        kilopascals = [float(cell) for cell in row["atmos_press"].split(",")]
        np.testing.assert_allclose(kilopascals, source.values[end - 120 : end + 1, station, PRESS] / 10, atol=0.011)
    assert abs(correlation(np.array(ends, dtype=float), np.arange(400.0))) < 0.2


def test_wide_files_look_like_the_competition(tmp_path: Path) -> None:
    source = fleet.airqo_like(7, 3000)
    source.write_wide(tmp_path / "test.csv", 3000, target=False)
    rows = wide(tmp_path / "test.csv")
    assert len({row["ID"] for row in rows}) == 3000
    assert "target" not in rows[0]
    assert all(row[name].count(",") == 120 for row in rows for name in CHANNELS[:-1])
    assert 0.35 < np.mean([any("nan" in row[name] for name in CHANNELS[:-1]) for row in rows]) < 0.65
    middle = np.array([float(row["atmos_press"].split(",")[60]) for row in rows])
    assert 86.0 < np.nanmedian(middle) < 91.0


def test_the_command_writes_both_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--stations", "2", "--days", "3", "--seed", "1", "--out", str(tmp_path / "long.csv")]
    assert fleet.main(arguments) == 0
    assert len((tmp_path / "long.csv").read_text(encoding="utf-8").splitlines()) > 100
    assert fleet.main(["--wide", "20", "--no-target", "--out", str(tmp_path / "wide.csv")]) == 0
    assert len(wide(tmp_path / "wide.csv")) == 20
    assert "20 rows in" in capsys.readouterr().out


def test_weather_and_history_tell_more_of_tomorrow_than_damped_persistence_but_not_all(year: Fleet) -> None:
    pm = year.truth[..., PM25]
    day = np.stack([pm[23 - lag : len(pm) - lag] for lag in range(24)]).mean(axis=0)
    rows = slice(120, len(day) - 24)
    target = np.log(pm[23:][144 : len(day)])
    now, mean_24 = pm[23:][rows], day[rows]
    press = year.truth[23:, :, PRESS] - year.truth[23:, :, PRESS].mean(axis=0)
    wind = year.truth[23:, :, WIND_SPD][rows]
    fall = (press[120:] - press[96:-24])[: len(now)]
    floor = np.stack((np.ones_like(now), np.log(now), np.log(mean_24)), axis=-1)
    full = np.concatenate((floor, np.stack((press[rows], fall, np.log(wind)), axis=-1)), axis=-1)
    cut = len(now) * 8 // 10

    def error(columns: Doubles) -> float:
        fit = np.linalg.lstsq(columns[:cut].reshape(-1, columns.shape[-1]), target[:cut].ravel(), rcond=None)[0]
        return float(np.sqrt(np.mean((columns[cut:] @ fit - target[cut:]) ** 2)))

    assert error(full) < 0.95 * error(floor)
    assert error(full) > 0.2
