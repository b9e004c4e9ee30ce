"""The event of a local job's end, in the form in which Azure Machine Learning tells it through Event Grid."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime, timezone
from http.client import HTTPException
from typing import Any

import msgspec

from shared.core.retrain.job_events import local_topic
from shared.core.retrain.job_spec import JobSpec, JobState

STATUS = {"completed": "Completed", "failed": "Failed", "canceled": "Canceled"}
KIND = "Microsoft.MachineLearningServices"
FIRST_PAUSE_S, LONGEST_PAUSE_S, ANSWER_S = 0.25, 15.0, 10.0


def event(spec: JobSpec, state: JobState, reason: str) -> dict[str, Any]:
    """RunCompleted for a job that did what it should, RunStatusChanged for any other end.

    Source: Event Grid event schema of Azure Machine Learning.
    """
    status = STATUS[state]
    return {
        "id": f"{spec.name}-{state}",
        "topic": local_topic(spec.scenario),
        "subject": f"experiments/{spec.scenario}/runs/{spec.name}",
        "eventType": f"{KIND}.RunCompleted" if state == "completed" else f"{KIND}.RunStatusChanged",
        "eventTime": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%fZ}",
        "dataVersion": "1.0",
        "metadataVersion": "1",
        "data": {
            "experimentId": spec.scenario,
            "experimentName": spec.scenario,
            "runId": spec.name,
            "runType": "local",
            "runTags": {**spec.tags, "reason": spec.reason, "dataset": spec.dataset},
            "runProperties": {"reason": reason},
            "runStatus": status,
        },
    }


def post(
    url: str,
    events: list[dict[str, Any]],
    *,
    pause: Callable[[float], bool],
    say: Callable[[str], None],
) -> bool:
    """Post events to a webhook, again and again while it does not accept them; False when it never did.

    Args:
        url: The webhook.
        events: Sent together.
        pause: Waits some seconds; False when it is time to give up.
        say: Takes failures in words; never the address, which may carry a key.
    """
    body = msgspec.json.encode(events)
    wait_s = FIRST_PAUSE_S
    while True:
        problem = _once(url, body)
        if problem is None:
            return True
        say(f"event not accepted: {problem}")
        if not pause(wait_s):
            return False
        wait_s = min(2 * wait_s, LONGEST_PAUSE_S)


def _once(url: str, body: bytes) -> str | None:
    """What went wrong, None when the webhook accepted it."""
    headers = {"Content-Type": "application/json", "aeg-event-type": "Notification"}
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - checked by the supervisor
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the host of the webhook is this machine
    try:
        with opener.open(request, timeout=ANSWER_S) as answer:
            return None if 200 <= answer.status < 300 else f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTP {error.code}"
    except (OSError, HTTPException) as error:
        return type(error).__name__
