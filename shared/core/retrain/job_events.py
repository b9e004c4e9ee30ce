"""What an event says of a training job's end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

KIND = "Microsoft.MachineLearningServices."
COMPLETED, CHANGED = f"{KIND}RunCompleted", f"{KIND}RunStatusChanged"
End = Literal["completed", "failed", "canceled"]
ENDS: Mapping[str, End] = {"completed": "completed", "failed": "failed", "canceled": "canceled"}


class Ended(NamedTuple):
    """A job and how it ended."""

    job: str
    state: End


def local_topic(scenario: str) -> str:
    """Where events of jobs on this machine come from."""
    return f"local/{scenario}"


def ended(kind: object, topic: object, data: object, *, experiment: str, expected: str) -> Ended | str:
    """The end that an event tells of, or in words why it is none of ours.

    Args:
        kind: Type of the event.
        topic: Where it comes from: the topic of an EventGridEvent, the source of a CloudEvent.
        data: Its data.
        experiment: Name of the experiment that our jobs are in.
        expected: The topic of our jobs.

    Source: Azure Machine Learning's Event Grid schema; RunCompleted is sent on success only and need not say a status.
    """
    kind, topic = _text(kind), _text(topic)
    if kind not in {COMPLETED, CHANGED}:
        return f"type {kind[:100]!r} is neither RunCompleted nor RunStatusChanged"
    if topic.casefold() != expected.casefold():
        return f"topic {topic[:200]!r} is not where our jobs run"
    if not isinstance(data, Mapping):
        return "it has no data"
    return _of(kind, data, experiment)


def _of(kind: str, data: Mapping[str, Any], experiment: str) -> Ended | str:
    if (named := _text(data.get("experimentName"))) != experiment:
        return f"experiment {named[:100]!r} is not {experiment!r}"
    job = data.get("runId")
    if not isinstance(job, str) or not job:
        return "it names no run"
    status = _text(data.get("runStatus") or ("completed" if kind == COMPLETED else "")).casefold()
    if status not in ENDS:
        return f"status {status[:40]!r} is no end"
    return Ended(job, ENDS[status])


def _text(value: object) -> str:
    """A text as it is, anything else as what it is: it may be of any size and depth."""
    return value if isinstance(value, str) else type(value).__name__
