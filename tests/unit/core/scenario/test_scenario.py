"""Scenario files: what they give, and that all mistakes of a file are named at once."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.stores.scenario_files import load
from shared.core.forecast.features.featurizer import FEATURIZERS, Featurizer, featurizer_of
from shared.core.scenario import (
    Category,
    Channel,
    DriftRules,
    GateRules,
    Names,
    QualityRules,
    RetrainRules,
    RolloutRules,
    Scenario,
    Search,
    Station,
    Unit,
    parse,
    with_overrides,
)
from shared.errors import ConfigError
from shared.validation import hints, read
from tests import ROOT
from tests.kit import small

RIGHT: dict[str, Any] = {
    "name": "river",
    "title": "Level of the river tomorrow",
    "task": "regression",
    "key": "device_id",
    "target": "level",
    "featurizer": "hourly",
    "channels": [
        {
            "name": "level",
            "unit": "m",
            "minimum": 0,
            "maximum": 20.5,
            "aliases": ["stage"],
            "units": {"cm": {"factor": 0.01, "detect": [21, 2050]}},
        },
        {"name": "wind_dir", "unit": "deg", "minimum": 0, "maximum": 360, "aggregate": "circular"},
    ],
    "categories": [{"name": "low", "upper": 5}, {"name": "high", "upper": 20.5}],
    "stations": {"Köln": {"zone": "Europe/Berlin", "latitude": 51}},
}


GONE = object()


def raw(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The right file with values changed by their path; GONE takes a key away."""
    out = copy.deepcopy(RIGHT)
    for path, value in changes:
        *way, last = path.split("/")
        at: Any = out
        for step in way:
            at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
        if value is GONE:
            del at[last]
        elif isinstance(at, list):
            at[int(last)] = value
        else:
            at[last] = value
    return out


def problems(given: dict[str, Any]) -> list[str]:
    """The lines of the error, without the headline."""
    with pytest.raises(ConfigError) as caught:
        parse(given)
    headline, *lines = str(caught.value).splitlines()
    assert headline == f"scenario {given.get('name', '')!r} has {len(lines)} problem(s):"
    return [line.removeprefix("  ") for line in lines]


def test_a_right_file_becomes_a_scenario_with_defaults_where_it_is_silent() -> None:
    river = parse(RIGHT)
    assert river.channels[0] == Channel(
        name="level",
        unit="m",
        minimum=0.0,
        maximum=20.5,
        aggregate="mean",
        aliases=("stage",),
        units={"cm": Unit(factor=0.01, offset=0.0, detect=(21.0, 2050.0))},
    )
    assert river.stations == {"Köln": Station(zone="Europe/Berlin", latitude=51.0)}
    assert [type(river.channels[0].minimum), type(river.stations["Köln"].latitude)] == [float, float]
    assert (river.samples_per_hour, river.history, river.horizon, river.lateness) == (1, 121, 24, 24)
    assert (river.unlisted_stations, river.names.device, river.search.trials) == ("accept", ("device_id",), 6)


def test_names_and_places_of_columns_follow_from_the_channels() -> None:
    river = parse(raw(("channels/1/name", "flow"), ("target", "level")))
    assert river.channel_names == ("level", "flow")
    assert river.stored == ("level", "flow_u", "flow_v")
    assert (river.target_channel.name, river.target_column, river.slots) == ("level", 0, 145)
    air = load("air_quality")
    assert air.stored[3:5] == ("wind_dir_u", "wind_dir_v")
    assert (air.target_channel.unit, air.stored[air.target_column]) == ("ug/m3", "pm25")
    assert len(air.stored) == len(air.channels) + 1


def test_the_reference_scenario_is_right_and_its_categories_end_at_the_maximum() -> None:
    air = load("air_quality")
    assert air.categories[-1].upper == air.target_channel.maximum
    assert (air.history, air.horizon, air.lateness, air.samples_per_hour) == (121, 24, 24, 1)
    assert air.stations["Dongsi"].zone == "Asia/Shanghai"


