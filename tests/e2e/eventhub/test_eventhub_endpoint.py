"""The unmodified azure-eventhub client, sync and aio, against the local endpoint."""

import asyncio
import datetime as dt
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.aio import CheckpointStore
from azure.eventhub.aio import EventHubConsumerClient as AioConsumer
from azure.eventhub.aio import EventHubProducerClient as AioProducer
from azure.eventhub.amqp import AmqpAnnotatedMessage
from azure.eventhub.exceptions import ConnectError

from local.eventhub.amqp import message as amqp
from local.eventhub.event_log import hub_info, log_path, read
from tests.e2e.eventhub.eventhub_process import Endpoint, until
from tests.e2e.eventhub.eventhub_raw import Peer
from tests.e2e.eventhub.eventhub_raw import event as event_of

DEADLINE_S = 20
HUBS = (
    "sync",
    "aio",
    "keys",
    "positions",
    "latest",
    "epochs",
    "iot",
    "big",
    "buffered",
    "checkpoints",
    "tracking",
    "forward",
)


CONVERSATIONS: list[Callable[[Endpoint], None]] = []


def conversation(hold: Callable[[Endpoint], None]) -> Callable[[Endpoint], None]:
    """The clients sleep most of their time, so all conversations are held at once, each with hubs of its own."""
    CONVERSATIONS.append(hold)
    return hold


def producer(connection: str) -> EventHubProducerClient:
    return EventHubProducerClient.from_connection_string(connection, retry_total=0)


def aio_consumer(connection: str, group: str = "$Default", **options: Any) -> AioConsumer:
    quick = {"load_balancing_interval": 0.3, "retry_total": 0}  # its default of 30 s delays the end of receive()
    return AioConsumer.from_connection_string(connection, consumer_group=group, **{**quick, **options})


def publish(endpoint: Endpoint, hub: str, partition: int, *contents: bytes) -> None:
    """Put events into a partition, where sending is not what is tested."""
    peer = Peer(endpoint.port)
    peer.producer(f"{hub}/Partitions/{partition}")
    peer.publish(*map(event_of, contents))
    done = 0
    while done < len(contents):
        outcome = peer.outcome()
        done = (outcome.first if outcome.last is None else outcome.last) + 1
    peer.socket.close()


Got = list[tuple[str, EventData]]


async def collect(connection: str, count: int, *, group: str = "$Default", **options: Any) -> Got:
    """The first events that an aio consumer gets, with their partitions."""
    got: Got = []
    done = asyncio.Event()

    async def on_event(context: Any, event: EventData | None) -> None:
        if event is not None:
            got.append((context.partition_id, event))
        if len(got) >= count:
            done.set()

    client = aio_consumer(connection, group)
    async with client:
        task = asyncio.create_task(client.receive(on_event, **{"starting_position": "-1", **options}))
        await asyncio.wait_for(done.wait(), DEADLINE_S)
    await task
    return got


def bodies(got: Got) -> list[bytes]:
    return [body_of(event) for _, event in got]


def body_of(event: EventData) -> bytes:
    return bytes(event.__message_content__()["content"])


def log_bodies(endpoint: Endpoint, hub: str, partition: int) -> list[bytes]:
    return [amqp.read_message(record.message).body for record in read(log_path(endpoint.data, hub, partition))]


