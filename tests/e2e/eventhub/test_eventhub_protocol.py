"""The endpoint against a bare AMQP peer: bad frames, windows, drains, big messages, slow readers, restarts."""

import json
import random
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.eventhub.amqp import message as amqp
from local.eventhub.amqp.encode import Described, Symbol, ULong, encode
from local.eventhub.amqp.frames import AMQP_HEADER, PROTOCOL_HEADER, SASL_HEADER
from local.eventhub.amqp.performatives import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    SaslInit,
    SaslOutcome,
    Transfer,
)
from local.eventhub.amqp.transport import SASL_FRAME, build, parse
from local.eventhub.event_log import log_path, read
from local.eventhub.messages import BATCH_FORMAT
from tests.e2e.eventhub.eventhub_process import Endpoint, until
from tests.e2e.eventhub.eventhub_raw import Peer, error_of, event

MEGABYTE = 1 << 20
ACCEPTED, REJECTED = Described(0x24, []), 0x25


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    hubs = [
        f"--hub={name}:1" for name in ("big", "bad", "window", "slow", "epoch", "drain", "order", "requests", "stolen")
    ]
    endpoint = Endpoint(tmp_path_factory.mktemp("endpoint"), *hubs, "--hub=two:2", "--group", "Second")
    yield endpoint
    code, errors = endpoint.stop()
    assert code == 0
    assert "Traceback" not in errors


@pytest.fixture
def peer(endpoint: Endpoint) -> Iterator[Peer]:
    peer = Peer(endpoint.port)
    yield peer
    peer.socket.close()


def address(hub: str, partition: str = "0", group: str = "$Default") -> str:
    return f"{hub}/ConsumerGroups/{group}/Partitions/{partition}"


FRAME = struct.Struct(">IBBH")


def frame(body: bytes, kind: int = 0, channel: int = 1) -> bytes:
    return FRAME.pack(8 + len(body), 2, kind, channel) + body


BAD_FRAMES = {
    "too large": (FRAME.pack(MEGABYTE + 1, 2, 0, 1), "amqp:connection:framing-error"),
    "too small": (FRAME.pack(7, 2, 0, 1), "amqp:connection:framing-error"),
    "no data offset": (FRAME.pack(8, 0, 0, 1), "amqp:connection:framing-error"),
    "unknown type": (frame(b"\x40", kind=7), "amqp:connection:framing-error"),
    "SASL after the open": (frame(b"\x40", kind=SASL_FRAME), "amqp:connection:framing-error"),
    "a second header": (AMQP_HEADER, "amqp:connection:framing-error"),
    "no performative": (frame(b"\x40"), "amqp:decode-error"),
    "garbage": (frame(b"\x00\x53\x14\xc0\xff\x05garbage"), "amqp:decode-error"),
    "nested without end": (frame(b"\x00\x53\x14" + b"\xc0\x7f\x01" * 40), "amqp:decode-error"),
    "unknown performative": (frame(b"\x00\x53\x77\x45"), "amqp:not-implemented"),
    "a field too many": (frame(b"\x00\x53\x17" + encode([None, None])), "amqp:invalid-field"),
    "a mandatory field missing": (frame(b"\x00\x53\x12" + encode(["link"])), "amqp:invalid-field"),
    "a field of the wrong type": (frame(b"\x00\x53\x12" + encode(["link", "1", True])), "amqp:invalid-field"),
    "a second open": (build(0, Open("again")), "amqp:not-allowed"),
    "a second begin": (build(1, Begin(None, 0, 1, 1)), "amqp:not-allowed"),
    "a channel beyond the limit": (build(300, Begin(None, 0, 1, 1)), "amqp:not-allowed"),
    "a channel without session": (build(9, Flow(0, 1, 0, 1)), "amqp:not-allowed"),
    "the end of no session": (build(9, End()), "amqp:not-allowed"),
    "SASL words": (build(1, SaslOutcome(0)), "amqp:not-allowed"),
    "a transfer without delivery id": (build(1, Transfer(0), b"x"), "amqp:invalid-field"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_closes_its_connection_with_a_condition_and_hurts_no_other(
    endpoint: Endpoint, peer: Peer, name: str
) -> None:
    data, condition = BAD_FRAMES[name]
    bad = Peer(endpoint.port)
    bad.producer("bad")
    bad.expect(Flow)
    bad.raw(data)
    assert bad.closed()[0] == condition
    peer.producer("bad")
    peer.publish(event(b"still served"))
    assert peer.outcome().state == ACCEPTED


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"AMQP\x00\x00\x09\x01"]
)
def test_another_protocol_is_answered_with_ours_and_shown_the_door(endpoint: Endpoint, noise: bytes) -> None:
    peer = Peer(endpoint.port, open_it=False)
    peer.raw(noise)
    answer = peer.frame()
    assert (answer.kind, answer.body) == (PROTOCOL_HEADER, AMQP_HEADER)
    with pytest.raises((EOFError, ConnectionResetError)):
        peer.frame()
    peer.socket.close()


