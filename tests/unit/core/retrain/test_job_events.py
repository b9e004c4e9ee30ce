"""Which events tell of the end of one of our jobs."""

from __future__ import annotations

from typing import Any

import pytest

from shared.core.retrain.job_events import CHANGED, COMPLETED, Ended, ended

TOPIC = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
NESTED: list[Any] = []
for _ in range(5000):
    NESTED = [NESTED]
DATA: dict[str, Any] = {"experimentName": "air", "runId": "air-000007", "runStatus": "Completed"}


def take(kind: str = COMPLETED, topic: str = TOPIC, data: object = DATA) -> Ended | str:
    return ended(kind, topic, data, experiment="air", expected=TOPIC)


@pytest.mark.parametrize(
    ("kind", "status", "state"),
    [
        (COMPLETED, "Completed", "completed"),
        (COMPLETED, None, "completed"),
        (CHANGED, "Completed", "completed"),
        (CHANGED, "Failed", "failed"),
        (CHANGED, "CANCELED", "canceled"),
    ],
)
def test_an_end_is_taken(kind: str, status: str | None, state: str) -> None:
    assert take(kind, data={**DATA, "runStatus": status}) == Ended("air-000007", state)  # type: ignore[arg-type]


def test_the_topic_is_a_resource_id_whose_case_does_not_count() -> None:
    assert take(topic=TOPIC.upper()) == Ended("air-000007", "completed")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "Microsoft.Storage.BlobCreated"}, "neither"),
        ({"kind": ""}, "neither"),
        ({"kind": 5}, "type 'int' is neither"),
        ({"kind": [COMPLETED]}, "type 'list' is neither"),
        ({"topic": {"topic": TOPIC}}, "not where our jobs run"),
        ({"data": {**DATA, "experimentName": NESTED}}, "'list' is not 'air'"),
        ({"data": {**DATA, "runStatus": NESTED}}, "status 'list' is no end"),
        ({"topic": TOPIC + "2"}, "not where our jobs run"),
        ({"topic": ""}, "not where our jobs run"),
        ({"data": None}, "no data"),
        ({"data": ["x"]}, "no data"),
        ({"data": {**DATA, "experimentName": "water"}}, "'water' is not 'air'"),
        ({"data": {"runId": "air-000007"}}, "'NoneType' is not 'air'"),
        ({"data": {**DATA, "runId": ""}}, "names no run"),
        ({"data": {**DATA, "runId": 7}}, "names no run"),
        ({"kind": CHANGED, "data": {**DATA, "runStatus": "Running"}}, "'running' is no end"),
        ({"kind": CHANGED, "data": {**DATA, "runStatus": None}}, "is no end"),
    ],
)
def test_anything_else_is_named_and_left_alone(change: dict[str, Any], why: str) -> None:
    found = take(**change)
    assert isinstance(found, str)
    assert why in found