@conversation
def the_sync_client_reads_back_what_it_sent_and_sees_the_properties(endpoint: Endpoint) -> None:
    connection = endpoint.connection("sync")
    event = EventData(b"\x00\xff body")
    event.properties = {"text": "é", "number": 7, "flag": True, "half": 0.5}
    event.content_type = "application/x-test"
    event.correlation_id = "c-1"
    event.message_id = "m-1"
    before = dt.datetime.now(dt.timezone.utc)
    with producer(connection) as client:
        info = client.get_eventhub_properties()
        assert (info["eventhub_name"], info["partition_ids"]) == ("sync", ["0", "1", "2", "3"])
        stored = hub_info(endpoint.data, "sync")
        assert stored is not None
        assert int(info["created_at"].timestamp() * 1000) == stored.created_at_ms
        assert client.get_partition_properties("2")["is_empty"]
        batch = client.create_batch(partition_id="2")
        batch.add(EventData("first"))
        batch.add(event)
        client.send_batch(batch)
        partition = client.get_partition_properties("2")
    assert partition["beginning_sequence_number"] == 0
    assert partition["last_enqueued_sequence_number"] == 1
    assert not partition["is_empty"]
    assert before - dt.timedelta(seconds=1) < partition["last_enqueued_time_utc"] <= dt.datetime.now(dt.timezone.utc)

    got: Got = []
    consumer = EventHubConsumerClient.from_connection_string(
        connection, consumer_group="$Default", load_balancing_interval=0.3
    )

    def on_event(context: Any, event: EventData) -> None:
        got.append((context.partition_id, event))

    thread = threading.Thread(target=consumer.receive, args=(on_event,), kwargs={"starting_position": "-1"})
    thread.start()
    until(lambda: len(got) >= 2, "two events came")
    consumer.close()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()

    (where, first), (_, second) = got
    assert (where, first.sequence_number, second.sequence_number) == ("2", 0, 1)
    assert bodies(got) == [b"first", b"\x00\xff body"]
    assert second.properties == {b"text": "é".encode(), b"number": 7, b"flag": True, b"half": 0.5}
    assert (second.content_type, second.correlation_id, second.message_id) == ("application/x-test", "c-1", "m-1")
    assert second.offset == partition["last_enqueued_offset"]
    assert second.enqueued_time == partition["last_enqueued_time_utc"]
    assert second.partition_key is None


@conversation
def the_aio_client_sends_to_and_receives_from_all_partitions(endpoint: Endpoint) -> None:
    connection = endpoint.connection("aio")

    async def run() -> tuple[Got, Got]:
        async with AioProducer.from_connection_string(connection) as client:
            for partition in await client.get_partition_ids():
                await client.send_batch([EventData(f"to {partition}")], partition_id=partition)
            for _ in range(4):
                await client.send_event(EventData("in turn"))
        return await asyncio.gather(collect(connection, 8), collect(connection, 8, group="second"))

    for got in asyncio.run(run()):
        assert sorted(bodies(got)) == [b"in turn"] * 4 + [b"to 0", b"to 1", b"to 2", b"to 3"]
        assert sorted(partition for partition, _ in got) == sorted("00112233")
        assert {f"to {partition}".encode() for partition in "0123"} <= set(bodies(got))


@conversation
def a_partition_key_keeps_its_events_together_and_in_order_and_is_shown(endpoint: Endpoint) -> None:
    connection = endpoint.connection("keys")
    keys = [f"device-{number}" for number in range(10)]
    with producer(connection) as client:
        for turn in range(2):
            for key in keys:
                client.send_batch([EventData(f"{key} {turn} {part}") for part in "ab"], partition_key=key)
    got = asyncio.run(collect(connection, 40))
    assert len({partition for partition, _ in got}) > 1
    for key in keys:
        own = [(partition, event) for partition, event in got if event.partition_key == key.encode()]
        assert len({partition for partition, _ in own}) == 1
        assert bodies(own) == [f"{key} {turn} {part}".encode() for turn in range(2) for part in "ab"]


@conversation
def a_consumer_starts_where_it_is_told(endpoint: Endpoint) -> None:
    connection = endpoint.connection("positions")
    for number in range(3):
        publish(endpoint, "positions", 1, str(number).encode())
        sent_s = time.time()
        until(lambda sent_s=sent_s: time.time() > sent_s + 0.005, "a later millisecond")  # type: ignore[misc]
    events = list(read(log_path(endpoint.data, "positions", 1)))
    middle = amqp.read_message(events[1].message).annotations["x-opt-offset"]
    times = [dt.datetime.fromtimestamp(event.enqueued_ms / 1000, dt.timezone.utc) for event in events]
    table: list[tuple[Any, bool, list[bytes]]] = [
        ("-1", False, [b"0", b"1", b"2"]),
        (middle, False, [b"2"]),
        (middle, True, [b"1", b"2"]),
        (0, False, [b"1", b"2"]),
        (0, True, [b"0", b"1", b"2"]),
        (2, True, [b"2"]),
        (times[1], False, [b"2"]),
        (times[1], True, [b"1", b"2"]),
        (times[0] - dt.timedelta(days=400), False, [b"0", b"1", b"2"]),
    ]

    async def run() -> list[Got]:
        waits = [
            collect(
                connection,
                len(expected),
                group="second" if number % 2 else "$Default",  # five readers of one group are the limit
                partition_id="1",
                starting_position=position,
                starting_position_inclusive=inclusive,
            )
            for number, (position, inclusive, expected) in enumerate(table)
        ]
        return list(await asyncio.gather(*waits))

    assert [bodies(got) for got in asyncio.run(run())] == [expected for _, _, expected in table]