@pytest.mark.parametrize("wrong", [build(0, SaslOutcome(0), kind=SASL_FRAME), frame(b"junk", SASL_FRAME), AMQP_HEADER])
def test_a_wrong_word_during_sasl_is_refused_by_sasl(endpoint: Endpoint, wrong: bytes) -> None:
    peer = Peer(endpoint.port, open_it=False)
    peer.raw(SASL_HEADER + wrong)
    assert peer.frame().body == SASL_HEADER
    peer.frame()  # mechanisms
    assert parse(peer.frame().body)[0] == SaslOutcome(1)
    peer.socket.close()


def test_the_header_has_to_come_again_after_sasl(endpoint: Endpoint) -> None:
    peer = Peer(endpoint.port, open_it=False)
    peer.raw(SASL_HEADER + build(0, SaslInit(Symbol("PLAIN"), b"\x00a\x00b"), kind=SASL_FRAME) + SASL_HEADER)
    frames = [peer.frame() for _ in range(4)]
    assert [frames[0].body, frames[3].body] == [SASL_HEADER, AMQP_HEADER]
    peer.socket.close()


@pytest.mark.parametrize(
    ("first", "condition"),
    [
        (build(0, Begin(None, 0, 1, 1)), "amqp:not-allowed"),
        (build(0, Open("raw", max_frame_size=511)), "amqp:invalid-field"),
    ],
)
def test_a_bad_beginning_is_answered_with_an_open_and_a_close(endpoint: Endpoint, first: bytes, condition: str) -> None:
    peer = Peer(endpoint.port, open_it=False)
    peer.raw(AMQP_HEADER + first)
    peer.expect(Open)
    assert peer.closed()[0] == condition


def test_the_frames_before_a_bad_one_count(endpoint: Endpoint, peer: Peer) -> None:
    peer.producer("bad")
    peer.expect(Flow)
    peer.raw(build(1, Transfer(0, 0, b"t", 0), event(b"good")) + b"\x00\x00\x00\x00bad!")
    assert peer.outcome().state == ACCEPTED
    assert peer.closed()[0] == "amqp:connection:framing-error"
    assert any(b"good" in record.message for record in read(log_path(endpoint.data, "bad", 0)))


def test_a_close_is_answered_and_so_is_the_end_of_a_session(endpoint: Endpoint, peer: Peer) -> None:
    peer.send(End())
    peer.expect(End)
    peer.send(Detach(0, closed=True))  # as the Python client does, too late
    peer.send(Begin(None, 0, 10, 10))
    peer.expect(Begin)
    peer.send(Close(), channel=0)
    assert peer.expect(Close) == Close()
    with pytest.raises(EOFError):
        peer.frame()
    assert endpoint.process.poll() is None


