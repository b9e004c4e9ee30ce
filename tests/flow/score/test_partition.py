"""A partition on stores in memory: recovery, failures at every write, two owners, gaps, and what a batch costs."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.app.score import recovery
from shared.app.score.partition import Partition
from shared.core.forecast import snapshot
from shared.core.forecast.state import State, own
from shared.core.forecast.window.ring import Ring
from shared.core.forecast.window.slots import Columns
from shared.core.forecast.window.waiting import Waiting
from shared.core.intake import dead_letters
from shared.core.model.scoring import ROLES
from shared.core.stream.commit import commit_name, place_of
from shared.core.stream.events import Event
from shared.core.stream.packing import BEYOND
from shared.errors import ContractBroken, PipelineError, TransientFailure
from tests.kit import HOUR, TASK, Bench, MemoryBlobs, Row, deploy, hourly, newest, picture

DAMAGE = ["nothing", "newest truncated", "newest of another format", "newest not a snapshot", "all deleted"]


def rows_of(draw: st.DrawFn, clocks: dict[str, int], first: int) -> list[Row]:
    """A run of readings: mostly forward, sometimes late, repeated, conflicting or jumping."""
    found: list[Row] = []
    for position in range(first, first + draw(st.integers(1, 8))):
        device = draw(st.sampled_from(sorted(clocks)))
        kind = draw(st.sampled_from(["next"] * 8 + ["same", "late", "jump", "leap", "repeat"]))
        clocks[device] += {"next": 1, "jump": draw(st.integers(2, 9)), "leap": draw(st.integers(10, 90))}.get(kind, 0)
        minute = (clocks[device] - (draw(st.integers(0, 5)) if kind == "late" else 0)) * 60
        values: Sequence[float] = draw(st.tuples(*[st.sampled_from([float("nan"), 0.0, 12.25, 90.0])] * 3))
        if kind == "repeat" and found:
            _, device, minute, values = found[-1]
        found.append((position, device, minute, values))
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """What happens to a partition: readings arrive, models come and go, the worker dies, events come again."""
    story: list[tuple[str, Any]] = []
    clocks = dict.fromkeys("abc", HOUR)
    positions = dict.fromkeys(("file/x@1", "hub/0"), 1)
    for _ in range(draw(st.integers(1, 9))):
        kind = draw(st.sampled_from(["send"] * 5 + ["deploy", "junk", "end", "die", "again", "recreate"]))
        if kind == "send":
            source = draw(st.sampled_from(sorted(positions)))
            rows = rows_of(draw, clocks, positions[source])
            positions[source] = draw(st.sampled_from([positions[source], rows[-1][0] + 1]))  # sometimes sent again
            story.append(("send", (source, rows)))
        elif kind == "deploy":
            champion = draw(st.sampled_from([None, "v1", "v2", "v3"]))
            challenger = draw(st.sampled_from([None, "v2", "v4", "nan", "nan-at-90"]))
            share = draw(st.sampled_from([0.0, 0.5, 1.0]))
            story.append(("deploy", (champion, draw(st.sampled_from(["", "a", "bc"])), challenger, share)))
        elif kind == "end":
            story.append(("end", "file/x@1"))
        else:
            story.append((kind, None))
        if draw(st.booleans()):
            story.append(("take", None))
    return [*story, ("take", None)]


class Play:
    """Plays a story on a bench, with a worker that lives through all of it and one that dies on the way."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.worker = bench, bench.worker()
        self.waiting: list[Event] = []
        self.taken: list[list[Event]] = []

    def run(self, story: Sequence[tuple[str, Any]]) -> None:
        for kind, what in story:
            getattr(self, kind)(*what if isinstance(what, tuple) else () if what is None else (what,))

    def send(self, source: str, rows: Sequence[Row]) -> None:
        self.waiting += self.bench.send(source, rows)

    def end(self, source: str) -> None:
        self.waiting += self.bench.send(source, [], end=10_000)

    def junk(self) -> None:
        self.bench.stream.send(0, [b"no event"])
        self.waiting.append(self.bench.events()[-1])

    def deploy(self, champion: str | None, quarantine: str, challenger: str | None, share: float) -> None:
        deploy(self.bench.blobs, champion, quarantine, challenger, share)

    def die(self) -> None:
        self.worker = self.bench.worker()

    def again(self) -> None:
        for events in self.taken:
            self.worker.take(events)

    def recreate(self) -> None:
        self.take()
        if self.bench.stream.logs[0]:
            self.bench.stream.logs[0] = []
            self.taken = []

    def take(self) -> None:
        if self.waiting:
            self.worker.take(self.waiting)
            self.taken.append(self.waiting)
            self.waiting = []