WRONG: list[tuple[str, Any, str]] = [
    # of another type than wanted
    ("colour", "red", "colour: unknown key; known are "),
    ("channels/0/colour", "red", "channels[0].colour: unknown key; known are aggregate, aliases, "),
    ("title", GONE, "title: missing"),
    ("title", 5, "title: 5 is not a text"),
    ("title", {"en": "x"}, "title: {'en': 'x'} is not a text"),
    ("task", "poetry", "task: 'poetry' is not one of regression"),
    ("featurizer", "daily", "featurizer: 'daily' is not one of hourly"),
    ("key", " ", "key: ' ' is not the name of a column"),
    ("horizon", "24", "horizon: '24' is not a whole number"),
    ("horizon", 24.0, "horizon: 24.0 is not a whole number"),
    ("horizon", True, "horizon: True is not a whole number"),
    ("interval", True, "interval: True is not a finite number"),
    ("interval", "0.9", "interval: '0.9' is not a finite number"),
    ("interval", float("nan"), "interval: nan is outside 0.5 to 0.99"),
    ("interval", float("-inf"), "interval: -inf is outside 0.5 to 0.99"),
    ("interval", 10**400, f"interval: {10**400} is outside 0.5 to 0.99"),
    ("channels/0/maximum", float("nan"), "channels[0].maximum: nan is not a finite number"),
    ("channels/0/maximum", float("inf"), "channels[0].maximum: inf is not a finite number"),
    ("channels/0/maximum", 10**400, f"channels[0].maximum: {10**400} is not a finite number"),
    ("channels", "level", "channels: 'level' is not a list"),
    ("channels/1", "wind", "channels[1]: 'wind' is not a table"),
    ("channels/0/maximum", GONE, "channels[0].maximum: missing"),
    ("channels/0/aliases", "stage", "channels[0].aliases: 'stage' is not a list"),
    ("channels/0/aliases/0", 7, "channels[0].aliases[0]: 7 is not a text"),
    ("channels/0/units", [], "channels[0].units: [] is not a table"),
    ("channels/0/units/cm", 0.01, "channels[0].units.cm: 0.01 is not a table"),
    ("channels/0/units/cm/detect", [21], "channels[0].units.cm.detect: [21] is not a list of two numbers"),
    ("stations", [], "stations: [] is not a table"),
    ("stations/Köln/latitude", "51 N", "stations.Köln.latitude: '51 N' is not a finite number"),
    ("stations/Köln/latitude", 91, "stations.Köln.latitude: 91 is outside -90 to 90"),
    ("stations/Köln/longitude", -181, "stations.Köln.longitude: -181 is outside -180 to 180"),
    ("stations/Köln/altitude_m", 35, "stations.Köln.altitude_m: unknown key; known are latitude, longitude, zone"),
    ("search", {"candidates": ["oracle"]}, "search.candidates[0]: 'oracle' is not one of catboost"),
    ("search", {"candidates": []}, "search.candidates: is empty"),
    ("rollout", {"ladder": [0, "all"]}, "rollout.ladder[1]: 'all' is not a finite number"),
    # against a rule
    ("name", "Air quality", "name: 'Air quality' is not lower-case letters, digits and underscores"),
    ("name", "", "name: '' is not lower-case letters, digits and underscores"),
    ("channels/1/name", "Wind", "channels[1].name: 'Wind' is not lower-case letters, digits and underscores"),
    ("cadence_s", 7200, "cadence_s: 7200 is outside 60 to 3600"),
    ("cadence_s", 420, "cadence_s: 420 is not a number of whole minutes of which some make an hour"),
    ("samples_per_hour", 0, "samples_per_hour: 0 is outside 1 to 3600"),
    ("samples_per_hour", 61, "samples_per_hour: 61 is outside 1 to 60, which an hour has at resolution_s = 60"),
    ("resolution_s", 0, "resolution_s: 0 is outside 1 to 3600"),
    ("resolution_s", 0.5, "resolution_s: 0.5 is not a whole number"),
    ("history", 2001, "history: 2001 is outside 2 to 2000"),
    ("history", 48, "history: 48 is not above horizon + lateness 48"),
    ("lateness", 25, "lateness: 25 is outside 0 to horizon 24"),
    ("lateness", -1, "lateness: -1 is outside 0 to horizon 24"),
    ("interval", 0.49, "interval: 0.49 is outside 0.5 to 0.99"),
    ("interval", 1, "interval: 1 is outside 0.5 to 0.99"),
    ("loss", "cubed", "loss: 'cubed' is not one of absolute, squared"),
    ("gate", {"loss": "squared"}, "gate.loss: is now the scenario's own key loss, by which gate, floor and rollout"),
    ("search", {"trials": 0}, "search.trials: 0 is outside 1 to 200"),
    ("search", {"trials": 201}, "search.trials: 201 is outside 1 to 200"),
    ("search", {"folds": 1}, "search.folds: 1 is outside 2 to 10"),
    ("search", {"folds": 11}, "search.folds: 11 is outside 2 to 10"),
    ("search", {"max_trees": 0}, "search.max_trees: 0 is outside 1 to 5000"),
    ("search", {"max_trees": 5001}, "search.max_trees: 5001 is outside 1 to 5000"),
    ("retrain", {"cooldown_h": -1}, "retrain.cooldown_h: -1 is outside 0 to 8760"),
    ("retrain", {"maximum_runs_per_month": 1001}, "retrain.maximum_runs_per_month: 1001 is outside 0 to 1000"),
    ("retrain", {"maximum_cost_per_month": -0.1}, "retrain.maximum_cost_per_month: -0.1 is outside 0 to 1000000000.0"),
    ("retrain", {"cost_per_run": -1}, "retrain.cost_per_run: -1 is outside 0 to 1000000000.0"),
    ("retrain", {"minimum_first_rows": 0}, "retrain.minimum_first_rows: 0 is outside 1 to 1000000000"),
    ("retrain", {"minimum_new_rows": 0}, "retrain.minimum_new_rows: 0 is outside 1 to 1000000000"),
    ("retrain", {"schedule_days": 0}, "retrain.schedule_days: 0 is outside 1 to 3650"),
    ("retrain", {"backoff_h": 8761}, "retrain.backoff_h: 8761 is outside 0 to 8760"),
    ("retrain", {"backoff_factor": 0.9}, "retrain.backoff_factor: 0.9 is outside 1 to 10"),
    ("retrain", {"maximum_backoff_h": -1}, "retrain.maximum_backoff_h: -1 is outside 0 to 8760"),
    ("retrain", {"challenger_wait_days": -1}, "retrain.challenger_wait_days: -1 is outside 0 to 3650"),
    ("retrain", {"timeout_h": 0}, "retrain.timeout_h: 0 is outside 0.1 to 168"),
    ("channels/0/aliases/0", "WIND_DIR", "channels: the name 'wind_dir' stands for 2 things"),
    ("names", {"time": ["stage"]}, "channels: the name 'stage' stands for 2 things"),
    ("key", "Level", "channels: the name 'level' stands for 2 things"),
    ("names", {"time": []}, "names.time: is empty"),
    ("channels/1/minimum", 360, "channels.wind_dir.minimum: 360.0 is not below the maximum 360.0"),
    ("channels/0/units/cm/factor", 0, "channels.level.units.cm.factor: must not be 0"),
    ("channels/0/units/cm/detect", [20.5, 30], "channels.level.units.cm.detect: [20.5, 30.0] overlaps 0.0 to 20.5"),
    ("channels/0/units/cm/detect", [-5, 0], "channels.level.units.cm.detect: [-5.0, 0.0] overlaps 0.0 to 20.5"),
    ("channels/0/units/cm/detect", [50, 40], "channels.level.units.cm.detect: [50.0, 40.0] overlaps 0.0 to 20.5"),
    ("channels/0/role", "depth", "channels[0].role: 'depth' is not one of temperature, relative_humidity, pressure, "),
    ("channels/0/role", "temperature", "channels.level.unit: 'm' is not 'degC', which the role 'temperature' needs"),
    (
        "channels/0/role",
        "wind_direction",
        "channels.level.aggregate: 'mean' is not 'circular', which the role 'wind_direction' needs",
    ),
    (
        "channels/1/role",
        "wind_speed",
        "channels.wind_dir.aggregate: 'circular' is not 'mean', which the role 'wind_speed' needs",
    ),
    ("zone", "Beijing", "zone: 'Beijing' is not a known time zone"),
    ("zone", "../etc/passwd", "zone: '../etc/passwd' is not a known time zone"),
    ("zone", "Europe", "zone: 'Europe' is not a known time zone"),
    ("stations/Köln/zone", "", "stations.Köln.zone: '' is not a known time zone"),
    ("categories/0/upper", 20.5, "categories: upper bounds [20.5, 20.5] do not rise"),
    ("categories/0/upper", 21, "categories: upper bounds [21.0, 20.5] do not rise"),
    ("categories/1/upper", 20, "categories: the last upper bound 20.0 is not the target's maximum 20.5"),
]