def test_a_peer_that_wants_heartbeats_gets_them(endpoint: Endpoint) -> None:
    peer = Peer(endpoint.port, open_it=False)
    peer.raw(AMQP_HEADER + build(0, Open("raw", idle_timeout=200)))
    peer.expect(Open)
    assert [peer.frame().body for _ in range(3)] == [b"", b"", b""]
    peer.socket.close()


def test_two_hundred_damaged_conversations_leave_the_endpoint_as_it_was(endpoint: Endpoint, peer: Peer) -> None:
    source = random.Random(20_261_120)
    terminus = Described(ULong(0x29), ["bad"]), Described(ULong(0x28), [address("bad")])
    good = [
        AMQP_HEADER,
        build(0, Open("noise", max_frame_size=600)),
        build(1, Begin(None, 0, 100, 100)),
        build(1, Attach("p", 0, False, source=terminus[1], target=terminus[0], initial_delivery_count=0)),
        build(1, Attach("c", 1, True, source=terminus[1], target=terminus[0])),
        build(1, Flow(0, 100, 0, 100, 1, 0, 50)),
        build(1, Transfer(0, 0, b"t", 0), event(b"x")),
        build(1, Transfer(0, 1, b"t", BATCH_FORMAT), b"\x00\x53\x75" + encode(event(b"x"))),
        build(1, Detach(1, closed=True)),
        build(1, End()),
    ]
    for _ in range(200):
        stream = bytearray(b"".join(good))
        for _ in range(source.randint(1, 6)):
            stream[source.randrange(8, len(stream))] = source.randrange(256)
        noise = Peer(endpoint.port, open_it=False)
        noise.raw(bytes(stream))
        noise.socket.shutdown(socket.SHUT_WR)
        noise.until_gone()
    peer.producer("bad")
    peer.publish(event(b"still served"))
    assert peer.outcome().state == ACCEPTED  # and the fixture sees that nothing was traced


@pytest.mark.parametrize(
    "wrong",
    [Transfer(7, 0, b"t", 0), Detach(7, closed=True), Flow(0, 10, 0, 10, handle=7)],
    ids=["transfer", "detach", "flow"],
)
def test_a_handle_that_is_not_attached_ends_the_session_and_not_the_connection(
    peer: Peer, wrong: Transfer | Detach | Flow
) -> None:
    peer.send(wrong)
    assert error_of(peer.expect(End).error)[0] == "amqp:session:unattached-handle"
    peer.send(End())
    peer.send(Begin(None, 0, 10, 10), channel=2)
    peer.expect(Begin)


def test_a_handle_in_use_ends_the_session(peer: Peer) -> None:
    peer.producer("bad")
    peer.expect(Flow)
    peer.producer("bad")
    assert error_of(peer.expect(End).error)[0] == "amqp:session:handle-in-use"


def test_a_transfer_on_a_link_that_receives_is_not_allowed(peer: Peer) -> None:
    peer.consumer(address("bad"))
    peer.expect(Attach)
    peer.send(Transfer(0, 0, b"t", 0), event(b"x"))
    assert peer.closed()[0] == "amqp:not-allowed"


@pytest.mark.parametrize(
    ("where", "condition"),
    [
        ("nobody", "amqp:not-found"),
        ("", "amqp:not-found"),
        ("bad/Partitions/1", "com.microsoft:argument-out-of-range"),
        ("bad/Partitions/-1", "com.microsoft:argument-out-of-range"),
        ("bad/Publishers/x", "amqp:not-found"),
        ("x" * 5000, "amqp:not-found"),
    ],
)
def test_a_producer_for_nothing_is_attached_and_detached_with_the_reason(
    peer: Peer, where: str, condition: str
) -> None:
    peer.producer(where, handle=3)
    assert peer.expect(Attach).handle == 3
    assert peer.detached()[0] == condition
    peer.publish(event(b"into the void"), handle=3)  # on the way when the detach was sent
    peer.send(Detach(3, closed=True))
    peer.producer("bad", handle=3)  # the handle is free again
    peer.publish(event(b"x"), handle=3)
    assert peer.outcome().state == ACCEPTED


