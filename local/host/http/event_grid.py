"""What the Event Grid webhooks are sent, and send on."""

import json
from collections.abc import Mapping
from typing import Any

from azure.functions.meta import Datum

from local.host.worker.worker import Sent

DEEPEST = 64  # levels of JSON
TEXTS = ("id", "topic", "subject", "eventType", "eventTime", "dataVersion", "source", "type", "specversion")


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The events of a request, of either schema.

    Raises:
        ValueError: It holds none, or one that could not be read; says which key is wrong.
    """
    try:
        found = json.loads(body)
    except RecursionError as error:
        raise ValueError(f"JSON of more than {DEEPEST} levels") from error
    if _deeper(found, DEEPEST):
        raise ValueError(f"JSON of more than {DEEPEST} levels")
    events = found if isinstance(found, list) else [found]
    if not all(isinstance(event, dict) and isinstance(event.get("data") or {}, dict) for event in events):
        raise ValueError("the body is not an event or a list of events")
    for key in TEXTS:
        if any(not isinstance(event.get(key) or "", str) for event in events):
            raise ValueError(f"{key}: is not a text")
    return [{**event, "data": event.get("data") or {}} for event in events]


def sent(event: Mapping[str, Any]) -> Sent:
    """An event as the host sends it to a worker."""
    return Sent(Datum(json.dumps(event), "json"))


def _deeper(value: object, most: int) -> bool:
    level = [value]
    for _ in range(most):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [each for several in inner for each in several]
    return any(isinstance(each, dict | list) for each in level)
