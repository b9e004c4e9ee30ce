"""What every hub must do: in memory, and the Event Hubs client against the local endpoint."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.eventhub import EventHubProducerClient
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.exceptions import AuthenticationError, ConnectError, ConnectionLostError

from shared.adapters.stores import event_hub, event_hub_read
from shared.adapters.stores.event_hub import EventHubStream
from shared.adapters.stores.event_hub_errors import failure
from shared.core.intake.envelopes.told import Told
from shared.core.stream.packing import EVENT_BYTES
from shared.errors import ConfigError, TransientFailure
from shared.ports import Stream
from shared.wiring.ports import connect
from tests.kit import MemoryStream

LOCAL = "Endpoint=sb://localhost:{port};SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0;UseDevelopmentEmulator=true;"


class Refused(Exception):
    """What the client hands to its own error: the service's condition and words."""

    def __init__(self, condition: str) -> None:
        super().__init__(condition)
        self.condition, self.description = condition.encode(), "refused"


def said(condition: str) -> ConnectError:
    """The client's error for a condition of the service."""
    return ConnectError("refused", Refused(condition))  # type: ignore[arg-type] # as the client itself calls it


class Hub:
    """A stream, and how many events each partition has: the endpoint's hub lives longer than one test."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.next = [0, 0, 0]

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        self.stream.send(partition, bodies)
        self.next[partition] += len(bodies)

    def bodies(self, partition: int, first: int, end: int) -> list[bytes]:
        return [event.body for event in self.stream.read(partition, first, end)]


@pytest.fixture(scope="module", params=["memory", pytest.param("endpoint", marks=pytest.mark.emulator)])
def hub(request: pytest.FixtureRequest) -> Iterator[Hub]:
    if request.param == "memory":
        yield Hub(MemoryStream(3))
        return
    stream = EventHubStream("readings", request.getfixturevalue("endpoint"), None)
    yield Hub(stream)
    stream.close()


def test_the_number_of_partitions_is_known(hub: Hub) -> None:
    assert hub.stream.partitions() == 3
    assert hub.stream.partitions() == 3


def test_events_are_read_back_in_order_with_rising_times(hub: Hub) -> None:
    first = hub.next[1]
    bodies = [b"a", b"", b"\x00\xff\xfe", "ü🌫️".encode(), b"x" * EVENT_BYTES]
    hub.send(1, bodies)
    hub.send(1, [b"last"])
    hub.send(1, [b"beyond"])
    found = list(hub.stream.read(1, first, first + 6))
    assert [event.body for event in found] == [*bodies, b"last"]
    assert [event.sequence for event in found] == list(range(first, first + 6))
    times = [event.enqueued_ms for event in found]
    assert times == sorted(times)
    assert times[0] > 1_700_000_000_000
    assert {event.identity for event in found} == {None}


def test_of_a_range_only_what_is_there_is_given_and_the_rest_not_waited_for(hub: Hub) -> None:
    first = hub.next[2]
    hub.send(2, [])
    assert hub.bodies(2, first, first + 5) == []
    assert hub.stream.oldest(2) is None
    hub.send(2, [bytes([number]) for number in range(20)])
    assert hub.bodies(2, first + 17, first + 25) == [b"\x11", b"\x12", b"\x13"]
    assert hub.bodies(2, first + 20, first + 25) == []
    assert hub.stream.oldest(2) == next(hub.stream.read(2, first, first + 1))


def test_many_events_are_read_back_whole_and_only_as_far_as_somebody_asks(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "READ_AT_ONCE", 7)
    first = hub.next[0]
    bodies = [bytes([number]) for number in range(20)]
    hub.send(0, bodies)
    assert hub.bodies(0, first, first + 30) == bodies
    asked = hub.stream.read(0, first, first + 20)
    assert [next(asked).body for _ in range(3)] == bodies[:3]


@pytest.mark.emulator
def test_events_are_looked_up_beside_a_trigger_that_has_the_partition_for_itself(endpoint: str) -> None:
    within = EventHubStream("readings", endpoint, None, group="$Default")
    beside = connect({"BLOBS": "UseDevelopmentStorage=true", "READINGS": endpoint}).stream
    within.send(1, [b"looked up"])
    owns = threading.Event()

    async def trigger() -> None:
        async def take(_context: object, _events: object) -> None:
            owns.set()
            await release.wait()

        release = asyncio.Event()
        async with EventHubConsumerClient.from_connection_string(
            endpoint, "$Default", eventhub_name="readings"
        ) as client:
            options = {"partition_id": "1", "starting_position": "-1", "owner_level": 0}
            receiving = asyncio.ensure_future(client.receive_batch(take, **options))  # type: ignore[arg-type]
            await asyncio.to_thread(owns.wait, 30)
            with pytest.raises(TransientFailure, match="stolen"):
                await asyncio.to_thread(within.oldest, 1)
            oldest = await asyncio.to_thread(beside.oldest, 1)
            assert oldest is not None
            number = oldest.sequence
            assert await asyncio.to_thread(lambda: list(beside.read(1, number, number + 1))) == [oldest]
            release.set()
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    asyncio.run(trigger())
    within.close()


@pytest.mark.emulator
def test_threads_may_share_a_stream_and_what_is_too_much_for_one_message_stays_in_order(endpoint: str) -> None:
    stream = EventHubStream("readings", endpoint, None)
    sent = {1: [bytes([number]) * EVENT_BYTES for number in range(11)], 2: [bytes([number]) for number in range(20)]}

    def send(partition: int) -> None:
        for start in range(0, 20, 10):
            stream.send(partition, sent[partition][start : start + 10])

    threads = [threading.Thread(target=send, args=(partition,)) for partition in sent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for partition, bodies in sent.items():
        found = [event.body for event in stream.read(partition, 0, 10_000)]
        assert found[-len(bodies) :] == bodies
    stream.close()


def test_many_bodies_are_sent_in_groups_that_one_message_can_hold() -> None:
    bodies = [bytes(EVENT_BYTES)] * 9 + [b"x"] * 5
    groups = list(event_hub._groups(bodies))
    assert [body for group in groups for body in group] == bodies
    assert max(sum(map(len, group)) for group in groups) <= event_hub.SEND_BYTES
    assert len(groups) == 3
    assert list(event_hub._groups([])) == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tries once: on its own it would try four times, over half a minute."""
    made = EventHubProducerClient.from_connection_string

    def once(connection: str, *, eventhub_name: str) -> EventHubProducerClient:
        return made(connection, eventhub_name=eventhub_name, retry_total=0)

    monkeypatch.setattr(EventHubProducerClient, "from_connection_string", once)