@pytest.mark.parametrize(
    ("where", "position", "condition"),
    [
        (address("nobody"), "x-opt-offset > '-1'", "amqp:not-found"),
        (address("bad", group="third"), "x-opt-offset > '-1'", "amqp:not-found"),
        (address("bad", partition="1"), "x-opt-offset > '-1'", "com.microsoft:argument-out-of-range"),
        ("bad", "x-opt-offset > '-1'", "amqp:not-found"),
        (address("bad"), "x-opt-offset > '99999999999'", "com.microsoft:argument-out-of-range"),
        (address("bad"), "x-opt-colour > 'red'", "amqp:invalid-field"),
    ],
)
def test_a_consumer_of_nothing_is_attached_and_detached_with_the_reason(
    peer: Peer, where: str, position: str, condition: str
) -> None:
    peer.consumer(where, handle=2, position=position)
    assert peer.expect(Attach).handle == 2
    assert peer.detached()[0] == condition


@pytest.mark.parametrize("terminus", [None, "text", Described(ULong(0x30), []), Described(ULong(0x29), "text")])
def test_a_target_that_is_none_is_not_found(peer: Peer, terminus: object) -> None:
    peer.send(Attach("odd", 0, False, source=None, target=terminus, initial_delivery_count=0))
    peer.expect(Attach)
    assert peer.detached()[0] == "amqp:not-found"


def test_consumer_groups_are_known_by_name_in_any_case(peer: Peer) -> None:
    peer.consumer(address("two", "1", group="second"))
    peer.expect(Attach)
    peer.credit(1)
    peer.producer("two/Partitions/1", handle=1)
    peer.publish(event(b"for all groups"), handle=1)
    assert amqp.read_message(peer.message()).body == b"for all groups"


@pytest.mark.parametrize("frame_size", [400, 65_000])
def test_a_message_of_a_megabyte_goes_through_in_frames_of_any_size(endpoint: Endpoint, frame_size: int) -> None:
    peer = Peer(endpoint.port, max_frame=512 if frame_size == 400 else 65_536)
    message = event(bytes(MEGABYTE - 8))
    assert len(message) == MEGABYTE
    peer.producer("big", handle=0)
    peer.publish(message, frame_size=frame_size)
    outcome = peer.outcome()
    assert (outcome.first, outcome.settled, outcome.state) == (0, True, ACCEPTED)
    peer.consumer(address("big"), handle=1)
    peer.credit(1, handle=1)
    assert amqp.read_message(peer.message()).body == bytes(MEGABYTE - 8)
    peer.socket.close()


def test_a_message_above_a_megabyte_costs_the_link_and_nothing_is_stored(endpoint: Endpoint, peer: Peer) -> None:
    before = len(list(read(log_path(endpoint.data, "big", 0))))
    peer.producer("big")
    peer.publish(event(bytes(MEGABYTE - 7)))
    condition, text = peer.detached()
    assert condition == "amqp:link:message-size-exceeded"
    assert str(MEGABYTE) in text
    peer.send(Detach(0, closed=True))
    peer.producer("big", handle=1)
    peer.publish(event(b"small"), handle=1, first=1)
    assert peer.outcome().state == ACCEPTED
    assert len(list(read(log_path(endpoint.data, "big", 0)))) == before + 1


def test_what_is_no_message_is_rejected_and_the_link_goes_on(peer: Peer) -> None:
    peer.producer("bad")
    peer.publish(b"no message at all", event(b"fine"))
    outcome = peer.outcome()
    assert isinstance(outcome.state, Described)
    assert outcome.state.descriptor == REJECTED
    assert error_of(outcome.state.value[0])[0] == "amqp:decode-error"
    assert peer.outcome().state == ACCEPTED


def test_an_aborted_message_leaves_no_trace(endpoint: Endpoint, peer: Peer) -> None:
    peer.producer("bad")
    peer.send(Transfer(0, 0, b"t", 0, more=True), event(b"regretted"))
    peer.send(Transfer(0, 0, b"t", 0, aborted=True))
    peer.publish(event(b"meant"), first=1)
    assert peer.outcome().first == 1
    assert not any(b"regretted" in record.message for record in read(log_path(endpoint.data, "bad", 0)))


