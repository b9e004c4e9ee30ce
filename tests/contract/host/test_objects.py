"""What functions are given and what becomes of what they return: the same on both workers.

From Python 3.13 on the vendor's runtime converts and calls, below that our imitation of it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.contract.host.calls import POOL

APP = Path(__file__).parent / "objects_app"
FAILS: dict[str, Any] = {"told": [], "answer": None}


@pytest.fixture(scope="module")
def done() -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.contract.host.calls", str(APP)]
    plain = {name: value for name, value in os.environ.items() if name != "PYTHON_THREADPOOL_THREAD_COUNT"}
    ended = subprocess.run(  # noqa: S603 - our own code
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True, env=plain
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def calls(done: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [each for each in done["calls"] if each["name"] == name]


def test_events_come_with_naive_times_and_the_metadata_of_their_batch(done: dict[str, Any]) -> None:
    first, second, shared = calls(done, "batch")[0]["told"]
    assert first == {
        "body": '{"temp": 1}',
        "key": "station-1",
        "number": 7,
        "offset": 4096,
        "enqueued": "2026-09-21T14:13:20.250000",
        "iothub": {},
    }
    assert [second["body"], second["key"], second["offset"]] == ["\xff\0", None, -1]
    assert second["iothub"] == {"connection-device-id": "a", "enqueuedtime": "2026-09-21T14:13:20.123Z"}
    assert shared["metadata"]["PartitionContext"]["PartitionId"] == "3"
    assert shared["metadata"]["PropertiesArray"] == [{"kind": "end", "rows": 7}, {"kind": "end", "rows": 8}]


def test_an_event_made_by_hand_has_no_partition(done: dict[str, Any]) -> None:
    event, shared = calls(done, "batch")[1]["told"]
    assert [event["number"], event["offset"], event["enqueued"]] == [-(2**63), -1, "0001-01-01T00:00:00"]
    assert "PartitionContext" not in shared["metadata"]


def test_a_blob_comes_whole_and_cannot_be_wound_back(done: dict[str, Any]) -> None:
    assert calls(done, "dropped")[0]["told"] == [
        {
            "name": "incoming/a.csv",
            "uri": "http://127.0.0.1:1/x/incoming/a.csv",
            "length": 5,
            "seekable": False,
            "body": "a,b\n1",
            "declared": 5,
            "metadata": {"who": "me"},
        }
    ]


def test_timers_and_events_of_both_schemas_are_converted(done: dict[str, Any]) -> None:
    schedule = {"AdjustForDST": True}
    assert [each["told"][0] for each in calls(done, "tick")] == [
        {"past_due": True, "status": {"Next": "then"}, "schedule": schedule},
        {"past_due": False, "status": {}, "schedule": schedule},
    ]
    assert [each["told"][0] for each in calls(done, "on_event")] == [
        {"kind": "EventGridEvent", "id": "1", "data": {"a": 1}},
        {"kind": "CloudEvent", "id": "2", "data": {"a": 2}},
    ]


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("raising", "KeyError", "KeyError: 'gone\\nfor good' (function_app.py:"),
        ("leaving", "SystemExit", "SystemExit: 4 (function_app.py:"),
        ("leaving_late", "SystemExit", "SystemExit: 4 (function_app.py:"),
        ("awaiting", "RuntimeError", "RuntimeError: awaiting 2 True (function_app.py:"),
        ("returning", "RuntimeError", "without a $return binding returned a non-None value"),  # even False
    ],
)
def test_whatever_a_function_does_wrong_fails_its_invocation_alone(
    done: dict[str, Any], name: str, kind: str, says: str
) -> None:
    found = calls(done, name)[0]
    assert found | FAILS == found
    assert found["error"][0] == kind
    assert says in found["error"][1]


def test_failures_are_counted(done: dict[str, Any]) -> None:
    assert done["tally"] == [2, 2, 0, "KeyError"]


def test_an_http_function_answers_with_a_response_or_a_text(done: dict[str, Any]) -> None:
    response, text, *others = calls(done, "answer")
    headers = {"X-Seen": "1", "content-type": "text/plain; charset=utf-8"}
    assert response["answer"] == ["202", headers, "\0body", ["a=b; Path=/"]]
    assert text["answer"] == '["PUT", "1", 3, "1"]'
    for other, kind in zip(others, ("NoneType", "dict", "bytes"), strict=True):  # nothing is no answer either
        assert other["error"][0] == "TypeError"
        assert kind in other["error"][1]


def test_a_context_tells_how_the_execution_before_it_failed(done: dict[str, Any]) -> None:
    first, again = (each["told"][0] for each in calls(done, "context"))
    assert (first["count"], first["error"], first["traced"]) == (0, None, False)
    assert (again["count"], again["traced"]) == (1, True)
    assert "gone" in again["error"]
    assert all(each["same"] and each["name"] == "context" and each["parent"] == "" for each in (first, again))
    assert first["folder"] == APP.name


def test_the_pool_has_the_standard_librarys_size(done: dict[str, Any]) -> None:
    assert done["threads"] == [str(POOL)] * POOL
