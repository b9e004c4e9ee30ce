"""Values that are dropped from readings: counted once whatever is delivered again, told where people look."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from shared.core.intake import progress
from shared.core.intake.progress import Ended, Progress
from shared.core.scenario import with_overrides
from shared.errors import TransientFailure
from tests.kit import message, row, table
from tests.kit.whole import Whole

NEXT_DAY = 26 * 3_600_000


def at(whole: Whole, partition: int = 0) -> Progress:
    return progress.decode(whole.blobs.read(progress.CONTAINER, progress.name_of(partition)) or b"{}")


def summary(whole: Whole) -> dict[str, Any]:
    (name,) = [name for name in whole.blobs.names("reports", "files/") if name.endswith("/summary.json")]
    found: dict[str, Any] = json.loads(whole.blobs.read("reports", name) or b"")
    return found


def test_a_broken_sensor_costs_a_file_none_of_its_other_values(whole: Whole) -> None:
    rows = [row("a", 0), row("a", 1, "much"), row("b", 1, 2000), row("a", 2, "-9e9"), row("a", 3, 7)]
    whole.drop("x.csv", table(*rows))
    whole.score()
    found = summary(whole)
    assert (found["rows_accepted"], found["applied"], found["rejected"]) == (5, 5, {})
    assert found["dropped"] == {"pm": {"bad_value": 1, "out_of_range": 2}}
    (line,) = found["warnings"]
    assert line.startswith("pm: 3 of 5 values (60.0 %) were dropped, ")
    assert "'much' (1)" in line
    (page,) = [name for name in whole.blobs.names("reports", "files/") if name.endswith("/report.html")]
    text = (whole.blobs.read("reports", page) or b"").decode()
    assert "3 of 5 values" in text


def test_the_log_warns_of_them_under_a_name_that_is_escaped(whole: Whole, caplog: pytest.LogCaptureFixture) -> None:
    whole.drop("a\nb.csv", table(row("a", 0, 2000)))
    (line,) = [line for line in caplog.messages if "were dropped" in line]
    assert line.startswith("incoming/'a\\x0ab.csv': pm: 1 of 1 values")


def test_a_file_without_dropped_values_says_nothing_of_them(whole: Whole) -> None:
    whole.drop("x.csv", table(row("a", 0)))
    whole.score()
    assert not {"dropped", "warnings"} & summary(whole).keys()


def test_a_few_dropped_values_are_counted_without_a_warning(whole: Whole) -> None:
    whole.drop("x.csv", table(*(row("a", hour, 2000 if hour == 3 else 5) for hour in range(10))))
    whole.score()
    assert summary(whole)["dropped"] == {"pm": {"out_of_range": 1}}
    assert "warnings" not in summary(whole)


def test_dropped_values_of_messages_are_counted_once_however_often_they_are_delivered(whole: Whole) -> None:
    whole.hear(message("a", 0, 2000, rain=1), message("a", 1, 5, rain=1), message("b", 1, "x", rain=1), b"{")
    before = at(whole)
    assert (before.accepted, before.rejected) == (3, {"not_json": 1})
    assert before.dropped == {"pm": {"out_of_range": 1, "bad_value": 1}}
    for router in whole.routers:
        router.take(list(whole.devices.logs[router.number]))
    assert at(whole) == before
    whole.restart(whole.scenario)
    for router in whole.routers:
        router.take(list(whole.devices.logs[router.number]))
    assert at(whole) == before


def test_a_batch_that_could_not_be_written_down_is_not_counted_twice(whole: Whole) -> None:
    whole.blobs.fail_at = whole.blobs.count
    with pytest.raises(TransientFailure):
        whole.hear(message("a", 0, 2000, rain=1), b"{")  # its dead letter is not written
    whole.blobs.fail_at = -1
    whole.routers[0].take(list(whole.devices.logs[0]))
    assert at(whole).dropped == {"pm": {"out_of_range": 1}}


def test_days_are_told_apart_and_the_newest_one_is_warned_of(whole: Whole) -> None:
    whole.hear(message("a", 0, rain=1), message("a", 1, rain=1))
    assert whole.routers[0].newest_day is None
    whole.restart(whole.scenario)
    whole.hear(message("a", 2, 2000, rain=1))
    day = whole.routers[0].newest_day
    assert day is not None
    assert {name: (of.given, of.dropped) for name, of in day.values.items()} == {"pm": (3, 1), "rain": (3, 0)}
    whole.now_ms += NEXT_DAY
    whole.hear(message("a", 3, rain=1))
    newest = whole.routers[0].newest_day
    assert newest is not None
    assert (newest.day, newest.values["pm"].given, newest.values["pm"].dropped) == (day.day + 1, 1, 0)
    assert [known.day for known in at(whole).days or ()] == [day.day, day.day + 1]


def test_a_new_epoch_keeps_the_count_and_an_old_blob_is_read() -> None:
    old = (
        b'{"epoch":0,"next":3,"enqueued_ms":5,"messages":3,"accepted":2,"rejected":{"empty":1},"expired":0,"ended":[]}'
    )
    known = progress.decode(old)
    assert progress.encode(known) == old
    counted = progress.anew(msgspec.structs.replace(known, dropped={"pm": {"sentinel": 2}}))
    assert counted.ended == [
        Ended(epoch=0, messages=3, accepted=2, rejected={"empty": 1}, expired=0, dropped={"pm": {"sentinel": 2}})
    ]
    assert progress.decode(progress.encode(counted)) == counted


def test_local_times_that_never_were_are_warned_of_and_their_readings_kept(
    whole: Whole, caplog: pytest.LogCaptureFixture
) -> None:
    whole.application.route_file = replace(whole.application.route_file, chunk_rows=2)
    times = ["2017-03-26T01:00", "2017-03-26T02:00", "2017-03-26T02:30", "2017-03-26T04:00"]
    whole.drop("x.csv", table(*(f"{device},{time},5,0,90" for device in "ab" for time in times)), "Europe/Berlin")
    whole.score()
    found = summary(whole)
    assert (found["applied"], found["rejected"]) == (8, {})
    (line,) = found["warnings"]
    assert line.startswith("local times that never were: 4, such as '2017-03-26T02:00'")
    assert line.endswith("+01:00")
    assert line in caplog.text
    whole.restart(with_overrides(whole.scenario, zone="America/New_York"))
    caplog.clear()
    whole.hear(b'{"device_id": "m", "timestamp": "2017-03-12T02:30", "pm": 5}')
    (said,) = [line for line in caplog.messages if "never were" in line]
    assert said.startswith("devices' partition 0: local times that never were: 1, ")
    assert said.endswith("-05:00")
