"""The map of the application: every trigger, unwrapped, and one call each."""

import json
import logging
import os
from datetime import timezone
from typing import Any, List

import azure.functions as func

from shared import settings, wiring
from shared.core.intake.envelopes.told import UNTOLD, Told, told_by
from shared.core.stream.events import Event
from shared.errors import ContractBroken

CONTEXT, PROPERTIES = "PartitionContext", ("SystemPropertiesArray", "PropertiesArray")
log = logging.getLogger(__name__)

app = func.FunctionApp()
application = wiring.build(os.environ)


@app.function_name("route_file")
@app.blob_trigger(
    arg_name="blob",
    path="incoming/{name}",
    connection="BLOBS",
    source=func.BlobSource(settings.incoming_source(os.environ)),
)
def route_file(blob: func.InputStream) -> None:
    """Read a dropped file and send its readings to the partitions that own them."""
    application.route_file(str(blob.name).partition("/")[2])


@app.function_name("route_events")
@app.event_hub_message_trigger(
    arg_name="events",
    connection="TELEMETRY",
    event_hub_name="%TELEMETRY_HUB%",
    consumer_group="%TELEMETRY_GROUP%",
    cardinality="many",
    data_type="binary",
)
@app.retry(
    strategy="exponential_backoff", max_retry_count="-1", minimum_interval="00:00:02", maximum_interval="00:01:00"
)
def route_events(events: List[func.EventHubEvent]) -> None:
    """Check the devices' messages and send their readings to the partitions that own them."""
    if batch := unwrap(events, told=True):
        application.route_events(*batch)


@app.function_name("score_readings")
@app.event_hub_message_trigger(
    arg_name="events",
    connection="READINGS",
    event_hub_name="%READINGS_HUB%",
    cardinality="many",
    data_type="binary",
)
@app.retry(
    strategy="exponential_backoff", max_retry_count="-1", minimum_interval="00:00:02", maximum_interval="00:01:00"
)
def score_readings(events: List[func.EventHubEvent]) -> None:
    """Fold a batch of readings into its partition and forecast what becomes due."""
    if batch := unwrap(events):
        application.score(*batch)