@pytest.mark.emulator
@pytest.mark.usefixtures("impatient")
def test_a_hub_that_does_not_exist_is_an_error_to_mend(endpoint: str) -> None:
    hub = EventHubStream("nowhere", endpoint, None)
    acts: list[Callable[[], object]] = [
        hub.partitions, lambda: hub.send(0, [b"x"]), lambda: list(hub.read(0, 0, 1)),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(ConfigError, match="hub nowhere: ConnectError not-found: there is no such hub"):
            act()
    hub.close()


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (AuthenticationError("token"), ConfigError, "AuthenticationError: the identity may not do this"),
        (ClientAuthenticationError("no identity"), ConfigError, "ClientAuthenticationError: no usable identity"),
        (
            said("amqp:unauthorized-access"),
            ConfigError,
            "ConnectError unauthorized-access: the identity may not",
        ),
        (
            said("amqp:not-found"),
            ConfigError,
            "ConnectError not-found: there is no such hub",
        ),
        (said("com.microsoft:server-busy"), TransientFailure, "ConnectError server-busy$"),
        (ConnectionLostError("gone"), TransientFailure, "ConnectionLostError$"),
        (OSError("gone"), TransientFailure, "OSError$"),
    ],
)
def test_a_hubs_error_says_its_condition_and_whether_waiting_helps(
    error: Exception, kind: type[Exception], told: str
) -> None:
    found = failure("hub readings", error)
    assert type(found) is kind
    assert re.search(f"^hub readings: {told}", str(found))


@pytest.mark.usefixtures("impatient")
def test_a_hub_that_does_not_answer_is_a_transient_failure_that_shows_no_key() -> None:
    hub = EventHubStream("readings", LOCAL.format(port=1), None)
    with pytest.raises(TransientFailure, match="hub readings: ") as told:
        hub.send(0, [b"x"])
    assert "c2VjcmV0" not in str(told.value)
    hub.close()


class Consumer:
    """The client's receiving side as the adapter sees it, with a hub behind it that does odd things."""

    def __init__(self, batches: list[list[int]], error: Exception | None = None, **told: Any) -> None:
        self.batches, self.error, self.told = batches, error, {"system_properties": {}, "properties": {}} | told

    async def receive_batch(self, take: Any, *, on_error: Any, **_: object) -> None:
        when = datetime(2026, 1, 1, tzinfo=timezone.utc)
        for numbers in self.batches:
            events = [SimpleNamespace(sequence_number=n, enqueued_time=when, body=[b"x"], **self.told) for n in numbers]
            await take(None, events)
        if self.error is not None:
            await on_error(None, self.error)


@pytest.mark.parametrize(
    ("consumer", "why"),
    [
        (Consumer([[3, 4], []]), "nothing came"),
        (Consumer([[]]), "nothing came"),
        (Consumer([[3]], ConnectionError("gone")), "ConnectionError"),
        (Consumer([[4, 5, 6]]), "nothing came"),
        (Consumer([[3, 4, 6]]), "nothing came"),
        (Consumer([[3, 4]]), "nothing came"),
    ],
    ids=["stops early", "nothing at all", "breaks", "begins late", "has a gap", "ends by itself"],
)
def test_events_that_the_hub_has_but_does_not_give_are_never_taken_for_expired(consumer: Consumer, why: str) -> None:
    with pytest.raises(TransientFailure, match=f"events 3 to 6 of partition 1 were not read: {why}"):
        asyncio.run(event_hub_read.received(consumer, 1, 3, 7))
    found = asyncio.run(event_hub_read.received(Consumer([[2, 3, 4], [5, 6, 7]]), 1, 3, 7))
    assert [event.sequence for event in found] == [3, 4, 5, 6]


def test_what_the_hub_tells_of_an_event_is_read_back_with_it() -> None:
    system = {
        b"iothub-connection-device-id": b"yard-1",
        b"content-encoding": b"gzip",
        b"x-opt-offset": b"7",
        b"\xff": 1,
    }
    properties = {b"iothub-creation-time-utc": b"2026-05-04T09:58Z", "level": 3}
    for more, created in ((properties, "2026-05-04T09:58Z"), (None, None)):
        consumer = Consumer([[3]], system_properties=system, properties=more)
        (event,) = asyncio.run(event_hub_read.received(consumer, 1, 3, 4))
        assert (event.identity, event.told) == ("yard-1", Told(created=created, encoding="gzip"))
