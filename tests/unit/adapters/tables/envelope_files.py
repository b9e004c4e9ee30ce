"""Files as Azure's services write them, made small."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from typing import Any

import fastavro

_TEXTS = {"type": "map", "values": "string"}
_VALUES = {"type": "map", "values": ["long", "double", "string", "bytes"]}
CAPTURE = {
    "type": "record", "name": "EventData", "namespace": "Microsoft.ServiceBus.Messaging", "fields": [
        {"name": "SequenceNumber", "type": "long"}, {"name": "Offset", "type": "string"},
        {"name": "EnqueuedTimeUtc", "type": "string"}, {"name": "SystemProperties", "type": _VALUES},
        {"name": "Properties", "type": _VALUES}, {"name": "Body", "type": ["null", "bytes"]},
    ],
}  # fmt: skip
ROUTE = {
    "type": "record", "name": "Message", "namespace": "Microsoft.Azure.Devices", "fields": [
        {"name": "EnqueuedTimeUtc", "type": "string"}, {"name": "Properties", "type": _TEXTS},
        {"name": "SystemProperties", "type": _TEXTS}, {"name": "Body", "type": ["null", "bytes"]},
    ],
}  # fmt: skip


def captured(number: int, body: bytes, device: str = "yard-1") -> dict[str, Any]:
    """A record of Event Hubs Capture behind an IoT Hub."""
    system = {"iothub-connection-device-id": device, "iothub-message-source": "Telemetry", "x-opt-offset": number}
    about = {"SequenceNumber": number, "Offset": str(number), "EnqueuedTimeUtc": "5/4/2026 12:00:05 PM"}
    return {**about, "SystemProperties": system, "Properties": {}, "Body": body}


def routed(body: object, device: str = "yard-1", **system: str) -> dict[str, Any]:
    """A message that an IoT Hub routed to storage."""
    when = "2026-05-04T12:00:05.1230000Z"
    told = {"connectionDeviceId": device, "enqueuedTime": when, **system}
    return {"EnqueuedTimeUtc": when, "Properties": {}, "SystemProperties": told, "Body": body}


def text(body: bytes) -> str:
    """A body as base64."""
    return base64.b64encode(body).decode()


def jsonl(records: Iterable[object]) -> bytes:
    """A line of JSON each."""
    return b"".join(json.dumps(record).encode() + b"\r\n" for record in records)


def avro(records: Iterable[Any], schema: Any = CAPTURE, **more: Any) -> bytes:
    """An Avro file."""
    file = io.BytesIO()
    fastavro.writer(file, schema, records, **more)
    return file.getvalue()
