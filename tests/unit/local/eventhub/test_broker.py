"""The broker without a network: placing, stamping, acknowledging after the flush, epochs, positions, retention."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.eventhub.amqp import message as amqp
from local.eventhub.amqp.encode import Described, Raw, Symbol, ULong, encode
from local.eventhub.amqp.errors import AmqpError, LinkRefused
from local.eventhub.broker import RECEIVERS_PER_GROUP, Broker, Hub, Partition
from local.eventhub.event_log import log_path, read
from local.eventhub.messages import Delivery, unpack
from local.eventhub.position import start_sequence
from local.eventhub.protocol.requests import Request, answer
from shared.errors import ConfigError

Scheduled = list[Callable[[], None]]


class Reader:
    """A consumer that remembers what happened to it."""

    def __init__(self, epoch: int | None = None, group: str = "$default") -> None:
        self.group = group
        self.epoch = epoch
        self.woken = 0
        self.stolen: AmqpError | None = None

    def wake(self) -> None:
        self.woken += 1

    def steal(self, error: AmqpError) -> None:
        self.stolen = error


@pytest.fixture
def scheduled() -> Scheduled:
    return []


@pytest.fixture
def broker(tmp_path: Path, scheduled: Scheduled) -> Iterator[Broker]:
    broker = Broker({"telemetry": 4, "one": 1}, tmp_path, scheduled.append, groups=["other"], retain_events=5)
    yield broker
    broker.close()


@pytest.fixture
def hub(broker: Broker) -> Hub:
    hub = broker.hub("Telemetry")
    assert hub is not None
    return hub


@pytest.fixture
def partition(broker: Broker) -> Partition:
    hub = broker.hub("one")
    assert hub is not None
    return hub.partitions[0]


def events(*bodies: bytes) -> Delivery:
    messages = [b"\x00\x53\x75" + encode(body) for body in bodies]
    return Delivery(None, [unpack(message, 0).events[0] for message in messages])


def publish(broker: Broker, partition: Partition, *bodies: bytes) -> None:
    broker.publish(partition, events(*bodies), lambda _error: None)
    broker.commit()


def test_a_delivery_is_acknowledged_after_it_is_in_the_file_and_readers_wake_after_that(
    broker: Broker, partition: Partition, scheduled: Scheduled, tmp_path: Path
) -> None:
    seen: list[object] = []
    path = log_path(tmp_path, "one", 0)
    reader = Reader()
    partition.join(reader)
    broker.publish(partition, events(b"a", b"b"), lambda error: seen.append((error, len(list(read(path))))))
    broker.publish(partition, events(b"c"), lambda error: seen.append((error, len(list(read(path))))))
    assert seen == []
    assert len(scheduled) == 1  # one flush for all that came together
    scheduled[0]()
    assert seen == [(None, 3), (None, 3)]
    assert reader.woken == 1


def test_a_log_that_cannot_be_written_rejects_the_delivery_and_the_next_one_works(
    broker: Broker, partition: Partition
) -> None:
    publish(broker, partition, b"before")
    outcomes: list[AmqpError | None] = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    broker.publish(partition, events(b"x" * 10_000), outcomes.append)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        broker.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert outcomes == [AmqpError("amqp:internal-error", "The log could not be written: File too large.")]
    publish(broker, partition, b"after")
    bodies = [amqp.read_message(message).body for message in partition.log.read_run(0, 9, 9999)]
    assert bodies == [b"before", b"after"]


def test_enqueued_times_never_go_back_even_if_the_clock_does(partition: Partition) -> None:
    for now_ms in (2000, 1000, 3000):
        partition.append(events(b"x"), now_ms)
        partition.log.commit()
    messages = [amqp.read_message(message) for message in partition.log.read_run(0, 9, 9999)]
    assert [message.annotations["x-opt-enqueued-time"] for message in messages] == [2000, 2000, 3000]
    assert [message.annotations["x-opt-sequence-number"] for message in messages] == [0, 1, 2]
    offsets = [int(message.annotations["x-opt-offset"]) for message in messages]
    assert offsets == sorted(set(offsets))
    assert partition.last_offset == str(offsets[-1])


def test_a_restart_goes_on_counting_and_keeps_the_hubs_birthday(tmp_path: Path, scheduled: Scheduled) -> None:
    born = []
    for life in range(3):
        broker = Broker({"hub": 1}, tmp_path, scheduled.append)
        hub = broker.hub("hub")
        assert hub is not None
        assert hub.partitions[0].log.next_sequence == life
        publish(broker, hub.partitions[0], b"x")
        born.append(hub.created_at_ms)
        broker.close()
    assert len(set(born)) == 1


@pytest.mark.usefixtures("broker")
def test_a_directory_has_one_endpoint_at_a_time(tmp_path: Path, scheduled: Scheduled) -> None:
    with pytest.raises(ConfigError, match="in use"):
        Broker({"hub": 1}, tmp_path, scheduled.append)


def test_one_key_has_one_partition_whatever_its_type_and_keyless_events_take_turns(hub: Hub) -> None:
    for key in ("dev-1", "dev-2", "ü"):
        assert hub.place(key) is hub.place(key) is hub.place(key.encode())
    assert {hub.place(f"device {number}").name for number in range(50)} == {"0", "1", "2", "3"}
    assert [hub.place(None).name for _ in range(6)] == ["0", "1", "2", "3", "0", "1"]


@pytest.mark.parametrize(
    ("present", "newcomer", "refused", "stolen"),
    [
        ([None], None, False, 0),
        ([None, None], 0, False, 2),
        ([1], 0, True, 0),
        ([1], None, True, 0),
        ([1], 1, False, 1),
        ([1], 2, False, 1),
        ([None] * (RECEIVERS_PER_GROUP - 1), None, False, 0),
        ([None] * RECEIVERS_PER_GROUP, None, True, 0),
        ([None] * RECEIVERS_PER_GROUP, 7, False, RECEIVERS_PER_GROUP),
    ],
)
def test_epochs_decide_who_reads(
    partition: Partition, present: list[int | None], newcomer: int | None, refused: bool, stolen: int
) -> None:
    readers = [Reader(epoch) for epoch in present]
    bystander = Reader(group="other")
    for reader in [*readers, bystander]:
        assert partition.join(reader) is None
    assert (partition.join(Reader(newcomer)) is not None) == refused
    assert sum(reader.stolen is not None for reader in readers) == stolen
    assert bystander.stolen is None


def _filter(expression: object) -> dict[str, object]:
    return {"apache.org:selector-filter:string": Described(Symbol("apache.org:selector-filter:string"), expression)}


@pytest.mark.parametrize(
    ("expression", "start"),
    [
        ("x-opt-offset > '-1'", 3),
        ("x-opt-offset >= '-1'", 3),
        ("x-opt-offset > '@latest'", 8),
        ("x-opt-sequence-number > '@latest'", 8),
        ("x-opt-sequence-number > '-1'", 3),
        ("x-opt-sequence-number > '1'", 3),  # expired: the oldest that is kept
        ("x-opt-sequence-number > '4'", 5),
        ("x-opt-sequence-number >= '4'", 4),
        ("x-opt-sequence-number > '7'", 8),
        ("x-opt-sequence-number >= '8'", 8),  # the next one to come
        ("x-opt-enqueued-time > '1000'", 3),
        ("x-opt-enqueued-time > '1005'", 6),
        ("x-opt-enqueued-time >= '1005'", 5),
        ("x-opt-enqueued-time >= '9999'", 8),
    ],
)
def test_a_position_leads_to_its_event(partition: Partition, expression: str, start: int) -> None:
    for number in range(8):
        partition.append(events(b"x"), 1000 + number)
    partition.log.commit()
    assert partition.begin == 3
    assert start_sequence(partition, _filter(f"amqp.annotation.{expression}")) == start


def test_an_offset_leads_to_its_event(partition: Partition) -> None:
    for _ in range(4):
        partition.append(events(b"x"), 1)
    partition.log.commit()
    messages = [amqp.read_message(message) for message in partition.log.read_run(0, 9, 9999)]
    for message in messages:
        sequence, offset = message.annotations["x-opt-sequence-number"], message.annotations["x-opt-offset"]
        assert start_sequence(partition, _filter(f"amqp.annotation.x-opt-offset >= '{offset}'")) == sequence
        assert start_sequence(partition, _filter(f"amqp.annotation.x-opt-offset > '{offset}'")) == sequence + 1


@pytest.mark.parametrize(
    ("expression", "condition"),
    [
        ("amqp.annotation.x-opt-sequence-number > '0'", "com.microsoft:argument-out-of-range"),
        ("amqp.annotation.x-opt-sequence-number >= '1'", "com.microsoft:argument-out-of-range"),
        ("amqp.annotation.x-opt-offset > '0'", "com.microsoft:argument-out-of-range"),
        ("amqp.annotation.x-opt-offset > 'abc'", "com.microsoft:argument-error"),
        ("amqp.annotation.x-opt-enqueued-time > ''", "com.microsoft:argument-error"),
        ("amqp.annotation.x-opt-offset < '5'", "amqp:invalid-field"),
        ("", "amqp:invalid-field"),
        (None, "amqp:invalid-field"),
        (5, "amqp:invalid-field"),
    ],
)
def test_a_position_that_makes_no_sense_in_an_empty_partition_is_refused(
    partition: Partition, expression: object, condition: str
) -> None:
    with pytest.raises(LinkRefused) as refused:
        start_sequence(partition, _filter(expression))
    assert refused.value.error.condition == condition


@pytest.mark.parametrize("filters", [None, {}])
def test_without_a_filter_a_consumer_gets_everything(partition: Partition, filters: object) -> None:
    assert start_sequence(partition, filters) == 0


def test_a_filter_that_is_no_map_is_refused(partition: Partition) -> None:
    with pytest.raises(LinkRefused):
        start_sequence(partition, ["x"])


@pytest.mark.parametrize(
    ("node", "arguments", "status"),
    [
        ("$cbs", {"operation": "put-token"}, 202),
        ("$cbs", {"operation": "steal-token"}, 400),
        ("$management", {"operation": "READ", "type": "com.microsoft:eventhub", "name": "TELEMETRY"}, 200),
        ("$management", {"operation": "READ", "type": "com.microsoft:eventhub", "name": "nobody"}, 404),
        ("$management", {"operation": "READ", "type": "com.microsoft:eventhub"}, 404),
        ("$management", {"operation": "DELETE", "type": "com.microsoft:eventhub", "name": "telemetry"}, 400),
        ("$management", {"operation": "READ", "type": "com.microsoft:namespace", "name": "telemetry"}, 400),
        ("$management", {}, 400),
        (
            "$management",
            {"operation": "READ", "type": "com.microsoft:partition", "name": "one", "partition": "0"},
            200,
        ),
        (
            "$management",
            {"operation": "READ", "type": "com.microsoft:partition", "name": "one", "partition": "1"},
            404,
        ),
    ],
)
def test_requests_are_answered_with_a_status(broker: Broker, node: str, arguments: dict[str, str], status: int) -> None:
    reply = amqp.read_message(answer(broker, node, Request(arguments, Raw(encode(ULong(7))), None)))
    assert reply.application_properties["status-code"] == status
    assert reply.properties[5] == 7