@app.function_name("sweep_files")
@app.timer_trigger(arg_name="timer", schedule="0 */5 * * * *")
def sweep_files(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding needs the parameter
    """Finish files whose last receipt could not finish them."""
    application.sweep()


@app.function_name("health")
@app.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    """Whether the app can work, who serves, how far each partition is; ?window=... seconds for latencies."""
    well, body = application.health(req.params.get("window", ""))
    return func.HttpResponse(json.dumps(body), status_code=200 if well else 503, mimetype="application/json")


@app.function_name("replay")
@app.route(route="replay", methods=["POST"], auth_level=func.AuthLevel.ADMIN)
def replay(req: func.HttpRequest) -> func.HttpResponse:
    """Feed dead letters back after a fix: ?prefix=... names blobs, ?reason=a,b picks letters."""
    return answer(application.resubmit.asked(dict(req.params)))


@app.function_name("forecasts")
@app.route(route="forecasts/{*device}", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def forecasts(req: func.HttpRequest) -> func.HttpResponse:
    """A device's newest forecasts, or those of a time: ?last=N, or ?from=...&to=...; ?format=json|csv."""
    device = req.route_params.get("device") or ""
    status, body, kind = application.forecasts(device, dict(req.params), headers(req))
    return func.HttpResponse(body, status_code=status, mimetype=kind)


@app.function_name("compact_lake")
@app.timer_trigger(arg_name="timer", schedule="0 7 * * * *")
def compact_lake(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding needs the parameter
    """Bring what was committed into the lake."""
    application.loop.compact()


@app.function_name("check_drift")
@app.timer_trigger(arg_name="timer", schedule="0 30 3 * * *")
def check_drift(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding needs the parameter
    """Look for drift, isolate faulty devices, and start a training job where one is worth it."""
    application.loop.check()


@app.function_name("advance_rollout")
@app.timer_trigger(arg_name="timer", schedule="0 17 * * * *")
def advance_rollout(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding needs the parameter
    """Let a challenger climb, wait or fall by the labels that have matured."""
    application.loop.advance()


@app.function_name("watch_jobs")
@app.timer_trigger(arg_name="timer", schedule="30 */5 * * * *")
def watch_jobs(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding needs the parameter
    """Start what was decided, and finish what no event finished."""
    application.loop.watch_jobs()


@app.function_name("job_events")
@app.event_grid_trigger(arg_name="event")
def job_events(event: func.EventGridEvent) -> None:
    """Take a training job's end on to the gate."""
    # Of either schema: the binding may give a CloudEvent all the same.
    kind = getattr(event, "event_type", None) or getattr(event, "type", None) or ""
    topic = getattr(event, "topic", None) or getattr(event, "source", None) or ""
    application.loop.job_event(kind, topic, event.get_json())


@app.function_name("retrain")
@app.route(route="retrain", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def retrain(req: func.HttpRequest) -> func.HttpResponse:
    """Ask for a training job: ?reason=...&dry_run=true|false."""
    return answer(application.loop.retrain(dict(req.params), headers(req)))


@app.function_name("rollout")
@app.route(route="rollout/{action}", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def rollout(req: func.HttpRequest) -> func.HttpResponse:
    """Approve, promote, roll_back, pause, resume or install (?version=...); ?id=... names the request."""
    return answer(application.loop.rollout(req.route_params["action"], dict(req.params), headers(req)))


def answer(found: tuple[int, dict[str, Any]]) -> func.HttpResponse:
    """A status and a body as JSON."""
    status, body = found
    return func.HttpResponse(json.dumps(body), status_code=status, mimetype="application/json")


def headers(req: func.HttpRequest) -> dict[str, str]:
    """A request's headers with lower-case names."""
    return {name.lower(): value for name, value in req.headers.items()}


def unwrap(events: List[func.EventHubEvent], *, told: bool = False) -> tuple[int, list[Event]] | None:
    """Partition and events of a trigger's batch; None for an event that somebody made by hand.

    Args:
        events: The batch.
        told: Whether what a hub tells of each is wanted too.

    Raises:
        ContractBroken: The events are numbered as in a hub, but without their partition.
    """
    context = _metadata(events[0], CONTEXT)
    if context is None:
        number = events[0].sequence_number
        if len(events) == 1 and (number is None or number < 0):
            log.error("an event that was started by hand is dropped: it stands in no hub, so a retry cannot mend it")
            return None
        raise ContractBroken("takes events of its hub only; these come from no partition")
    known = _told(events) if told else [UNTOLD] * len(events)
    return int(context["PartitionId"]), [_plain(event, more) for event, more in zip(events, known, strict=True)]


def _told(events: List[func.EventHubEvent]) -> list[Told]:
    system, properties = (_metadata(events[0], name) or [{}] * len(events) for name in PROPERTIES)
    return [told_by(*both) for both in zip(system, properties, strict=True)]


def _metadata(event: func.EventHubEvent, name: str) -> Any:
    """An entry of `metadata`, which is the same for all of a batch; asking that for one makes it build them all."""
    raw = getattr(event, "_EventHubEvent__trigger_metadata", None)
    if raw and name in raw:
        return raw[name].python_value
    return (event.metadata or {}).get(name)


def _plain(event: func.EventHubEvent, told: Told) -> Event:
    if event.sequence_number is None or event.enqueued_time is None:
        raise ContractBroken("an event without sequence number or enqueued time")
    enqueued = event.enqueued_time.replace(tzinfo=timezone.utc)  # the worker gives UTC without a zone
    identity = (event.iothub_metadata or {}).get("connection-device-id")
    return Event(int(event.sequence_number), int(enqueued.timestamp() * 1000), event.get_body(), identity, told)