def test_outcomes_come_together_and_each_is_in_the_log_by_then(endpoint: Endpoint, peer: Peer) -> None:
    peer.producer("order")
    peer.expect(Flow)
    frames = [build(1, Transfer(0, number, b"t", 0), event(b"%d" % number)) for number in range(400)]
    peer.raw(b"".join(frames))
    done = 0
    while done < 400:
        outcome = peer.outcome()
        assert (outcome.first, outcome.state) == (done, ACCEPTED)
        done = (outcome.first if outcome.last is None else outcome.last) + 1
        assert len(list(read(log_path(endpoint.data, "order", 0)))) >= done
    bodies = [amqp.read_message(record.message).body for record in read(log_path(endpoint.data, "order", 0))]
    assert bodies == [b"%d" % number for number in range(400)]


def test_credit_does_not_run_out_for_a_producer_that_keeps_to_it(peer: Peer) -> None:
    peer.producer("bad")
    allowed = sent = 0
    while sent < 2500:
        while allowed <= sent:
            flow = peer.expect(Flow)
            allowed = (flow.delivery_count or 0) + (flow.link_credit or 0)
        frames = [build(1, Transfer(0, number, b"t", 0, settled=True), event(b"")) for number in range(sent, allowed)]
        peer.raw(b"".join(frames))
        sent = allowed


def test_no_more_frames_are_sent_than_the_window_takes_even_within_a_message(endpoint: Endpoint) -> None:
    peer = Peer(endpoint.port, max_frame=512, window=3)
    peer.producer("window", handle=0)
    peer.publish(event(bytes(2000)), event(b"second"))
    peer.outcome()
    peer.consumer(address("window"), handle=1)
    peer.expect(Attach)
    peer.credit(10, handle=1, window=3)
    assert [peer.expect(Transfer).more for _ in range(3)] == [True, True, True]
    peer.send(Flow(3, 0, 0, 100, echo=True))
    answer, _ = peer.next()  # with a closed window nothing came in between
    assert isinstance(answer, Flow)
    assert answer.next_outgoing_id == 3
    peer.send(Flow(3, 100, 0, 100))
    assert [peer.expect(Transfer).more for _ in range(2)] == [True, False]
    assert amqp.read_message(peer.message()).body == b"second"
    peer.socket.close()


def test_a_stolen_link_says_no_more_even_if_half_a_message_waited_for_the_window(endpoint: Endpoint) -> None:
    old, new = Peer(endpoint.port, max_frame=512, window=2), Peer(endpoint.port)
    new.producer("stolen", handle=5)
    new.publish(event(bytes(5000)), event(b"second"), handle=5)
    new.outcome()
    old.consumer(address("stolen"), epoch=1)
    old.expect(Attach)
    old.credit(10, window=2)
    assert [old.expect(Transfer).delivery_id for _ in range(2)] == [0, 0]
    new.consumer(address("stolen"), epoch=2)
    new.expect(Attach)
    assert old.detached()[0] == "amqp:link:stolen"
    old.consumer(address("stolen", group="second"), handle=1)
    old.expect(Attach)
    old.send(Flow(2, 1000, 0, 100, handle=1, delivery_count=0, link_credit=2))
    transfers = [old.expect(Transfer) for _ in range(12)]
    assert {(transfer.handle, transfer.delivery_id) for transfer in transfers} == {(1, 1), (1, 2)}
    for peer in (old, new):
        peer.socket.close()


