"""A sample app for the tests of the local host: every function notes what it was given, and events say what to do."""

import json
import os
import time
from pathlib import Path
from typing import Any, List

import azure.functions as func

app = func.FunctionApp()
RECORD = Path(os.environ.get("RECORD", "record.jsonl"))


def note(function: str, **found: Any) -> None:
    """Append one line; appending is atomic between processes."""
    line = json.dumps({"function": function, "pid": os.getpid(), **found}, default=str) + "\n"
    handle = os.open(RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def noted(function: str, key: str) -> int:
    """How often a function noted a key."""
    lines = RECORD.read_text("utf-8").splitlines() if RECORD.exists() else []
    return sum(1 for line in map(json.loads, lines) if line["function"] == function and line.get("key") == key)


def obey(function: str, events: List[func.EventHubEvent]) -> None:
    """Note a batch, then fail or wait as its first event says: `{"key": ..., "fail": times, "until": path}`."""
    first = events[0]
    order = json.loads(first.get_body() or b"{}")
    metadata = first.metadata or {}
    note(
        function,
        key=order.get("key"),
        partition=metadata.get("PartitionContext", {}).get("PartitionId"),
        sequences=[event.sequence_number for event in events],
        keys=[json.loads(event.get_body() or b"{}").get("key") for event in events],
        received=time.time(),
    )
    while "until" in order and not Path(order["until"]).exists():
        time.sleep(0.02)
    if noted(function, order.get("key")) <= order.get("fail", 0):
        raise ConnectionError("the store does not answer")
    for event in events:
        note(f"{function} done", key=json.loads(event.get_body() or b"{}").get("key"))


@app.event_hub_message_trigger(
    arg_name="events", connection="HUBS", event_hub_name="%WORK_HUB%", cardinality="many", data_type="binary"
)
@app.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:00")
def work(events: List[func.EventHubEvent]) -> None:
    """Retries without end."""
    obey("work", events)


@app.event_hub_message_trigger(
    arg_name="events", connection="HUBS", event_hub_name="limited", cardinality="many", data_type="binary"
)
@app.retry(
    strategy="exponential_backoff", max_retry_count="2", minimum_interval="00:00:00", maximum_interval="00:00:01"
)
def limited(events: List[func.EventHubEvent]) -> None:
    """Gives a batch up after two retries."""
    obey("limited", events)


@app.event_hub_message_trigger(
    arg_name="events", connection="NOWHERE", event_hub_name="absent", cardinality="many", data_type="binary"
)
def unconnected(events: List[func.EventHubEvent]) -> None:
    """Its connection setting is missing."""
    note("unconnected", count=len(events))


@app.blob_trigger(arg_name="blob", path="%DROP%/{name}", connection="AzureWebJobsStorage")
def dropped(blob: func.InputStream) -> None:
    """Reads a blob in pieces; one that begins with `fail` fails."""
    head = blob.read(4)
    size = len(head)
    while piece := blob.read(1 << 20):
        size += len(piece)
    found = {"length": blob.length, "uri": blob.uri, "metadata": blob.metadata}  # type: ignore[attr-defined]
    found["declared"] = blob.blob_properties["ContentLength"]  # type: ignore[attr-defined]
    note("dropped", key=blob.name, head=head.decode("utf-8", "replace"), size=size, **found)
    if head == b"fail":
        raise ValueError("this blob cannot be used")


@app.blob_trigger(
    arg_name="blob", path="told/{name}", connection="AzureWebJobsStorage", source=func.BlobSource.EVENT_GRID
)
def told(blob: func.InputStream) -> None:
    """Runs when Event Grid names a blob."""
    note("told", key=blob.name, body=blob.read().decode())


@app.timer_trigger(arg_name="timer", schedule="* * * * * *", run_on_startup=False)
def tick(timer: func.TimerRequest) -> None:
    """Every second."""
    note("tick", past_due=timer.past_due, key=timer.schedule_status.get("Next"))  # type: ignore[attr-defined]


@app.timer_trigger(arg_name="timer", schedule="* * * * * *", run_on_startup=True)
def switched_off(timer: func.TimerRequest) -> None:
    """Disabled by a setting."""
    note("switched_off", past_due=timer.past_due)


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=False)
def yearly(timer: func.TimerRequest) -> None:
    """Practically only by hand."""
    note("yearly", past_due=timer.past_due)


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=False)
def returning(timer: func.TimerRequest) -> int:
    """Returns a value that no binding takes."""
    return 1 + timer.past_due


@app.event_grid_trigger(arg_name="event")
def on_event(event: func.EventGridEvent) -> None:
    """Takes both schemas; fails when told to."""
    note("on_event", key=event.id, kind=type(event).__name__, data=event.get_json())
    if event.get_json().get("fail"):
        raise ValueError("this event cannot be used")


@app.route(route="files/{name}/{part:int?}", methods=["GET", "PUT"])
def files(req: func.HttpRequest) -> func.HttpResponse:
    """Says what it was asked."""
    answer = {
        "method": req.method,
        "route": dict(req.route_params),
        "query": dict(req.params),
        "header": req.headers.get("x-some-header"),
        "lower": "x-some-header" in list(req.headers),
        "size": len(req.get_body()),
    }
    return func.HttpResponse(json.dumps(answer), status_code=201, mimetype="application/json", headers={"X-Seen": "1"})


@app.queue_trigger(arg_name="message", queue_name="queue", connection="AzureWebJobsStorage")
def queued(message: func.QueueMessage) -> None:
    """Azure runs it, the local host cannot."""
    note("queued", key=message.id)


@app.route(route="nothing")
def nothing(req: func.HttpRequest):  # type: ignore[no-untyped-def]
    """Answers with nothing."""
    note("nothing", key=req.method)


@app.route(route="broken")
def broken(req: func.HttpRequest) -> func.HttpResponse:
    """Expects JSON."""
    return func.HttpResponse(str(req.get_json()))


@app.route(route="slow")
async def slow(req: func.HttpRequest, context: func.Context) -> str:
    """A coroutine with a context."""
    return f"{context.function_name} {req.method}"
