"""Calls the functions of `objects_app` through this Python's worker and prints what they were given and what came back.

`python -m tests.contract.host.calls FOLDER`, where FOLDER/function_app.py is that app; one JSON object on standard
output.
"""

import asyncio
import datetime as dt
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.eventhub import EventData
from azure.functions.meta import Datum
from azure.storage.blob import BlobProperties, ContentSettings

from local.host.blobs.sent import sent as blob_sent
from local.host.eventhub.events import sent as events_sent
from local.host.eventhub.events import single
from local.host.functions import declare
from local.host.http.routes import request
from local.host.invoke import Invoker
from local.host.timers import request as timer
from local.host.worker.start import start
from local.host.worker.worker import InvocationFailed, Sent, Worker

PLACE = {
    "FullyQualifiedNamespace": "localhost",
    "EventHubName": "work",
    "ConsumerGroup": "$Default",
    "PartitionId": "3",
}
POOL = min(32, (os.cpu_count() or 1) + 4)


def event(body: bytes, number: int, offset: bytes, **annotations: Any) -> EventData:
    """An event as the client decodes it."""
    found = EventData(body)
    found.raw_amqp_message.annotations = {
        b"x-opt-sequence-number": number,
        b"x-opt-offset": offset,
        b"x-opt-enqueued-time": 1_790_000_000_250,
        **{name.replace("_", "-").encode(): value for name, value in annotations.items()},
    }
    found.properties = {b"kind": b"end", "rows": number}
    return found


EVENTS = [
    event(b'{"temp": 1}', 7, b"4096", x_opt_partition_key=b"station-1"),
    event(b"\xff\x00", 8, b"no number", iothub_connection_device_id=b"a", iothub_enqueuedtime=1_790_000_000_123),
]


def blob() -> Sent:
    """A blob of five bytes."""
    found = BlobProperties(name="a.csv", metadata={"who": "me"})
    found.size, found.etag = 5, "0x1"
    found.last_modified = found.creation_time = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    found.content_settings = ContentSettings(content_type="text/csv")
    return blob_sent(b"a,b\n1", "incoming/a.csv", "http://127.0.0.1:1/x/incoming/a.csv", found)


def grid(found: dict[str, Any]) -> Callable[[], Sent]:
    """An event of Event Grid."""
    return lambda: Sent(Datum(json.dumps(found), "json"))


def http(kind: str, **query: str) -> Callable[[], Sent]:
    """A request."""
    return lambda: request("PUT", "http://x/api", {"X-A": "1"}, query, {"kind": kind}, b"abc")


def due() -> Sent:
    """A timer that is due."""
    return timer(True, {"Next": "then"})


CALLS: list[tuple[str, Callable[[], Sent]]] = [
    ("batch", lambda: events_sent(EVENTS, PLACE)),
    ("batch", lambda: single(b"{}")),
    ("dropped", blob),
    ("tick", due),
    ("tick", lambda: timer(False, {})),
    ("on_event", grid({"id": "1", "eventType": "T", "data": {"a": 1}, "eventTime": "2026-01-01T00:00:00Z"})),
    ("on_event", grid({"specversion": "1.0", "id": "2", "type": "T", "source": "s", "data": {"a": 2}})),
    ("leaving_late", due),
    ("awaiting", due),
    ("raising", due),
    ("leaving", due),
    ("returning", due),
    ("answer", http("response")),
    ("answer", http("text", q="1")),
    ("answer", http("none")),
    ("answer", http("dict")),
    ("answer", http("bytes")),
]


def plain(answer: Datum | None) -> Any:
    """An encoded return value, readable."""
    if answer is None or answer.type == "string":
        return answer and answer.value
    found = answer.value
    headers = {name: each.value for name, each in found["headers"].items()}
    cookies = [each.output(header="").strip() for each in found["cookies"] or ()]
    return [found["status_code"].value, headers, found["body"].value.decode(), cookies]


async def calls(worker: Worker) -> dict[str, Any]:
    """All calls, one after the other; then as many at once as the pool has threads."""
    declared = {each.name: each for each in declare(worker.functions)}
    invoke = Invoker(list(declared.values()), worker)
    told: list[Any] = sys.modules["function_app"].TOLD
    found = []

    async def call(name: str, send: Callable[[], Sent], **past: Any) -> InvocationFailed | None:
        told.clear()
        answer, failed = None, None
        try:
            answer = await invoke(declared[name], send, **past)
        except InvocationFailed as error:
            failed = error
        said = failed and [failed.kind, str(failed)]
        found.append({"name": name, "told": [*told], "answer": plain(answer), "error": said})
        return failed

    for name, send in CALLS:
        await call(name, send, failures=2 if name == "awaiting" else 0)
    failed = await call("raising", due)
    await call("context", due)
    await call("context", due, failures=1, last=failed)
    at_once = http("threads", count=str(POOL))
    answers = await asyncio.gather(*(invoke(declared["threads"], at_once) for _ in range(POOL)))
    tally = invoke.tallies["raising"]
    invoke.close()
    return {
        "calls": found,
        "threads": [each.value for each in answers if each],
        "tally": [tally.invocations, tally.failures, tally.running, (tally.last_error or {})["type"]],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(calls(start(Path(sys.argv[1]).resolve()))), default=repr))
    sys.stdout.flush()
    os._exit(0)