@pytest.mark.parametrize(("path", "value", "expected"), WRONG)
def test_a_mistake_is_named_with_its_place_its_value_and_what_is_allowed(path: str, value: Any, expected: str) -> None:
    (line,) = problems(raw((path, value)))
    assert line.startswith(expected)


def test_a_circular_channel_cannot_be_forecast() -> None:
    given = raw(("target", "wind_dir"), ("categories", []))
    assert problems(given) == ["target: 'wind_dir' is circular; a forecast needs a mean or a sum"]


def test_a_channel_is_found_by_its_role_which_only_one_may_have() -> None:
    second = {"name": "wind_b", "unit": "deg", "minimum": 0, "maximum": 360, "aggregate": "circular"}
    role = {"role": "wind_direction"}
    given = raw(("channels/1/role", "wind_direction"))
    river = parse({**given, "channels": [*given["channels"], second]})
    assert (river.of_role("wind_direction"), river.of_role("wind_speed")) == (river.channels[1], None)
    twice = {**given, "channels": [*given["channels"], second | role]}
    assert problems(twice) == ["channels: 2 have the role 'wind_direction'"]


def test_the_featurizers_that_a_file_may_name_are_those_there_are() -> None:
    assert get_args(hints(Scenario)["featurizer"]) == tuple(FEATURIZERS)
    assert featurizer_of(load("air_quality")).features == Featurizer(load("air_quality")).features


