"""Fixed bins: which features are watched, where a value falls, and that counting adds up."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shared.adapters.stores.scenario_files import load
from shared.core.forecast.features.block import VERSIONS
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.forecast.features.watched import forecast_edges, rules_of, watched_of
from shared.core.forecast.task import HourlyForecast
from shared.core.intake.readings import Floats
from shared.core.model.feature import Feature
from shared.core.profile.bins import BINS, CELLS, MISSING, by_key, count, place
from shared.core.scenario import Scenario
from tests.kit import small

SCENARIO = load("air_quality")
WATCHED = HourlyForecast(SCENARIO).watched


def test_newest_values_daily_means_and_the_vapour_deficit_are_watched() -> None:
    channels = ["wind_dir_u", "wind_dir_v", "temp", "rel_humidity", "wind_spd", "atmos_press", "pm25", "precip"]
    daily = [f"{name}.mean_24" for name in channels[2:]]
    assert [f.name for f in WATCHED.features] == [f"{n}.latest" for n in channels] + [*daily, "vapour.deficit"]
    known = Featurizer(SCENARIO).features
    assert [known[column] for column in WATCHED.columns] == list(WATCHED.features)
    assert WATCHED.names == tuple((f.name, f.version) for f in WATCHED.features)
    assert len(WATCHED) == 15


def test_edges_rise_from_the_lowest_to_the_highest_value() -> None:
    assert WATCHED.edges.shape == (15, CELLS)
    assert WATCHED.edges.dtype == np.float64
    assert (np.diff(WATCHED.edges, axis=1) > 0).all()
    assert WATCHED.edges[:, 0].tolist() == [f.low for f in WATCHED.features]
    np.testing.assert_allclose(WATCHED.edges[:, -1], [f.high for f in WATCHED.features], rtol=1e-7)
    assert (WATCHED.edges == WATCHED.edges.astype(np.float32)).all(), "values are float32, so no edge lies between two"


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("temp.latest", 120 / 512, 120 / 512),
        ("rel_humidity.latest", 100 / 512, 100 / 512),
        ("wind_dir_u.latest", 2 / 512, 2 / 512),
        ("pm25.latest", 1000 * math.sinh(6 / 512) / math.sinh(6), 1000 * (1 - math.sinh(6 * 511 / 512) / math.sinh(6))),
        (
            "wind_spd.mean_24",
            90 * math.sinh(6 / 512) / math.sinh(6),
            90 * (1 - math.sinh(6 * 511 / 512) / math.sinh(6)),
        ),
    ],
)
def test_what_has_a_long_tail_has_fine_bins_near_zero(name: str, first: float, last: float) -> None:
    own = WATCHED.edges[[f.name for f in WATCHED.features].index(name)]
    np.testing.assert_allclose([own[1] - own[0], own[-1] - own[-2]], [first, last], rtol=2e-4)


def test_forecasts_have_the_bins_of_their_target() -> None:
    np.testing.assert_array_equal(
        forecast_edges(SCENARIO), WATCHED.edges[[f.name for f in WATCHED.features].index("pm25.latest")]
    )


def test_a_value_falls_into_the_bin_it_begins_and_what_is_beyond_into_the_end_bins() -> None:
    edges = np.linspace(0, 512, CELLS)[None]
    values = [0, 0.5, 1, 511.5, 511, 512, 513, math.inf, -1, -math.inf, math.nan]
    places = place(np.array(values, np.float32)[:, None], edges)
    assert places.dtype == np.uint16
    assert places[:, 0].tolist() == [0, 0, 1, 511, 511, 511, 511, 511, 0, 0, MISSING]


VALUES = arrays.arrays(
    np.float32,
    st.tuples(st.integers(0, 40), st.just(15)),
    elements=st.floats(-2000, 2000, width=32) | st.just(math.nan),
)


@given(VALUES)
def test_counts_are_those_of_numpy_with_missing_values_apart(values: Floats) -> None:
    counts = count(place(values, WATCHED.edges))
    assert counts.dtype == np.int64
    assert counts.shape == (15, CELLS)
    for column, edges in enumerate(WATCHED.edges):
        known = values[:, column][~np.isnan(values[:, column])].astype(np.float64)
        expected, _ = np.histogram(np.clip(known, edges[0], edges[-1]), edges)
        assert counts[column, :BINS].tolist() == expected.tolist()
        assert counts[column, MISSING] == len(values) - len(known)


@given(VALUES, st.integers(0, 40))
def test_counting_is_additive_and_by_key_the_same_as_apart(values: Floats, cut: int) -> None:
    places = place(values, WATCHED.edges)
    key = (np.arange(len(values)) >= cut).astype(np.int64)
    found = by_key(key, places)
    assert sorted(found) == sorted(set(key.tolist()))
    for value, counts in found.items():
        np.testing.assert_array_equal(counts, count(place(values[key == value], WATCHED.edges)))
    np.testing.assert_array_equal(sum(found.values()) + np.zeros((15, CELLS)), count(places))


def rules(scenario: Scenario) -> list[str]:
    return rules_of(scenario, HourlyForecast(scenario).watched)


def test_the_rules_name_the_version_and_the_bins_of_every_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rules(SCENARIO)
    assert len(before) == 16
    assert before[6] == "pm25.latest version 1 in 512 widening bins from 0 to 1000 ug/m3"
    assert before[-1] == "forecasts in 512 widening bins from 0 to 1000 ug/m3"
    monkeypatch.setitem(VERSIONS, "pm25.latest", 2)
    assert [rule for rule in rules(SCENARIO) if rule not in before] == [before[6].replace("version 1", "version 2")]
    channels = tuple(dataclasses.replace(c, maximum=61) if c.name == "temp" else c for c in SCENARIO.channels)
    other = rules(dataclasses.replace(SCENARIO, channels=channels))
    assert "temp.mean_24 version 1 in 512 even bins from -60 to 61 degC" in other


def test_a_scenario_may_have_nothing_to_watch() -> None:
    nothing = watched_of(small(), (Feature("f0", 1), Feature("f1", 1)))
    assert (len(nothing), nothing.edges.shape, str(nothing.columns.dtype)) == (0, (0, CELLS), "int64")
    assert place(np.zeros((3, 0), np.float32), nothing.edges).shape == (3, 0)
    assert count(np.zeros((3, 0), np.uint16)).shape == (0, CELLS)
