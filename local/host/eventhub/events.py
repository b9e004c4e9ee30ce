"""Events as the Event Hubs client received them -> what the host sends to the worker, and what a function receives.

The library's converter tries a dozen strptime formats on each enqueued time (0.12 ms an event). The vendor's runtime
pays for it; our worker builds events directly, and a test compares them field by field with what the converter makes.
"""

import base64
import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import azure.functions as func
from azure.eventhub import EventData
from azure.functions import meta

from local.host.worker.worker import Sent

# annotations that are times, and how .NET writes each: a DateTimeOffset or a UTC DateTime
_TIMES = {b"x-opt-enqueued-time": "+00:00", b"iothub-enqueuedtime": "Z", b"iothub-creation-time-utc": "Z"}
_FIRST = dt.datetime(1, 1, 1)  # noqa: DTZ001 - the default of a .NET DateTime, naive like all enqueued times


class _Late(meta.Datum):
    """A datum whose value is made when somebody looks: most functions never read the metadata of a batch.

    Args:
        make: Gives the values.
        kind: "json", or a collection such as "collection_string".
    """

    def __init__(self, make: Callable[[], Any], kind: str = "json") -> None:
        super().__init__(None, kind)
        self._make: Callable[[], Any] | None = make

    @property
    def value(self) -> Any:
        if self._make is not None:
            found, self._make = self._make(), None
            kind = str(self.type)
            self._value = json.dumps(found) if kind == "json" else SimpleNamespace(**{kind.rpartition("_")[2]: found})
        return self._value

    @value.setter
    def value(self, ignored: object) -> None:
        """The base class assigns once at construction."""

    @property
    def python_value(self) -> Any:
        """What reading the JSON would give: all of it is plain."""
        return self._make() if self._make is not None else super().python_value


def sent(events: Sequence[EventData], partition: Mapping[str, str]) -> Sent:
    """What an Event Hubs trigger of cardinality many sends.

    Args:
        events: One batch of one partition, in order.
        partition: FullyQualifiedNamespace, EventHubName, ConsumerGroup and PartitionId.
    """
    metadata = trigger_metadata(events, partition)
    bodies = _Late(lambda: [body_of(event) for event in events], "collection_bytes")
    return Sent(bodies, metadata, lambda: to_functions(events, metadata))


def to_functions(events: Sequence[EventData], metadata: Mapping[str, meta.Datum]) -> list[func.EventHubEvent]:
    """The list that a function with cardinality many receives, as the library's converter makes it.

    Args:
        events: One batch of one partition, in order.
        metadata: Their `trigger_metadata`, which they share.

    Returns:
        Events with naive UTC enqueued times and integer offsets (-1 when the service's is no number).
    """
    return [_event(event, metadata) for event in events]


def _event(event: EventData, metadata: Mapping[str, meta.Datum]) -> func.EventHubEvent:
    found: Mapping[Any, Any] = event.raw_amqp_message.annotations or {}
    key = event.partition_key
    return func.EventHubEvent(
        body=body_of(event),
        trigger_metadata=metadata,
        enqueued_time=_enqueued(event),
        partition_key=None if key is None else _text(key),
        sequence_number=event.sequence_number,
        offset=_offset(event.offset),
        iothub_metadata={_decoded(name[7:]): _plain(name, found[name]) for name in found if name[:7] == b"iothub-"},
    )


def single(body: bytes) -> Sent:
    """What `POST /admin/functions/NAME` sends: one event whose metadata are the defaults of an event never sent."""
    missing = -(2**63)
    properties = {
        "SequenceNumber": missing,
        "Offset": -1,
        "OffsetString": None,
        "PartitionKey": None,
        "EnqueuedTimeUtc": "0001-01-01T00:00:00",
    }
    metadata = {  # without PartitionContext
        "PartitionKeyArray": _strings(list),
        "OffsetArray": _strings(lambda: ["-1"]),
        "SequenceNumberArray": _Late(lambda: [missing], "collection_sint64"),
        "EnqueuedTimeUtcArray": _Late(lambda: ["0001-01-01T00:00:00"]),
        "PropertiesArray": _Late(lambda: [{}]),
        "SystemPropertiesArray": _Late(lambda: [properties]),
    }
    return Sent(_Late(lambda: [body], "collection_bytes"), metadata)


