"""The ledger on every store: writers at once, crashes at any write, clocks that run backwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.app.ledger_store import Ledger
from shared.core.ledger import CLOSED, FIRST, Entry, find
from shared.errors import ContractBroken, StateConflict, TransientFailure
from shared.ports import Blobs
from tests.kit import HandClock, MemoryBlobs

OCTOBER, NOVEMBER, DECEMBER = 1_791_000_000_000, 1_794_000_000_000, 1_797_000_000_000
LAST_MS = 1_796_083_199_999  # of November 2026


class Watched(MemoryBlobs):
    """Blobs of which each conditional write first calls `before`, and afterwards `behind`."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], None] = lambda: None
        self.behind: Callable[[], None] = lambda: None

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        self.before()
        done = super().replace(container, name, data, etag)
        self.behind()
        return done


@dataclass
class World:
    """A store, and ledgers on it that remember nothing of each other."""

    blobs: Watched = field(default_factory=Watched)
    clock: HandClock = field(default_factory=lambda: HandClock(NOVEMBER))

    def ledger(self, clock: HandClock | None = None) -> Ledger:
        return Ledger("air", self.blobs, clock or self.clock)

    def written(self) -> list[str]:
        return own(self.ledger().entries())


def own(entries: Sequence[Entry]) -> list[str]:
    """Keys without those of the ledger's own entries."""
    return [entry.key for entry in entries if entry.kind != CLOSED]


def files(blobs: MemoryBlobs) -> list[str]:
    return blobs.names("ledger", "air/")


def test_entries_stand_in_the_files_of_their_months_one_line_each() -> None:
    world = World()
    for at_ms, key in ((NOVEMBER, "a"), (LAST_MS, "b"), (LAST_MS + 1, "c"), (DECEMBER, "d")):
        world.clock.ms = at_ms
        world.ledger().append("check", key, {})
    assert files(world.blobs) == [f"air/{month}.jsonl" for month in (FIRST, "2026-11", "2026-12")]
    lines = {name: (world.blobs.read("ledger", name) or b"").count(b"\n") for name in files(world.blobs)}
    assert [*lines.values()] == [1, 3, 2], "the first holds the way to November, November two and the way to December"
    assert world.written() == ["a", "b", "c", "d"]
    assert world.ledger().verify() == 6


def test_an_empty_ledger_has_no_entries_and_another_scenario_s_are_not_its_own() -> None:
    world = World()
    assert (world.ledger().entries(), world.ledger().verify()) == ([], 0)
    Ledger("air_quality", world.blobs, world.clock).append("check", "x", {})
    assert world.ledger().entries() == []


def test_the_same_kind_and_key_is_written_once_and_returned_as_it_was() -> None:
    world = World()
    first = world.ledger().append("gate", "k", {"n": 1})
    world.clock.ms = DECEMBER
    assert world.ledger().append("gate", "k", {"n": 2}) == first
    assert world.ledger().append("rollout", "k", {}) != first
    assert find(world.ledger().entries(), "gate", "k") == first
    assert find(world.ledger().entries(), "gate", "other") is None


def test_many_entries_take_one_write_and_those_that_are_there_stay_as_they_are() -> None:
    world = World()
    world.ledger().append("quarantine", "b", {"n": 0})
    writes = len(world.blobs.writes)
    world.ledger().extend("quarantine", {key: {"n": 1} for key in "abc"})
    assert len(world.blobs.writes) == writes + 1
    world.ledger().extend("quarantine", {key: {"n": 2} for key in "cba"})
    world.ledger().extend("quarantine", {})
    assert len(world.blobs.writes) == writes + 1
    assert [(e.key, e.data["n"]) for e in world.ledger().entries() if e.kind == "quarantine"] == [
        ("b", 0), ("a", 1), ("c", 1)
    ]  # fmt: skip
    world.clock.ms = DECEMBER
    world.ledger().extend("quarantine", {"d": {"n": 3}, "e": {"n": 3}})
    assert world.written() == ["b", "a", "c", "d", "e"]
    assert world.ledger().verify() == 7


def test_many_entries_that_somebody_else_interrupts_stand_once() -> None:
    world = World()

    def interrupt() -> None:
        world.blobs.before = lambda: None
        world.ledger().append("release", "b", {})

    world.blobs.before = interrupt
    world.ledger().append("release", "first", {})
    world.blobs.before = interrupt
    world.ledger().extend("release", {"a": {}, "b": {}, "c": {}})
    assert world.written() == ["b", "first", "a", "c"]
    assert world.ledger().verify() == 5


def test_a_clock_that_runs_backwards_writes_to_the_newest_file_and_the_order_stays() -> None:
    world = World()
    for at_ms, key in ((NOVEMBER, "a"), (DECEMBER, "b"), (OCTOBER, "c"), (LAST_MS, "d"), (DECEMBER, "e")):
        world.clock.ms = at_ms
        world.ledger().append("check", key, {})
    assert files(world.blobs) == [f"air/{month}.jsonl" for month in (FIRST, "2026-11", "2026-12")]
    assert world.written() == ["a", "b", "c", "d", "e"]
    found = [entry.at_ms for entry in world.ledger().entries() if entry.kind != CLOSED]
    assert found == [NOVEMBER, DECEMBER, OCTOBER, LAST_MS, DECEMBER], "times are told as the clock had them"