@conversation
def latest_gives_what_comes_after_the_consumer(endpoint: Endpoint) -> None:
    connection = endpoint.connection("latest")
    got: Got = []

    async def run() -> None:
        async def on_event(context: Any, event: EventData | None) -> None:
            if event is not None:
                got.append((context.partition_id, event))

        consumer = aio_consumer(connection)
        sender = AioProducer.from_connection_string(connection)
        await sender.send_batch([EventData("before")], partition_id="3")
        async with consumer, sender:
            task = asyncio.create_task(consumer.receive(on_event, partition_id="3", starting_position="@latest"))
            for number in range(200):  # until one is sent after the consumer has attached
                await sender.send_batch([EventData(f"after {number}")], partition_id="3")
                await asyncio.sleep(0.05)
                if got:
                    break
        await task

    asyncio.run(run())
    assert got
    assert b"before" not in bodies(got)


@conversation
def a_higher_owner_level_takes_over_and_a_lower_one_is_refused(endpoint: Endpoint) -> None:
    connection = endpoint.connection("epochs")
    publish(endpoint, "epochs", 0, b"x")

    async def receive(level: int, started: asyncio.Event, errors: list[Exception]) -> None:
        async def on_event(_context: Any, _event: EventData | None) -> None:
            started.set()

        async def on_error(_context: Any, error: Exception) -> None:
            errors.append(error)
            await client.close()

        client = aio_consumer(connection)
        async with client:
            await client.receive(
                on_event, on_error=on_error, partition_id="0", owner_level=level, starting_position="-1"
            )

    async def run() -> tuple[list[Exception], list[Exception], list[Exception]]:
        old, new, low = [], [], []  # type: tuple[list[Exception], list[Exception], list[Exception]]
        has = [asyncio.Event() for _ in range(3)]
        first = asyncio.create_task(receive(1, has[0], old))
        await asyncio.wait_for(has[0].wait(), DEADLINE_S)
        second = asyncio.create_task(receive(2, has[1], new))
        await asyncio.wait_for(has[1].wait(), DEADLINE_S)
        await asyncio.wait_for(first, DEADLINE_S)
        await asyncio.wait_for(receive(1, has[2], low), DEADLINE_S)
        assert not second.done()
        second.cancel()
        await asyncio.wait([second])
        return old, new, low

    old, new, low = asyncio.run(run())
    assert new == []
    for errors in (old, low):
        assert [getattr(error, "error", None) for error in errors] == ["link:stolen"]


@conversation
def annotations_as_of_iot_hub_come_out_as_system_properties(endpoint: Endpoint) -> None:
    connection = endpoint.connection("iot")
    annotations = {
        "iothub-connection-device-id": "dev/1'ü",
        "iothub-connection-auth-generation-id": "637",
        "iothub-message-source": "Telemetry",
        "iothub-enqueuedtime": dt.datetime(2026, 11, 20, 8, 30, tzinfo=dt.timezone.utc),
    }
    message = AmqpAnnotatedMessage(data_body=b"{}", annotations=annotations, application_properties={"alert": "no"})
    with producer(connection) as client:
        batch = client.create_batch(partition_id="0")
        batch.add(message)
        client.send_batch(batch)
        client.send_batch([message], partition_key="dev")
    for _, event in asyncio.run(collect(connection, 2)):
        system = event.system_properties
        assert system[b"iothub-connection-device-id"] == "dev/1'ü".encode()
        assert system[b"iothub-message-source"] == b"Telemetry"
        assert system[b"iothub-enqueuedtime"] == 1_795_163_400_000
        assert event.properties == {b"alert": b"no"}
        assert isinstance(event.sequence_number, int)


@conversation
def an_event_that_is_sent_on_gets_a_place_of_its_own(endpoint: Endpoint) -> None:
    connection = endpoint.connection("forward")
    publish(endpoint, "forward", 0, b"x", b"y")
    (_, _), (_, event) = asyncio.run(collect(connection, 2))
    before, message = event.enqueued_time, event.raw_amqp_message
    assert message.annotations is not None
    message.annotations[b"x-opt-enqueued-time"] = before  # the client cannot encode the number it got
    with producer(connection) as client:
        client.send_batch([message], partition_id="3")
    ((_, again),) = asyncio.run(collect(connection, 1, partition_id="3"))
    assert again.sequence_number == 0
    assert again.enqueued_time is not None
    assert before is not None
    assert again.enqueued_time > before
    assert bodies([("3", again)]) == [b"y"]


