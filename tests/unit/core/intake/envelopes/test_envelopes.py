"""Messages in Azure's envelopes: what is inside is read as if the device had sent it to the hub just now."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.stores.scenario_files import load
from shared.core.intake.acceptance import Zoning
from shared.core.intake.envelopes.instants import UNKNOWN, seconds_of
from shared.core.intake.envelopes.packed import unpacked
from shared.core.intake.messages.decoding import ELEMENT_BITS, MOST, Decoder
from shared.core.intake.readings import Parsed
from shared.core.scenario import Scenario, with_overrides
from shared.errors import BadEvent

AIR = load("air_quality")


def minute(text: str) -> int:
    return int(np.datetime64(text, "m").astype(np.int64))


def second(text: str) -> int:
    return int(np.datetime64(text, "s").astype(np.int64))


NOW = minute("2026-05-04T13:00")
READING = {"timestamp": "2026-05-04T10:00:00Z", "temperature": 14.5}


def routed(body: object, system: Mapping[str, object] | None = None, **more: object) -> dict[str, object]:
    told: dict[str, object] = {"connectionDeviceId": "yard-1", **(system or {})}
    return {
        "EnqueuedTimeUtc": "2026-05-04T12:00:05.123Z",
        "Properties": {},
        "SystemProperties": told,
        "Body": body,
    } | more


def decoded(value: object, identity: str | None = None, scenario: Scenario = AIR) -> Parsed:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Decoder(scenario).decode(body, position=7, identity=identity, not_after_minute=NOW)


def rows(parsed: Parsed, channel: str = "temp") -> list[tuple[str, str, float]]:
    readings, c = parsed.readings, AIR.channel_names.index(channel)
    assert parsed.rejected == []
    return [
        (readings.devices[d], str(np.datetime64(m, "m")), float(row[c]))
        for d, m, row in zip(readings.device.tolist(), readings.minute.tolist(), readings.values, strict=True)
    ]


def reason(parsed: Parsed) -> str:
    assert len(parsed.readings) == 0
    (rejection,) = parsed.rejected
    return rejection.reason


CENTRAL = {"messageSource": "telemetry", "deviceId": "yard-1", "enqueuedTime": "2026-05-04T12:00:00Z"}
ADDED = {"EventProcessedUtcTime": "2026-05-04T12:01:00Z", "PartitionId": 3, "EventEnqueuedUtcTime": "2026-05-04T12:00Z"}
GRID = {"id": "1", "topic": "/x", "subject": "devices/yard-1", "eventTime": "2026-05-04T12:00:00Z"}
SYSTEM = {"iothub-connection-device-id": "yard-1", "iothub-enqueuedtime": "2026-05-04T12:00:00Z"}
WITHOUT_TIME = {"temperature": 14.5}


def forms(reading: dict[str, Any]) -> dict[str, object]:
    """The same message of yard-1, enqueued at 12:00, in every envelope."""
    text = json.dumps(reading)
    packed = base64.b64encode(text.encode()).decode()
    cloud = {"specversion": "1.0", "source": "/x", "type": "Microsoft.Devices.DeviceTelemetry", "id": "1"}
    hub = {"IoTHub": {"ConnectionDeviceId": "yard-1", "EnqueuedTime": "2026-05-04T12:00:00.0Z", "MessageId": None}}
    return {
        "json": routed(reading),
        "text": routed(text),
        "base64": routed(packed),
        "lower case": {name.lower(): value for name, value in routed(reading).items()},
        "capture": {"EnqueuedTimeUtc": "5/4/2026 12:00:05 PM", "SystemProperties": SYSTEM, "Body": packed},
        "system alone": {"SystemProperties": SYSTEM, "Body": reading},
        "IoT Central": {**CENTRAL, "telemetry": reading, "messageProperties": {}},
        "Stream Analytics": {**reading, **ADDED, **hub},
        "Stream Analytics without the hub": {**reading, **ADDED, "deviceId": "yard-1"},
        "Event Grid": {**GRID, "eventType": cloud["type"], "data": {"body": packed, "systemProperties": SYSTEM}},
        "CloudEvent": {**cloud, "data": {"body": reading, "systemProperties": SYSTEM}},
        "Capture of an export": routed(
            json.dumps({**CENTRAL, "telemetry": reading, "messageProperties": {}}), EnqueuedTimeUtc="2026-05-04T12:30Z"
        ),
    }


@pytest.mark.parametrize("form", forms(READING))
def test_every_envelope_gives_the_reading_it_holds(form: str) -> None:
    assert rows(decoded(forms(READING)[form])) == [("yard-1", "2026-05-04T10:00", 14.5)]


@pytest.mark.parametrize("form", forms(WITHOUT_TIME))
def test_a_reading_without_a_time_has_the_enqueued_one_unless_the_scenario_says_no(form: str) -> None:
    assert rows(decoded(forms(WITHOUT_TIME)[form])) == [("yard-1", "2026-05-04T12:00", 14.5)]
    strict = with_overrides(AIR, time_fallback=False)
    assert reason(decoded(forms(WITHOUT_TIME)[form], scenario=strict)) == "missing_time"


def test_the_time_of_creation_goes_before_the_enqueued_one() -> None:
    created = {"iothub-creation-time-utc": "2026-05-04T09:58:00Z"}
    assert rows(decoded(routed(WITHOUT_TIME, Properties=created)))[0][1] == "2026-05-04T09:58"
    assert rows(decoded(routed(WITHOUT_TIME, created)))[0][1] == "2026-05-04T09:58"
    batch = [{"body": WITHOUT_TIME, "properties": created}, {"body": READING, "properties": {}}]
    assert [when for _, when, _ in rows(decoded(batch, "bt-1"))] == ["2026-05-04T09:58", "2026-05-04T10:00"]


def test_a_reading_is_in_the_future_of_its_envelope_rather_than_of_its_file() -> None:
    late = {**READING, "timestamp": "2026-05-04T12:06:00Z"}
    assert reason(decoded(routed(late))) == "future"
    assert rows(decoded(routed(late, EnqueuedTimeUtc="2026-05-04T12:01Z")))[0][1] == "2026-05-04T12:06"
    assert rows(decoded(routed(late, EnqueuedTimeUtc="soon")))[0][1] == "2026-05-04T12:06"


def test_an_array_in_an_envelope_gives_several_readings_that_fail_alone() -> None:
    wrong, other = {**READING, "temperature": 900}, {"temperature": 16.1}
    packed = base64.b64encode(json.dumps([READING, wrong, other]).encode()).decode()
    for body in ([READING, wrong, other], packed):
        parsed = decoded([routed(body), routed(READING)])
        assert parsed.readings.position.tolist() == [7 << 16, (7 << 16) + 2, (7 << 16) + 3]
        assert parsed.readings.devices == ("yard-1",)
        (rejection,) = parsed.rejected
        assert (rejection.position, rejection.reason) == ((7 << 16) + 1, "out_of_range")
        again = decoded(rejection.raw.replace(b"900", b"9.0"))
        assert rows(again) == [("yard-1", "2026-05-04T10:00", 9.0)]


def test_what_was_refused_alone_keeps_the_times_of_its_envelope() -> None:
    created = {"iothub-creation-time-utc": "2026-05-04T09:58:00Z"}
    parsed = decoded(routed([{"temperature": 900}, {"temperature": "x"}], Properties=created))
    again = [decoded(rejection.raw.replace(b"900", b"9").replace(b'"x"', b"8")) for rejection in parsed.rejected]
    assert [row for each in again for row in rows(each)] == [
        ("yard-1", "2026-05-04T09:58", 9.0),
        ("yard-1", "2026-05-04T09:58", 8.0),
    ]


def test_what_was_refused_alone_holds_what_json_cannot_say() -> None:
    body = '[{"temperature":Infinity,"note":"\\ud800"},{"temperature":900,"note":"\u00fc \\udc00"}]'
    whole = f'{{"SystemProperties":{{"connectionDeviceId":"\\ud801","contentEncoding":""}},"Body":{body}}}'
    parsed = decoded(whole.encode())
    assert len(parsed.rejected) == 2
    for rejection in parsed.rejected:
        (again,) = decoded(rejection.raw).rejected
        assert (again.reason, again.detail, again.raw) == (rejection.reason, rejection.detail, rejection.raw)


def test_an_envelope_speaks_for_its_device_alone() -> None:
    assert reason(decoded(routed({**READING, "deviceId": "yard-2"}))) == "identity_mismatch"
    assert reason(decoded(routed(READING), identity="yard-2")) == "identity_mismatch"
    assert rows(decoded(routed(READING), identity="yard-1")) == rows(decoded(routed(READING)))
    assert rows(decoded(routed({**READING, "device": "a"}, SystemProperties={})))[0][0] == "a"


TOLD: dict[str, dict[str, object]] = {
    "twin": routed({"version": 3}, {"iothub-message-source": "twinChangeEvents"}),
    "lifecycle": routed({}, Properties={"hubName": "h", "deviceId": "x", "opType": "createDeviceIdentity"}),
    "connection": routed({}, Properties={"iothub-message-schema": "deviceConnectionStateNotification"}),
    "capture": {"SystemProperties": {"iothub-message-source": "deviceLifecycleEvents"}, "Body": 1},
    "IoT Central": {"applicationId": "0", "messageSource": "deviceConnectivity", "deviceId": "x"},
    "Event Grid": {**GRID, "eventType": "Microsoft.Devices.DeviceConnected", "data": {"deviceId": "x"}},
}  # fmt: skip


@pytest.mark.parametrize("kind", TOLD)
def test_what_the_hub_tells_of_a_device_is_no_telemetry(kind: str) -> None:
    assert reason(decoded(TOLD[kind])) == "not_telemetry"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, "empty"), ("", "empty"), ([], "empty"), ("[]", "empty"), (5, "not_an_object"), ([5], "not_an_object"),
        ("hello", "not_json"), ("AAECgICA", "encoding"),
        ("AAECgICA==", "not_json"),
        ("AAECgICA====", "not_json"), ("AAECgIA=x", "not_json"), ("gI==", "encoding"),
        ([[READING]], "not_an_object"), ("{", "not_json"),
    ],
)  # fmt: skip
def test_an_envelope_without_a_reading_has_a_reason(body: object, expected: str) -> None:
    assert reason(decoded(routed(body))) == expected


@pytest.mark.parametrize("odd", [{"SystemProperties": 5}, {"Properties": [1]}, {"EnqueuedTimeUtc": {}}])
def test_an_envelope_that_is_not_as_azure_writes_it_still_gives_its_reading(odd: dict[str, Any]) -> None:
    assert rows(decoded(routed({**READING, "device": "yard-1"}, **odd))) == rows(decoded(routed(READING)))


def test_envelopes_are_opened_only_so_deep() -> None:
    value: dict[str, object] = READING
    for _ in range(4):
        value = routed(value)
    assert len(rows(decoded(value))) == 1
    assert reason(decoded(routed(value))) == "too_deep"


def test_more_readings_than_a_message_may_have_refuse_it_as_a_whole() -> None:
    half = [1] * (MOST // 2 + 1)
    parsed = decoded([routed(half), routed(half), routed(READING)])
    (rejection,) = parsed.rejected
    assert (rejection.position, rejection.reason, len(parsed.readings)) == (7 << ELEMENT_BITS, "too_large", 0)
    assert rejection.detail == "65537 readings are more than 65535"


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress), ("utf-8", bytes),
     ("deflate", lambda data: zlib.compress(data, wbits=-15))],
)  # fmt: skip
def test_packed_bodies_are_unpacked_by_their_content_encoding(encoding: str, pack: Any) -> None:
    body = base64.b64encode(pack(json.dumps([READING]).encode())).decode()
    assert rows(decoded(routed(body, {"contentEncoding": encoding}))) == [("yard-1", "2026-05-04T10:00", 14.5)]


@pytest.mark.parametrize(
    ("data", "encoding", "expected"),
    [
        (gzip.compress(bytes(1001), mtime=0), "gzip", "too_large: a gzip body unpacks to more than the 1000 bytes"),
        (zlib.compress(bytes(1001)), "deflate", "too_large"),
        (gzip.compress(bytes(1000), mtime=0)[:-9], "gzip", "encoding: the body is not whole gzip"),
        (b"{}", "gzip", "encoding: the body is not whole gzip"),
        (b"{}", "br", "encoding: the content encoding 'br' is none of gzip, deflate, utf-8"),
    ],
)
def test_a_body_that_is_not_as_its_encoding_says_or_is_too_large_is_refused(
    data: bytes, encoding: str, expected: str
) -> None:
    assert unpacked(gzip.compress(bytes(1000)), "gzip", 1000) == bytes(1000)
    with pytest.raises(BadEvent, match=expected):
        unpacked(data, encoding, 1000)


def test_all_bodies_of_one_message_share_its_limit() -> None:
    body = base64.b64encode(gzip.compress(json.dumps(READING).encode() + b" " * 300_000)).decode()
    part = routed(body, {"contentEncoding": "gzip"})
    parsed = decoded([part] * 4)
    assert (len(parsed.readings), [rejection.reason for rejection in parsed.rejected]) == (3, ["too_large"])
    assert len(rows(decoded([part] * 3))) == 3


def test_lines_of_packed_bodies_are_judged_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.core.intake.messages.decoding.VALUES_AT_ONCE", 3)  # a packed reading weighs two
    body = base64.b64encode(gzip.compress(json.dumps(READING).encode() + b" " * 600)).decode()
    line = json.dumps(routed(body, {"contentEncoding": "gzip"})).encode()
    parts = list(
        Decoder(AIR).line_parts([line] * 6, positions=range(6), not_after_minute=NOW, zoning=Zoning(AIR, None))
    )
    assert [len(part.readings) for part in parts] == [2, 2, 2]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("limit", "expected"), [(1, [1] * 6), (250, [3, 3]), (700, [6])])
def test_messages_with_many_readings_in_their_envelopes_are_judged_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch, limit: int, expected: list[int], *, packed: bool
) -> None:
    monkeypatch.setattr("shared.core.intake.messages.decoding.VALUES_AT_ONCE", limit)
    inner = json.dumps([1] * 100).encode()
    text = base64.b64encode(gzip.compress(inner) if packed else inner).decode()
    body = json.dumps(routed(text, {"contentEncoding": "gzip"} if packed else {})).encode()
    about: dict[str, Any] = {"positions": range(6), "identities": [None] * 6, "not_after_minutes": [NOW] * 6}
    parts = list(Decoder(AIR).stretches([body] * 6, **about))
    assert [count for count, _ in parts] == expected
    assert [len(parsed.rejected) for _, parsed in parts] == [count * 100 for count in expected]
    together = Decoder(AIR).decode_many([body] * 6, **about)
    assert together.rejected == [rejection for _, parsed in parts for rejection in parsed.rejected]


@pytest.mark.parametrize(
    "more",
    [
        {"EnqueuedTimeUtc": "x" * 5000}, {"EnqueuedTimeUtc": ["x"] * 5000}, {"EnqueuedTimeUtc": 10**4000},
        {"Properties": {"iothub-creation-time-utc": "x" * 5000}}, {"SystemProperties": {"enqueuedTime": "x" * 5000}},
        {"SystemProperties": {"connectionDeviceId": "x" * 5000}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", [[1] * 50, json.dumps([1] * 50)])
def test_what_an_envelope_says_is_not_repeated_without_end_with_each_of_its_readings(
    more: dict[str, object], body: object
) -> None:
    parsed = decoded([{**routed(body), **more}])
    assert len(parsed.rejected) == 50
    assert max(len(rejection.raw) for rejection in parsed.rejected) < 500


def test_a_device_of_an_envelope_whose_id_is_too_long_is_refused_for_it() -> None:
    sent = {**routed(READING), "SystemProperties": {"connectionDeviceId": "x" * 5000}}
    assert [rejection.reason for rejection in decoded([sent]).rejected] == ["device_id"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5/4/2026 10:00:05 AM", "2026-05-04T10:00:05"), ("12/31/2026 12:59:59 PM", "2026-12-31T12:59:59"),
        ("1/1/2026 12:00:00 AM", "2026-01-01T00:00:00"), ("5/4/2026 3:07:05 pm", "2026-05-04T15:07:05"),
        ("05/04/2026 15:07:05", "2026-05-04T15:07:05"), ("2026-05-04T10:00:05.1230000Z", "2026-05-04T10:00:05"),
        ("2026-05-04T12:00:05+02:00", "2026-05-04T10:00:05"), ("2026-05-04T10:00:05", "2026-05-04T10:00:05"),
        (1777888805123, "2026-05-04T10:00:05"), ("13/4/2026 10:00:05 AM", None), ("5/4/2026", None), ({}, None),
        (None, None), (True, None),
    ],
)  # fmt: skip
def test_times_of_envelopes_are_read_in_the_forms_azure_writes(text: object, expected: str | None) -> None:
    assert seconds_of([text, None]).tolist() == [UNKNOWN if expected is None else second(expected), UNKNOWN]


NAMES = st.sampled_from(["Body", "SystemProperties", "Properties", "EnqueuedTimeUtc", "telemetry", "messageSource",
                         "data", "eventType", "topic", "IoTHub", "EventEnqueuedUtcTime", "deviceId", "temp",
                         "contentEncoding", "connectionDeviceId", "iothub-message-source"])  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just("gzip"), st.just("a")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=6), min_size=1, max_size=4))
def test_whatever_stands_in_an_envelope_is_accepted_or_refused_once(values: list[dict[str, object]]) -> None:
    parsed = decoded(values)
    places = sorted([*parsed.readings.position.tolist(), *(rejection.position for rejection in parsed.rejected)])
    assert places == list(range(7 << ELEMENT_BITS, (7 << ELEMENT_BITS) + len(places)))
    assert len(places) >= len(values)
