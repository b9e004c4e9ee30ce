"""A file that was read whole and is dropped again: refused, unless something of it may still be new."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime, timezone
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.app.route.drops import AFTERWARDS, PIECE, Hashing
from shared.core.scenario import FileLayout, Scenario
from shared.core.task.tasks import task_of
from shared.errors import TransientFailure
from tests.flow.route.test_files import HEADER, VALUES, Plant, check_books, simple, table
from tests.kit import MemoryBlobs
from tests.kit.tiny_model import SCENARIO

LAYOUT = FileLayout(name="by its name", files=("of {device}.csv",), time=("timestamp",))
NAMELESS = simple("a").replace("device_id,", "").replace("a,", "")


def edited(here: Plant, scenario: Scenario) -> None:
    """The pipeline reads files by another scenario from here on."""
    here.pipeline.route_file = replace(here.pipeline.route_file, task=task_of(scenario))


def test_a_file_that_is_dropped_again_is_refused_and_told_when_it_was_read() -> None:
    here = Plant()
    here.clock.ms = 1_700_000_000_000
    first = here.process("x.csv", simple())
    sent = here.stream.count
    here.route(here.drop("x.csv", simple()))
    (refused,) = [found for found in here.summaries("x.csv") if found != first]
    assert (refused["status"], refused["reason"], refused["rows_accepted"]) == ("refused", "duplicate", 0)
    read = datetime.fromtimestamp(1_700_000_000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert refused["detail"].startswith(f"'x.csv' held the same bytes and was read whole at {read}")
    assert "again = true (local drop --again)" in refused["detail"]
    assert here.stream.count == sent
    here.pipeline.sweep()
    assert here.stream.count == sent


def test_the_same_bytes_under_another_name_are_refused_and_other_bytes_of_that_length_are_not() -> None:
    here = Plant()
    here.process("x.csv", simple())
    there = here.process("folder/y.csv", simple())
    assert (there["reason"], there["detail"][:7]) == ("duplicate", "'x.csv'")
    assert here.process("z.csv", simple("cd"))["applied"] == 8
    assert here.process("x.csv.gz", gzip.compress(simple().encode()))["duplicates"] == 8, "these are other bytes"


def test_a_file_whose_drop_says_so_is_read_again_and_the_first_drop_stays_the_one_that_is_named() -> None:
    here = Plant()
    here.process("x.csv", simple())
    assert here.process("y.csv", simple(), Again="TRUE")["duplicates"] == 8
    for name, told in (("z.csv", {}), ("w.csv", {"again": "false"})):
        assert here.process(name, simple(), **told)["detail"].startswith("'x.csv' ")


@pytest.mark.parametrize(
    ("told", "name"),
    [({"zone": "Europe/Berlin"}, "y.csv"), ({"device": "b"}, "y.csv"), ({}, "y.csv"), ({}, "of b.csv")],
    ids=["zone", "device", "no layout", "device in its name"],
)
def test_the_same_bytes_are_another_file_where_they_mean_something_else(told: dict[str, str], name: str) -> None:
    here = Plant()
    edited(here, replace(SCENARIO, layouts=(LAYOUT,)))
    text = NAMELESS.replace("Z,", ",")
    here.process("of a.csv", text)
    if told:
        here.process("plain.csv", text, device="a")
    given_device = {} if name.startswith("of") else {"device": "a"}
    assert here.process(name, text, **{**given_device, **told})["rows_accepted"] == 4


def test_a_layout_that_is_told_by_the_name_makes_another_file_and_the_same_name_in_another_folder_does_not() -> None:
    here = Plant()
    edited(here, replace(SCENARIO, layouts=(LAYOUT,)))
    here.process("of a.csv", NAMELESS)
    assert here.process("folder/of a.csv", NAMELESS)["reason"] == "duplicate"


@pytest.mark.parametrize(
    "edit",
    [
        lambda scenario: replace(scenario, zone="Asia/Shanghai"),
        lambda scenario: replace(scenario, lateness=scenario.lateness + 1),
        lambda scenario: replace(scenario, layouts=(LAYOUT,)),
        lambda scenario: replace(scenario, names=replace(scenario.names, time=("timestamp", "zeit"))),
        lambda scenario: replace(
            scenario, channels=(replace(scenario.channels[0], aliases=("warmth",)), *scenario.channels[1:])
        ),
    ],
    ids=["zone", "lateness", "layouts", "names", "aliases"],
)
def test_after_an_edit_of_what_decides_how_files_are_read_a_file_is_read_again(
    edit: Callable[[Scenario], Scenario],
) -> None:
    here = Plant()
    here.process("x.csv", simple())
    edited(here, edit(SCENARIO))
    assert here.process("y.csv", simple())["duplicates"] == 8


def test_after_an_edit_of_what_happens_later_a_file_is_known_still() -> None:
    here = Plant()
    here.process("x.csv", simple())
    edited(here, replace(SCENARIO, title="another", interval=0.5, gate=replace(SCENARIO.gate)))
    assert here.process("y.csv", simple())["reason"] == "duplicate"
    assert {field.name for field in fields(Scenario)} >= AFTERWARDS


def test_a_file_that_was_refused_is_read_after_the_edit_that_it_asked_for() -> None:
    here = Plant()
    assert here.process("of a.csv", NAMELESS)["reason"] == "header"
    edited(here, replace(SCENARIO, layouts=(LAYOUT,)))
    here.route(here.drop("of a.csv", NAMELESS))
    here.score()
    assert sorted(found["rows_accepted"] for found in here.summaries("of a.csv")) == [0, 4]


def test_a_file_without_an_accepted_row_or_with_rows_of_the_future_may_be_dropped_again() -> None:
    here = Plant()
    for text in (
        table([f"a,never,{VALUES}"]),
        table([f"a,2024-03-01T00:00Z,{VALUES}", f"a,2999-01-01T00:00Z,{VALUES}"]),
    ):
        first = here.process("x.csv", text)
        again = here.process("y.csv", text)
        assert (again["status"], again["rejected"]) == ("done", first["rejected"])
        for name in here.names("summary.json"):
            here.blobs.delete("reports", name)


def test_a_file_that_ends_early_may_be_dropped_again() -> None:
    here = Plant()
    cut = gzip.compress(simple("abc", hours=40).encode())[:-9]
    assert here.process("x.csv.gz", cut)["status"] == "incomplete"
    assert here.process("y.csv.gz", cut)["status"] == "incomplete"


def test_a_wide_file_is_answered_as_often_as_it_is_dropped(wide: str) -> None:
    here = Plant()
    assert [here.process(name, wide)["forecasts"] for name in ("one.csv", "two.csv")] == [2, 2]


@pytest.fixture
def wide() -> str:
    cells = ['"' + ",".join(["20"] * SCENARIO.history) + '"'] * (HEADER.count(",") - 2)
    head = ",".join(["ID", *HEADER.split(",")[2:-1]])
    return "\n".join([head, *(",".join([name, *cells]) for name in "pq"), ""])


def test_a_file_that_is_dropped_again_after_any_failure_is_whole_in_the_end_and_known_from_then_on() -> None:
    text, failures = simple("abc", hours=6), 0
    undisturbed = Plant(partitions=2, chunk_rows=5)
    undisturbed.process("x.csv", text)
    while True:
        here = Plant(partitions=2, chunk_rows=5)
        here.drop("x.csv", text)
        here.blobs.fail_at = here.blobs.count + failures
        try:
            here.route("x.csv")
            here.score()
        except TransientFailure:
            pass
        last = here.blobs.count <= here.blobs.fail_at
        here.blobs.fail_at = -1
        here.route(here.drop("y.csv", text))
        here.score()
        here.route("x.csv")
        here.pipeline.sweep()
        here.score()
        assert here.rings() == undisturbed.rings()
        for name in "xy":
            check_books(here.summary(f"{name}.csv"))
        assert not here.pipeline.file_books.listing().unfinished
        assert here.process("z.csv", text)["reason"] == "duplicate"
        if last:
            break
        failures += 1
    assert failures > 10
    assert here.summary("y.csv")["reason"] == "duplicate"


def test_a_file_of_which_a_part_was_sent_is_read_on_though_its_bytes_were_read_whole_under_another_name() -> None:
    here = Plant(partitions=2, chunk_rows=3)
    here.drop("x.csv", simple("abc"))
    here.stream.fail_at = 3
    with pytest.raises(TransientFailure):
        here.route("x.csv")
    assert here.process("y.csv", simple("abc"))["rows_accepted"] == 12
    here.route("x.csv")
    here.score()
    assert here.summary("x.csv")["rows_accepted"] == 12
    assert not here.pipeline.file_books.listing().unfinished


def test_a_file_is_not_known_before_all_of_it_is_committed() -> None:
    here = Plant()
    here.route(here.drop("x.csv", simple()))
    here.route(here.drop("y.csv", simple()))
    here.score()
    assert [here.summary(name)["status"] for name in ("x.csv", "y.csv")] == ["done", "done"]


def test_readings_that_no_partition_committed_leave_a_file_unknown() -> None:
    here = Plant(settings={}, partitions=1)
    here.route(here.drop("x.csv", simple()))
    del here.stream.logs[0][0]  # the hub lost it, the end marker came
    here.score()
    assert here.summaries("x.csv")[0]["applied"] < 8
    assert here.process("y.csv", simple())["status"] == "done"


def test_a_damaged_record_holds_no_file_up(caplog: pytest.LogCaptureFixture) -> None:
    here = Plant()
    here.process("x.csv", simple())
    (record,) = here.blobs.names("receipts", "drops/")
    MemoryBlobs.write(here.blobs, "receipts", record, b"{")
    assert here.process("y.csv", simple())["duplicates"] == 8
    assert f"receipts/{record}: " in caplog.text


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), max_size=9))
def test_the_digest_is_that_of_all_bytes_however_they_are_read(data: bytes, reads: list[int]) -> None:
    stream = Hashing(io.BytesIO(data))
    found = b"".join(stream.read(size) for size in reads)
    assert data.startswith(found)
    assert stream.content() == hashlib.sha256(data).hexdigest()


def test_the_rest_of_a_stream_is_hashed_in_pieces() -> None:
    asked = []

    class Stream(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            asked.append(size)
            return super().read(size)

    assert (
        Hashing(cast("BinaryIO", Stream(b"x" * (3 * PIECE)))).content() == hashlib.sha256(b"x" * 3 * PIECE).hexdigest()
    )
    assert asked == [PIECE] * 4
