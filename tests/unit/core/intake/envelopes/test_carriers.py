"""What networks and programs put around readings: packs of SenML, uplinks of The Things Stack, a key that holds all."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.stores.scenario_files import load
from shared.core.intake import dead_letters
from shared.core.intake.envelopes.senml import parts
from shared.core.intake.messages.decoding import Decoder
from shared.core.intake.readings import Parsed
from shared.core.scenario import Scenario, with_overrides
from tests.unit.adapters.tables.layout_files import read

AIR = load("air_quality")
NOW = int(np.datetime64("2026-05-04T10:00", "m").astype(np.int64))
TEN = 1777888800  # 2026-05-04T10:00:00Z
Row = tuple[str, str, dict[str, float]]


def heard(body: object, identity: str | None = None, scenario: Scenario = AIR) -> Parsed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Decoder(scenario).decode(raw, position=1, identity=identity, not_after_minute=NOW)


def rows(parsed: Parsed) -> list[Row]:
    assert parsed.rejected == []
    readings = parsed.readings
    return [
        (
            readings.devices[device],
            str(np.datetime64(int(minute), "m"))[11:],
            {n: round(float(v), 2) for n, v in zip(AIR.channel_names, values, strict=True) if not np.isnan(v)},
        )
        for device, minute, values in zip(readings.device, readings.minute, readings.values, strict=True)
    ]


def refused(parsed: Parsed) -> tuple[str, str]:
    assert len(parsed.readings) == 0
    return parsed.rejected[0].reason, parsed.rejected[0].detail


PACK: list[dict[str, Any]] = [
    {"bn": "urn:dev:mac:0024befffe804ff1/", "bt": TEN, "bu": "Cel", "n": "temperature", "v": 23.5},
    {"n": "humidity", "u": "%RH", "v": 67},
    {"n": "pressure", "u": "Pa", "v": 101325},
    {"n": "temperature", "t": -120, "v": 22.5},
    {"n": "wind_direction", "t": -120, "u": "deg", "vs": "NW"},
]
MEASURED: list[Row] = [
    ("urn:dev:mac:0024befffe804ff1", "10:00", {"temp": 23.5, "rel_humidity": 67.0, "atmos_press": 1013.25}),
    ("urn:dev:mac:0024befffe804ff1", "09:58", {"temp": 22.5, "wind_dir": 315.0}),
]


def test_a_pack_of_senml_is_the_readings_of_its_records() -> None:
    assert rows(heard(PACK)) == MEASURED
    assert rows(heard(PACK, "urn:dev:mac:0024befffe804ff1")) == MEASURED
    assert rows(heard({"payload": PACK})) == MEASURED
    envelope = {"SystemProperties": {"connectionDeviceId": "urn:dev:mac:0024befffe804ff1"}, "Body": PACK}
    assert rows(heard(envelope)) == MEASURED


@pytest.mark.parametrize(
    ("pack", "row"),
    [
        ([{"n": "temperature", "v": 11}], ("yard-1", "10:00", {"temp": 11.0})),
        ({"n": "temperature", "v": 11}, ("yard-1", "10:00", {"temp": 11.0})),
        ([{"bn": "yard-1:", "n": "temperature", "t": -3600, "v": 11}], ("yard-1", "09:00", {"temp": 11.0})),
        ([{"n": "yard-1/temperature", "u": "K", "v": 283.15, "t": TEN - 60}], ("yard-1", "09:59", {"temp": 10.0})),
        ([{"bn": "yard-1", "bv": 20, "bt": TEN, "n": "temperature", "v": 1.5, "t": -60}],
         ("yard-1", "09:59", {"temp": 21.5})),
        ([{"bn": "yard-1:", "bver": 10}, {"n": "precip", "vb": True}, {"n": "door", "s": 3}],
         ("yard-1", "10:00", {"precip": 1.0})),
    ],
    ids=["a record", "no list", "relative time", "name of both", "base value", "a base alone"],
)  # fmt: skip
def test_names_times_and_values_are_put_together(pack: object, row: Row) -> None:
    assert rows(heard(pack, "yard-1")) == [row]


@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        ([{"bn": "yard-2:", "n": "temperature", "v": 11}], "identity_mismatch"),
        ([{"n": "temperature", "v": 11}, {"n": "humidity", "v": 1, "must_": 2}], "not_an_object"),
        ([{"n": "temperature", "v": 11}, 3], "not_an_object"),
        ([{"n": "temperature", "s": 11}], "empty"),
        ([{"n": "temperature", "v": 11, "t": "noon"}], "bad_time"),
        ([{"n": "temperature", "v": [1]}], "bad_value"),
        ([{"n": "temperature", "u": "mmHg", "v": 1}], "unit"),
        ([{"n": "temperature", "t": TEN + 3600, "v": 1}], "future"),
    ],
)
def test_what_a_pack_may_not_say_is_refused(pack: object, reason: str) -> None:
    assert refused(heard(pack, "yard-1"))[0] == reason


def test_keys_of_a_channel_make_a_record_a_reading_of_its_own() -> None:
    channels = tuple(replace(each, aliases=("t",)) if each.name == "temp" else each for each in AIR.channels)
    parsed = heard([{"n": "x", "t": 21}], "yard-1", with_overrides(AIR, channels=channels))
    assert rows(parsed) == [("yard-1", "10:00", {"temp": 21.0})]


def test_a_reading_of_a_pack_that_is_refused_can_be_tried_again_alone() -> None:
    parsed = heard([PACK[0], {"n": "temperature", "t": 600, "v": 22.5}])
    assert [rejection.reason for rejection in parsed.rejected] == ["future"]
    letter = dead_letters.letter("hub", parsed.rejected[0])
    later = Decoder(AIR).decode(letter.original(), position=1, identity=None, not_after_minute=NOW + 60)
    assert rows(later) == [("urn:dev:mac:0024befffe804ff1", "10:10", {"temp": 22.5})]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_file_of_packs_is_read_pack_by_pack(indent: int | None) -> None:
    other = [{"bn": "b:", "n": "temperature", "v": 1, "t": TEN}]
    data = json.dumps(PACK, indent=indent) + "\n" + json.dumps(other, indent=indent) + "\n"
    found = read(data, "a.json")
    expected = [
        (device, f"2026-05-04T{time}", values) for device, time, values in [*MEASURED, ("b", "10:00", {"temp": 1.0})]
    ]
    assert (found.rows, found.rejected) == (expected, [])


RECORDS = st.fixed_dictionaries(
    {"n": st.sampled_from(["pm25", "temperature"])},
    optional={
        "bn": st.sampled_from(["a:", "b/"]),
        "bt": st.sampled_from([TEN, TEN - 60, 0]),
        "t": st.sampled_from([-60, -7200, TEN]),
        "v": st.integers(0, 40),
        "bv": st.integers(0, 5),
        "vb": st.booleans(),
    },
)


@settings(max_examples=200, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=8), st.integers(1, 5))
def test_a_pack_that_is_cut_says_the_same(pack: list[dict[str, Any]], most: int) -> None:
    base: dict[str, Any] = {}
    trusting = with_overrides(AIR, trusted_gateways=("c",))
    pieces = [said for piece in parts(pack, base, most) for said in values_of(heard(piece, "c", trusting))]
    assert sorted(pieces) == sorted(values_of(heard(pack, "c", trusting)))


def values_of(parsed: Parsed) -> list[tuple[str, int, int, float]]:
    readings = parsed.readings
    return [
        (readings.devices[device], minute, c, float(values[c]))
        for device, minute, values in zip(readings.device, readings.minute.tolist(), readings.values, strict=True)
        for c in np.flatnonzero(~np.isnan(values)).tolist()
    ]


UPLINK: dict[str, Any] = {
    "end_device_ids": {
        "device_id": "node-1",
        "application_ids": {"application_id": "yard"},
        "dev_eui": "0004A30B001C0530",
    },
    "received_at": "2026-05-04T09:57:45.787123456Z",
    "uplink_message": {
        "f_port": 1,
        "decoded_payload": {"temperature": 21.5, "humidity": 60},
        "rx_metadata": [{"gateway_ids": {"gateway_id": "gw"}, "time": "2026-05-04T09:57:44Z", "rssi": -35}],
        "settings": {"time": "2026-05-04T09:57:43Z"},
    },
}
HEARD = ("node-1", "09:57", {"temp": 21.5, "rel_humidity": 60.0})


def test_an_uplink_of_the_things_stack_is_its_decoded_payload() -> None:
    assert rows(heard(UPLINK)) == rows(heard(UPLINK, "node-1")) == rows(heard({"result": UPLINK})) == [HEARD]
    assert refused(heard(UPLINK, "gw-1"))[0] == "identity_mismatch"
    trusted = with_overrides(AIR, trusted_gateways=("gw-*",))
    assert rows(heard(UPLINK, "gw-1", trusted)) == [HEARD]
    bare = {name: value for name, value in UPLINK.items() if name != "received_at"}
    assert rows(heard(bare)) == [HEARD]
    for data in (json.dumps(UPLINK) + "\n" + json.dumps(UPLINK), json.dumps([UPLINK] * 2, indent=1)):
        assert [row[:2] for row in read(data, "a.json").rows] == [("node-1", "2026-05-04T09:57")] * 2


def test_an_uplink_that_nobody_decoded_and_a_join_say_so() -> None:
    raw = {**UPLINK, "uplink_message": {"frm_payload": "AQ=="}}
    assert refused(heard(raw)) == (
        "empty", "an uplink without decoded_payload; a payload formatter of the device decodes its bytes",
    )  # fmt: skip
    assert refused(heard({"end_device_ids": {"device_id": "node-1"}, "join_accept": {}}))[0] == "not_telemetry"


@pytest.mark.parametrize(
    ("body", "row"),
    [
        ({"payload": {"temperature": 1}}, ("yard-1", "10:00", {"temp": 1.0})),
        ({"deviceId": "yard-1", "ts": TEN - 60, "payload": {"temperature": 1}}, ("yard-1", "09:59", {"temp": 1.0})),
        ({"timestamp": "2026-05-04T08:00Z", "data": {"ts": TEN - 60, "temperature": 1}},
         ("yard-1", "09:59", {"temp": 1.0})),
        ({"ts": (TEN - 60) * 1000, "values": {"temperature": 1}}, ("yard-1", "09:59", {"temp": 1.0})),
        ({"data": [{"temperature": 1}], "ts": TEN - 60, "n": 1}, ("yard-1", "09:59", {"temp": 1.0})),
        ({"payload": '{"temperature": 1}'}, ("yard-1", "10:00", {"temp": 1.0})),
        ({"temperature": 1, "payload": {"temperature": 2}}, ("yard-1", "10:00", {"temp": 1.0})),
    ],
    ids=["alone", "device and time beside", "a time of its own", "values", "a list", "text", "a reading of its own"],
)  # fmt: skip
def test_a_key_that_holds_the_reading_is_opened(body: object, row: Row) -> None:
    assert rows(heard(body, "yard-1")) == [row]


@pytest.mark.parametrize(
    ("body", "identity", "reason", "said"),
    [
        ({"n1": 1, "air": {"rh2": 3}}, "yard-1", "no_values", "among the keys 'n1', 'air.rh2'; channels in"),
        ({"node": "a", "temperature": 3}, None, "missing_device", "among the keys 'node', 'temperature'; device in"),
        ({"payload": {"x": 3}}, "yard-1", "no_values", "among the keys 'x'; channels"),
        ({"payload": "x"}, "yard-1", "no_values", "among the keys 'payload'; channels"),
        ({"payload": {"temperature": 1}, "data": {"temperature": 2}}, "yard-1", "no_values",
         "among the keys 'payload.temperature', 'data.temperature'; channels"),
        ({"device_id": "", "temperature": 3}, None, "missing_device", "no device id"),
        ({"temperature": None}, "yard-1", "no_values", "no channel has a value"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_keys_among_which_it_may_be(
    body: object, identity: str | None, reason: str, said: str
) -> None:
    found = refused(heard(body, identity))
    assert found[0] == reason
    assert found[1].endswith(said) or said in found[1]


def test_a_missing_time_names_the_keys_too() -> None:
    strict = with_overrides(AIR, time_fallback=False)
    reason, detail = refused(heard({"when": "now", "temperature": 1}, "yard-1", strict))
    assert (reason, "among the keys 'when', 'temperature'; time in [[layouts]]" in detail) == ("missing_time", True)