def test_deciding_sees_what_others_wrote_meanwhile_and_decides_again() -> None:
    world, told = World(), []
    world.ledger().append("check", "old", {})

    def make(entries: Sequence[Entry]) -> tuple[str, Mapping[str, Any]]:
        told.append(own(entries))
        return "decided", {"seen": len(entries)}

    def meanwhile() -> None:
        world.blobs.before = lambda: None
        world.ledger().append("check", "new", {})

    world.blobs.before = meanwhile
    entry = world.ledger().decide("decision", make)
    assert told == [["old"], ["old", "new"]]
    assert entry is not None
    assert entry.position == entry.data["seen"] == 3


def test_deciding_for_nothing_writes_nothing() -> None:
    world = World()
    assert world.ledger().decide("decision", lambda _: None) is None
    assert world.blobs.writes == []


def test_the_position_is_the_number_of_entries_that_were_seen_also_when_a_month_begins() -> None:
    world = World()
    for at_ms in (NOVEMBER, DECEMBER, DECEMBER + 1):
        world.clock.ms = at_ms
        entry = world.ledger().decide("decision", lambda entries: (str(len(entries)), {}))
        assert entry is not None
        assert entry.key == str(entry.position)


def test_a_writer_that_is_always_too_late_gives_up_and_has_changed_nothing() -> None:
    world = World()
    world.ledger().append("check", "a", {})

    def first() -> None:
        world.blobs.before, kept = (lambda: None), world.blobs.before
        world.ledger().append("check", f"other {len(world.written())}", {})
        world.blobs.before = kept

    world.blobs.before = first
    with pytest.raises(StateConflict, match="ledger/air was written by others 64 times"):
        world.ledger().append("check", "mine", {})
    world.blobs.before = lambda: None
    assert "mine" not in world.written()
    assert len(world.written()) == 65


def test_a_reserved_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="closed"):
        World().ledger().extend(CLOSED, {"x": {}})
    with pytest.raises(ValueError, match="closed"):
        World().ledger().append(CLOSED, "x", {})