def damage(bench: Bench, how: str) -> None:
    names = bench.blobs.names("state")
    if not names or how == "nothing":
        return
    raw = bench.blobs.read("state", names[-1]) or b""
    if how == "all deleted":
        for name in names:
            bench.blobs.delete("state", name)
    elif how == "newest truncated":
        bench.blobs.write("state", names[-1], raw[:-7])
    elif how == "newest not a snapshot":
        bench.blobs.write("state", names[-1], b"\x00" * 100)
    else:
        body = snapshot.copied(TASK, snapshot.decode(TASK, raw))
        bench.blobs.write("state", names[-1], snapshot.pack(type(body)(99, *_fields(body)[1:])))


def _fields(body: snapshot.Body) -> list[Any]:
    return [getattr(body, name) for name in body.__struct_fields__]


def test_the_picture_of_a_state_shows_everything_a_state_has() -> None:
    fields = {kind: {f.name for f in dataclasses.fields(kind)} for kind in (Columns, Ring, Waiting)}
    assert fields[Columns] == {"ring", "waiting", "quality"}
    shown = set(picture(TASK.empty(0)))
    assert (fields[Ring] | fields[Waiting]) - {"layout"} <= shown
    assert {f.name for f in dataclasses.fields(State)} - {"columns"} <= shown


@settings(max_examples=120, deadline=None)
@given(histories(), st.integers(1, 4), st.sampled_from([1, 3, 1000]), st.sampled_from(DAMAGE))
def test_what_is_recovered_is_what_was_alive(
    story: list[tuple[str, Any]], every: int, batch_rows: int, how: str
) -> None:
    bench = Bench(every, batch_rows)
    play = Play(bench)
    play.run(story)
    alive = picture(play.worker.recovered())
    damage(bench, how)
    heir = bench.worker()
    assert picture(heir.recovered()) == alive
    before = bench.blobs.everything()
    for events in play.taken:  # everything comes again
        heir.take(events)
    assert bench.blobs.everything() == before
    assert picture(heir.recovered()) == alive
    for role in ROLES:
        bench.forecasts(role)


@settings(max_examples=40, deadline=None)
@given(histories(), st.integers(1, 3))
def test_a_worker_that_dies_leaves_no_trace(story: list[tuple[str, Any]], every: int) -> None:
    mortal, immortal = Play(Bench(every)), Play(Bench(every))
    mortal.run(story)
    immortal.run([step for step in story if step[0] != "die"])
    assert picture(mortal.worker.recovered()) == picture(immortal.worker.recovered())
    assert mortal.bench.blobs.everything("state", "profiles") == immortal.bench.blobs.everything("state", "profiles")


def full(bench: Bench) -> list[list[Event]]:
    """A file in four batches: readings, a conflict, junk, an end marker; forecasts from the second batch on."""
    deploy(bench.blobs, "v1")
    first, second = hourly(hours=4), hourly(hours=12)[8:]
    conflict = (len(first) + len(second) + 1, "a", second[-1][2], (77.0, 0.0, 0.0))
    batches = [bench.send("file/x@1", first), bench.send("file/x@1", [*second, conflict])]
    bench.stream.send(0, [b"no event"])
    batches.append(bench.events()[-1:])
    batches.append(bench.send("file/x@1", [], end=100))
    return batches


def finish(worker: Partition, batches: Sequence[Sequence[Event]], tries: int = 5) -> int:
    """Deliver every batch until it is taken, as the trigger does; how often it failed."""
    failed = 0
    for events in batches:
        for _ in range(tries):
            try:
                worker.take(events)
                break
            except TransientFailure:
                failed += 1
        else:
            raise AssertionError(f"not taken in {tries} tries")
    return failed


@pytest.fixture(scope="module")
def undisturbed() -> Bench:
    bench = Bench()
    assert finish(bench.worker(), full(bench)) == 0
    return bench


WRITES = range(40)


