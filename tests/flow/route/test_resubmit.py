"""Dead letters fed back after a fix: what passes is forecast, what does not stays, and nothing counts twice."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from shared.app.route.replayed import sources_of
from shared.app.route.resubmit import Resubmit
from shared.core.intake import dead_letters
from shared.core.intake.envelopes.told import Told
from shared.core.intake.readings import Rejection
from shared.core.intake.times.forms import DateOrder
from shared.core.scenario import FileLayout, Names, Scenario, with_overrides
from shared.errors import TransientFailure
from tests.kit import CSV, HOUR, SCENARIO, MemoryStream, fixed, message, row
from tests.kit.whole import Whole

WIDER = fixed(maximum=5000)
REPLAY = "replay/"
OTHERS = "a", "g"  # each in a partition of its own


def test_without_a_fix_everything_stays_with_one_more_attempt(whole: Whole) -> None:
    whole.hear(message(hour=0), b"garbage", message(hour=1, pm=2000), message(hour=2))
    before = whole.letters()
    assert whole.resubmit() == {"tried": 2, "accepted": 0, "kept": 2}
    assert whole.resubmit() == {"tried": 2, "accepted": 0, "kept": 2}
    assert whole.reasons() == [("not_json", 3), ("out_of_range", 3)]
    assert [(a.raw, a.position, a.source) for a in whole.letters()] == [(b.raw, b.position, b.source) for b in before]
    assert whole.sent(REPLAY) == []


def test_a_wider_range_lets_letters_pass_and_the_rest_stays(whole: Whole) -> None:
    whole.hear(message(hour=0), message(hour=1, pm=2000), message("b", 2, pm=9000), b"garbage", message(hour=2))
    whole.restart(WIDER)
    assert whole.resubmit() == {"tried": 3, "accepted": 1, "kept": 2}
    assert whole.sent(REPLAY) == [("a", 1, 2000.0)]
    assert whole.reasons() == [("out_of_range", 2), ("not_json", 2)]
    whole.score()
    assert whole.counts()["applied"] == 3
    assert whole.resubmit() == {"tried": 2, "accepted": 0, "kept": 2}


def test_a_new_alias_lets_letters_pass_and_an_empty_blob_goes_away(whole: Whole) -> None:
    whole.hear(json.dumps({"device_id": "a", "timestamp": 1512000000, "dust": 7}).encode())
    assert whole.reasons() == [("no_values", 1)]
    whole.restart(fixed(aliases=["dust"]))
    assert whole.resubmit() == {"tried": 1, "accepted": 1, "kept": 0}
    assert [pm for _, _, pm in whole.sent(REPLAY)] == [7.0]
    assert whole.blobs.names("dead-letter") == []
    assert whole.resubmit() == {"tried": 0, "accepted": 0, "kept": 0}


def test_conflicts_and_cut_rows_are_left_alone_unless_asked_for(whole: Whole) -> None:
    whole.hear(message(hour=0), message(hour=0, pm=6), message(hour=0, pm=7))
    whole.score()
    assert whole.reasons() == [("conflict", 1)] * 2
    raw = [whole.blobs.read("dead-letter", name) for name in whole.blobs.names("dead-letter")]
    assert whole.resubmit() == {"tried": 0, "accepted": 0, "kept": 0}
    assert [whole.blobs.read("dead-letter", name) for name in whole.blobs.names("dead-letter")] == raw
    assert whole.resubmit(reasons=["conflict"]) == {"tried": 2, "accepted": 2, "kept": 0}
    whole.score()
    assert whole.counts()["applied"] == 1, "the first value still counts"
    kept = [whole.blobs.read("dead-letter", name) for name in whole.blobs.names("dead-letter")]
    assert [entry in kept for entry in raw] == [True] * len(raw), "commits name them"
    assert whole.reasons() == [("conflict", 1)] * 4


def test_letters_that_a_commit_names_are_fed_back_once_and_stay(whole: Whole) -> None:
    whole.hear(message(hour=0), message(hour=0, pm=6))
    whole.score()
    before = whole.blobs.everything("progress")
    assert whole.resubmit("partition=", ["conflict"]) == {"tried": 1, "accepted": 1, "kept": 0}
    assert whole.blobs.everything("progress") == before
    sent = whole.sent(REPLAY)
    assert whole.resubmit("partition=", ["conflict"]) == {"tried": 0, "accepted": 0, "kept": 0}
    assert whole.sent(REPLAY) == sent == [("a", 0, 6.0)]


def test_a_letter_of_a_batch_that_died_and_was_cut_otherwise_leaves_the_books_alone(whole: Whole) -> None:
    whole.hear(message(hour=0))
    whole.hear(message(hour=0, pm=6))
    owner = next(number for number, log in enumerate(whole.readings.logs) if log)
    whole.blobs.fail_at = whole.blobs.count + 2  # predictions and dead letters are written, the commit is not
    with pytest.raises(TransientFailure):
        whole.partitions[owner].take(list(whole.readings.logs[owner]))
    whole.readings.send(owner, [b"no event"])
    whole.score()
    assert len(whole.blobs.names("dead-letter")) == 3
    for reasons in ((), ("conflict",), ("conflict",)):
        whole.resubmit(reasons=reasons)
        whole.score()
        assert whole.books().problems == []
    assert whole.counts()["conflicts"] == 3, "the conflict, and what it is again when it is fed back"


def test_a_replay_that_feeds_nothing_back_writes_no_record(whole: Whole) -> None:
    whole.hear(b"garbage", message(hour=1, pm=2000))
    for _ in range(3):
        whole.resubmit()
    assert whole.blobs.names("progress", REPLAY) == []
    assert whole.reasons() == [("not_json", 4), ("out_of_range", 4)]


ASKED: dict[str, tuple[dict[str, str], str]] = {
    "a NUL": ({"prefix": "\x00"}, r"prefix: '\\x00' is no name's beginning"),
    "half a character": ({"prefix": "\ud800"}, "prefix: "),
    "too long": ({"prefix": "x" * 1025}, "at most 1024"),
    "no reason": ({"reason": "conflict,whatever"}, "reason: 'whatever' is none of ancient, bad_time"),
}


@pytest.mark.parametrize(("params", "problem"), ASKED.values(), ids=ASKED)
def test_what_cannot_be_asked_for_is_answered_with_what_can(whole: Whole, params: dict[str, str], problem: str) -> None:
    status, body = whole.resubmit.asked(params)
    assert status == 400
    assert re.search(problem, body["error"])


def test_what_can_be_asked_for_is_tried(whole: Whole) -> None:
    whole.hear(b"garbage", message(hour=1, pm=2000))
    asked = {"prefix": "hub/0", "reason": "out_of_range,conflict,"}
    assert whole.resubmit.asked(asked) == (200, {"tried": 1, "accepted": 0, "kept": 1})


def test_a_conflict_is_written_out_under_the_scenarios_own_names(whole: Whole) -> None:
    whole.restart(with_overrides(SCENARIO, key="store", names=Names(device=(), time=("at",))))
    for pm in (5, 6):
        whole.hear(json.dumps({"store": "a", "at": HOUR * 3600, "pm": pm}).encode())
    whole.score()
    (letter,) = whole.letters()
    assert json.loads(letter.raw) == {"store": "a", "at": HOUR * 3600, "pm": 6.0}
    assert whole.resubmit(reasons=["conflict"]) == {"tried": 1, "accepted": 1, "kept": 0}


def test_a_row_that_was_cut_is_never_taken_for_a_whole_one_by_itself(whole: Whole) -> None:
    letter = dead_letters.letter("file/x@1", Rejection(9, "truncated", "", row(pm=50)[:-1].encode()))
    whole.blobs.write("dead-letter", "file=x/000000000009.jsonl", dead_letters.encode([letter]))
    assert whole.resubmit() == {"tried": 0, "accepted": 0, "kept": 0}
    whole.blobs.delete("dead-letter", "file=x/000000000009.jsonl")


def test_only_the_wanted_blobs_and_reasons_are_tried(whole: Whole) -> None:
    whole.hear(b"garbage", message(hour=1, pm=2000))
    whole.hear(message("b", 1, pm=3000), partition=1)
    whole.restart(WIDER)
    assert whole.resubmit("hub/1") == {"tried": 1, "accepted": 1, "kept": 0}
    assert whole.resubmit(reasons=["out_of_range"]) == {"tried": 1, "accepted": 1, "kept": 0}
    assert whole.reasons() == [("not_json", 1)]
    assert whole.sent(REPLAY) == [("a", 1, 2000.0), ("b", 1, 3000.0)]


def test_a_letter_keeps_its_identity_and_the_time_it_came(whole: Whole) -> None:
    whole.hear(message(None, 1, pm=2000), message("thief", 1), message("me", 2000), identity="me")
    assert [reason for reason, _ in whole.reasons()] == ["out_of_range", "identity_mismatch", "future"]
    whole.restart(WIDER)
    assert whole.resubmit() == {"tried": 3, "accepted": 1, "kept": 2}
    assert whole.sent(REPLAY) == [("me", 1, 2000.0)]
    assert whole.reasons() == [("identity_mismatch", 2), ("future", 2)]


MADE = "2017-12-01T01:00:00Z"


def test_what_the_hub_told_of_a_message_stays_with_its_letters(tmp_path: Path) -> None:
    """A message that is refused and fed back gives the readings that it gives where it is not refused."""
    found = []
    for refused in (False, True):
        world = Whole(tmp_path / str(refused))
        wider = with_overrides(WIDER, trusted_gateways=("gw-*",), zone="Asia/Tokyo")
        world.restart(with_overrides(SCENARIO, trusted_gateways=("gw-*",)) if refused else wider)
        world.hear(b'{"pm": 2000}', identity="a", told=Told(created=MADE))
        world.hear(b'{"pm": 2000}', b'{"pm": 2000}\n{"pm": 3000}\0', identity="b")
        packed = gzip.compress(b'[{"pm": 2000}, {"device_id": "leaf", "pm": 2500, "timestamp": "201712011000"}]')
        world.hear(packed, gzip.compress(b'{"pm": 2000}'), identity="gw-1", told=Told(created=MADE, encoding="gzip"))
        world.hear(b"{}", identity="a", told=Told(telemetry=False))
        if refused:
            assert world.sent("hub/") == []
            world.restart(wider)
            assert world.resubmit() == {"tried": 7, "accepted": 7, "kept": 0}
        found.append(sorted(world.sent(REPLAY if refused else "hub/")))
        assert world.reasons() == [("not_telemetry", 1)]
        assert world.resubmit(reasons=["not_telemetry"]) == {"tried": 1, "accepted": 0, "kept": 1}
        world.score()
        assert world.books().problems == []
    assert found[0] == found[1]
    assert [(device, pm) for device, _, pm in found[0]] == [
        ("a", 2000.0), ("b", 2000.0), ("b", 2000.0), ("b", 3000.0), ("gw-1", 2000.0), ("gw-1", 2000.0), ("leaf", 2500.0)
    ]  # fmt: skip


def test_a_refused_element_of_an_array_comes_back_alone(whole: Whole) -> None:
    whole.hear(b"[" + b",".join([message(hour=0), message(hour=1, pm=2000), message(hour=2)]) + b"]")
    whole.restart(WIDER)
    assert whole.resubmit() == {"tried": 1, "accepted": 1, "kept": 0}
    whole.score()
    assert whole.counts()["applied"] == 3


def test_an_array_that_stood_in_one_letter_leaves_only_when_all_of_it_passes(whole: Whole) -> None:
    whole.hear(b"garbage")
    name = whole.blobs.names("dead-letter")[0]
    array = b"[" + b",".join([message(hour=0), message(hour=1, pm=2000)]) + b"]"
    letter = dead_letters.letter("hub/0.0", Rejection(0, "not_json", "", array))
    whole.blobs.write("dead-letter", name, dead_letters.encode([letter]))
    assert whole.resubmit() == {"tried": 1, "accepted": 0, "kept": 1}
    assert whole.sent(REPLAY) == [("a", 0, 5.0)]
    assert whole.reasons() == [("out_of_range", 2)]
    whole.score()
    assert whole.resubmit() == {"tried": 1, "accepted": 0, "kept": 1}
    whole.score()
    assert len(whole.blobs.names("progress", REPLAY)) == 1, "the same outcome is the same source"
    assert (whole.counts()["applied"], whole.counts()["redelivered"]) == (1, 1)


def alone(*place: object, **named: object) -> str:
    """A row with no other value than that of pm."""
    return row(*place, **named).replace(",0,90", ",,")  # type: ignore[arg-type]


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_rows_of_a_csv_file_are_read_under_their_header(whole: Whole, delimiter: str) -> None:
    lines = [CSV, row(hour=0), alone(hour=1, pm=2000), 'a,"never ends', alone(hour=2, pm="x"), alone("b", 3, pm=3000)]
    whole.drop("file.csv", "\n".join(lines).replace(",", delimiter) + "\n")
    assert [reason for reason, _ in whole.reasons()] == ["out_of_range", "columns", "bad_value", "out_of_range"]
    whole.restart(WIDER)
    assert whole.resubmit() == {"tried": 4, "accepted": 2, "kept": 2}
    assert whole.sent(REPLAY) == [("a", 1, 2000.0), ("b", 3, 3000.0)]
    assert whole.reasons() == [("columns", 2), ("bad_value", 2)]


def test_rows_keep_the_zone_and_the_time_of_their_file(whole: Whole) -> None:
    lines = [CSV, "a,2017-12-01 08:00,2000,,", "a,2999-12-01 08:00,5,0,90"]
    whole.drop("file.csv", "\n".join(lines), zone="+08:00")
    whole.restart(WIDER)
    whole.clock.ms = 40_000_000_000_000
    assert whole.resubmit() == {"tried": 2, "accepted": 1, "kept": 1}
    midnight = 1_512_086_400 // 3600 - 420_000
    assert whole.sent(REPLAY) == [("a", midnight, 2000.0)]
    assert whole.reasons() == [("future", 2)]


def test_json_lines_are_read_as_lines(whole: Whole) -> None:
    whole.drop("file.jsonl", b"\n".join([message(hour=0), message(hour=1, pm=2000), b"{", message("b", 1, pm=-5)]))
    whole.restart(WIDER)
    assert whole.resubmit() == {"tried": 3, "accepted": 1, "kept": 2}
    assert whole.sent(REPLAY) == [("a", 1, 2000.0)]


@pytest.mark.parametrize("call", range(5))
@pytest.mark.parametrize("stored_anyway", [False, True])
def test_a_crash_on_the_way_is_made_good_by_another_try(whole: Whole, call: int, stored_anyway: bool) -> None:
    whole.hear(message(hour=0), *(message(OTHERS[i % 2], i, pm=2000 + i) for i in range(1, 7)), b"garbage")
    whole.restart(WIDER)
    faulty = Sends(whole.readings, call, stored_anyway)
    whole.blobs.fail_at, whole.blobs.stored_anyway = whole.blobs.count + call - 2, stored_anyway
    broken = Resubmit(
        scenario=WIDER, blobs=whole.blobs, readings=faulty, open_table=whole.resubmit.open_table, clock=whole.clock
    )
    with pytest.raises(TransientFailure):
        broken()
    whole.blobs.fail_at = -1
    whole.score()
    whole.resubmit()
    whole.score()
    found = whole.counts()
    assert (found["applied"], found["duplicates"], found["conflicts"]) == (7, 0, 0)
    assert len({entry[:2] for entry in whole.sent()}) == 7
    assert [reason for reason, _ in whole.reasons()] == ["not_json"]
    assert whole.books().balance


class Sends(MemoryStream):
    """Another hub, of which send number `fail_at` fails, before it is stored or after."""

    def __init__(self, hub: MemoryStream, fail_at: int, stored_anyway: bool) -> None:
        super().__init__(0)
        self.hub, self.left, self.stored_anyway = hub, fail_at, stored_anyway

    def partitions(self) -> int:
        return self.hub.partitions()

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        self.left -= 1
        if self.left >= 0 or self.stored_anyway:
            self.hub.send(partition, bodies)
        if self.left < 0:
            raise TransientFailure("the hub does not answer")


def test_letters_that_fare_better_after_a_crash_and_a_second_fix_are_not_taken_for_repetitions(tmp_path: Path) -> None:
    """The later letter was sent before the crash; its position must not hide the earlier one, which passes now."""
    whole = Whole(tmp_path)
    whole.hear(message(hour=1, pm=9000), message(hour=2, pm=2000))
    whole.restart(WIDER)
    whole.blobs.fail_at = whole.blobs.count + 1  # the readings are sent, what became of them is not written
    with pytest.raises(TransientFailure):
        whole.resubmit()
    whole.blobs.fail_at = -1
    whole.score()
    whole.restart(fixed(maximum=10_000))
    assert whole.resubmit() == {"tried": 2, "accepted": 2, "kept": 0}
    whole.score()
    found = whole.counts()
    assert (found["applied"], found["duplicates"], found["redelivered"]) == (2, 1, 0)
    books = whole.books()
    assert books.problems == []
    assert any("it died on its way: 1 of 1 readings were sent" in note for note in books.notes)


def test_a_damaged_blob_of_letters_holds_no_other_up(whole: Whole) -> None:
    whole.hear(message(hour=1, pm=2000))
    whole.blobs.write("dead-letter", "a/damaged.jsonl", b"{")
    whole.restart(WIDER)
    status, body = whole.resubmit.asked({})
    assert (status, "dead-letter/a/damaged.jsonl: " in body["error"]) == (409, True)
    assert whole.sent(REPLAY) == [("a", 1, 2000.0)]
    whole.blobs.delete("dead-letter", "a/damaged.jsonl")


def test_a_letter_that_a_killed_router_wrote_twice_is_fed_back_once(whole: Whole) -> None:
    whole.hear(message(hour=0), message(hour=1, pm=2000))
    name = whole.blobs.names("dead-letter")[0]
    whole.blobs.write("dead-letter", name.replace("-", "-0"), whole.blobs.read("dead-letter", name) or b"")
    whole.score()
    assert whole.books().problems == []
    assert whole.books().totals()["dead_lettered"] == 1
    whole.restart(WIDER)
    assert whole.resubmit() == {"tried": 1, "accepted": 1, "kept": 0}
    assert whole.letters() == []
    assert whole.sent(REPLAY) == [("a", 1, 2000.0)]


def test_the_scenario_of_these_tests_refuses_what_the_wider_one_takes() -> None:
    assert SCENARIO.channels[0].maximum < 2000 < WIDER.channels[0].maximum


def test_a_damaged_record_of_what_was_fed_back_is_named(whole: Whole) -> None:
    whole.hear(message(hour=0), message(hour=0, pm=6))
    whole.score()
    (name,) = whole.blobs.names("dead-letter", "partition=")
    record = f"{sources_of(name)}ff.json"
    whole.blobs.write("progress", record, b"{")
    status, body = whole.resubmit.asked({})
    assert (status, f"progress/{record}: " in body["error"]) == (409, True)
    whole.blobs.delete("progress", record)


def test_objects_of_a_file_are_read_with_a_layout_for_its_name_again(whole: Whole) -> None:
    """Also with one that was written into the scenario since: the letter knows its file."""
    nested = {"at": {"time": "2017-12-01T00:00Z"}, "dust": {"pm": 2000}}
    whole.drop("box_a.jsonl", json.dumps(nested) + "\n")
    assert whole.reasons() == [("missing_device", 1)]
    layout = FileLayout(name="box", files=("box_{device}.*",), time=("at.time",), channels={"dust.*": "pm"})
    whole.restart(with_overrides(SCENARIO, layouts=(layout,)))
    assert whole.resubmit() == {"tried": 1, "accepted": 0, "kept": 1}
    assert whole.reasons() == [("out_of_range", 2)]
    whole.restart(with_overrides(WIDER, layouts=(layout,)))
    assert whole.resubmit() == {"tried": 1, "accepted": 1, "kept": 0}
    assert [(device, pm) for device, _, pm in whole.sent(REPLAY)] == [("a", 2000.0)]
    whole.score()
    assert whole.counts()["applied"] == 1


def test_a_row_of_stations_whose_time_was_bad_is_one_record_that_becomes_the_readings_of_its_cells(
    whole: Whole,
) -> None:
    def park(order: DateOrder) -> Scenario:
        layout = FileLayout(name="park", files=("park*",), time=("when",), stations="pm", date_order=order)
        return with_overrides(SCENARIO, layouts=(layout,))

    whole.restart(park("mdy"))
    whole.drop("park.csv", "when,a,b,c\n12/13/2017 01:00,5,,6\n13/12/2017 02:00,7,8,9\n14/12/2017 02:00,1,,2\n")
    assert whole.reasons() == [("bad_time", 1)] * 2
    whole.score()
    assert (whole.counts()["applied"], whole.books().problems) == (2, [])
    (file,) = [account for account in whole.books().sources if account.name == "file 'park.csv'"]
    assert (file.logged, file.dead) == (4, 2), "two readings, and two rows of which none was known"
    whole.restart(park("dmy"))
    assert whole.resubmit() == {"tried": 2, "accepted": 2, "kept": 0}
    whole.score()
    assert whole.counts()["applied"] == 7
    (file,) = [account for account in whole.books().sources if account.name == "file 'park.csv'"]
    assert (file.logged, file.dead) == (2, 0)


SITE = ["A", "A", "B"]
TIMES = pd.to_datetime(["2017-12-01T00:00Z", "2017-12-01T00:00Z", "2017-12-01T01:00Z"])


@pytest.mark.parametrize(
    ("columns", "keys", "right"),
    [
        ({"Start": TIMES, "Site": SITE, "What": ["pm", "ozone", "pm"], "Value": [2000.0, 1.0, 3000.0],
          "Flag": [1, 2, 3]},
         {"header": ("Flag",), "time": ("Start",), "device": ("Site",), "parameter": "What", "value": "Value"},
         [("A", 2000.0), ("B", 3000.0)]),
        ({"Start": TIMES[1:], "A": [2000.0, 5.0], "B": [7.0, 3000.0]}, {"time": ("Start",), "stations": "pm"},
         [("A", 2000.0), ("B", 7.0), ("A", 5.0), ("B", 3000.0)]),
        ({"Day": ["1/12/2017", "1/12/2017"], "Clock": ["00:00", "01:00"], "Site": SITE[1:], "Dust": [2000.0, 3000.0],
          "Flag": [1, 2]},
         {"header": ("Flag",), "time": ("Day", "Clock"), "date_order": "dmy", "device": ("Site",),
          "channels": {"Dust": "pm"}},
         [("A", 2000.0), ("B", 3000.0)]),
    ],
    ids=["one value a row", "a column a station", "a reading a row"],
)  # fmt: skip
def test_rows_of_a_parquet_file_with_a_layout_are_read_with_it_again(
    whole: Whole, columns: dict[str, Any], keys: dict[str, Any], right: list[tuple[str, float]]
) -> None:
    layouts = (FileLayout(name="park", **keys),)
    whole.restart(with_overrides(SCENARIO, layouts=layouts))
    whole.drop("park.parquet", pd.DataFrame(columns).to_parquet())
    letters = whole.letters()
    assert {(letter.reason, letter.layout, letter.header) for letter in letters} == {("out_of_range", "park", None)}
    whole.restart(with_overrides(WIDER, layouts=layouts))
    assert whole.resubmit() == {"tried": len(letters), "accepted": len(letters), "kept": 0}
    assert sorted((device, pm) for device, _, pm in whole.sent(REPLAY)) == sorted(right)
    assert whole.letters() == []


def test_rows_of_a_file_with_a_layout_are_read_with_it_again(whole: Whole) -> None:
    layouts = (FileLayout(name="park", files=("park*",), stations="pm"),)
    whole.restart(with_overrides(SCENARIO, layouts=layouts))
    whole.drop("park.csv", "timestamp,a,b\n2017-12-01T00:00Z,5,2000\n2017-12-01T01:00Z,6,7\n")
    assert whole.reasons() == [("out_of_range", 1)]
    whole.restart(with_overrides(WIDER, layouts=layouts))
    assert whole.resubmit() == {"tried": 1, "accepted": 1, "kept": 0}
    assert [(device, pm) for device, _, pm in whole.sent(REPLAY)] == [("a", 5.0), ("b", 2000.0)]
    whole.score()
    assert whole.counts()["applied"] == 4
