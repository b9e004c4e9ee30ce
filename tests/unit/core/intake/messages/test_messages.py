"""Messages of devices: what is read, and which reason every other one gets."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.stores.scenario_files import load
from shared.core.intake.messages.decoding import LARGEST, Decoder
from shared.core.intake.readings import Parsed
from shared.core.intake.reasons import REASONS
from shared.core.scenario import with_overrides

AIR = load("air_quality")
NOW = int(np.datetime64("2026-11-20T16:00", "m").astype(np.int64))
GOOD: dict[str, object] = {"device_id": "a", "timestamp": "2026-11-20T15:00:00Z", "temp": 12.5, "pm25": 30}


def body(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def raw(text: str) -> bytes:
    """A good message with `text` put in as it stands, for what json.dumps would not write."""
    return b'{"device_id":"a","timestamp":"2026-11-20T15:00Z","pm25":30,' + text.encode() + b"}"


def alone(text: str) -> bytes:
    """A message with nothing but one value, put in as it stands."""
    return raw(text).replace(b'"pm25":30,', b"")


def one(message: bytes, identity: str | None = None) -> Parsed:
    return Decoder(AIR).decode(message, position=7, identity=identity, not_after_minute=NOW)


def value(parsed: Parsed, channel: str) -> float:
    assert parsed.rejected == []
    return float(parsed.readings.values[0, AIR.channel_names.index(channel)])


def test_a_reading_becomes_a_row_of_the_scenarios_channels() -> None:
    parsed = one(body())
    assert parsed.rejected == []
    assert parsed.readings.devices == ("a",)
    assert parsed.readings.device.tolist() == [0]
    assert parsed.readings.minute.tolist() == [NOW - 60]
    assert parsed.readings.position.tolist() == [7 * 65536]
    np.testing.assert_array_equal(parsed.readings.values, np.array([[12.5, *[np.nan] * 5, 30.0]], np.float32))
    kinds = [parsed.readings.device.dtype, parsed.readings.minute.dtype, parsed.readings.position.dtype]
    assert kinds == [np.int32, np.int32, np.int64]


REJECTED: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (b" \n", "empty"),
    (b"\xef\xbb\xbf", "empty"),
    (b"[]", "empty"),
    (b"\xff\xfe", "encoding"),
    (b'{"device_id":"\xff"}', "encoding"),
    (b'[{"device_id":"\xff"}, NaN]', "encoding"),
    (b"{", "not_json"),
    (b"hello", "not_json"),
    (b"{} {}", "not_json"),
    (b"[{}", "not_json"),
    (b"[{},]", "not_json"),
    (b"[NaN 1]", "not_json"),
    (b"[NaN] x", "not_json"),
    (b"\x00\x01", "not_json"),
    (raw('"temp":' + "9" * 5000), "not_json"),
    (b"null", "not_an_object"),
    (b'"text"', "not_an_object"),
    (b"1e999", "not_an_object"),
    (b"[1]", "not_an_object"),
    (b"[[]]", "not_an_object"),
    (b"[" * 50_000, "too_deep"),
    (b"[NaN," + b"[" * 50_000, "too_deep"),
    (raw('"note":' + "[" * 50_000), "too_deep"),
    (raw('"note":' + '{"a":' * 20_000 + "1" + "}" * 20_000), "too_deep"),
    (b" " * (LARGEST + 1), "too_large"),
    (b"[" + b"1," * 65_536 + b"1]", "too_large"),
    (json.dumps({str(k): k for k in range(1001)}).encode(), "too_large"),
    (b"{}", "missing_device"),
    (body(device_id=None), "missing_device"),
    (body(device_id=" "), "missing_device"),
    (body(device_id="null"), "missing_device"),
    (body(device_id=True), "device_id"),
    (body(device_id=1.5), "device_id"),
    (body(device_id={"id": "a"}), "device_id"),
    (body(device_id="x" * 129), "device_id"),
    (body(device_id=10**200), "device_id"),
    (body(device_id=10**130), "device_id"),
    (body(device_id="a\nb"), "device_id"),
    (body(device_id="\ud800"), "device_id"),
    (body(timestamp="yesterday"), "bad_time"),
    (body(timestamp=True), "bad_time"),
    (body(timestamp=[]), "bad_time"),
    (body(timestamp="2026-02-30T00:00Z"), "bad_time"),
    (body(timestamp="2026-11-20 16:06"), "future"),
    (body(timestamp="20261120250000"), "bad_time"),
    (body(timestamp="2099-01-01T00:00Z"), "future"),
    (body(timestamp=10**25), "future"),
    (body(timestamp="2026-11-20T16:06Z"), "future"),
    (body(timestamp="1999-12-31T23:59Z"), "ancient"),
    (body(timestamp=0), "ancient"),
    (body(timestamp=-1e300), "ancient"),
    (body(pm25=None, temp="warm"), "bad_value"),
    (body(pm25=None, temp="3,5"), "bad_value"),
    (body(pm25=None, temp=True), "bad_value"),
    (body(pm25=None, temp=[1.0]), "bad_value"),
    (body(pm25=None, temp={"v": 1}), "bad_value"),
    (body(pm25=None, temp="inf"), "bad_value"),
    (alone('"temp":Infinity'), "bad_value"),
    (alone('"temp":-Infinity'), "bad_value"),
    (alone('"temp":1e999'), "bad_value"),
    (body(pm25=None, temp=10**400), "bad_value"),
    (body(pm25=None, temp=61), "out_of_range"),
    (body(pm25=None, temp=1e300), "out_of_range"),
    (body(temp=None, pm25=-0.1), "out_of_range"),
    (body(temp=None, pm25="NA"), "no_values"),
    (b'{"device_id":"a","timestamp":"2026-11-20T15:00Z"}', "no_values"),
    (body(temperature=12.5), "duplicate_header"),
    (body(**{"PM2.5": 1}), "duplicate_header"),
    (body(**{"pressure (psi)": 14}), "unit"),
]


@pytest.mark.parametrize(("message", "reason"), REJECTED, ids=range(len(REJECTED)))
def test_each_kind_of_bad_message_has_its_reason_and_keeps_its_bytes(message: bytes, reason: str) -> None:
    parsed = one(message)
    assert len(parsed.readings) == 0
    (rejection,) = parsed.rejected
    assert rejection.reason == reason
    assert rejection.reason in REASONS
    assert rejection.detail.isprintable()
    assert len(rejection.detail) < 400
    assert rejection.position == 7 * 65536
    assert rejection.raw == (message[1:-1] if message.startswith(b"[") and reason == "not_an_object" else message)


def test_bad_messages_leave_the_good_ones_of_their_batch_alone() -> None:
    messages = [m for bad, _ in REJECTED for m in (bad, body())]
    parsed = Decoder(AIR).decode_many(
        messages,
        positions=range(100, 100 + len(messages)),
        identities=[None] * len(messages),
        not_after_minutes=[NOW] * len(messages),
    )
    assert parsed.readings.position.tolist() == [(101 + 2 * k) << 16 for k in range(len(REJECTED))]
    assert [r.position for r in parsed.rejected] == [(100 + 2 * k) << 16 for k in range(len(REJECTED))]
    assert [r.reason for r in parsed.rejected] == [reason for _, reason in REJECTED]


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        (body(temp=61, pm25=None), "temp: 61 is outside -60 to 60 degC"),
        (body(temp="3,5", pm25=-1), "temp: '3,5' is not a finite number"),
        (body(temp=None, pm25=None, wd="NNX"), "wind_dir: 'NNX' is not a finite number or a compass point"),
        (body(timestamp="2099-01-01T00:00Z"), "'2099-01-01T00:00Z' is later than 2026-11-20T16:00Z, when it arrived"),
        (body(device_id="x" * 129), f"the device id '{'x' * 40}...' is longer than 128 characters"),
        (body(device_id=True), "the device id true is not a text"),
        (body(timestamp="x"), "'x' is neither ISO 8601, an epoch nor a date of 12 or 14 digits"),
        (b"[{},]", "expecting value at character 4"),
    ],
)
def test_a_rejection_names_the_key_the_value_and_the_limit(message: bytes, detail: str) -> None:
    assert one(message).rejected[0].detail.startswith(detail)


@pytest.mark.parametrize(
    ("message", "channel", "expected"),
    [
        (body(temp=" 12.5 "), "temp", 12.5),
        (body(temp="1e1"), "temp", 10.0),
        (raw('"temp":NaN'), "temp", np.nan),
        (body(temp="NaN"), "temp", np.nan),
        (body(temp=""), "temp", np.nan),
        (body(pres=87.5), "atmos_press", 875.0),
        (body(**{"Air_Pressure [kPa]": "87.5"}), "atmos_press", 875.0),
        (body(rain=0), "precip", 0.0),
        (b"\xef\xbb\xbf" + body(), "temp", 12.5),
        (body(note={"deep": [1, {"x": None}]}, battery=3.7), "temp", 12.5),
        (body(**{"\ufeffRH ": 50}), "rel_humidity", 50.0),
    ],
)
def test_what_devices_write_is_read(message: bytes, channel: str, expected: float) -> None:
    np.testing.assert_equal(value(one(message), channel), expected)


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-11-20T16:00+01:00",
        1795186800,
        1795186800000,
        1795186800000000,
        20261120150000,
        1795186800.9,
        "1795186800",
        "1795186800000",
        "20261120T150000Z",
    ],
)
def test_a_timestamp_may_be_iso_8601_or_an_epoch_as_number_or_text(timestamp: object) -> None:
    assert one(body(timestamp=timestamp)).readings.minute.tolist() == [NOW - 60]


def test_a_time_without_zone_is_read_in_the_zone_of_a_listed_station_or_of_its_key() -> None:
    local = one(body(device_id="Dongsi", timestamp="2026-11-20 23:00:00"))
    assert local.readings.minute.tolist() == [NOW - 60]
    named = one(b'{"device_id":"a","TIME (UTC)":"2026-11-20 15:00","pm25":1}')
    assert named.readings.minute.tolist() == [NOW - 60]


def test_keys_of_several_kinds_in_one_batch_are_each_converted_on_their_own() -> None:
    messages = [
        body(temp=50),
        b'{"site":"b","utc":"2026-11-20 15:00","temp (degF)":50,"pm25":null}',
        b'{"site":"c","ts (+01:00)":"2026-11-20 16:00","temp (K)":"283.15"}',
        body(temp=10),
    ]
    decoder = Decoder(AIR)
    parsed = decoder.decode_many(messages, positions=range(4), identities=[None] * 4, not_after_minutes=[NOW] * 4)
    np.testing.assert_allclose(parsed.readings.values[:, 0], [50.0, 10.0, 10.0, 10.0], rtol=1e-6)
    assert parsed.readings.minute.tolist() == [NOW - 60] * 4
    assert decoder.converted == {"temp": "K"}


BAD = body(temp=99, pm25=None)


def test_an_array_is_as_many_readings_with_positions_within_the_message() -> None:
    message = b"[" + body() + b",\n " + BAD + b" , " + body(device_id="b") + b"]"
    parsed = one(message)
    assert parsed.readings.position.tolist() == [7 * 65536, 7 * 65536 + 2]
    assert [(r.position, r.reason, r.raw) for r in parsed.rejected] == [(7 * 65536 + 1, "out_of_range", BAD)]


def test_an_array_with_a_bare_nan_keeps_the_bytes_of_each_element() -> None:
    elements = [raw('"temp":NaN'), alone('"temp":Infinity'), '{"device_id":"ü","x":[NaN, "]"]}'.encode()]
    parsed = one(b" [ " + b" , ".join(elements) + b" ] ")
    assert parsed.readings.position.tolist() == [7 * 65536]
    assert [r.raw for r in parsed.rejected] == elements[1:]


def test_the_identity_stands_in_for_a_missing_device_and_must_match_a_named_one() -> None:
    for named in (None, "", " null ", "a", " a "):
        assert one(body(device_id=named), "a").readings.devices == ("a",)
    assert one(body(device_id=12), "12").readings.devices == ("12",)
    for other in ("b", 12, 10**200, True, {"id": "a"}, "A"):
        (rejection,) = one(body(device_id=other), "a").rejected
        assert (rejection.reason, rejection.raw) == ("identity_mismatch", body(device_id=other))
    assert one(body(device_id="b"), "a").rejected[0].detail == "sent by 'a', the body says 'b'"


def test_a_number_is_a_device_id_when_nothing_else_is_known() -> None:
    assert one(body(device_id=12)).readings.devices == ("12",)


def test_lines_of_a_file_keep_their_own_positions_and_take_the_declared_zone() -> None:
    lines = [body(timestamp="2026-11-20 23:00"), b"[1]", body(device_id="Dongsi", timestamp="2026-11-20 23:00")]
    decoder = Decoder(AIR)
    parsed = decoder.decode_lines(lines, positions=[3, 5, 9], not_after_minute=NOW, zone="+08:00")
    assert parsed.readings.position.tolist() == [3, 9]
    assert parsed.readings.minute.tolist() == [NOW - 60] * 2
    assert [(r.position, r.reason) for r in parsed.rejected] == [(5, "not_an_object")]
    by_station = decoder.decode_lines(lines, positions=[3, 5, 9], not_after_minute=NOW + 600)
    assert np.diff(by_station.readings.minute).tolist() == [-480]


def test_ignored_keys_are_listed_once_and_not_without_end() -> None:
    decoder = Decoder(AIR)
    for k in range(150):
        decoder.decode(body(**{f"x{k}": 1, "battery": 2}), position=k, identity=None, not_after_minute=NOW)
    assert list(decoder.ignored)[:3] == ["x0", "battery", "x1"]
    assert len(decoder.ignored) == 100


def test_what_the_decoder_remembers_of_keys_is_bounded() -> None:
    decoder = Decoder(AIR)
    for k in range(1005):
        decoder.decode(body(**{f"x{k}": 1}), position=k, identity=None, not_after_minute=NOW)
    decoder.decode(body(**{"y" * 5000: 1}), position=0, identity=None, not_after_minute=NOW)
    assert len(decoder._keys) == 5


def test_a_scenario_may_refuse_stations_it_does_not_list() -> None:
    decoder = Decoder(with_overrides(AIR, unlisted_stations="reject"))
    found = [
        decoder.decode(body(device_id=name), position=0, identity=None, not_after_minute=NOW)
        for name in ("Dongsi", "a")
    ]
    assert [len(parsed.readings) for parsed in found] == [1, 0]
    assert found[1].rejected[0].reason == "unknown_station"


def test_an_empty_batch_gives_nothing() -> None:
    parsed = Decoder(AIR).decode_many([], positions=[], identities=[], not_after_minutes=[])
    assert (len(parsed.readings), parsed.rejected, parsed.readings.values.shape) == (0, [], (0, 7))


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-200, 1200), st.floats(), st.text(max_size=5))
KEYS = st.sampled_from(["device_id", "site", "timestamp", "ts", "temp", "Temp (K)", "pm25", "pressure", "x", "pm2.5"])
MESSAGES = st.dictionaries(KEYS, SCALARS, max_size=6).map(
    lambda changes: json.dumps({**GOOD, **changes} if len(changes) % 2 else changes).encode()
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(MESSAGES, st.binary(max_size=20)), max_size=12))
def test_a_batch_gives_what_its_messages_give_one_by_one(messages: list[bytes]) -> None:
    n = len(messages)
    together = Decoder(AIR).decode_many(
        messages, positions=range(n), identities=["a", None] * (n // 2) + ["a"] * (n % 2), not_after_minutes=[NOW] * n
    )
    alone = [
        Decoder(AIR).decode(m, position=i, identity=None if i % 2 else "a", not_after_minute=NOW)
        for i, m in enumerate(messages)
    ]
    assert list(together.rejected) == [r for parsed in alone for r in parsed.rejected]
    assert rows(together) == [row for parsed in alone for row in rows(parsed)]


def rows(parsed: Parsed) -> list[tuple[str, int, int, bytes]]:
    readings = parsed.readings
    names = [readings.devices[d] for d in readings.device.tolist()]
    cells = [row.tobytes() for row in readings.values]
    return list(zip(names, readings.minute.tolist(), readings.position.tolist(), cells, strict=True))


SEEDS = [
    body(),
    body(device_id="Dongsi", timestamp="2026-11-20 23:00:00", precip=0.0, rel_humidity=24.01, wind_dir=337.5),
    body(timestamp=1795186800123, temp="-0.7", atmos_press=102.3, wind_spd="4.4", note="ü🌡"),
    b"[" + body() + b"," + body(temp=None) + b"]",
    raw('"temp":NaN,"t":{"a":[1,2,{"b":null}]}'),
    b'{"Site":"x","TS (UTC)":"2026-11-20T15:00","Temp [\xc2\xb0F]":"50","PM2.5":1e1}',
]
SNIPPETS = [
    b"NaN", b"Infinity", b"1e999", b"null", b"true", b'"', b"\\ud800", b"\xff", b"\x00", b"[", b"]", b"{", b"}", b",",
    b":", b'"temp":', b"9" * 30, b"2099-", b"\\u0000", b"[" * 3000, b"-", b"e", b".",
]  # fmt: skip


def mutated(source: random.Random, message: bytes) -> bytes:
    data = bytearray(message)
    for _ in range(source.choice((0, 1, 1, 2, 3))):
        at = source.randrange(len(data) + 1)
        kind = source.randrange(5)
        if kind == 0:
            data[at:at] = source.choice(SNIPPETS)
        elif kind == 1:
            del data[at : at + source.randrange(1, 12)]
        elif kind == 2 and at < len(data):
            data[at] = source.randrange(256)
        elif kind == 3:
            data[at:at] = data[source.randrange(len(data) + 1) :][:20]
        else:
            data[at : at + 8] = source.choice(SNIPPETS)
    return bytes(data)


@pytest.mark.slow
def test_a_hundred_thousand_mutated_messages_are_each_accepted_or_rejected_once() -> None:
    source = random.Random(20261120)
    decoder = Decoder(AIR)
    reasons: dict[str, int] = {}
    accepted = 0
    for _ in range(100):
        messages = [mutated(source, source.choice(SEEDS)) for _ in range(1000)]
        identities = [source.choice((None, None, "a")) for _ in messages]
        parsed = decoder.decode_many(
            messages, positions=range(len(messages)), identities=identities, not_after_minutes=[NOW] * len(messages)
        )
        taken, refused = parsed.readings.position.tolist(), [r.position for r in parsed.rejected]
        assert taken == sorted(set(taken))
        assert refused == sorted(set(refused))
        assert not set(taken) & set(refused)
        assert {p >> 16 for p in taken + refused} == set(range(len(messages)))
        assert not np.isinf(parsed.readings.values).any()
        assert not np.isnan(parsed.readings.values).all(axis=1).any()
        accepted += len(taken)
        for rejection in parsed.rejected:
            reasons[rejection.reason] = reasons.get(rejection.reason, 0) + 1
            assert rejection.raw in messages[rejection.position >> 16]
    assert reasons.keys() <= REASONS.keys()
    assert len(reasons) > 13
    assert accepted > 20_000