@pytest.mark.parametrize("stored_anyway", [False, True])
def test_a_write_that_fails_leaves_memory_as_it_was_and_the_next_try_gives_the_same_blobs(
    undisturbed: Bench, stored_anyway: bool
) -> None:
    failures = 0
    for number in WRITES:
        bench = Bench()
        batches = full(bench)
        if (at := bench.blobs.count + number) >= undisturbed.blobs.count:
            break
        worker = bench.worker()
        bench.blobs.fail_at, bench.blobs.stored_anyway = at, stored_anyway
        for events in batches:
            before, commits = picture(worker.recovered()), bench.blobs.names("commits")
            try:
                worker.take(events)
            except TransientFailure:
                failures += 1
                assert worker.state is None
                if bench.blobs.names("commits") == commits:
                    assert picture(worker.recovered()) == before
                worker.take(events)
            assert picture(bench.worker().recovered()) == picture(worker.recovered())
        assert bench.blobs.everything("state", "profiles") == undisturbed.blobs.everything("state", "profiles")
    assert failures >= 8
    assert number + 1 < len(WRITES), "WRITES must reach beyond the last one"


def test_a_snapshot_that_cannot_be_stored_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(every=1)
    batches = full(bench)
    worker = bench.worker()
    bench.blobs.fail_at = bench.blobs.count + 2  # predictions, commit, snapshot
    worker.take(batches[0])
    assert "was not stored, the next one will be" in caplog.text
    assert not bench.blobs.names("state")
    finish(worker, batches)
    assert len(bench.blobs.names("state")) == 3


class SaysItExists(MemoryBlobs):
    """The store's own client repeats a request whose answer got lost, and finds what it has just written."""

    def create(self, container: str, name: str, data: bytes) -> bool:
        super().create(container, name, data)
        return False