def trigger_metadata(events: Sequence[EventData], partition: Mapping[str, str]) -> dict[str, meta.Datum]:
    """The metadata of a batch in the shape the Functions host sends it to the worker."""
    return {
        "PartitionContext": _Late(lambda: dict(partition)),
        # the host leaves nulls out, so this one is not aligned with the events
        "PartitionKeyArray": _strings(lambda: [key for event in events if (key := _text(event.partition_key))]),
        "OffsetArray": _strings(lambda: [str(_offset(event.offset)) for event in events]),
        "OffsetStringArray": _strings(lambda: [event.offset for event in events if event.offset]),
        "SequenceNumberArray": _Late(lambda: [event.sequence_number for event in events], "collection_sint64"),
        "EnqueuedTimeUtcArray": _Late(lambda: [_iso(_enqueued(event)) for event in events]),
        "PropertiesArray": _Late(lambda: [_properties(event) for event in events]),
        "SystemPropertiesArray": _Late(lambda: [_system_properties(event) for event in events]),
    }


def body_of(event: EventData) -> bytes:
    """The body's bytes as sent; a body that is not binary (AMQP value or sequence) as JSON."""
    if event.body_type.value == "data":
        return b"".join(event.body)  # type: ignore[arg-type]
    body = event.body
    return body if isinstance(body, bytes) else json.dumps(body, default=_readable).encode()


def _strings(make: Callable[[], list[Any]]) -> meta.Datum:
    return _Late(make, "collection_string")


def _enqueued(event: EventData) -> dt.datetime:
    found = (event.raw_amqp_message.annotations or {}).get(b"x-opt-enqueued-time")
    return _time_of(found) if found else _FIRST


def _offset(offset: str | None) -> Any:
    try:
        return int(offset or "")
    except ValueError:
        return -1


@lru_cache(maxsize=4096)  # a batch was enqueued in few different milliseconds
def _time_of(milliseconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.timezone.utc).replace(tzinfo=None)


@lru_cache(maxsize=4096)
def _iso(time: dt.datetime) -> str:
    """As Newtonsoft writes it: fractions without trailing zeros, no zone."""
    text = time.isoformat(timespec="microseconds")
    return text.rstrip("0").rstrip(".")


def _properties(event: EventData) -> dict[str, Any]:
    return {_text(name) or "": _readable(value) for name, value in (event.properties or {}).items()}


def _system_properties(event: EventData) -> dict[str, Any]:
    found = {_text(name) or "": _plain(name, value) for name, value in event.system_properties.items()}
    found |= {
        "SequenceNumber": event.sequence_number,
        "Offset": _offset(event.offset),
        "OffsetString": event.offset,
        "PartitionKey": _text(event.partition_key),
        "EnqueuedTimeUtc": _iso(_enqueued(event)),
    }
    return found


def _plain(name: Any, value: Any) -> Any:
    """An annotation as JSON can hold it; the client decodes AMQP timestamps to milliseconds."""
    if type(value) is bytes:
        return _decoded(value)
    if isinstance(value, int) and name in _TIMES:
        return _iso_of(value) + _TIMES[name]
    return _readable(value)


@lru_cache(maxsize=4096)
def _iso_of(milliseconds: int) -> str:
    return _iso(_time_of(milliseconds))


def _readable(value: Any) -> Any:
    if type(value) is bytes:
        return _decoded(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def _text(value: Any) -> str | None:
    """The client does not tell AMQP strings from binaries; what is not UTF-8 was binary."""
    if isinstance(value, bytes):
        return _decoded(value)
    return value if value is None else str(value)


@lru_cache(maxsize=4096)  # names of annotations, devices, what all of them say alike
def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