@conversation
def large_events_come_back_whole(endpoint: Endpoint) -> None:
    connection = endpoint.connection("big")
    sent = [[bytes([number]) * size for number in range(1, 5)] for size in (70_000, 1024 * 1024 - 64)]
    with producer(connection) as client:
        for partition, contents in enumerate(sent):
            for content in contents:
                client.send_batch([EventData(content)], partition_id=str(partition))

    async def run() -> list[Got]:
        return await asyncio.gather(*[collect(connection, 4, partition_id=partition) for partition in "01"])

    assert [bodies(got) for got in asyncio.run(run())] == sent


@conversation
def the_buffered_producer_delivers_everything_once_and_in_order_per_partition(endpoint: Endpoint) -> None:
    connection = endpoint.connection("buffered")
    failures: list[Exception] = []

    def on_success(_events: Any, _partition: str | None) -> None:
        """Nothing to do: the log is looked at."""

    client = EventHubProducerClient.from_connection_string(
        connection,
        buffered_mode=True,
        on_success=on_success,
        on_error=lambda _events, _partition, error: failures.append(error),
        max_wait_time=0.2,
    )
    with client:
        for number in range(400):
            client.send_event(EventData(str(number)), partition_id=str(number % 4))
        client.flush()
    assert failures == []
    for partition in range(4):
        assert log_bodies(endpoint, "buffered", partition) == [str(n).encode() for n in range(partition, 400, 4)]


class Memory(CheckpointStore):
    """A checkpoint store in memory: enough for one consumer at a time."""

    def __init__(self) -> None:
        self.owned: dict[str, dict[str, Any]] = {}
        self.checkpoints: dict[str, dict[str, Any]] = {}

    async def list_ownership(self, *_where: Any, **_options: Any) -> list[dict[str, Any]]:
        return list(self.owned.values())

    async def claim_ownership(self, ownership_list: Iterable[dict[str, Any]], **_options: Any) -> list[dict[str, Any]]:
        now = dt.datetime.now(dt.timezone.utc).timestamp()
        claimed = [{**item, "etag": "e", "last_modified_time": now} for item in ownership_list]
        self.owned |= {item["partition_id"]: item for item in claimed}
        return claimed

    async def update_checkpoint(self, checkpoint: dict[str, Any], **_options: Any) -> None:
        self.checkpoints[checkpoint["partition_id"]] = checkpoint

    async def list_checkpoints(self, *_where: Any, **_options: Any) -> list[dict[str, Any]]:
        return list(self.checkpoints.values())


@conversation
def a_consumer_with_a_checkpoint_store_goes_on_where_it_was(endpoint: Endpoint) -> None:
    connection = endpoint.connection("checkpoints")
    store = Memory()

    async def receive(count: int) -> list[bytes]:
        got: list[bytes] = []
        done = asyncio.Event()

        async def on_batch(context: Any, events: list[EventData]) -> None:
            got.extend(map(body_of, events))
            await context.update_checkpoint()
            if len(got) >= count:
                done.set()

        client = aio_consumer(connection, checkpoint_store=store, partition_ownership_expiration_interval=3)
        async with client:
            task = asyncio.create_task(client.receive_batch(on_batch, starting_position="-1"))
            await asyncio.wait_for(done.wait(), DEADLINE_S)
        await task
        store.owned.clear()
        return got

    publish(endpoint, "checkpoints", 0, b"1", b"2", b"3")
    assert asyncio.run(receive(3)) == [b"1", b"2", b"3"]
    publish(endpoint, "checkpoints", 0, b"4", b"5")
    assert asyncio.run(receive(2)) == [b"4", b"5"]


@conversation
def a_checkpoint_that_outlived_its_hub_is_refused_and_not_skipped_over(endpoint: Endpoint) -> None:
    errors: list[Exception] = []

    async def run() -> None:
        client = aio_consumer(endpoint.connection("checkpoints"))

        async def on_event(_context: Any, _event: EventData | None) -> None:
            raise AssertionError("no event is expected")

        async def on_error(_context: Any, error: Exception) -> None:
            errors.append(error)
            await client.close()

        async with client:
            receiving = client.receive(on_event, on_error=on_error, partition_id="3", starting_position="123456")
            await asyncio.wait_for(receiving, DEADLINE_S)

    asyncio.run(run())
    assert "The supplied offset '123456' is invalid. The last offset in the system is '-1'" in str(errors[0])