def test_an_unknown_target_is_answered_with_the_channels_there_are() -> None:
    assert problems(raw(("target", "rain"))) == ["target: 'rain' is not a channel; channels are level, wind_dir"]


@pytest.mark.parametrize(
    "change",
    [
        ("samples_per_hour", 60),
        ("history", 2000),
        ("history", 49),
        ("lateness", 0),
        ("interval", 0.5),
        ("interval", 0.99),
        ("search", {"trials": 200, "folds": 10, "max_trees": 5000}),
        ("search", {"trials": 1, "folds": 2, "max_trees": 1}),
        ("retrain", {"cooldown_h": 0, "maximum_runs_per_month": 0, "backoff_factor": 1, "challenger_wait_days": 0}),
        ("retrain", {"schedule_days": 3650, "backoff_factor": 10, "timeout_h": 168, "minimum_new_rows": 1}),
        ("channels/0/units/cm/detect", [20.6, 20.7]),
        ("channels/0/units/cm/detect", [-2, -1]),
        ("name", "r" * 63),
        ("categories", []),
    ],
)
def test_what_lies_on_a_limit_is_allowed(change: tuple[str, Any]) -> None:
    parse(raw(change))


def test_every_mistake_of_a_file_is_reported_at_once_whatever_its_kind() -> None:
    given = raw(
        ("colour", "red"),
        ("name", "Air"),
        ("title", GONE),
        ("horizon", "a day"),
        ("interval", 0.4),
        ("samples_per_hour", 0),
        ("zone", "Mars/Olympus"),
        ("channels/0/minimum", 30),
        ("channels/0/units/cm/detect", [2, 1]),
        ("channels/0/units/inch", {"factor": 0}),
        ("channels/1", {"name": "wind_dir", "unit": 7}),
        ("stations/Köln/zone", "Köln"),
        ("stations/Bonn", {"latitude": "north"}),
        ("categories/0/upper", 30),
        ("search", {"folds": 1, "trials": 0}),
        ("unlisted_stations", "perhaps"),
    )
    assert sorted(line.split(": ")[0] for line in problems(given)) == sorted(
        [
            "colour", "name", "title", "horizon", "interval", "samples_per_hour", "zone", "channels.level.minimum",
            "channels.level.units.cm.detect", "channels.level.units.inch.factor", "channels[1].unit",
            "channels[1].minimum", "channels[1].maximum", "stations.Köln.zone", "stations.Bonn.latitude", "categories",
            "search.folds", "search.trials", "unlisted_stations",
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "others"),
    [
        (("horizon", "a day"), ("history", 20)),
        (("lateness", "a day"), ("history", 47)),
        (("history", "long"), ("lateness", 24)),
        (("channels/0", 5), ("target", "level")),
        (("target", 5), ("name", "river")),
        (("name", 5), ("target", "level")),
        (("categories/1", 5), ("target", "level")),
        (("search", {"trials": "many"}), ("target", "level")),
    ],
)
def test_no_rule_is_reported_that_rests_on_what_cannot_be_read(
    change: tuple[str, Any], others: tuple[str, Any]
) -> None:
    (line,) = problems(raw(others, change))
    assert line.startswith(change[0].split("/")[0])


def test_an_override_is_checked_like_a_file() -> None:
    river = parse(RIGHT)
    assert with_overrides(river, history=60, horizon=12, lateness=6).slots == 66
    with pytest.raises(ConfigError, match=r"2 problem\(s\):\n  interval: 1 is outside .*\n  history: 2 is not above"):
        with_overrides(river, history=2, interval=1)


