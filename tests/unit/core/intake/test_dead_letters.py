"""Dead letters and progress blobs: what is buried comes back byte for byte, and what is damaged is refused."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.intake import dead_letters, progress
from shared.core.intake.dead_letters import DeadLetter, letter
from shared.core.intake.progress import Progress
from shared.core.intake.readings import Rejection
from shared.errors import ContractBroken

RAW = st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(RAW, st.integers(0, 2**62), TEXT, TEXT), max_size=6))
def test_records_come_back_with_their_bytes_place_and_reason(found: list[tuple[bytes, int, str, str]]) -> None:
    buried = [letter(source, Rejection(place, "bad_value", detail, raw)) for raw, place, source, detail in found]
    blob = dead_letters.encode(buried)
    assert blob.count(b"\n") == len(found), "one line each, whatever line ends a record holds"
    back = dead_letters.decode(blob)
    assert back == buried
    assert [item.original() for item in back] == [raw for raw, *_ in found]
    assert [(item.position, item.source, item.detail, item.attempt) for item in back] == [
        (place, source, detail, 1) for _, place, source, detail in found
    ]


@pytest.mark.parametrize(
    ("raw", "encoded"),
    [(b"", False), (b"a\r\nb\x00\x0b\xc2\x85", False), (b'{"a": 1}', False), (b"\xff", True), (b"\xed\xa0\x80", True)],
)
def test_text_stays_readable_and_only_what_is_no_text_is_encoded(raw: bytes, encoded: bool) -> None:
    one = letter("hub/0", Rejection(7, "encoding", "detail", raw))
    assert one.encoded == encoded
    assert one.original() == raw
    line = json.loads(dead_letters.encode([one]))
    assert ("encoded" in line) == encoded
    assert encoded or line["raw"] == raw.decode()
    assert {"attempt", "identity", "header", "zone", "not_after_minute"}.isdisjoint(line), "defaults take no room"


def test_what_is_needed_to_try_again_is_kept() -> None:
    one = DeadLetter(
        "zone", "detail", "file/x@1", 3, "a;b", attempt=4, identity="d", not_after_minute=9, header="h", zone="UTC"
    )
    assert dead_letters.decode(dead_letters.encode([one])) == [one]


def test_empty_lines_between_letters_are_passed_over() -> None:
    one = letter("hub/0", Rejection(7, "encoding", "detail", b"x"))
    assert dead_letters.decode(b"\n" + dead_letters.encode([one]) + b"\n\n") == [one]
    assert dead_letters.decode(b"") == []


GOOD = dead_letters.encode([letter("hub/0", Rejection(7, "encoding", "detail", b"x"))])


@pytest.mark.parametrize("raw", [b"{}\n", b"garbage\n", GOOD[:-3], b'{"reason":"\xff"}', b'{"x":' + b"[" * 100_000])
def test_a_blob_that_is_no_list_of_letters_is_refused(raw: bytes) -> None:
    with pytest.raises(ContractBroken, match=f"dead letters of {len(raw)} bytes cannot be read"):
        dead_letters.decode(raw)


def test_progress_comes_back_field_by_field() -> None:
    one = Progress(
        epoch=1, next=5, enqueued_ms=17, messages=9, accepted=8, rejected={"empty": 1, "not_json": 2}, expired=3
    )
    assert progress.decode(progress.encode(one)) == one
    assert progress.decode(b"{}") == Progress()
    assert [progress.name_of(3), progress.name_of(12)] == ["partition=03.json", "partition=12.json"]
    assert [progress.partition_of(progress.name_of(number)) for number in (3, 12, 100)] == [3, 12, 100]


def test_an_epoch_that_ends_leaves_its_closing_counts_and_progress_counts_on() -> None:
    one = Progress(next=5, enqueued_ms=17, messages=9, accepted=8, rejected={"empty": 1}, expired=3)
    two = msgspec.structs.replace(progress.anew(one), next=7, messages=16, accepted=12)
    assert progress.anew(one) == Progress(
        epoch=1, enqueued_ms=17, messages=9, accepted=8, rejected={"empty": 1}, expired=3, ended=two.ended
    )
    three = progress.anew(two)
    assert [(ended.epoch, ended.messages, ended.accepted) for ended in three.ended] == [(0, 9, 8), (1, 16, 12)]
    assert (three.epoch, three.next) == (2, 0)
    assert progress.decode(progress.encode(three)) == three


def test_progress_of_before_epochs_were_told_apart_is_read() -> None:
    raw = b'{"epoch":2,"next":5,"enqueued_ms":17,"messages":9,"accepted":8,"rejected":{"empty":1},"expired":0}'
    assert progress.decode(raw).ended == []
    assert [ended.epoch for ended in progress.anew(progress.decode(raw)).ended] == [2]


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"next":"1"}', b'{"ended":[{}]}', b'{"rejected":{"\xff":1}}', b'{"x":' + b"[" * 100_000]
)
def test_a_damaged_progress_blob_is_refused(raw: bytes) -> None:
    with pytest.raises(ContractBroken, match="progress: "):
        progress.decode(raw)
