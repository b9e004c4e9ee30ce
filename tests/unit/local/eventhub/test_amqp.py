"""The AMQP codec against laws, against hostile bytes, and against the Python client's own codec as an oracle."""

import math
import struct
import uuid
from contextlib import suppress
from typing import Any

import pytest
from azure.eventhub._pyamqp import _decode as theirs_decode
from azure.eventhub._pyamqp import _encode as theirs_encode
from azure.eventhub._pyamqp.message import Message as TheirMessage
from azure.eventhub._pyamqp.message import Properties as TheirProperties
from hypothesis import given, settings
from hypothesis import strategies as st

from local.eventhub.amqp import message as amqp
from local.eventhub.amqp.decode import MAX_DEPTH, decode, items, skip
from local.eventhub.amqp.encode import (
    Array,
    Described,
    Long,
    Malformed,
    Raw,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
    encode,
)
from local.eventhub.amqp.errors import AmqpError, ProtocolViolation
from local.eventhub.amqp.frames import (
    AMQP_HEADER,
    PROTOCOL_HEADER,
    TRANSFER_OVERHEAD,
    Frame,
    FrameReader,
    transfer_frame,
)
from local.eventhub.amqp.performatives import Attach, Begin, Close, Flow, Open, Transfer
from local.eventhub.amqp.transport import AMQP_FRAME, build, error_value, parse, symbols
from local.eventhub.messages import BATCH_FORMAT, stamp, unpack

U32, I64 = 1 << 32, 1 << 63
TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
ASCII = st.text(st.characters(codec="ascii"), max_size=40)
WIDE_INTEGERS = st.one_of(
    st.integers(0, 255).map(UByte),
    st.integers(0, 0xFFFF).map(UShort),
    st.integers(0, U32 - 1).map(UInt),
    st.integers(0, (1 << 64) - 1).map(ULong),
    st.integers(-I64, I64 - 1).map(Long),
    st.integers(-I64, I64 - 1).map(Timestamp),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-I64, I64 - 1),
    WIDE_INTEGERS,
    st.floats(allow_nan=False),
    TEXT,
    ASCII.map(Symbol),
    st.binary(max_size=300),
    st.uuids(),
)
KEYS = st.one_of(TEXT, st.integers(2, I64 - 1), st.binary(max_size=20))
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=8),
        st.dictionaries(KEYS, inner, max_size=8),
        st.builds(Described, st.integers(0, 200).map(ULong), inner),
    ),
    max_leaves=25,
)


@settings(deadline=None)
@given(VALUES)
def test_a_value_survives_encoding_and_decoding_at_any_place_of_a_buffer(value: Any) -> None:
    encoded = encode(value)
    assert decode(b"\x40" + encoded + b"\x41", 1) == (value, 1 + len(encoded))
    assert skip(b"\x40" + encoded + b"\x41", 1) == 1 + len(encoded)


@settings(deadline=None)
@given(VALUES, st.data())
def test_a_value_that_is_cut_short_is_malformed(value: Any, data: st.DataObject) -> None:
    encoded = encode(value)
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    with pytest.raises(Malformed):
        decode(cut)
    with pytest.raises(Malformed):
        skip(cut, 0)


def _read_in_every_way(raw: bytes) -> None:
    for read in (decode, amqp.read_message, lambda raw: skip(raw, 0), lambda raw: items(raw, 0)):
        with suppress(Malformed):
            read(raw)
    for message_format in (0, BATCH_FORMAT):
        with suppress(Malformed):
            unpack(raw, message_format)
    with suppress(Malformed, ProtocolViolation):
        parse(raw)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_the_codecs_own_errors(noise: bytes) -> None:
    _read_in_every_way(noise)