def test_overriding_leaves_the_original_and_computes_names_anew() -> None:
    river = parse(RIGHT)
    assert river.stored == ("level", "wind_dir_u", "wind_dir_v")
    shorter = with_overrides(river, channels=river.channels[:1])
    assert (shorter.stored, river.stored) == (("level",), ("level", "wind_dir_u", "wind_dir_v"))


def test_a_part_of_a_file_can_be_read_alone() -> None:
    found: list[str] = []
    assert read(Unit, {"factor": 2}, "unit", found) == ({"factor": 2.0}, set())
    assert read(Unit, {"offset": 2}, "unit", found) == ({"offset": 2.0}, {"factor"})
    assert read(Unit, [], "unit", found) == ({}, {"factor", "offset", "detect"})
    assert found == ["unit.factor: missing", "unit: [] is not a table"]
    assert read(Unit, {"factor": 3}, "unit", found) == ({"factor": 3.0}, set()), "earlier problems are not its own"


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    *RIGHT, "history", "interval", "names", "search", "gate", "channels/0", "channels/0/units", "channels/0/units/cm",
    "channels/0/units/cm/detect", "channels/1/minimum", "categories/0", "stations/Köln", "stations/Köln/zone",
]  # fmt: skip


@given(st.sampled_from(PLACES), JSON)
def test_whatever_stands_in_a_file_it_is_right_or_refused_with_a_list_of_problems(place: str, value: Any) -> None:
    try:
        found = parse(raw((place, value)))
    except ConfigError as error:
        assert " problem(s):\n  " in str(error)  # noqa: PT017 - either outcome is right, but no other exception
    else:
        assert isinstance(found, Scenario)


# Keys that only the check reads: they have one value so far, or tell people where a station stands.
CHECKED_ONLY = {"task", "candidates", "latitude", "longitude"}


def test_every_key_is_read_by_somebody_or_has_one_value_so_far() -> None:
    files = [path for folder in ("shared", "training", "local") for path in (ROOT / folder).rglob("*.py")]
    text = "\n".join(path.read_text("utf-8") for path in files if path.name != "check.py")
    own = (ROOT / "shared/core/scenario/scenario.py").read_text("utf-8")
    unread = {
        name for name in hints(Scenario) if not re.search(rf"scenario\.{name}\b", text) and f"self.{name}" not in own
    }
    rules = (QualityRules, Search, GateRules, DriftRules, RetrainRules, RolloutRules)
    for part in (Channel, Unit, Category, Station, Names, *rules):
        unread |= {name for name in hints(part) if not re.search(rf"\.{name}\b", text)}
    assert unread <= CHECKED_ONLY


@pytest.mark.parametrize("name", ["", "..", "../air_quality", "Air_quality", "nowhere", "a" * 500])
def test_only_the_scenarios_of_the_folder_can_be_loaded(name: str) -> None:
    with pytest.raises(ConfigError, match="is not one of air_quality"):
        load(name)


def test_a_scenario_is_loaded_from_its_path_and_what_is_wrong_with_the_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes((ROOT / "scenarios/air_quality.toml").read_bytes())
    assert load(str(file)) == load("air_quality")
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load(str(tmp_path / "none.toml"))
    file.write_bytes(b"name = \xff")
    with pytest.raises(ConfigError, match=r"mine\.toml: 'utf-8' codec"):
        load(str(file))


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (
            {"resolution_s": 7},
            r"resolution_s: 7 does not divide cadence_s = 3600, as 1, 2, 3, 4, 5, 6, 8, .*1800, 3600",
        ),
        ({"resolution_s": 1200, "cadence_s": 600}, "resolution_s: 1200 does not divide cadence_s = 600, as 1, 2, "),
        ({"resolution_s": 10, "samples_per_hour": 361}, "361 is outside 1 to 360, .* at resolution_s = 10"),
        ({"resolution_s": 600, "samples_per_hour": 7}, "7 is outside 1 to 6, .* at resolution_s = 600"),
    ],
)
def test_a_resolution_that_fits_neither_steps_nor_samples_is_refused(sizes: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        small(**sizes)
    assert small(resolution_s=10, samples_per_hour=360).cadence.ticks == 360


def test_hours_of_a_scenario_are_hours_at_any_cadence() -> None:
    found = small(cadence_s=600, samples_per_hour=12)
    assert (found.history_steps, found.horizon_steps, found.lateness_steps) == (42, 18, 18)
    assert (found.samples_per_step, found.slots, found.cadence.day) == (2, 60, 144)
