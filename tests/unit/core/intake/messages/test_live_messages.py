"""Messages as a hub delivers them: who vouches for whom, when they were made, how they were packed."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.adapters.stores.scenario_files import load
from shared.core.intake.envelopes.told import UNTOLD, told_by
from shared.core.intake.messages.decoding import MOST, Decoder
from shared.core.intake.messages.json_bodies import at_once
from shared.core.intake.readings import Parsed
from shared.core.scenario import FileLayout, Scenario, with_overrides
from shared.errors import ConfigError

AIR = load("air_quality")


def minute(text: str) -> int:
    return int(np.datetime64(text, "m").astype(np.int64))


ENQUEUED = minute("2026-05-04T10:00")
TIMELESS = {"temperature": 22.2, "humidity": 70.1}
MADE = {"iothub-creation-time-utc": "2026-05-04T09:58:00Z"}


def heard(
    body: object,
    identity: str | None = "yard-1",
    properties: Mapping[str, object] | None = None,
    scenario: Scenario = AIR,
    system: Mapping[str, object] | None = None,
) -> Parsed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = told_by(system or {}, properties or {})
    return Decoder(scenario).decode(raw, position=7, identity=identity, not_after_minute=ENQUEUED, told=told)


def rows(parsed: Parsed) -> list[tuple[str, str, float, float]]:
    """Device, time, temperature and humidity of each reading."""
    assert parsed.rejected == []
    columns = [AIR.channel_names.index(name) for name in ("temp", "rel_humidity")]
    readings = parsed.readings
    return [
        (readings.devices[d], str(np.datetime64(m, "m"))[11:], *np.round(values[columns].astype(float), 4).tolist())
        for d, m, values in zip(readings.device.tolist(), readings.minute.tolist(), readings.values, strict=True)
    ]


def reason(parsed: Parsed) -> str:
    assert len(parsed.readings) == 0
    (rejection,) = parsed.rejected
    return rejection.reason


def test_a_message_without_a_time_was_measured_when_it_was_made_else_when_it_was_enqueued() -> None:
    assert rows(heard(TIMELESS)) == [("yard-1", "10:00", 22.2, 70.1)]
    assert rows(heard(TIMELESS, properties=MADE)) == [("yard-1", "09:58", 22.2, 70.1)]
    assert rows(heard({**TIMELESS, "timestamp": None}, properties=MADE))[0][1] == "09:58"
    assert rows(heard({**TIMELESS, "timestamp": "2026-05-04T09:00Z"}, properties=MADE))[0][1] == "09:00"
    assert rows(heard(TIMELESS, system=MADE))[0][1] == "09:58"
    assert rows(heard(TIMELESS, properties={"iothub-creation-time-utc": "noon"}))[0][1] == "10:00"
    assert [when for _, when, *_ in rows(heard([TIMELESS, TIMELESS], properties=MADE))] == ["09:58"] * 2


def test_a_time_that_cannot_be_is_told_though_it_stood_in_a_property() -> None:
    for when, expected in (("2026-05-04T10:06:00Z", "future"), ("1970-01-01T00:00:00Z", "ancient")):
        parsed = heard(TIMELESS, properties={"iothub-creation-time-utc": when})
        assert reason(parsed) == expected
        assert f"'{when}'" in parsed.rejected[0].detail


def test_a_scenario_may_refuse_messages_without_a_time() -> None:
    strict = with_overrides(AIR, time_fallback=False)
    assert reason(heard(TIMELESS, properties=MADE, scenario=strict)) == "missing_time"


def test_the_time_of_an_envelope_in_a_message_goes_before_that_of_the_message() -> None:
    batch = [{"body": TIMELESS, "properties": {"iothub-creation-time-utc": "2026-05-04T09:30:00Z"}}]
    assert rows(heard(batch, properties=MADE)) == [("yard-1", "09:30", 22.2, 70.1)]
    assert rows(heard([{"body": TIMELESS, "properties": {}}], properties=MADE))[0][1] == "09:58"
    central = {"messageSource": "telemetry", "deviceId": "yard-1", "enqueuedTime": "2026-05-04T09:45:00Z"}
    assert rows(heard({**central, "telemetry": TIMELESS, "messageProperties": {}}, properties=MADE))[0][1] == "09:45"
    later = {**central, "enqueuedTime": "2026-05-04T11:00:00Z", "telemetry": TIMELESS}
    assert rows(heard(later))[0][1] == "10:00", "no later than the message that brought it"


def test_a_local_time_is_read_in_the_zone_of_the_station_else_of_the_scenario() -> None:
    local = {**TIMELESS, "timestamp": "2026-05-04T10:00:00.303468"}
    assert rows(heard(local))[0][1] == "10:00"
    assert rows(heard(local, scenario=with_overrides(AIR, zone="Europe/London")))[0][1] == "09:00"
    assert rows(heard(local, "Dongsi", scenario=with_overrides(AIR, zone="Europe/London")))[0][1] == "02:00"
    assert reason(heard(local, scenario=with_overrides(AIR, zone="America/New_York"))) == "future"


HUB = {"hubName": "h", "deviceId": "x", "opType": "updateTwin"}


@pytest.mark.parametrize(
    ("system", "properties"),
    [
        ({"iothub-message-source": "twinChangeEvents"}, {}),
        ({"iothub-message-source": "deviceLifecycleEvents"}, {}),
        ({"iothub-message-source": "deviceConnectionStateEvents"}, {"color": "red"}),
        ({"iothub-message-source": "digitalTwinChangeEvents"}, {"iothub-message-source": "Telemetry"}),
        ({}, {"iothub-message-source": "twinChangeEvents"}),
        ({}, {"iothub-message-schema": "twinChangeNotification"}),
        ({}, HUB),
    ],
)
def test_what_the_hub_tells_of_a_device_is_no_telemetry(system: dict[str, str], properties: dict[str, str]) -> None:
    for body in ({"version": 3, "properties": {"desired": {"interval": 10}}}, TIMELESS, b"", b"no json"):
        assert reason(heard(body, properties=properties, system=system)) == "not_telemetry"


def test_properties_of_an_application_are_its_own() -> None:
    told = told_by({"iothub-message-source": "Telemetry", "x-opt-offset": "8"}, {"opType": "fast", "level": 3})
    assert told is UNTOLD
    assert told_by({"iothub-message-source": "telemetry"}, {}) is UNTOLD
    assert told_by({}, {"iothub-creation-time-utc": "x" * 1000}).created == "x" * 64
    assert told_by({}, {"iothub-creation-time-utc": ["x"], "content-encoding": {"a": 1}}) is UNTOLD


PACKS: dict[str, Any] = {
    "gzip": gzip.compress, "GZIP": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress,
    "Deflate": lambda data: zlib.compress(data, wbits=-15), "utf-8": bytes, "identity": bytes,
}  # fmt: skip


@pytest.mark.parametrize("encoding", PACKS)
@pytest.mark.parametrize("name", ["content-encoding", "contentEncoding", "ContentEncoding"])
def test_a_packed_message_is_unpacked_by_its_content_encoding(name: str, encoding: str) -> None:
    for body in (TIMELESS, [TIMELESS], [{"body": TIMELESS, "properties": {}}]):
        packed = PACKS[encoding](json.dumps(body).encode())
        assert rows(heard(packed, properties={name: encoding})) == [("yard-1", "10:00", 22.2, 70.1)]


def test_what_is_not_packed_as_it_says_is_refused_by_name() -> None:
    for encoding, body, detail in (
        ("br", TIMELESS, "the content encoding 'br' is none of gzip, deflate, utf-8"),
        ("gzip", TIMELESS, "the body is not whole gzip, as its content encoding says"),
        ("utf-16", TIMELESS, "the content encoding 'utf-16' is none of gzip, deflate, utf-8"),
    ):
        (rejection,) = heard(body, properties={"contentEncoding": encoding}).rejected
        assert (rejection.reason, rejection.detail) == ("encoding", detail)
        assert rejection.raw == json.dumps(body).encode()
    bomb = gzip.compress(bytes((1 << 20) + 1))
    assert reason(heard(bomb, system={"content-encoding": "gzip"})) == "too_large"


def test_a_part_of_a_packed_message_that_is_refused_stands_unpacked_and_is_read_the_same_alone() -> None:
    packed = gzip.compress(json.dumps([{"temperature": 900}, TIMELESS]).encode())
    parsed = heard(packed, properties={**MADE, "contentEncoding": "gzip"})
    (rejection,) = parsed.rejected
    assert (rejection.position, rejection.reason) == (7 << 16, "out_of_range")
    assert parsed.readings.position.tolist() == [(7 << 16) + 1]
    again = heard(rejection.raw.replace(b"900", b"9"), properties=MADE)
    assert [row[:3] for row in rows(again)] == [("yard-1", "09:58", 9.0)]


LEAVES = [{"deviceId": name, "temperature": 21.0, "timestamp": "2026-05-04T10:00Z"} for name in ("leaf-1", "leaf-2")]


@pytest.mark.parametrize("patterns", [["gw-1"], ["gw-*"], ["x", "gw-?"]])
def test_a_trusted_gateway_speaks_for_the_devices_that_its_body_names(patterns: list[str]) -> None:
    trusting = with_overrides(AIR, trusted_gateways=tuple(patterns))
    parsed = heard([*LEAVES, TIMELESS, {**TIMELESS, "deviceId": "gw-1"}], "gw-1", scenario=trusting)
    assert [device for device, *_ in rows(parsed)] == ["leaf-1", "leaf-2", "gw-1", "gw-1"]


def test_nobody_else_speaks_for_others() -> None:
    trusting = with_overrides(AIR, trusted_gateways=("gw-1",))
    for identity, scenario in (("gw-1", AIR), ("gw-2", trusting), ("GW-1", trusting), ("xgw-1", trusting)):
        parsed = heard(LEAVES, identity, scenario=scenario)
        assert [rejection.reason for rejection in parsed.rejected] == ["identity_mismatch"] * 2


def test_what_a_gateway_calls_a_device_is_checked_like_any_name() -> None:
    trusting = with_overrides(AIR, trusted_gateways=("gw-1",))
    odd = [{**TIMELESS, "deviceId": name} for name in (True, {"id": 1}, "a\tb", "x" * 129)]
    assert [each.reason for each in heard(odd, "gw-1", scenario=trusting).rejected] == ["device_id"] * 4
    assert rows(heard({**TIMELESS, "deviceId": 12}, "gw-1", scenario=trusting))[0][0] == "12"


def test_a_gateway_may_carry_envelopes_of_others_and_they_vouch_for_what_is_inside() -> None:
    trusting = with_overrides(AIR, trusted_gateways=("gw-1",))
    envelope = {"SystemProperties": {"connectionDeviceId": "leaf-1"}, "Body": TIMELESS}
    other = {**envelope, "Body": {**TIMELESS, "deviceId": "leaf-2"}}
    assert rows(heard(envelope, "gw-1", scenario=trusting))[0][0] == "leaf-1"
    assert reason(heard(other, "gw-1", scenario=trusting)) == "identity_mismatch"
    assert reason(heard(envelope, "gw-1")) == "identity_mismatch"
    by_gateway = {"SystemProperties": {"connectionDeviceId": "gw-1"}, "Body": LEAVES}
    assert [device for device, *_ in rows(heard(by_gateway, None, scenario=trusting))] == ["leaf-1", "leaf-2"]
    assert [each.reason for each in heard(by_gateway, None).rejected] == ["identity_mismatch"] * 2


@pytest.mark.parametrize("pattern", ["", " ", "gw 1", "x" * 129, 5])
def test_a_pattern_that_no_device_can_fit_is_refused(pattern: object) -> None:
    with pytest.raises(ConfigError, match=r"trusted_gateways\[0\].*1 to 128 characters of a device id"):
        with_overrides(AIR, trusted_gateways=(pattern,))


SIMULATED = {"messageId": 1, "deviceId": "Raspberry Pi Web Client", "temperature": 30.8, "humidity": 63.8}


def test_a_name_that_every_copy_of_a_sample_sends_is_nobodys_where_the_hub_vouches_for_a_device() -> None:
    assert rows(heard(SIMULATED, "MyPi")) == [("MyPi", "10:00", 30.8, 63.8)]
    assert rows(heard(SIMULATED, None))[0][0] == "Raspberry Pi Web Client"
    routed = {"SystemProperties": {"connectionDeviceId": "MyPi"}, "Body": SIMULATED}
    assert rows(heard(routed, None))[0][0] == "MyPi"
    assert reason(heard({**SIMULATED, "deviceId": "Raspberry Pi Web Client 2"}, "MyPi")) == "identity_mismatch"
    own = with_overrides(AIR, names={**vars_of(AIR), "placeholders": ("my sketch",)})
    assert rows(heard({**SIMULATED, "deviceId": "my sketch"}, "MyPi", scenario=own))[0][0] == "MyPi"
    assert reason(heard(SIMULATED, "MyPi", scenario=own)) == "identity_mismatch"


def vars_of(scenario: Scenario) -> dict[str, Any]:
    names = scenario.names
    return {"device": names.device, "time": names.time, "row": names.row, "ignored": names.ignored}


LINE = '{"temperature": 20, "timestamp": "2026-05-04T%s:00Z"}'


def test_json_lines_in_one_message_are_readings_of_their_own() -> None:
    for end in ("", "\n", "\r\n", "\0", "\n\n \n\0"):
        body = (LINE % "10:00" + "\n" + LINE % "09:00" + end).encode()
        assert [when for _, when, *_ in rows(heard(body))] == ["10:00", "09:00"]
    body = b"\xef\xbb\xbf" + (LINE % "10:00" + "\r\n\r\n" + LINE % "09:00").encode()
    assert len(rows(heard(body))) == 2


def test_a_line_that_is_cut_or_wrong_takes_no_other_with_it() -> None:
    good, deep = (LINE % "09:00").encode(), b'{"a":' * 40 + b"1" + b"}" * 40
    for bad, expected in ((good[:-9], "not_json"), (deep, "too_deep"), (b'{"temperature": 900}', "out_of_range")):
        parsed = heard(good + b"\n" + bad)
        assert parsed.readings.position.tolist() == [7 << 16]
        assert [(each.position, each.reason, each.raw) for each in parsed.rejected] == [((7 << 16) + 1, expected, bad)]


@pytest.mark.parametrize(
    "body", [b"{}{}", b'{"a":1,\n{"b":2}}', b'{"a":\n{"b":\n{"c":1}', b"1\n2", b"[1]\n[2]", b"{}\nx"]
)
def test_a_damaged_value_of_several_lines_is_one_refusal(body: bytes) -> None:
    assert reason(heard(body)) == "not_json"


def test_more_lines_than_a_message_may_hold_refuse_it() -> None:
    parsed = heard(b"{}\n" * (MOST + 1))
    assert [(each.reason, each.position) for each in parsed.rejected] == [("too_large", 7 << 16)]


def test_messages_are_taken_together_only_so_far_as_memory_allows() -> None:
    assert at_once([b"{}"] * 9) == 9
    assert at_once([]) == 0
    assert at_once([b"{}\n" * 60_000] * 9) == 3
    assert at_once([b"1," * 60_000] * 9) == 3
    assert at_once([b" " * (1 << 20)] * 900) == 61
    assert at_once([b"1," * 300_000] * 2) == 1


@pytest.mark.parametrize("end", ["\0", "\0\0\0", "\n\0", "\0\r\n"])
def test_the_end_of_a_text_in_c_is_no_part_of_it(end: str) -> None:
    for body in (TIMELESS, [TIMELESS, TIMELESS]):
        assert len(rows(heard(json.dumps(body).encode() + end.encode()))) == (1 if body is TIMELESS else 2)
    assert reason(heard(b"\0" + json.dumps(TIMELESS).encode())) == "not_json"
    assert reason(heard(end.encode())) == "empty"


@pytest.mark.parametrize(
    "word", ["nan", "NaN", "NAN", "-nan", "+NaN", "nan(0x8000)", "-nan(ind)", "inf", "-inf", "Inf"]
)
def test_a_bare_word_of_c_for_no_number_is_a_missing_value(word: str) -> None:
    body = f'{{"temperature":{word},"humidity":50,"note":"nan, -inf"}}'.encode()
    for message in (body, b"[" + body + b"," + body + b"]", body + b"\n" + body):
        found = rows(heard(message))
        assert [humidity for *_, humidity in found] == [50.0] * (1 if message is body else 2)
        assert all(np.isnan(temp) for *_, temp, _ in found)


@pytest.mark.parametrize("word", ["nans", "nan1", "n", "nan nan", "infinit", "nan(", "--nan", "null1"])
def test_another_word_is_none(word: str) -> None:
    assert reason(heard(f'{{"temperature":{word},"humidity":50}}'.encode())) == "not_json"


def test_an_element_keeps_its_own_bytes_when_a_word_is_read_otherwise() -> None:
    parsed = heard(b'[{"temperature":nan(ind)}, {"temperature":-inf, "note":"\xc3\xbc nan"} ,{"humidity":5}]')
    raws = [b'{"temperature":nan(ind)}', b'{"temperature":-inf, "note":"\xc3\xbc nan"}']
    assert [(each.reason, each.raw) for each in parsed.rejected] == [("no_values", raw) for raw in raws]


@pytest.mark.parametrize(
    ("timestamp", "when"),
    [
        (1777888800, "10:00"), (1777888800000, "10:00"), (1777888800000000, "10:00"), (1777888800000000000, "10:00"),
        ("1777888800000000", "10:00"), ("1777888800.5", "10:00"), (1777888740123456, "09:59"),
        (20260504093000, "09:30"), (202605040930, "09:30"), ("20260504093000", "09:30"), ("202605040930", "09:30"),
        (20260504093059999, "09:30"), ("20260504093059999", "09:30"), (20260504093000.0, "09:30"),
    ],
)  # fmt: skip
def test_epochs_and_compact_dates_are_told_apart(timestamp: object, when: str) -> None:
    assert rows(heard({**TIMELESS, "timestamp": timestamp}))[0][1] == when


def test_a_compact_date_is_on_the_scenarios_clock_and_has_to_be_one() -> None:
    berlin = with_overrides(AIR, zone="Europe/Berlin")
    assert rows(heard({**TIMELESS, "timestamp": 20260504110000}, scenario=berlin))[0][1] == "09:00"
    for wrong in (20261304110000, "20260504250000", 202602300000, "209913010000"):
        assert reason(heard({**TIMELESS, "timestamp": wrong})) == "bad_time"


INNER = FileLayout(
    name="nested", time=("measured.at",), channels={"air.*.celsius": "temp", "air.rh": "rel_humidity"}, zone="UTC"
)
NESTED = {"measured": {"at": "2026-05-04T09:30"}, "air": {"inside": {"celsius": 21}, "rh": 40}}


def test_a_layout_that_reaches_into_nested_objects_reads_messages_as_well() -> None:
    scenario = with_overrides(AIR, layouts=(INNER,))
    assert rows(heard(NESTED, scenario=scenario)) == [("yard-1", "09:30", 21.0, 40.0)]
    assert rows(heard([NESTED, TIMELESS], scenario=scenario))[1] == ("yard-1", "10:00", 22.2, 70.1)
    named = replace(INNER, device=("unit.id",))
    scenario = with_overrides(AIR, layouts=(named,))
    assert reason(heard({**NESTED, "unit": {"id": "yard-2"}}, scenario=scenario)) == "identity_mismatch"
    trusted = with_overrides(scenario, trusted_gateways=("yard-*",))
    assert rows(heard({**NESTED, "unit": {"id": "yard-2"}}, scenario=trusted))[0][0] == "yard-2"


def test_a_layout_of_files_changes_nothing_of_a_message_that_needs_none() -> None:
    for layout in (
        FileLayout(name="f", header=("temperature",), units={"temp": "degF"}),
        FileLayout(name="f", header=("temperature",), channels={"no.such": "pm25"}, units={"temp": "degF"}),
        FileLayout(name="f", files=("*",), time=("at",), channels={"air.rh": "temp"}, units={"temp": "degF"}),
    ):
        scenario = with_overrides(AIR, layouts=(layout,))
        body = {**TIMELESS, "at": "2026-05-04T08:00Z", "air": {"rh": 50}}
        assert rows(heard(body, scenario=scenario)) == [("yard-1", "10:00", 22.2, 70.1)]


def test_the_enqueued_time_stands_in_where_a_layout_names_none() -> None:
    layout = FileLayout(name="nested", header=("air.t",), channels={"air.t": "temp", "air.rh": "rel_humidity"})
    body = {"air": {"t": 20, "rh": 50}}
    assert rows(heard(body, scenario=with_overrides(AIR, layouts=(layout,)))) == [("yard-1", "10:00", 20.0, 50.0)]
