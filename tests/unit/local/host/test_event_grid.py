"""What a webhook takes for events, and what it says of anything else."""

from __future__ import annotations

import json

import pytest
from azure.functions.eventgrid import EventGridEventInConverter

from local.host.http.event_grid import DEEPEST, events_of, sent

EVENT = {"id": "1", "topic": "t", "subject": "s", "eventType": "k", "eventTime": "2026-12-01T00:00:00Z", "data": {}}


def nested(levels: int) -> bytes:
    """An event with a value below it, so many levels in all."""
    return b'{"data":{"x":' + b"[" * (levels - 2) + b"]" * (levels - 2) + b"}}"


def test_one_event_and_a_list_of_them_are_taken_and_a_missing_value_is_nothing() -> None:
    assert events_of(json.dumps(EVENT).encode()) == [EVENT]
    found = events_of(json.dumps([EVENT, {"data": None, "topic": None}, {}]).encode())
    assert found == [EVENT, {"data": {}, "topic": None}, {"data": {}}]
    made = sent(EVENT)
    assert EventGridEventInConverter.decode(made.data, trigger_metadata=made.metadata).subject == "s"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"5", "not an event or a list of events"),
        (b"[[]]", "not an event or a list of events"),
        (b'{"data": 5}', "not an event or a list of events"),
        (b'{"eventType": 5}', "^eventType: is not a text"),
        (b'{"topic": {"x": 1}}', "^topic: is not a text"),
        (b'[{}, {"type": ["x"]}]', "^type: is not a text"),
        (nested(DEEPEST + 1), "more than 64 levels"),
        (nested(100_000), "more than 64 levels"),
        (b"{", "Expecting"),
        (b"\xff", "decode"),
    ],
)
def test_anything_else_is_refused_in_words(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        events_of(body)


def test_json_of_the_limit_is_taken() -> None:
    assert len(events_of(nested(DEEPEST))) == 1
