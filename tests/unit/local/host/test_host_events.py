"""Events as the local host hands them to functions, against the library's own converter."""

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.functions.eventhub import EventHubTriggerConverter

from local.host.eventhub.events import body_of, sent, trigger_metadata

PLACE = {
    "FullyQualifiedNamespace": "localhost",
    "EventHubName": "telemetry",
    "ConsumerGroup": "$Default",
    "PartitionId": "3",
}


def received(
    body: bytes, *, number: int = 7, offset: bytes = b"4096", millis: int = 1_790_000_000_250, **annotations: Any
) -> EventData:
    """An event as the client decodes it: symbols and strings are bytes, timestamps milliseconds."""
    event = EventData(body)
    event.raw_amqp_message.annotations = {
        b"x-opt-sequence-number": number,
        b"x-opt-offset": offset,
        b"x-opt-enqueued-time": millis,
        **{name.replace("_", "-").encode(): value for name, value in annotations.items()},
    }
    return event


def converted(events: Sequence[EventData]) -> list[Any]:
    """What the library makes of what is sent."""
    batch = sent(events, PLACE)
    found = EventHubTriggerConverter.decode(batch.data, trigger_metadata=batch.metadata)
    assert isinstance(found, list)
    return found


def made(events: Sequence[EventData]) -> list[Any]:
    """What our worker hands to a function instead."""
    make = sent(events, PLACE).made
    assert make is not None
    found: list[Any] = make()
    return found


EVENTS = [
    received(b'{"temp": 1}', x_opt_partition_key=b"station-1"),
    received(b"", number=8, offset=b"not a number", millis=1_790_000_001_000),
    received(
        b"\xff\x00 no text",
        number=9,
        iothub_connection_device_id=b"station-1",
        iothub_enqueuedtime=1_790_000_000_123,
        iothub_message_source=b"Telemetry",
        iothub_connection_auth_method=b'{"scope":"device"}',
    ),
]


def test_every_field_is_what_the_library_converts() -> None:
    for ours, theirs in zip(made(EVENTS), converted(EVENTS), strict=True):
        for name in ("partition_key", "sequence_number", "offset", "enqueued_time", "iothub_metadata", "metadata"):
            assert getattr(ours, name) == getattr(theirs, name), name
            assert type(getattr(ours, name)) is type(getattr(theirs, name)), name
        assert ours.get_body() == theirs.get_body()


def test_quirks_of_the_real_host_are_kept() -> None:
    first, second, third = made(EVENTS)
    assert first.enqueued_time == dt.datetime(2026, 9, 21, 14, 13, 20, 250_000)  # noqa: DTZ001 - naive, and UTC
    assert [str(first.offset), str(second.offset)] == ["4096", "-1"]
    assert third.iothub_metadata == {
        "connection-device-id": "station-1",
        "enqueuedtime": "2026-09-21T14:13:20.123Z",
        "message-source": "Telemetry",
        "connection-auth-method": '{"scope":"device"}',
    }
    metadata = third.metadata or {}
    assert metadata["PartitionContext"] == PLACE
    assert metadata["PartitionKeyArray"] == ["station-1"]  # nulls are dropped: not aligned with the events
    assert metadata["SequenceNumberArray"] == [7, 8, 9]
    assert metadata["EnqueuedTimeUtcArray"][1] == "2026-09-21T14:13:21"


def test_properties_of_each_event_stay_at_its_place() -> None:
    events = [received(b"1"), received(b"2")]
    events[1].properties = {b"kind": b"end", "rows": 12, b"raw": b"\xff"}
    found = made(events)[0].metadata
    assert found is not None
    assert found["PropertiesArray"] == [{}, {"kind": "end", "rows": 12, "raw": "/w=="}]


def test_system_properties_have_the_shape_of_the_real_host() -> None:
    found = json.loads(trigger_metadata(EVENTS[:1], PLACE)["SystemPropertiesArray"].value)
    assert found == [
        {
            "x-opt-sequence-number": 7,
            "x-opt-offset": "4096",
            "x-opt-enqueued-time": "2026-09-21T14:13:20.25+00:00",
            "x-opt-partition-key": "station-1",
            "SequenceNumber": 7,
            "Offset": 4096,
            "OffsetString": "4096",
            "PartitionKey": "station-1",
            "EnqueuedTimeUtc": "2026-09-21T14:13:20.25",
        }
    ]


@pytest.mark.parametrize("body", [b"", b"x" * 300_000, "ä".encode()])
def test_a_body_is_passed_byte_for_byte(body: bytes) -> None:
    assert body_of(received(body)) == body