@given(
    st.lists(
        st.tuples(st.sampled_from([OCTOBER, NOVEMBER, LAST_MS, LAST_MS + 1, DECEMBER]), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_however_writers_with_different_clocks_interleave_all_entries_are_there_once(
    writers: list[tuple[int, bool]], begun: bool
) -> None:
    """Each writer's turn comes after the one before, or between its reading and its first write."""
    world = World()
    if begun:
        world.ledger().append("check", "first", {})

    def turn(number: int) -> None:
        if number == len(writers):
            return
        at_ms, _ = writers[number]
        inside = number + 1 < len(writers) and writers[number + 1][1]

        def others() -> None:
            world.blobs.before = lambda: None
            turn(number + 1)

        world.blobs.before = others if inside else lambda: None
        world.ledger(HandClock(at_ms)).append("check", str(number), {})
        if not inside:
            turn(number + 1)

    turn(0)
    assert sorted(world.written()) == sorted([*map(str, range(len(writers))), *(["first"] if begun else [])])
    entries = world.ledger().entries()
    assert [entry.position for entry in entries] == list(range(len(entries)))
    assert world.ledger().verify() == len(entries)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("fatal", range(4))
def test_a_crash_before_or_after_any_write_leaves_a_valid_chain_and_a_repetition_completes_it(
    fatal: int, stored: bool
) -> None:
    world, count = World(), 0

    def crash() -> None:
        nonlocal count
        count += 1
        if count == fatal + 1:
            raise TransientFailure("killed")

    if stored:
        world.blobs.behind = crash
    else:
        world.blobs.before = crash
    crashes = 0
    for at_ms, key in ((NOVEMBER, "a"), (DECEMBER, "b")):  # two writes each: close what was open, then the entry
        world.clock.ms = at_ms
        try:
            world.ledger().append("check", key, {})
        except TransientFailure:
            crashes += 1
        assert world.ledger().verify() == len(world.ledger().entries()), "valid where it was left"
        world.ledger().append("check", key, {})
    assert crashes == 1
    assert world.written() == ["a", "b"]
    assert len(files(world.blobs)) == 3


def test_a_file_closed_long_ago_is_skipped_over_to_the_present_month() -> None:
    world = World()
    world.ledger().append("check", "a", {})
    world.blobs.behind = lambda: (_ for _ in ()).throw(TransientFailure("killed"))
    world.clock.ms = DECEMBER
    with pytest.raises(TransientFailure):
        world.ledger().append("check", "lost", {})
    world.blobs.behind = lambda: None
    world.clock.ms = DECEMBER + 100 * 86_400_000
    world.ledger().append("check", "b", {})
    assert files(world.blobs) == [f"air/{month}.jsonl" for month in (FIRST, "2026-11", "2026-12", "2027-03")]
    assert (world.written(), world.ledger().verify()) == (["a", "b"], 5)


def long_one() -> World:
    world = World()
    for number, at_ms in enumerate((NOVEMBER, LAST_MS, DECEMBER, DECEMBER + 1)):
        world.clock.ms = at_ms
        world.ledger().append("check", f"k{number}", {"n": number})
    return world


SAMPLE = long_one()
PLACES = [
    (name, place) for name in files(SAMPLE.blobs) for place in range(len(SAMPLE.blobs.read("ledger", name) or b""))
]


@given(st.sampled_from(PLACES), st.integers(1, 255))
def test_any_changed_byte_of_any_file_is_found_and_nothing_is_added_to_a_broken_ledger(
    at: tuple[str, int], difference: int
) -> None:
    name, place = at
    world = long_one()
    warm = world.ledger()
    warm.entries()
    raw = bytearray(world.blobs.read("ledger", name) or b"")
    raw[place] ^= difference
    world.blobs.write("ledger", name, bytes(raw))
    for act in (world.ledger().verify, warm.verify, warm.entries, lambda: warm.append("check", "more", {})):
        with pytest.raises(ContractBroken, match=r"ledger/air/"):
            act()
    assert world.blobs.read("ledger", name) == bytes(raw)


@pytest.mark.parametrize("place", [0, 1])
def test_a_missing_file_is_found(place: int) -> None:
    world = long_one()
    warm = world.ledger()
    warm.entries()
    world.blobs.delete("ledger", files(world.blobs)[place])
    for ledger in (warm, world.ledger()):
        with pytest.raises(ContractBroken, match="comes next, but"):
            ledger.entries()


def test_an_older_file_of_another_history_does_not_fit_a_file_that_was_read_before() -> None:
    one, other = long_one(), World()
    warm = one.ledger()
    warm.entries()
    for number, at_ms in enumerate((NOVEMBER, LAST_MS, DECEMBER)):
        other.clock.ms = at_ms
        other.ledger().append("check", f"k{number}", {"n": -number})
    older = "air/2026-11.jsonl"
    one.blobs.write("ledger", older, other.blobs.read("ledger", older) or b"")
    with pytest.raises(ContractBroken, match=r"air/2026-12\.jsonl line 1: previous is"):
        warm.entries()


def test_verifying_fetches_every_file_again_even_when_the_store_says_that_it_is_unchanged() -> None:
    world = long_one()
    warm = world.ledger()
    warm.entries()
    place = ("ledger", "air/2026-11.jsonl")
    raw, info = world.blobs._blobs[place]
    world.blobs._blobs[place] = (raw.replace(b"k0", b"k9", 1), info)
    with pytest.raises(ContractBroken, match=r"air/2026-11\.jsonl line 1: hash is"):
        warm.verify()


def test_a_file_that_vanishes_while_it_is_read_is_named() -> None:
    world = long_one()

    def vanished(container: str, name: str, etag: str | None) -> None:
        assert (container, etag) == ("ledger", None)
        assert name == f"air/{FIRST}.jsonl"

    world.blobs.read_changed = vanished  # type: ignore[method-assign]
    with pytest.raises(ContractBroken, match=rf"air/{FIRST}\.jsonl: vanished while it was read"):
        world.ledger().entries()


def test_a_foreign_file_is_named() -> None:
    world = long_one()
    world.blobs.write("ledger", "air/notes.txt", b"")
    with pytest.raises(ContractBroken, match=r"ledger/air/notes\.txt: not a ledger's file"):
        world.ledger().entries()


@pytest.fixture(params=["memory", pytest.param("azurite", marks=pytest.mark.emulator)])
def store(request: pytest.FixtureRequest) -> Blobs:
    if request.param == "memory":
        return MemoryBlobs()
    return AzureBlobs.connect(request.getfixturevalue("azurite"), None)


def test_writers_at_once_on_both_sides_of_a_month_s_end_leave_every_entry_in_one_chain(store: Blobs) -> None:
    name, failures = "threads", []
    clocks = [HandClock(LAST_MS), HandClock(LAST_MS + 1), HandClock(OCTOBER), HandClock(DECEMBER)]
    start = threading.Barrier(len(clocks))

    def write(number: int) -> None:
        ledger = Ledger(name, store, clocks[number])
        try:
            start.wait(timeout=30)
            for turn in range(4):
                ledger.append("check", f"{number}/{turn}", {"turn": turn})
            ledger.append("shared", "once", {"by": number})
        except Exception as error:  # noqa: BLE001 - told by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(clocks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    entries = Ledger(name, store, clocks[0]).entries()
    wanted = [f"{number}/{turn}" for number in range(len(clocks)) for turn in range(4)]
    assert sorted(own(entries)) == sorted([*wanted, "once"])
    for number in range(len(clocks)):
        mine = [key for key in own(entries) if key.startswith(f"{number}/")]
        assert mine == [f"{number}/{turn}" for turn in range(4)]
    assert [entry.position for entry in entries] == list(range(len(entries)))
    assert Ledger(name, store, clocks[0]).verify() == len(entries)