@conversation
def a_consumer_can_follow_the_end_of_the_partition(endpoint: Endpoint) -> None:
    connection = endpoint.connection("tracking")
    publish(endpoint, "tracking", 0, b"1", b"2", b"3")
    got = asyncio.run(collect(connection, 3, partition_id="0", track_last_enqueued_event_properties=True))
    last = log_path(endpoint.data, "tracking", 0)
    newest = amqp.read_message(list(read(last))[-1].message).annotations
    seen = got[0][1]._last_enqueued_event_properties or _tracked(got[0][1])
    assert seen["sequence_number"] == 2
    assert seen["offset"] == newest["x-opt-offset"]


def _tracked(event: EventData) -> dict[str, Any]:
    annotations = event.raw_amqp_message.delivery_annotations or {}
    return {
        "sequence_number": annotations[b"last_enqueued_sequence_number"],
        "offset": annotations[b"last_enqueued_offset"].decode(),
    }


@conversation
def an_unknown_partition_and_an_unknown_hub_are_named(endpoint: Endpoint) -> None:
    with (
        producer(endpoint.connection("sync")) as client,
        pytest.raises(ConnectError, match="'sync/Partitions/9' could not be"),
    ):
        client.get_partition_properties("9")
    with producer(endpoint.connection("nobody")) as client, pytest.raises(ConnectError, match="'nobody' could not be"):
        client.send_batch([EventData(b"x")])


@conversation
def an_unknown_consumer_group_is_named(endpoint: Endpoint) -> None:
    errors: list[Exception] = []

    async def run() -> None:
        client = aio_consumer(endpoint.connection("sync"), "nobody")

        async def on_event(_context: Any, _event: EventData | None) -> None:
            raise AssertionError("no event is expected")

        async def on_error(_context: Any, error: Exception) -> None:
            errors.append(error)
            await client.close()

        async with client:
            await asyncio.wait_for(client.receive(on_event, on_error=on_error, partition_id="0"), DEADLINE_S)

    asyncio.run(run())
    assert "sync/ConsumerGroups/nobody/Partitions/0" in str(errors[0])


@conversation
def only_the_newest_events_are_served_when_retention_is_asked_for(shared: Endpoint) -> None:
    endpoint = Endpoint(shared.data / "retain", "--hub=short:1", "--retain-events=3")
    connection = endpoint.connection("short")
    publish(endpoint, "short", 0, *[str(number).encode() for number in range(10)])
    with producer(connection) as client:
        assert client.get_partition_properties("0")["beginning_sequence_number"] == 7

    async def run() -> list[Got]:
        return await asyncio.gather(*[collect(connection, 3, starting_position=position) for position in ("-1", 2)])

    assert [bodies(got) for got in asyncio.run(run())] == [[b"7", b"8", b"9"]] * 2
    assert len(log_bodies(endpoint, "short", 0)) == 10  # the books can still be made up
    assert endpoint.stop()[0] == 0


@conversation
def a_client_finds_the_endpoint_again_after_a_restart(shared: Endpoint) -> None:
    data = shared.data / "restart"
    endpoint = Endpoint(data, "--hub=again:1")
    connection = endpoint.connection("again")
    with EventHubProducerClient.from_connection_string(connection, retry_backoff_factor=0.1) as client:
        client.send_batch([EventData(b"one")])
        assert endpoint.stop()[0] == 0
        endpoint = Endpoint(data, "--hub=again:1", port=endpoint.port)
        client.send_batch([EventData(b"two")])
    assert log_bodies(endpoint, "again", 0) == [b"one", b"two"]
    assert endpoint.stop()[0] == 0


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    hubs = [f"--hub={name}:4" for name in HUBS]
    endpoint = Endpoint(tmp_path_factory.mktemp("endpoint"), *hubs, "--group=second")
    yield endpoint
    code, errors = endpoint.stop()
    assert code == 0
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def held(endpoint: Endpoint, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    chosen = {item.name for item in request.session.items}
    wanted = [hold for hold in CONVERSATIONS if f"test_the_real_client[{hold.__name__}]" in chosen]
    with ThreadPoolExecutor(len(wanted)) as pool:
        yield {hold.__name__: pool.submit(hold, endpoint) for hold in wanted}


@pytest.mark.parametrize("name", [hold.__name__ for hold in CONVERSATIONS])
def test_the_real_client(held: dict[str, Future[None]], name: str) -> None:
    held[name].result(timeout=3 * DEADLINE_S)