def test_credit_is_counted_in_messages_and_drained_on_request(peer: Peer) -> None:
    peer.producer("drain", handle=0)
    peer.publish(*[event(b"%d" % number) for number in range(5)])
    peer.consumer(address("drain"), handle=1)
    peer.credit(2, handle=1)
    assert [amqp.read_message(peer.message()).body for _ in range(2)] == [b"0", b"1"]
    peer.credit(10, handle=1, delivery_count=2, drain=True)
    assert [amqp.read_message(peer.message()).body for _ in range(3)] == [b"2", b"3", b"4"]
    flow = peer.expect(Flow, lambda flow: flow.drain)
    assert (flow.handle, flow.delivery_count, flow.link_credit) == (1, 12, 0)


def test_an_echo_is_answered_for_the_session_and_for_a_link(peer: Peer) -> None:
    peer.send(Flow(0, 10, 0, 10, echo=True))
    assert peer.expect(Flow).handle is None
    peer.consumer(address("two"))
    peer.expect(Attach)
    peer.credit(7, echo=True)
    assert peer.expect(Flow, lambda flow: flow.handle == 0).link_credit == 7


def test_memory_stays_flat_while_a_file_passes_and_a_reader_sleeps(endpoint: Endpoint) -> None:
    producer, sleeper, reader = (Peer(endpoint.port, max_frame=65_536) for _ in range(3))
    for consumer in (sleeper, reader):
        consumer.consumer(address("slow"))
        consumer.expect(Attach)
        consumer.credit(1000)
    producer.producer("slow")
    before = endpoint.peak_memory_mb()
    message = event(bytes(500_000))
    for first in range(0, 120, 10):
        producer.publish(*[message] * 10, first=first)
        done = 0
        while done < first + 10:
            outcome = producer.outcome()
            done = (outcome.first if outcome.last is None else outcome.last) + 1
    assert sum(len(reader.message()) for _ in range(120)) > 60_000_000
    assert endpoint.peak_memory_mb() - before < 25
    for peer in (producer, sleeper, reader):
        peer.socket.close()


def test_a_higher_epoch_takes_the_partition_over_and_a_lower_one_is_refused(endpoint: Endpoint) -> None:
    first, second = Peer(endpoint.port), Peer(endpoint.port)
    first.consumer(address("epoch"), epoch=5)
    first.expect(Attach)
    second.consumer(address("epoch"), handle=0, epoch=4)
    assert second.detached()[0] == "amqp:link:stolen"
    second.send(Detach(0, closed=True))
    second.consumer(address("epoch"), handle=1)
    assert second.detached()[0] == "amqp:link:stolen"
    second.consumer(address("epoch"), handle=2, epoch=6)
    second.expect(Attach)
    assert first.detached()[0] == "amqp:link:stolen"
    second.credit(1, handle=2)
    first.producer("epoch", handle=1)
    first.publish(event(b"for the new one"), handle=1)
    assert amqp.read_message(second.message()).body == b"for the new one"
    for peer in (first, second):
        peer.socket.close()


def test_a_partition_is_free_again_when_its_reader_is_gone(endpoint: Endpoint) -> None:
    first = Peer(endpoint.port)
    first.consumer(address("epoch", group="second"), epoch=9)
    first.expect(Attach)
    first.socket.close()

    def taken() -> bool:
        peer = Peer(endpoint.port)
        peer.consumer(address("epoch", group="second"), epoch=1)
        peer.expect(Attach)
        peer.send(Flow(0, 10, 0, 10, echo=True))
        answer, _ = peer.next()
        peer.socket.close()
        return isinstance(answer, Flow)

    until(taken, "the partition became free")


def test_a_sixth_reader_without_epoch_is_one_too_many(peer: Peer) -> None:
    for handle in range(6):
        peer.consumer(address("two", "0"), handle=handle)
    assert peer.detached()[0] == "amqp:resource-limit-exceeded"


def _request(reply_to: object, **arguments: str) -> bytes:
    properties = b"\x00\x53\x73" + encode([ULong(9), None, None, None, reply_to])
    return properties + b"\x00\x53\x74" + encode(arguments) + b"\x00\x53\x77" + encode("body")


