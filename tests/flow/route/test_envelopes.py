"""Messages in envelopes through the whole pipeline: the books balance, and what was refused can be fed back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tests.kit import HOUR, fixed, message
from tests.kit.whole import Whole
from tests.unit.adapters.tables.envelope_files import avro, captured, jsonl

WIDER = fixed(maximum=5000)


def routed(body: Any, device: str = "a", hour: int = 9, source: str = "Telemetry") -> dict[str, Any]:
    """A message that an IoT Hub routed to storage."""
    when = f"{np.datetime64(HOUR + hour, 'h')}:00:05.1230000Z"
    return {
        "EnqueuedTimeUtc": when,
        "Properties": {"iothub-message-source": source},
        "SystemProperties": {"connectionDeviceId": device, "enqueuedTime": when},
        "Body": body,
    }


def of(device: str | None, hour: int | None, pm: float) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message(device, hour or 0, pm))
    return found if hour is not None else {name: found[name] for name in ("pm",)}


def summaries(whole: Whole) -> list[dict[str, Any]]:
    names = [name for name in whole.blobs.names("reports") if name.endswith("summary.json")]
    return [json.loads(whole.blobs.read("reports", name) or b"") for name in names]


def test_a_dropped_route_is_applied_and_its_twin_events_are_counted_apart(whole: Whole) -> None:
    twin = routed({"version": 3}, source="twinChangeEvents")
    both = routed([of(None, 1, 6.0), of(None, 2, 7.0)])
    whole.drop("0.json", jsonl([routed(of(None, 0, 5.0)), both, twin, routed(of(None, None, 8.0), hour=3)]))
    whole.score()
    assert whole.sent("file/") == [("a", 0, 5.0), ("a", 1, 6.0), ("a", 2, 7.0), ("a", 3, 8.0)]
    (summary,) = summaries(whole)
    assert (summary["rows_in"], summary["rows_accepted"], summary["rejected"]) == (5, 4, {"not_telemetry": 1})
    assert whole.counts()["applied"] == 4
    assert whole.resubmit() == {"tried": 0, "accepted": 0, "kept": 0}, "no fix makes a reading of it"


def test_readings_that_an_envelope_held_are_fed_back_one_by_one(whole: Whole) -> None:
    body = [of(None, 0, 2000.0), of(None, 1, 6.0), of(None, 2, 9000.0), of(None, None, 3000.0)]
    whole.drop("0.json", jsonl([routed(body, hour=3), routed("no json", "b")]))
    whole.hear(json.dumps(routed([of(None, 4, 2500.0), of(None, 5, 7.0)])).encode(), identity="a")
    assert [(letter.reason, letter.position & 0xFFFF) for letter in whole.letters()] == [
        ("out_of_range", 1), ("out_of_range", 3), ("out_of_range", 4), ("not_json", 5), ("out_of_range", 0),
    ]  # fmt: skip
    whole.restart(WIDER)
    assert whole.resubmit() == {"tried": 5, "accepted": 3, "kept": 2}
    assert whole.sent("replay/") == [("a", 0, 2000.0), ("a", 3, 3000.0), ("a", 4, 2500.0)]
    whole.score()
    counts = whole.counts()
    assert (counts["applied"], counts["stored_late"]) == (4, 1)


def test_an_envelope_that_was_refused_as_a_whole_keeps_its_letter_until_all_of_it_passes(whole: Whole) -> None:
    deviceless = {**routed([of("a", 0, 5.0), of("b", 1, 6.0)]), "SystemProperties": {}}
    inner = json.dumps({**deviceless, "Body": [{"device_id": "a", "timestamp": "x", "pm": 1}]})
    whole.drop("0.json", jsonl([deviceless, json.loads(inner)]))
    assert [letter.reason for letter in whole.letters()] == ["bad_time"]
    assert whole.resubmit() == {"tried": 1, "accepted": 0, "kept": 1}


def test_an_empty_capture_is_done_without_rows_and_a_full_one_is_not_counted_twice(whole: Whole) -> None:
    whole.drop("empty.avro", avro([]))
    when = {"EnqueuedTimeUtc": "12/1/2027 9:00:00 AM"}
    whole.drop("full.avro", avro([captured(i, message(None, i, 5.0 + i), "g") | when for i in range(3)]))
    whole.hear(*(message("g", i, 5.0 + i) for i in range(3)), partition=1, identity="g")
    whole.score()
    empty, full = sorted(summaries(whole), key=lambda summary: str(summary["file"]))
    assert (empty["status"], empty["rows_in"]) == ("done", 0)
    assert (full["status"], full["rows_in"], full["rows_accepted"]) == ("done", 3, 3)
    counts = whole.counts()
    assert (counts["applied"], counts["duplicates"]) == (3, 3)
