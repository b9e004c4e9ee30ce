"""Values that are none are dropped from their reading, which lives on, and counted by channel and reason."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.stores.scenario_files import load
from shared.core.intake.messages.decoding import Decoder
from shared.core.intake.readings import Parsed
from shared.core.intake.values.dropped import MOST_TEXTS, ChannelValues, joined, warnings
from shared.core.intake.values.quantities import BAD, normalise
from shared.core.intake.values.words import counted, direction
from shared.core.scenario import Channel, Scenario, Unit, parse, with_overrides
from shared.errors import ConfigError
from tests.kit.edits import BEFORE

AIR = load("air_quality")
NOW = int(np.datetime64("2026-11-20T16:00", "m").astype(np.int64))
NINE = [float(np.float32(9.1))]
SENTINELS = AIR.also_missing((-999, "-9999", "Offline"))


def decoded(*values: dict[str, Any], scenario: Scenario = AIR) -> Parsed:
    bodies = [json.dumps({"device_id": "a", "timestamp": "2026-11-20T15:00Z", **each}).encode() for each in values]
    limits = [NOW] * len(bodies)
    return Decoder(scenario).decode_many(
        bodies, positions=range(len(bodies)), identities=[None] * len(bodies), not_after_minutes=limits
    )


def kept(parsed: Parsed, channel: str) -> list[float]:
    return [float(value) for value in parsed.readings.values[:, AIR.channel_names.index(channel)]]


@pytest.mark.parametrize(
    ("value", "reason", "text"),
    [
        (61, "out_of_range", "61"),
        (-61.5, "out_of_range", "-61.5"),
        (-999, "sentinel", "-999"),
        ("-999.0", "sentinel", "-999"),
        (-9999, "sentinel", "-9999"),
        (" OFFLINE ", "sentinel", "' OFFLINE '"),
        ("warm", "bad_value", "'warm'"),
        ("3,5", "bad_value", "'3,5'"),
        (True, "bad_value", "true"),
        ([1.0], "bad_value", "a list"),
        ({"v": 1}, "bad_value", "an object"),
        ("inf", "bad_value", "inf"),
        (10**400, "bad_value", "inf"),
        ("N", "bad_value", "'N'"),
    ],
)
def test_a_bad_value_is_missing_with_its_reason_and_the_reading_lives_on(value: Any, reason: str, text: str) -> None:
    parsed = decoded({"temp": value, "pm25": 9.1}, scenario=SENTINELS)
    assert (parsed.rejected, kept(parsed, "pm25")) == ([], NINE)
    assert math.isnan(kept(parsed, "temp")[0])
    assert parsed.dropped == {"temp": ChannelValues(0, {reason: 1}, {text: 1})}


def test_a_record_in_which_nothing_is_left_is_rejected_with_the_reason_of_what_was_there() -> None:
    parsed = decoded({"temp": -999}, {"temp": "x", "pm25": -1}, {"temp": None}, scenario=SENTINELS)
    assert [(r.reason, r.detail) for r in parsed.rejected] == [
        ("sentinel", "temp: -999 is one of its missing_values"),
        ("bad_value", "temp: 'x' is not a finite number"),
        ("no_values", "no channel has a value"),
    ]
    assert {name: of.reasons for name, of in parsed.dropped.items()} == {
        "temp": {"bad_value": 1, "sentinel": 1},
        "pm25": {"out_of_range": 1},
    }


def test_values_of_records_without_device_or_time_are_not_counted() -> None:
    parsed = decoded({"timestamp": "x", "temp": 99}, {"device_id": None, "temp": 99}, {"temp": 99, "pm25": 1})
    assert [r.reason for r in parsed.rejected] == ["bad_time", "missing_device"]
    assert parsed.dropped["temp"].reasons == {"out_of_range": 1}


# compass


@pytest.mark.parametrize("write", [str.upper, str.lower, str.title, "  {}\t".format])
def test_the_sixteen_points_of_the_compass_are_directions(write: Any) -> None:
    points = "N NNE NE ENE E ESE SE SSE S SSW SW WSW W WNW NW NNW".split()  # noqa: SIM905
    parsed = decoded(*({"wd": write(point), "pm25": 1} for point in points))
    assert (parsed.rejected, parsed.dropped) == ([], {})
    assert kept(parsed, "wind_dir") == [22.5 * i for i in range(16)]


@pytest.mark.parametrize("word", ["calm", "CALM", "VRB", "variable", "var"])
def test_no_direction_is_no_fault(word: str) -> None:
    parsed = decoded({"wd": word, "pm25": 9.1})
    assert (parsed.rejected, parsed.dropped) == ([], {})
    assert math.isnan(kept(parsed, "wind_dir")[0])


def test_an_unknown_word_of_a_direction_is_dropped_and_letters_mean_nothing_elsewhere() -> None:
    parsed = decoded({"wd": "NNX", "temp": "E", "pm25": 9.1}, {"wd": "", "temp": 3, "pm25": 9.2})
    assert {name: of.texts for name, of in parsed.dropped.items()} == {"wind_dir": {"'NNX'": 1}, "temp": {"'E'": 1}}
    assert kept(parsed, "pm25") == [*NINE, float(np.float32(9.2))]


def test_words_of_points_and_what_is_declared_missing_come_before_letters() -> None:
    assert [direction(word) for word in ("north", "South-East", "north north west", "NNN")] == [0.0, 135.0, 337.5, None]
    parsed = decoded({"wd": "N", "pm25": 1}, scenario=AIR.also_missing(("n",)))
    assert parsed.dropped["wind_dir"].reasons == {"sentinel": 1}


# sentinels


def test_sentinels_are_compared_before_units_are_converted_or_guessed() -> None:
    temp = Channel(
        name="t", unit="degC", minimum=-60, maximum=60, missing_values=(-40.0, 299.0),
        units={"degF": Unit(factor=5 / 9, offset=-160 / 9), "K": Unit(factor=1, offset=-273.15, detect=(200, 340))},
    )  # fmt: skip
    values, faults, found = normalise(temp, np.array([-40.0, 14.0, 299.0, 300.0]), None)
    np.testing.assert_allclose(values, [np.nan, 14.0, np.nan, 26.85], rtol=1e-5)
    assert (None if faults is None else faults.tolist(), found) == ([3, 0, 3, 0], {"K"})
    values, faults, _ = normalise(temp, np.array([-40.0, 50.0]), temp.units["degF"])
    np.testing.assert_allclose(values, [np.nan, 10.0], rtol=1e-5)


def test_a_sentinel_with_digits_is_found_in_single_precision_too() -> None:
    channel = Channel(name="t", unit="x", minimum=-1e4, maximum=1e4, missing_values=(-99.9,))
    assert normalise(channel, np.array([np.float32(-99.9)], np.float64), None)[1] is not None


@pytest.mark.parametrize("wrong", [[True], [[1]], "x", [None]])
def test_missing_values_are_numbers_or_texts(wrong: object) -> None:
    raw = msgspec.to_builtins(BEFORE)
    raw["channels"][0]["missing_values"] = wrong
    with pytest.raises(ConfigError, match="missing_values"):
        parse(raw)


def test_the_share_that_is_warned_of_is_a_share() -> None:
    with pytest.raises(ConfigError, match=r"quality\.maximum_dropped_share: 1\.5 is outside 0 to 1"):
        with_overrides(AIR, quality={"maximum_dropped_share": 1.5})


# counting

TEXTS = st.lists(st.sampled_from(["warm", "cold", "-1", "2000", "x"]), max_size=30)


@given(TEXTS, st.integers(0, 30))
def test_any_cut_counts_the_same(found: list[str], cut: int) -> None:
    rows = [{"pm25": text, "temp": 5} for text in found]
    whole = joined([decoded(*rows).values(AIR.channel_names)])
    parts = joined(decoded(*part).values(AIR.channel_names) for part in (rows[:cut], rows[cut:]))
    assert parts == whole
    wanted = Counter("out_of_range" if text in ("-1", "2000") else "bad_value" for text in found)
    assert (whole["pm25"].reasons if found else {}) == wanted
    assert sum(whole["pm25"].texts.values() if found else ()) == len(found)


@given(st.permutations(["bad"] * 40 + [f"w{i}" for i in range(100)]), st.integers(1, 50))
def test_few_texts_are_kept_and_a_frequent_one_is_among_them(found: list[str], size: int) -> None:
    parts = [np.full(len(found[i : i + size]), BAD, np.uint8) for i in range(0, len(found), size)]
    places = iter(found)
    of = joined({"x": counted(part, ((next(places), 1) for _ in part))} for part in parts)["x"]
    assert len(of.texts) <= MOST_TEXTS
    assert next(iter(of.frequent)) == "'bad'"
    assert of.reasons == {"bad_value": 140}


def test_a_warning_names_the_three_most_frequent_values() -> None:
    texts = {"-999": 900, "'x'": 60, "-1": 40, "2000": 1}
    found = {"pm25": ChannelValues(4004, {"out_of_range": 941, "bad_value": 60}, texts), "temp": ChannelValues(10)}
    assert warnings(found, 0.25) == []
    assert warnings(found, 0.2) == [
        "pm25: 1,001 of 4,004 values (25.0 %) were dropped, 941 out_of_range, 60 bad_value; "
        "most often -999 (900), 'x' (60), -1 (40)"
    ]