def test_a_commit_that_exists_with_our_own_content_has_succeeded(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.blobs = SaysItExists()  # type: ignore[assignment]
    deploy(bench.blobs, "v1")
    events = bench.send("hub/0", hourly())
    worker = bench.worker()
    worker.take(events)
    assert worker.state is not None
    assert worker.state.next == len(events)
    assert not caplog.records
    assert len(bench.blobs.names("commits")) == 1


def test_an_end_marker_whose_receipt_failed_is_receipted_by_whoever_recovers() -> None:
    bench = Bench(every=1000)
    batches = full(bench)
    worker = bench.worker()
    for events in batches[:-1]:
        worker.take(events)
    bench.blobs.fail_at = bench.blobs.count + 1  # the commit of the marker succeeds, its receipt does not
    with pytest.raises(TransientFailure):
        worker.take(batches[-1])
    assert not bench.blobs.names("receipts")
    bench.worker().recovered()
    assert len(bench.blobs.names("receipts")) == 1


@pytest.mark.parametrize("lead", range(4))
def test_two_owners_at_once_make_one_history(lead: int, undisturbed: Bench) -> None:
    """The other owner works at every moment between two writes of the first, with events cut in another way."""
    for number in range(undisturbed.blobs.count):
        bench = Bench()
        batches = full(bench)
        events = bench.events()
        mine, other = bench.worker(), bench.worker()
        mine.take(batches[0])
        other.take(batches[0][:1])

        def interfere(at: int, bench: Bench = bench, other: Partition = other, events: list[Event] = events) -> None:
            if at == start + number:  # noqa: B023 - read while the loop stands here
                bench.blobs.before = lambda _: None
                other.take(events[: 1 + lead])

        start = bench.blobs.count
        bench.blobs.before = interfere
        for part in batches[1:]:
            mine.take(part)
        interfered = bench.blobs.before is not interfere
        bench.blobs.before = lambda _: None
        other.take(events)
        check_one_history(bench, len(events))
        assert picture(mine.recovered()) == picture(bench.worker().recovered())
        assert picture(other.recovered()) == picture(mine.recovered())
        assert newest(bench.forecasts()) == newest(undisturbed.forecasts())
        if not interfered:
            break
    assert number > 3


def check_one_history(bench: Bench, events: int) -> None:
    """Commits follow each other without gap or overlap, and every forecast is named once."""
    commits = [commit for _, commit, _ in bench.commits()]
    assert commits[0].first == 0
    assert commits[-1].next == events
    assert all(one.next == two.first == two.follows for one, two in pairwise(commits))
    bench.forecasts()


def test_the_other_owner_may_have_another_model_and_still_every_forecast_is_made_once() -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    events = [*bench.send("hub/0", hourly(hours=6)), *bench.send("hub/0", hourly(hours=12)[12:])]
    zombie, owner = bench.worker(), bench.worker()
    zombie.take(events[:1])
    zombie.context.serving.refresh_s = 1e9  # it no longer hears of new models
    deploy(bench.blobs, "v2")
    owner.take(events)
    zombie.take(events)
    check_one_history(bench, len(events))
    assert {model for _, model in bench.forecasts().values()} == {"v1", "v2"}
    assert picture(zombie.recovered()) == picture(owner.recovered())


@pytest.mark.parametrize("devices", [1, 600])
def test_a_batch_costs_two_writes_whatever_the_number_of_devices(devices: int) -> None:
    bench = Bench(every=1000, batch_rows=100_000)
    deploy(bench.blobs, "v1")
    worker = bench.worker()
    worker.context.profiles.interval_s = 3600.0  # one now and then is written beside the work, whatever the batches
    ids = [f"d{number}" for number in range(devices)]
    for hour in range(3):
        rows = [(hour * devices + i + 1, name, (HOUR + hour) * 60, (1.0, 2.0, 3.0)) for i, name in enumerate(ids)]
        before = len(bench.blobs.writes)
        worker.take(bench.send("hub/0", rows))
        profiled = [] if hour else ["profiles"]
        assert [container for container, _ in bench.blobs.writes[before:]] == ["predictions", "commits", *profiled]
    before = len(bench.blobs.writes)
    conflicts = [(10_000 + i, name, HOUR * 60, (9.0, 9.0, 9.0)) for i, name in enumerate(ids)]
    bench.stream.send(0, [b"junk"])
    events = [*bench.events()[-1:], *bench.send("hub/0", conflicts)]
    worker.take(events)
    assert [container for container, _ in bench.blobs.writes[before:]] == ["dead-letter", "commits"]
    assert len(bench.forecasts()) == 3 * devices


def test_a_batch_that_comes_again_writes_nothing() -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    events = bench.send("hub/0", hourly())
    worker = bench.worker()
    worker.take(events)
    writes = len(bench.blobs.writes)
    worker.take(events)
    bench.worker().take(events)
    assert len(bench.blobs.writes) == writes


def test_a_large_batch_is_committed_in_parts() -> None:
    bench = Bench(every=1000, batch_rows=10)
    deploy(bench.blobs, "v1")
    events = [event for part in range(5) for event in bench.send(f"hub/{part}", hourly(hours=4, start=HOUR + 4 * part))]
    bench.worker().take(events)
    check_one_history(bench, 5)
    assert [len(batch) for _, _, batch in bench.commits()] == [8] * 5


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_what_a_slow_reader_sends_of_a_file_that_was_given_up_never_counts_however_it_is_cut(cut: int) -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    rows = hourly("a", 5)
    bench.send("file/x@1", rows[:2], end=BEYOND)
    bench.send("file/x@1", rows[2:])
    bench.send("file/y@1", hourly("b", 1))
    worker, events = bench.worker(), bench.events()
    for start in range(0, len(events), cut):
        worker.take(events[start : start + cut])
    sums = Counter[str]()
    for _, commit, _ in bench.commits():
        sums.update(commit.counts)
    assert (sums["applied"], sums["redelivered"]) == (3, 3)
    assert {device for device, _, _ in bench.forecasts()} == {"a", "b"}


def test_a_skipped_range_is_read_back_from_the_hub() -> None:
    whole, gappy = Bench(), Bench()
    for bench in (whole, gappy):
        deploy(bench.blobs, "v1")
        for part in range(6):
            bench.send("hub/0", [(part + 1, "a", (HOUR + part) * 60, (float(part), 0.0, 0.0))])
    whole.worker().take(whole.events())
    worker = gappy.worker()
    worker.take(gappy.events()[:1])
    worker.take([*gappy.events()[3:4], *gappy.events()[5:]])
    assert gappy.stream.reads == [(1, 3), (4, 5)]
    check_one_history(gappy, 6)
    assert newest(gappy.forecasts()) == newest(whole.forecasts())
    assert worker.recovered().expired == 0


def test_a_long_gap_is_read_back_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "READ_BACK", 4)
    bench = Bench()
    for part in range(30):
        bench.send("hub/0", [(part + 1, "a", (HOUR + part) * 60, (1.0, 0.0, 0.0))])
    worker = bench.worker()
    worker.take(bench.events()[:1])
    bench.stream.begin = 7
    worker.take(bench.events()[29:])
    assert worker.recovered().expired == 6
    assert worker.recovered().next == 30
    assert max(end - first for first, end in bench.stream.reads) == 4
    assert picture(bench.worker().recovered()) == picture(worker.recovered())


