"""An app whose functions say what they were given; the answers are the same whichever worker runs it."""

import asyncio
import json
import os
import threading
from typing import Any, List

import azure.functions as func

app = func.FunctionApp()
TOLD: list[Any] = []


def tell(**found: Any) -> None:
    """Note what a function saw."""
    TOLD.append(found)


@app.event_hub_message_trigger(
    arg_name="events", connection="HUBS", event_hub_name="work", cardinality="many", data_type="binary"
)
def batch(events: List[func.EventHubEvent]) -> None:
    """Notes each event and the metadata of all."""
    for each in events:
        tell(
            body=each.get_body().decode("latin-1"),
            key=each.partition_key,
            number=each.sequence_number,
            offset=each.offset,
            enqueued=None if each.enqueued_time is None else each.enqueued_time.isoformat(),
            iothub=each.iothub_metadata,
        )
    tell(metadata=dict(events[0].metadata or {}))


@app.blob_trigger(arg_name="blob", path="incoming/{name}", connection="BLOBS")
def dropped(blob: func.InputStream) -> None:
    """Notes a blob."""
    found = {"name": blob.name, "uri": blob.uri, "length": blob.length, "seekable": blob.seekable()}
    tell(**found, body=blob.read().decode(), declared=blob.blob_properties["ContentLength"], metadata=blob.metadata)  # type: ignore[attr-defined]


@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
def tick(timer: func.TimerRequest) -> None:
    """Notes a timer's request."""
    tell(past_due=timer.past_due, status=timer.schedule_status, schedule=timer.schedule)  # type: ignore[attr-defined]


@app.event_grid_trigger(arg_name="event")
def on_event(event: func.EventGridEvent) -> None:
    """Notes an event of either schema."""
    tell(kind=type(event).__name__, id=event.id, data=event.get_json())


@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
def context(timer: func.TimerRequest, context: func.Context) -> None:  # noqa: ARG001 - belongs to the trigger
    """Notes what it knows of its execution."""
    retry: Any = context.retry_context
    error = retry.rpc_exception
    tell(
        name=context.function_name,
        folder=os.path.basename(context.function_directory),  # noqa: PTH119
        count=retry.retry_count,
        limit=retry.max_retry_count,
        error=error and error.message,
        traced=bool(error and "Traceback" in error.stack_trace),
        same=getattr(context.thread_local_storage, "invocation_id", None) == context.invocation_id,
        parent=context.trace_context.trace_parent,
    )


@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
async def awaiting(timer: func.TimerRequest, context: func.Context) -> None:
    """Fails on the loop of coroutines, saying how often it failed before."""
    await asyncio.sleep(0)
    raise RuntimeError(f"{context.function_name} {context.retry_context.retry_count} {timer.past_due}")


@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
def raising(timer: func.TimerRequest) -> None:
    """Fails with a message of two lines, from another."""
    try:
        os.stat("/absent" * timer.past_due)  # noqa: PTH116
    except OSError as error:
        raise KeyError("gone\nfor good") from error


@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
def leaving(timer: func.TimerRequest) -> None:
    """Tries to end the host."""
    raise SystemExit(3 + timer.past_due)


@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
async def leaving_late(timer: func.TimerRequest) -> None:
    """Tries to end the loop of coroutines."""
    await asyncio.sleep(0)
    raise SystemExit(3 + timer.past_due)


@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
def returning(timer: func.TimerRequest) -> bool:
    """Returns what nothing takes."""
    return not timer.past_due


@app.route(route="answer/{kind}")
def answer(req: func.HttpRequest):  # type: ignore[no-untyped-def]
    """Answers with a value of the kind that it is asked for."""
    response = func.HttpResponse(b"\x00body", status_code=202, mimetype="text/plain", headers={"X-Seen": "1"})
    response.headers.add("Set-Cookie", "a=b; Path=/")
    body = json.dumps([req.method, req.params.get("q"), len(req.get_body()), req.headers["x-a"]])
    return {"response": response, "text": body, "none": None, "dict": {}, "bytes": b""}[req.route_params["kind"]]


@app.route(route="threads")
def threads(req: func.HttpRequest) -> str:
    """Waits until as many run at once as it is told."""
    barrier = BARRIERS.setdefault("all", threading.Barrier(int(req.params["count"])))
    barrier.wait(20)
    return str(barrier.parties)


BARRIERS: dict[str, threading.Barrier] = {}