@settings(deadline=None)
@given(VALUES, st.data())
def test_damaged_bytes_raise_nothing_but_the_codecs_own_errors(value: Any, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from((amqp.MESSAGE_ANNOTATIONS, amqp.APPLICATION_PROPERTIES, amqp.VALUE, 0x12, 0x14)))
    encoded = bytearray(encode(Described(ULong(kind), {"key": value} if kind < amqp.VALUE else [value] * 3)))
    for _ in range(data.draw(st.integers(0, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    _read_in_every_way(bytes(encoded))


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (None, "40"),
        (True, "41"),
        (False, "42"),
        (-128, "5480"),
        (128, "7100000080"),
        (1 << 31, "810000000080000000"),
        (UInt(0), "43"),
        (UInt(255), "52ff"),
        (UInt(256), "7000000100"),
        (ULong(0), "44"),
        (ULong(0x24), "5324"),
        (Timestamp(-1), "83ffffffffffffffff"),
        (1.5, "823ff8000000000000"),
        ([], "45"),
        ("é", "a102c3a9"),
        (Symbol("a"), "a30161"),
        (b"\x00", "a00100"),
        ({}, "c10100"),
        (Array(["a", "b"]), "f00000000f00000002b1000000016100000001" + "62"),
        (Described(ULong(0x24), []), "00532445"),
        (uuid.UUID(int=1), "98" + "00" * 15 + "01"),
    ],
)
def test_known_values_have_the_bytes_of_the_standard(value: object, wire: str) -> None:
    assert encode(value).hex() == wire


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        ("5600", False),
        ("5601", True),
        ("51ff", -1),
        ("61fffe", -2),
        ("55ff", -1),
        ("723fc00000", 1.5),
        ("7300000041", "A"),
        ("800000000000000001", 1),
        ("7400000001", Raw(bytes.fromhex("7400000001"))),
        ("e00602a1016101" + "62", ["a", "b"]),
        ("e00100", []),
        ("f00000000400000000", []),
        ("c00100", []),
    ],
)
def test_forms_that_only_other_peers_send_are_understood(wire: str, value: object) -> None:
    assert decode(bytes.fromhex(wire)) == (value, len(wire) // 2)


@pytest.mark.parametrize(
    "wire",
    [
        "",
        "3f",  # unknown constructor
        "5602",  # neither true nor false
        "7300110000",  # beyond Unicode
        "a102c328",  # broken UTF-8
        "a301ff",  # symbol beyond ASCII
        "a00461",  # longer than the buffer
        "c1030140" + "40",  # odd number of map entries
        "c1054045" + "40" * 3,  # counts more than it holds
        "c103024540",  # a list as a key
        "c0030140" + "40",  # longer than its elements
        "f000000005ffffffff40",  # four thousand million nulls in ten bytes
        "d0ffffffff00000001",
        "00",
        "0053",
    ],
)
def test_malformed_values_are_refused(wire: str) -> None:
    with pytest.raises(Malformed):
        decode(bytes.fromhex(wire))


@pytest.mark.parametrize("opening", [b"\x00\x43", b"\xd0\x00\x00\xff\xff\x00\x00\x00\x01"])
def test_nesting_without_end_is_refused_before_the_stack_is(opening: bytes) -> None:
    with pytest.raises(Malformed):
        decode(opening * 10_000)
    deep: object = None
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert decode(encode(deep))[0] == deep


@pytest.mark.parametrize("value", [UByte(256), UShort(-1), UInt(U32), ULong(-1), Long(I64), I64])
def test_an_integer_beyond_its_type_is_not_encoded(value: int) -> None:
    with pytest.raises(OverflowError):
        encode(value)


def test_a_value_without_an_amqp_type_is_not_encoded() -> None:
    with pytest.raises(TypeError, match="set has no AMQP type"):
        encode({1, 2})


def _as_theirs(value: Any) -> Any:
    """What the client's decoder gives for a value: text comes as bytes, descriptors are dropped."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, Described):
        return _as_theirs(value.value)
    if isinstance(value, list):
        return [_as_theirs(item) for item in value]
    if isinstance(value, dict):
        return {_as_theirs(key): _as_theirs(item) for key, item in value.items()}
    return value


OUTCOME_CODES = range(0x23, 0x28)  # the client turns these descriptors into dictionaries


@settings(deadline=None)
@given(VALUES.filter(lambda value: not any(f"descriptor={code}," in repr(value) for code in OUTCOME_CODES)))
def test_the_clients_decoder_reads_what_we_encode(value: Any) -> None:
    encoded = memoryview(encode(value))
    rest, decoded = theirs_decode._DECODE_BY_CONSTRUCTOR[encoded[0]](encoded[1:])
    assert (decoded, len(rest)) == (_as_theirs(value), 0)


@settings(deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-(1 << 31), (1 << 31) - 1), TEXT, st.binary(max_size=300)),
        lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(TEXT, inner, max_size=5)),
        max_leaves=20,
    )
)
def test_we_decode_what_the_client_encodes(value: Any) -> None:
    output = bytearray()
    theirs_encode.encode_value(output, value)
    assert decode(bytes(output)) == (value, len(output))


@settings(deadline=None)
@given(
    body=st.binary(max_size=400),
    annotations=st.dictionaries(st.text("abc-", min_size=1, max_size=9), TEXT, min_size=1, max_size=5),
    properties=st.dictionaries(TEXT, st.one_of(TEXT, st.integers(-9, 9), st.booleans()), min_size=1, max_size=5),
    content_type=st.text("abc/", max_size=9),
)
def test_a_message_of_the_client_comes_out_of_the_broker_with_its_sections_untouched(
    body: bytes, annotations: dict[str, str], properties: dict[str | bytes, Any], content_type: str
) -> None:
    output = bytearray()
    message = TheirMessage(
        data=[body],
        message_annotations={key.encode(): value for key, value in annotations.items()},
        application_properties=properties,
        properties=TheirProperties(content_type=content_type.encode()),
    )
    theirs_encode.encode_payload(output, message)
    (event,) = unpack(bytes(output), 0).events
    stored = stamp(event, 7, "1234", 1_700_000_000_000)

    place = {"x-opt-sequence-number": 7, "x-opt-offset": "1234", "x-opt-enqueued-time": 1_700_000_000_000}
    ours = amqp.read_message(stored)
    assert ours.body == body
    assert ours.annotations == annotations | place
    assert ours.application_properties == properties
    assert ours.properties[6] == content_type
    theirs = theirs_decode.decode_payload(memoryview(stored))
    assert theirs.data == [body]
    assert theirs.application_properties == _as_theirs(properties)
    assert theirs.message_annotations == _as_theirs(annotations | place)


def _section(code: int, value: object) -> bytes:
    return b"\x00\x53" + bytes((code,)) + encode(value)


BODY = _section(amqp.DATA, b"body")


def test_a_batch_gives_its_events_in_order_and_its_partition_key_to_those_without_one() -> None:
    own = _section(amqp.MESSAGE_ANNOTATIONS, {Symbol("x-opt-partition-key"): "own"}) + BODY
    batch = _section(amqp.MESSAGE_ANNOTATIONS, {Symbol("x-opt-partition-key"): "dev"})
    batch += b"".join(_section(amqp.DATA, event) for event in (own, BODY))
    delivery = unpack(batch, BATCH_FORMAT)
    assert delivery.partition_key == "dev"
    stored = [amqp.read_message(stamp(event, 0, "0", 0)) for event in delivery.events]
    assert [message.annotations["x-opt-partition-key"] for message in stored] == ["own", "dev"]


def test_a_forwarded_event_loses_its_old_place_but_no_other_annotation() -> None:
    before = {
        Symbol("iothub-connection-device-id"): "dev-1",
        Symbol("x-opt-sequence-number"): Long(99),
        Symbol("x-opt-offset"): "99",
        Symbol("iothub-enqueuedtime"): Timestamp(5),
        Symbol("x-opt-enqueued-time"): Timestamp(99),
        Symbol("x-opt-partition-key"): "key",
    }
    (event,) = unpack(_section(amqp.MESSAGE_ANNOTATIONS, before) + BODY, 0).events
    stored = stamp(event, 3, "77", 8)
    assert [stored.count(key) for key in (b"x-opt-sequence-number", b"x-opt-offset", b"x-opt-enqueued-time")] == [
        1,
        1,
        1,
    ]
    assert amqp.read_message(stored).annotations == {
        "iothub-connection-device-id": "dev-1",
        "iothub-enqueuedtime": 5,
        "x-opt-partition-key": "key",
        "x-opt-sequence-number": 3,
        "x-opt-offset": "77",
        "x-opt-enqueued-time": 8,
    }


def test_header_properties_and_odd_bodies_pass_byte_for_byte_and_delivery_annotations_do_not() -> None:
    header = _section(amqp.HEADER, [True])
    rest = _section(amqp.PROPERTIES, [uuid.UUID(int=5)]) + _section(amqp.VALUE, {"a": [1, 2.5]})
    rest += _section(amqp.FOOTER, {Symbol("f"): 1})
    (event,) = unpack(header + _section(amqp.DELIVERY_ANNOTATIONS, {Symbol("hop"): 1}) + rest, 0).events
    stored = stamp(event, 0, "16", 0)
    assert stored.startswith(header)
    assert stored.endswith(rest)
    assert b"hop" not in stored


def test_sections_with_a_wide_descriptor_are_read() -> None:
    assert amqp.read_message(b"\x00\x80" + struct.pack(">Q", amqp.DATA) + encode(b"x")).body == b"x"


@pytest.mark.parametrize(
    "message",
    [
        b"\x00",
        b"no message",
        b"\x00\xa3\x01a\x40",  # symbolic descriptor
        _section(0x79, b""),
        BODY + _section(amqp.PROPERTIES, []),  # out of order
        _section(amqp.DATA, "text"),
        _section(amqp.PROPERTIES, {}) + BODY,
        _section(amqp.APPLICATION_PROPERTIES, []) + BODY,
        _section(amqp.MESSAGE_ANNOTATIONS, {Symbol("x-opt-partition-key"): 5}) + BODY,
        _section(amqp.VALUE, Raw(b"\xc0\x05\x01\x3f\x00\x00\x00")),
    ],
)
@pytest.mark.parametrize("in_batch", [False, True])
def test_what_no_consumer_could_read_does_not_get_into_a_log(message: bytes, in_batch: bool) -> None:
    with pytest.raises(Malformed):
        unpack(*((_section(amqp.DATA, message), BATCH_FORMAT) if in_batch else (message, 0)))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=12), st.lists(st.integers(1, 50), max_size=40))
def test_frames_come_out_the_same_however_the_stream_is_split(payloads: list[bytes], cuts: list[int]) -> None:
    stream = AMQP_HEADER + b"".join(build(3, Transfer(1, 0), payload) for payload in payloads)
    reader = FrameReader(4096)
    frames: list[Frame] = []
    for size in [*cuts, len(stream)]:
        frames += reader.feed(stream[:size])
        stream = stream[size:]
    assert [frame.kind for frame in frames] == [PROTOCOL_HEADER] + [AMQP_FRAME] * len(payloads)
    assert [parse(frame.body)[1] for frame in frames[1:]] == payloads


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x00\x00\x07\x02\x00\x00\x00",
        b"\x00\x00\x10\x01\x02\x00\x00\x00",  # larger than agreed
        b"\x00\x00\x00\x08\x01\x00\x00\x00",  # data offset within the header
        b"\x00\x00\x00\x08\x03\x00\x00\x00",  # data offset beyond the frame
        b"\x00\x00\x00\x08\x02\x02\x00\x00",  # unknown frame type
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_an_impossible_frame_is_a_framing_error_after_the_frames_before_it(frame: bytes) -> None:
    reader = FrameReader(4096)
    frames = reader.feed(AMQP_HEADER + frame)
    assert next(frames).kind == PROTOCOL_HEADER
    with pytest.raises(ProtocolViolation, match="amqp:connection:framing-error"):
        next(frames)


def test_performatives_are_written_with_every_field_for_clients_that_count_them() -> None:
    for performative in (Open("c"), Begin(None, 0, 1, 1), Attach("n", 0, True), Flow(None, 1, 0, 1), Close()):
        (frame,) = FrameReader(4096).feed(build(0, performative))
        described, _ = decode(frame.body)
        assert len(described.value) == len(performative)
        assert parse(frame.body) == (performative, b"")


def test_the_client_reads_our_frames_by_position() -> None:
    frame = build(1, Attach("link", 4, False, max_message_size=9, offered_capabilities=symbols("a", "b")))
    code, fields = theirs_decode.decode_frame(memoryview(frame)[8:])
    assert (code, len(fields)) == (0x12, 14)
    assert (fields[0], fields[1], fields[2], fields[10], fields[11]) == (b"link", 4, False, 9, [b"a", b"b"])


def test_the_fast_transfer_frame_is_the_frame_that_the_general_way_builds() -> None:
    fast = transfer_frame(5, 6, 7 + U32, more=True, size=4) + b"load"
    (frame,) = FrameReader(4096).feed(fast)
    assert frame.channel == 5
    assert len(fast) == TRANSFER_OVERHEAD + 4
    expected = Transfer(6, 7, b"\x00", 0, settled=True, more=True)
    assert parse(frame.body) == (expected, b"load")
    code, fields = theirs_decode.decode_frame(memoryview(fast)[8:])
    assert (code, fields[:6], bytes(fields[11])) == (0x14, [6, 7, b"\x00", 0, True, True], b"load")


def test_nulls_and_trimmed_fields_become_the_defaults_of_the_standard() -> None:
    body = b"\x00\x53\x12" + encode(["n", UInt(1), True, None, None])
    attach, payload = parse(body + b"x")
    assert attach == Attach("n", 1, True, snd_settle_mode=2, rcv_settle_mode=0)
    assert payload == b"x"


@pytest.mark.parametrize(
    ("fields", "condition"),
    [
        (["n"], "attach.handle is missing"),
        ([None, UInt(1), True], "attach.name is missing"),
        (["n", "1", True], "attach.handle is no uint"),
        (["n", -1, True], "attach.handle is no uint"),
        (["n", True, True], "attach.handle is no uint"),
        (["n", ULong(U32), True], "attach.handle is no uint"),
        (["n", UInt(1), 1], "attach.role is no bool"),
        (["n", UInt(1), True, UInt(256)], "attach.snd_settle_mode is no ubyte"),
        ([None] * 15, "attach has 15 fields"),
    ],
)
def test_fields_that_are_missing_or_of_the_wrong_type_are_named(fields: list[object], condition: str) -> None:
    with pytest.raises(ProtocolViolation, match=condition):
        parse(b"\x00\x53\x12" + encode(fields))


@pytest.mark.parametrize("body", [encode(None), encode(["open"]), encode(Described(ULong(0x10), {}))])
def test_a_frame_without_a_performative_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(body)


@pytest.mark.parametrize("descriptor", [ULong(0x19), Symbol("amqp:open:list"), None, 1.5])
def test_an_unknown_performative_is_not_implemented(descriptor: object) -> None:
    with pytest.raises(ProtocolViolation, match="amqp:not-implemented"):
        parse(encode(Described(descriptor, [])))


def test_an_error_keeps_its_three_fields() -> None:
    value = error_value(AmqpError("amqp:not-found", "gone"))
    assert value is not None
    assert decode(value)[0] == Described(0x1D, [Symbol("amqp:not-found"), "gone", None])
    assert error_value(None) is None


def test_not_a_number_travels_as_such() -> None:
    assert math.isnan(decode(encode(math.nan))[0])