def test_what_the_hub_no_longer_has_is_counted_and_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    for part in range(8):
        bench.send("hub/0", [(part + 1, "a", (HOUR + part) * 60, (float(part), 0.0, 0.0))])
    worker = bench.worker()
    worker.take(bench.events()[:2])
    bench.stream.begin = 5
    worker.take(bench.events()[6:])
    assert worker.recovered().expired == 3
    (loud,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert loud.getMessage() == "partition 0: events 2 to 4 are lost: no commit, no hub"
    assert [(c.follows, c.first, c.next) for _, c, _ in bench.commits()] == [(0, 0, 2), (2, 5, 8)]
    for snapshots in ("nothing", "all deleted"):
        damage(bench, snapshots)
        assert picture(bench.worker().recovered()) == picture(worker.recovered())


def test_a_lost_commit_is_made_again_from_the_hub() -> None:
    bench = Bench(every=1000)
    deploy(bench.blobs, "v1")
    worker = bench.worker()
    for part in range(4):
        worker.take(bench.send("hub/0", hourly(hours=3 * part + 3)[6 * part :]))
    before = bench.blobs.everything("state", "profiles")
    bench.blobs.delete("commits", commit_name(0, 0, 1))
    heir = bench.worker()
    assert picture(heir.recovered()) == picture(worker.recovered())
    assert bench.blobs.everything("state", "profiles") == before


def test_a_hub_that_was_created_anew_begins_an_epoch(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    worker = bench.worker()
    worker.take(bench.send("hub/0", hourly(hours=4)))
    bench.stream.send(0, [b"another, so that the old hub was longer"])
    worker.take(bench.events())
    bench.stream.logs[0] = []
    first = bench.send("hub/0", hourly(hours=8)[8:])
    worker.take(first)
    worker.take(first)
    assert (worker.recovered().epoch, worker.recovered().next) == (1, 1)
    assert any("created anew" in record.getMessage() for record in caplog.records)
    assert [place_of(name) for name in bench.blobs.names("commits")] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert {as_of - HOUR for _, as_of, _ in bench.forecasts()} == set(range(8))
    damage(bench, "all deleted")
    assert picture(bench.worker().recovered()) == picture(worker.recovered())


def test_an_event_that_cannot_be_decoded_goes_to_the_dead_letter_and_the_rest_goes_on() -> None:
    bench = Bench()
    events = [*bench.send("hub/0", hourly(hours=2))]
    bench.stream.send(0, [b"\xff\x00junk"])
    events = [*bench.events(), *bench.send("hub/1", hourly(hours=4)[4:])]
    bench.worker().take(events)
    ((_, commit, batch),) = bench.commits()
    assert (commit.counts["undecodable"], commit.counts["applied"], len(batch)) == (1, 8, 8)
    (letter,) = dead_letters.decode(bench.blobs.read("dead-letter", commit.dead_letters or "") or b"")
    assert (letter.reason, letter.source, letter.position) == ("format", "readings/0", 1)
    assert letter.original() == b"\xff\x00junk"


def test_a_conflicting_reading_goes_to_the_dead_letter_as_a_message_that_can_be_sent_again() -> None:
    bench = Bench()
    worker = bench.worker()
    worker.take(bench.send("hub/0", hourly("a", hours=1)))
    worker.take(bench.send("hub/1", [(5, "a", HOUR * 60, (8.5, float("nan"), 10.0))]))
    commit = bench.commits()[1][1]
    (letter,) = dead_letters.decode(bench.blobs.read("dead-letter", commit.dead_letters or "") or b"")
    assert (letter.reason, letter.source, letter.position) == ("conflict", "hub/1", 5)
    assert letter.raw == f'{{"device_id":"a","timestamp":{HOUR * 3600},"pm":8.5,"wind":10.0}}'


def test_a_snapshot_spares_the_commits_before_it_and_three_are_kept() -> None:
    bench = Bench(every=1)
    deploy(bench.blobs, "v1")
    worker = bench.worker()
    for hours in range(1, 7):
        worker.take(bench.send("hub/0", hourly(hours=hours)[2 * hours - 2 :]))
    names = bench.blobs.names("state")
    assert names == [f"partition=00/00000-{done:020d}.state" for done in (4, 5, 6)]
    for name in bench.blobs.names("commits")[:4]:
        bench.blobs.delete("commits", name)
    bench.stream.begin = 6
    assert picture(bench.worker().recovered()) == picture(worker.recovered())
    damage(bench, "newest truncated")
    assert picture(bench.worker().recovered()) == picture(worker.recovered())


class Forgets(MemoryBlobs):
    """A store that gives snapshots back otherwise than they were written."""

    def read(self, container: str, name: str) -> bytes | None:
        raw = super().read(container, name)
        return raw[:-1] if container == "state" and raw else raw


def test_a_snapshot_that_does_not_read_back_as_written_is_removed(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(every=1)
    bench.blobs = Forgets()  # type: ignore[assignment]
    bench.worker().take(bench.send("hub/0", hourly()))
    assert not bench.blobs.names("state")
    assert "did not read back as written" in caplog.text


@pytest.mark.parametrize(
    ("container", "how"),
    [(c, how) for c in ("commits", "predictions") for how in ("flipped", "truncated")] + [("predictions", "gone")],
)
def test_a_damaged_blob_is_named_and_nothing_goes_on_without_it(container: str, how: str) -> None:
    bench = Bench(every=1000)
    deploy(bench.blobs, "v1")
    bench.worker().take(bench.send("hub/0", hourly()))
    (name,) = bench.blobs.names(container)
    raw = bytearray(bench.blobs.read(container, name) or b"")
    raw[len(raw) // 2] ^= 1
    if how == "gone":
        bench.blobs.delete(container, name)
    else:
        bench.blobs.write(container, name, bytes(raw) if how == "flipped" else bytes(raw[:50]))
    events = bench.send("hub/0", hourly(hours=13)[24:])
    heir = bench.worker()
    for _ in range(2):
        with pytest.raises(ContractBroken, match=f"{container}/{name}"):
            heir.take(events)
    assert len(bench.blobs.names("commits")) == 1


def test_a_model_whose_answers_are_no_numbers_stalls_the_partition_until_another_serves() -> None:
    bench = Bench()
    deploy(bench.blobs, "nan")
    events = bench.send("hub/0", hourly())
    worker = bench.worker()
    for _ in range(2):
        with pytest.raises(PipelineError, match="not finite"):
            worker.take(events)
    assert not bench.blobs.names("commits")
    deploy(bench.blobs, "v1")
    worker.take(events)
    assert len(bench.forecasts()) == 24


def test_partitions_do_not_see_each_other() -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    events = bench.send("hub/0", hourly())
    zero, one = bench.worker(0), bench.worker(1)
    zero.take(events)
    one.take(events[:1])
    assert {place.split("/")[0] for place in bench.blobs.names("commits")} == {"partition=00", "partition=01"}
    fresh = bench.worker(1).recovered()
    assert picture(fresh) == picture(one.recovered())
    assert np.array_equal(own(fresh).columns.ring.head[:2], own(zero.recovered()).columns.ring.head[:2])
    assert fresh.partition == 1


def test_a_challenger_that_fails_is_left_out_of_the_whole_batch_not_of_a_part(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A large batch is folded in segments; what was answered in one of them must be found again by recovery."""
    for version, answers in (("v2", True), ("nan-at-77", False)):
        bench = Bench(every=1000, batch_rows=1_000_000)
        deploy(bench.blobs, "v1", challenger=version, share=0.5)
        rows = [
            (
                hour * 600 + device + 1,
                f"d{device}",
                (HOUR + hour) * 60,
                (77.0 if hour == 19 else 5.0, 1.0, float(device)),
            )
            for hour in range(20)
            for device in range(600)
        ]
        worker = bench.worker()
        worker.take(bench.send("hub/0", rows))
        assert len(bench.commits()) == 1
        assert picture(bench.worker().recovered()) == picture(worker.recovered())
        assert len(bench.forecasts()) == len(rows)
        assert len(bench.forecasts("challenger")) == (len(rows) if answers else 0)
        assert bench.commits()[0][1].challenger == (version if answers else None)
    assert "left out of a batch: challenger nan-at-77" in caplog.text