def test_a_reply_goes_to_the_link_that_the_request_names(peer: Peer) -> None:
    for handle, target in ((1, "mine"), (2, "other")):
        source = Described(ULong(0x28), ["$management"])
        peer.send(Attach(f"r{handle}", handle, True, source=source, target=Described(ULong(0x29), [target])))
        peer.credit(5, handle=handle)
    peer.producer("$management")
    peer.publish(_request("mine", operation="READ", type="com.microsoft:eventhub", name="requests"))
    transfer = peer.expect(Transfer)
    assert transfer.handle == 1
    peer.publish(_request(None, operation="READ", type="com.microsoft:eventhub", name="nobody"), first=1)
    reply = amqp.read_message(peer.message())
    assert reply.application_properties["status-code"] == 404
    assert reply.properties[5] == 9


@pytest.mark.parametrize("node", ["$cbs", "$management"])
def test_a_broken_request_is_rejected_and_one_without_a_reply_link_is_dropped(peer: Peer, node: str) -> None:
    peer.producer(node)
    peer.publish(b"\x00\x53\x74" + encode([]), _request("nowhere", operation="READ"))
    rejected = peer.outcome()
    assert isinstance(rejected.state, Described)
    assert rejected.state.descriptor == REJECTED
    assert peer.outcome().state == ACCEPTED


def test_a_disposition_of_a_consumer_changes_nothing(peer: Peer) -> None:
    peer.send(Disposition(True, 0, 5, settled=True))
    peer.send(Flow(0, 10, 0, 10, echo=True))
    peer.expect(Flow)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_and_tells_the_clients(tmp_path: Path, number: signal.Signals) -> None:
    endpoint = Endpoint(tmp_path, "--hub=a:1", "--hub=b:2", "--fsync")
    assert endpoint.ready_line == f"ready port={endpoint.port} hubs=a:1,b:2\n"
    peer = Peer(endpoint.port)
    peer.producer("a")
    peer.publish(event(b"x"))
    peer.outcome()
    code, errors = endpoint.stop(number)
    assert (code, errors) == (0, "")
    assert peer.closed()[0] == "amqp:connection:forced"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", endpoint.port), timeout=5)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--hub=a:2"], "hub a in"),
        (["--hub=a"], "is not NAME:PARTITIONS"),
        (["--hub=a:0"], "is not NAME:PARTITIONS"),
        (["--hub=../a:1"], "is not NAME:PARTITIONS"),
        (["--hub=a:1", "--hub=A:1"], "two hubs have the same name"),
        (["--hub=a:1", "--retain-events=0"], "is not a number above 0"),
        (["--hub=a:1", "--host=256.0.0.1"], "error:"),
        ([], "required"),
    ],
)
def test_what_cannot_be_served_ends_with_a_message(tmp_path: Path, options: list[str], complaint: str) -> None:
    Endpoint(tmp_path, "--hub=a:1").stop()
    with pytest.raises(AssertionError) as failed:
        Endpoint(tmp_path, *options)
    code, errors = failed.value.args[0]
    assert code == 2
    assert complaint in errors
    assert "Traceback" not in errors


def test_two_endpoints_do_not_share_a_directory_and_a_damaged_log_is_named(tmp_path: Path) -> None:
    endpoint = Endpoint(tmp_path, "--hub=a:1")
    with pytest.raises(AssertionError, match="is in use by another endpoint"):
        Endpoint(tmp_path, "--hub=a:1")
    endpoint.stop()
    log_path(tmp_path, "a", 0).write_bytes(b"this is some other file")
    with pytest.raises(AssertionError, match=r"0000\.log is not an event log"):
        Endpoint(tmp_path, "--hub=a:1")


def test_a_recreated_hub_has_a_new_birthday(tmp_path: Path) -> None:
    def born(name: str) -> int:
        Endpoint(tmp_path / name, "--hub=a:1").stop()
        return int(json.loads((tmp_path / name / "a" / "hub.json").read_text())["created_at_ms"])

    first = born("one")
    assert born("one") == first
    assert born("two") > first
