"""What every hub must do: in memory, and the Event Hubs client against the local endpoint."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from local.stack_process import free_port
from shared.adapters import event_hub
from shared.adapters.event_hub import EventHubStream
from shared.adapters.memory_stream import MemoryStream
from shared.core.events import EVENT_BYTES
from shared.errors import TransientFailure
from shared.ports import Stream

LOCAL = "Endpoint=sb://localhost:{port};SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0;UseDevelopmentEmulator=true;"


@pytest.fixture(params=["memory", pytest.param("endpoint", marks=pytest.mark.emulator)])
def stream(request: pytest.FixtureRequest) -> Iterator[Stream]:
    if request.param == "memory":
        yield MemoryStream(3)
        return
    hub = EventHubStream("readings", request.getfixturevalue("endpoint"), None)
    yield hub
    hub.close()


def end_of(stream: Stream, partition: int) -> int:
    """Sequence number that the next event gets; the hub lives longer than one test."""
    found, step = 0, 4096
    while step:
        if list(stream.read(partition, found + step - 1, found + step)):
            found += step
        else:
            step //= 2
    return found


def test_the_number_of_partitions_is_known(stream: Stream) -> None:
    assert stream.partitions() == 3
    assert stream.partitions() == 3


def test_events_are_read_back_in_order_with_rising_times(stream: Stream) -> None:
    first = end_of(stream, 1)
    bodies = [b"a", b"", b"\x00\xff\xfe", "ü🌫️".encode(), b"x" * EVENT_BYTES]
    stream.send(1, bodies)
    stream.send(1, [b"last"])
    found = list(stream.read(1, first, first + 6))
    assert [event.body for event in found] == [*bodies, b"last"]
    assert [event.sequence for event in found] == list(range(first, first + 6))
    times = [event.enqueued_ms for event in found]
    assert times == sorted(times)
    assert times[0] > 1_700_000_000_000
    assert {event.identity for event in found} == {None}


def test_a_range_is_read_without_what_stands_around_it(stream: Stream) -> None:
    first = end_of(stream, 0)
    stream.send(0, [bytes([number]) for number in range(20)])
    assert [event.body for event in stream.read(0, first + 3, first + 7)] == [b"\x03", b"\x04", b"\x05", b"\x06"]
    assert [event.body for event in stream.read(0, first + 19, first + 20)] == [b"\x13"]


def test_what_is_not_there_is_not_waited_for(stream: Stream) -> None:
    first = end_of(stream, 2)
    begun = time.monotonic()
    assert list(stream.read(2, first, first + 5)) == []
    stream.send(2, [b"only one"])
    assert [event.body for event in stream.read(2, first, first + 5)] == [b"only one"]
    assert list(stream.read(2, first + 1, first + 5)) == []
    assert time.monotonic() - begun < event_hub.IDLE_S, "reading must end with the newest event, not when nothing comes"


def test_an_event_goes_to_its_own_partition(stream: Stream) -> None:
    before = [end_of(stream, partition) for partition in range(3)]
    for partition in (2, 0, 1, 0):
        stream.send(partition, [str(partition).encode()])
    for partition, count in ((0, 2), (1, 1), (2, 1)):
        found = list(stream.read(partition, before[partition], before[partition] + count))
        assert [event.body for event in found] == [str(partition).encode()] * count


def test_sending_nothing_sends_nothing(stream: Stream) -> None:
    before = end_of(stream, 0)
    stream.send(0, [])
    assert end_of(stream, 0) == before


def test_many_bodies_are_sent_in_groups_that_one_message_can_hold() -> None:
    bodies = [bytes(EVENT_BYTES)] * 9 + [b"x"] * 5
    groups = list(event_hub._groups(bodies))
    assert [body for group in groups for body in group] == bodies
    assert max(sum(map(len, group)) for group in groups) <= event_hub.SEND_BYTES
    assert len(groups) == 3
    assert list(event_hub._groups([])) == []


@pytest.mark.emulator
def test_more_than_one_message_can_hold_arrives_in_order(endpoint: str) -> None:
    hub = EventHubStream("other", endpoint, None)
    bodies = [bytes([number]) * EVENT_BYTES for number in range(11)]
    hub.send(0, bodies)
    assert [event.body for event in hub.read(0, 0, 11)] == bodies
    hub.close()


@pytest.mark.emulator
def test_two_threads_may_use_one_stream(endpoint: str) -> None:
    hub = EventHubStream("readings", endpoint, None)
    before = [end_of(hub, partition) for partition in (0, 1)]

    def send(partition: int) -> None:
        for number in range(20):
            hub.send(partition, [bytes([number])])

    threads = [threading.Thread(target=send, args=(partition,)) for partition in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for partition in (0, 1):
        found = list(hub.read(partition, before[partition], before[partition] + 20))
        assert [event.body[0] for event in found] == list(range(20))
    hub.close()


@pytest.mark.emulator
def test_a_hub_that_does_not_exist_is_a_transient_failure(endpoint: str) -> None:
    hub = EventHubStream("nowhere", endpoint, None)
    with pytest.raises(TransientFailure, match="hub nowhere: "):
        hub.partitions()
    with pytest.raises(TransientFailure, match="hub nowhere: "):
        list(hub.read(0, 0, 1))
    hub.close()


def test_a_hub_that_does_not_answer_is_a_transient_failure_that_shows_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from azure.eventhub import EventHubProducerClient

    connection = LOCAL.format(port=free_port(1) or 1)
    hub = EventHubStream("readings", connection, None)
    impatient = EventHubProducerClient.from_connection_string(connection, eventhub_name="readings", retry_total=0)
    monkeypatch.setattr(hub, "_producer", impatient)
    with pytest.raises(TransientFailure, match="hub readings: ") as told:
        hub.send(0, [b"x"])
    assert "c2VjcmV0" not in str(told.value)
    hub.close()


class Consumer:
    """The client's receiving side as the adapter sees it, with a hub behind it that does odd things."""

    def __init__(self, batches: list[list[int]], error: Exception | None = None) -> None:
        self.batches, self.error = batches, error

    async def receive_batch(self, take: Any, *, on_error: Any, **_: object) -> None:
        from datetime import datetime, timezone

        when = datetime(2026, 1, 1, tzinfo=timezone.utc)
        for numbers in self.batches:
            events = [
                SimpleNamespace(sequence_number=n, enqueued_time=when, body=[b"x"], system_properties={})
                for n in numbers
            ]
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
    import asyncio

    with pytest.raises(TransientFailure, match=f"events 3 to 6 of partition 1 were not read: {why}"):
        asyncio.run(event_hub._received(consumer, 1, 3, 7))
    found = asyncio.run(event_hub._received(Consumer([[2, 3, 4], [5, 6, 7]]), 1, 3, 7))
    assert [event.sequence for event in found] == [3, 4, 5, 6]
