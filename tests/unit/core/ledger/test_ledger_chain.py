"""The chain of the decision log: what it is made of, and that no byte can be changed unseen."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core import ledger
from shared.core.ledger import CLOSED, FIRST, ORIGIN, Entry, Tail
from shared.errors import ContractBroken

NOVEMBER = 1_793_500_000_000  # 2026-11-01
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def written(*data: dict[str, Any]) -> tuple[list[Entry], bytes]:
    """Entries in one open file, and its content."""
    tail, entries = Tail(file="2026-11"), []
    for number, each in enumerate(data):
        entries.append(ledger.make("air", tail, NOVEMBER + number, "check", f"k{number}", each, "airloop"))
        tail = ledger.after(tail, entries[-1])
    return entries, b"".join(map(ledger.line, entries))


def test_the_hash_is_sha256_over_the_other_fields_as_json_with_sorted_keys_and_holds_the_hash_before() -> None:
    _, raw = written({"z": 1, "a": [True, None, "é"], "m": {"y": 0.25, "b": ""}}, {})
    before = ORIGIN
    for position, text in enumerate(raw.decode().splitlines()):
        found = json.loads(text)
        claimed = found.pop("hash")
        canonical = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(canonical.encode()).hexdigest() == claimed
        assert (found["position"], found["previous"]) == (position, before)
        before = claimed


@given(st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), min_size=1, max_size=4))
def test_whatever_data_an_entry_has_it_is_read_as_it_was_returned(data: list[dict[str, Any]]) -> None:
    entries, raw = written(*data)
    found, tail = ledger.read("air", raw, Tail(file="2026-11"))
    assert found == entries
    assert tail == Tail(len(data), entries[-1].hash, "2026-11")


def test_a_number_that_json_does_not_have_becomes_null_and_structs_become_objects() -> None:
    (entry,), _ = written({"mae": float("nan"), "tail": Tail(), "pair": (1, 2)})
    assert entry.data == {"mae": None, "tail": {"position": 0, "previous": ORIGIN, "file": FIRST}, "pair": [1, 2]}


_, RAW = written({"launch": True, "mae": 12.5}, {"why": "drift é"}, {"list": [1, 2, 3]})


@given(st.integers(0, len(RAW) - 1), st.integers(0, 255))
def test_any_changed_byte_is_found_at_its_line(place: int, byte: int) -> None:
    if RAW[place] == byte:
        return
    broken = RAW[:place] + bytes([byte]) + RAW[place + 1 :]
    with pytest.raises(ContractBroken, match=rf"ledger/air/2026-11\.jsonl line {RAW[:place].count(10) + 1}: "):
        ledger.read("air", broken, Tail(file="2026-11"))


@given(st.integers(0, len(RAW) - 1), st.binary(min_size=1, max_size=3))
def test_any_inserted_or_missing_bytes_are_found(place: int, extra: bytes) -> None:
    with pytest.raises(ContractBroken, match="line"):
        ledger.read("air", RAW[:place] + extra + RAW[place:], Tail(file="2026-11"))
    with pytest.raises(ContractBroken):
        ledger.read("air", RAW[:place] + RAW[place + 1 :], Tail(file="2026-11"))


def lines() -> list[bytes]:
    return RAW.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "ledger/air/2026-11.jsonl: is empty"),
        (lines()[1] + lines()[0], "line 1: position is 1, the chain gives 0"),
        (lines()[0] + lines()[2], "line 2: position is 2, the chain gives 1"),
        (lines()[0] + lines()[0], "line 2: position is 0, the chain gives 1"),
        (RAW[:-1], "line 3: has no end"),
        (RAW + b"\n", "line 4: Input data was truncated"),
        (RAW.replace(b'"kind":', b'"kind": ', 1), "line 1: is not written as a ledger writes it"),
        (b"[]\n", "line 1: Expected `object`, got `array`"),
        (b'{"\xff":1}\n', "line 1: "),
    ],
)
def test_a_break_is_named_with_file_line_and_what_differs(raw: bytes, message: str) -> None:
    with pytest.raises(ContractBroken) as told:
        ledger.read("air", raw, Tail(file="2026-11"))
    assert message in str(told.value)


def test_an_entry_of_another_ledger_or_behind_another_entry_does_not_fit_even_with_a_right_hash() -> None:
    with pytest.raises(ContractBroken, match="scenario is 'air', the chain gives 'river'"):
        ledger.read("river", RAW, Tail(file="2026-11"))
    with pytest.raises(ContractBroken, match=r"line 1: previous is '0{64}', the chain gives 'f{64}'"):
        ledger.read("air", RAW, Tail(previous="f" * 64, file="2026-11"))


@pytest.mark.parametrize("following", ["2026-11", "2026-10", "2026-12x", "..", 5, None])
def test_a_file_can_only_be_closed_towards_a_later_month(following: Any) -> None:
    entry = ledger.make("air", Tail(file="2026-11"), NOVEMBER, CLOSED, "2026-11", {"next": following}, "airloop")
    with pytest.raises(ContractBroken, match="no month after 2026-11"):
        ledger.read("air", ledger.line(entry), Tail(file="2026-11"))


def test_nothing_follows_in_a_closed_file_and_the_next_one_is_the_named_one() -> None:
    closed = ledger.closing("air", Tail(file="2026-11"), NOVEMBER, "2027-02")
    _, tail = ledger.read("air", ledger.line(closed), Tail(file="2026-11"))
    assert (tail.position, tail.file) == (1, "2027-02")
    more = ledger.make("air", tail, NOVEMBER, "check", "k", {}, "airloop")
    with pytest.raises(ContractBroken, match="line 2: the file was closed by the line before"):
        ledger.read("air", ledger.line(closed) + ledger.line(more), Tail(file="2026-11"))
    ledger.expect("air", "2027-02", tail)
    with pytest.raises(ContractBroken, match=r"air/2027-03\.jsonl: comes next, but air/2027-02\.jsonl should"):
        ledger.expect("air", "2027-03", tail)


@pytest.mark.parametrize("blob", ["air/x.jsonl", "air/2026-11.json", "air/2026-11.jsonl~", "air/a/2026-11.jsonl"])
def test_a_file_that_no_ledger_has_is_named(blob: str) -> None:
    with pytest.raises(ContractBroken, match="not a ledger's file"):
        ledger.file_of("air", blob)


def test_months_are_those_of_utc() -> None:
    assert ledger.file_of("air", ledger.blob_of("air", "2026-11")) == "2026-11"
    assert [ledger.month_of(ms) for ms in (0, 1_796_083_199_999, 1_796_083_200_000)] == [
        "1970-01",
        "2026-11",
        "2026-12",
    ]
    assert set(msgspec.structs.asdict(written({})[0][0])) == {*Entry.__struct_fields__}
