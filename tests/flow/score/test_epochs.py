"""A hub that is created anew under workers who come back, wake up late, race each other or hold old events."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from shared.app.lake.compaction import rebuild
from shared.app.score.partition import Partition
from shared.core.forecast.losses import TOTALS
from shared.core.stream.commit import place_of
from shared.core.stream.events import Event
from shared.errors import TransientFailure
from tests.flow.lake.test_lake import compaction, lake_in
from tests.kit import HOUR, TASK, Bench, Row, deploy, newest, picture

SOURCE = "hub/0.0"


def reading(number: int, hour: int | None = None, minute: int = 0) -> Row:
    """The reading at a position of the source, of its hour unless another is given."""
    at = (HOUR + (number if hour is None else hour)) * 60 + minute
    return number + 1, "a", at, (float(number * 7 % 50), 1.0, 90.0)


@dataclass
class Lives(Bench):
    """A partition whose hub is created anew, and what an undisturbed worker makes of the same readings."""

    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        deploy(self.blobs, "v1")

    def hear(self, count: int, *rows: Row) -> list[Event]:
        """So many events with a reading each, or these."""
        given = rows or [reading(len(self.rows) + i) for i in range(count)]
        self.rows += given
        return [event for row in given for event in self.send(SOURCE, [row])]

    def anew(self, later_ms: int = 60_000) -> None:
        self.stream.logs[0] = []
        self.stream.pass_time(later_ms)

    def check(self, *workers: Partition, lost: int = 0) -> None:
        """All get what the hub has and know all readings; each forecast was made once, as without disturbance."""
        for worker in workers:
            worker.take(self.events())
        heir = self.worker().recovered()
        total = dict(zip(TOTALS, heir.sources[SOURCE].totals.tolist(), strict=True))
        assert (total["arrived"], heir.expired) == (len(self.rows) - lost, 0)
        assert [picture(worker.recovered()) == picture(heir) for worker in workers] == [True] * len(workers)
        if not lost:
            quiet = Bench(every=1000)
            deploy(quiet.blobs, "v1")
            events = [event for row in self.rows for event in quiet.send(SOURCE, [row])]
            quiet.worker().take(events)
            assert newest(self.forecasts()) == newest(quiet.forecasts())

    def places(self) -> list[tuple[int, int, int]]:
        """Epoch, first and next event of each commit."""
        return [(commit.epoch, commit.first, commit.next) for _, commit, _ in self.commits()]


@pytest.fixture
def lives() -> Lives:
    return Lives(every=1000)


@pytest.mark.parametrize("others", [1, 5, 6])
def test_an_owner_from_before_takes_in_what_others_committed_before_it_begins_an_epoch(
    others: int, lives: Lives
) -> None:
    a, b = lives.worker(), lives.worker()
    a.take(lives.hear(5))
    b.take(lives.hear(others))
    lives.anew()
    a.take(lives.hear(1))
    assert lives.places()[-2:] == [(0, 5 + others, 5 + others), (1, 0, 1)]
    lives.check(a, b)


def test_a_late_reading_as_a_new_hubs_first_event_does_not_stall_the_partition(lives: Lives) -> None:
    a, b = lives.worker(), lives.worker()
    a.take(lives.hear(5))
    b.take(lives.hear(5))
    lives.anew()
    a.take(lives.hear(1, reading(10, hour=8, minute=30)))
    lives.hear(1, reading(11, hour=10))
    lives.worker().take(lives.events())
    lives.check(a)


@pytest.mark.parametrize("kept", [1, 5])
def test_an_owner_from_before_finds_the_old_epoch_closed_exactly_where_it_would_go_on(kept: int, lives: Lives) -> None:
    """It keeps the partition for an event, or for good."""
    a, b = lives.worker(), lives.worker()
    a.take(lives.hear(5))
    lives.anew()
    b.take(lives.hear(5))
    a.take(lives.hear(kept))
    b.take(lives.hear(1))
    assert [place for place in lives.places() if place[0] == 0 and place[1] >= 5] == [(0, 5, 5)]
    lives.check(a, b)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("committed", [0, 5])
@pytest.mark.parametrize("new", [1, 3, 9])
def test_events_that_a_frozen_worker_holds_of_the_old_hub_are_dropped_counted_and_told(
    committed: int, new: int, restarted: bool, lives: Lives, caplog: pytest.LogCaptureFixture
) -> None:
    """The old hub's readings 5 to 9 were committed by nobody, or by the next owner."""
    frozen, owner = lives.worker(), lives.worker()
    frozen.take(lives.hear(5))
    held = lives.hear(5)
    owner.take(held[:committed])
    lives.anew()
    owner.take(lives.hear(new))
    if restarted:
        frozen.state = None
    frozen.take(held)
    dropped = len([event for event in held if event.sequence >= new])
    if committed and not restarted:
        dropped = 0  # it wanted to commit what is committed already
    assert frozen.dropped == dropped
    assert [r.levelno for r in caplog.records if "of a hub that is gone" in r.getMessage()] == (
        [logging.ERROR] * bool(dropped)
    )
    owner.take(lives.hear(1))
    lives.check(frozen, owner, lost=5 - committed)
    assert frozen.dropped == dropped


@pytest.mark.parametrize("alike", [5, 6, 7])
def test_an_event_of_a_hub_that_is_gone_is_dropped_where_the_new_one_has_an_event_that_says_the_same(
    alike: int, lives: Lives
) -> None:
    """A file that comes again, or a replayed dead letter, may stand at the place where it stood before."""
    owner = lives.worker()
    owner.take(lives.hear(5))
    held = lives.hear(3)
    owner.take(held)
    lives.anew()
    new = lives.hear(5)
    owner.take(new)
    lives.hear(0, *(lives.rows[place] if place == alike else reading(20 + place) for place in (5, 6, 7)))
    late = lives.worker()
    late.take(held)
    assert late.dropped == 3
    owner.take(lives.events())
    heir = lives.worker().recovered()
    assert (heir.epoch, heir.next, heir.expired) == (1, 8, 0)
    assert lives.places()[-1][0] == 1


def test_between_closing_an_epoch_and_its_first_commit_a_worker_may_die_and_the_old_hubs_events_stay_out(
    lives: Lives,
) -> None:
    frozen, owner = lives.worker(), lives.worker()
    frozen.take(lives.hear(5))
    held = lives.hear(5)
    lives.anew()
    new = lives.hear(3)
    lives.blobs.fail_at = lives.blobs.count + 1  # the epoch is closed, then the store does not answer
    with pytest.raises(TransientFailure):
        owner.take(new)
    assert lives.places()[-1] == (0, 5, 5)
    frozen.take(held)
    owner.take(new)
    assert lives.places() == [(0, 0, 5), (0, 5, 5), (1, 0, 3)]
    lives.check(frozen, owner, lost=5)


@pytest.mark.parametrize("lag_ms", [1, 2_000])
def test_an_event_is_not_dropped_because_the_hubs_clocks_differ(lag_ms: int, lives: Lives) -> None:
    worker = lives.worker()
    worker.take(lives.hear(3))
    lives.anew()
    worker.take(lives.hear(2))
    lives.stream.pass_time(-lag_ms - 1)  # another of its machines goes on, whose clock is behind
    worker.take(lives.hear(2))
    assert worker.dropped == 0
    lives.check(worker)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("first", [3, 5])
def test_a_hub_that_was_created_anew_and_is_first_heard_of_where_the_old_one_stood_loses_nothing(
    first: int, restarted: bool, lives: Lives
) -> None:
    """The trigger's checkpoint outlived the old hub, or is behind it; what it leaves out is read back."""
    worker = lives.worker()
    worker.take(lives.hear(3))
    lives.anew()
    worker = lives.worker() if restarted else worker
    worker.take(lives.hear(8)[first:])
    assert lives.places()[-2:] == [(0, 3, 3), (1, 0, 8)]
    lives.check(worker)


def test_of_an_old_epoch_nothing_is_taken_from_the_new_hub(lives: Lives) -> None:
    """A lost commit of the old epoch cannot be made again: the events at its place are of another hub now."""
    worker = lives.worker()
    for _ in range(4):
        worker.take(lives.hear(1))
    lives.anew()
    worker.take(lives.hear(6))
    (lost,) = [name for name in lives.blobs.names("commits") if place_of(name) == (0, 3)]
    lives.blobs.delete("commits", lost)
    heir = lives.worker().recovered()
    assert (heir.epoch, heir.next, heir.expired) == (1, 6, 1)
    assert [len(batch) for _, commit, batch in lives.commits() if (commit.epoch, commit.first) == (0, 3)] == [0]
    assert picture(lives.worker().recovered()) == picture(heir)


@pytest.mark.parametrize("every", [1, 2, 1000])
def test_two_owners_at_once_close_an_epoch_once(every: int) -> None:
    """The other owner works at every moment between two writes of the first."""
    for number in range(20):
        lives = Lives(every=every)
        mine, other = lives.worker(), lives.worker()
        mine.take(lives.hear(3))
        other.take(lives.hear(1))
        lives.anew()
        new = lives.hear(5)
        start = lives.blobs.count

        def interfere(
            at: int,
            lives: Lives = lives,
            do: Callable[[Sequence[Event]], None] = other.take,
            new: Sequence[Event] = new,
            turn: int = start + number,
        ) -> None:
            if at == turn:
                lives.blobs.before = lambda _: None
                do(new[:2])

        lives.blobs.before = interfere
        mine.take(new)
        interfered = lives.blobs.before is not interfere
        lives.blobs.before = lambda _: None
        other.take(new)
        assert [place for place in lives.places() if place[1] == place[2]] == [(0, 4, 4)]
        lives.check(mine, other)
        if not interfered:
            break
    assert number >= 3


@pytest.mark.parametrize("seed", range(9))
def test_owners_that_come_back_wake_up_and_hold_old_events_through_five_hubs_make_one_history(
    seed: int, tmp_path: Path
) -> None:
    """Nobody misses an event, since every hub is read to its end; the state from the lake alone is the same."""
    chance, lives = Random(seed), Lives(every=[1, 3, 1000][seed % 3])
    workers, lake = [lives.worker() for _ in range(3)], lake_in(tmp_path)
    held: list[list[Event]] = []
    for _ in range(5):
        place = 0
        lives.hear(chance.randint(1, 9))
        while place < len(lives.events()):
            if chance.random() < 0.3:
                chance.choice(workers).take(chance.choice(held or [[]]))  # of this hub or of one before
            first = chance.randint(0, place)
            taken = lives.events()[first : place + chance.randint(1, 4)]
            held.append(taken)
            if chance.random() < 0.2:
                workers[chance.randrange(3)] = lives.worker()
            chance.choice(workers).take(taken)
            place = taken[-1].sequence + 1
        if chance.random() < 0.5:
            compaction(lives, lake).run()
        lives.anew(chance.choice([1, 60_000]))
    for worker in workers:
        worker.take(held[-1])
        worker.state = None if worker.state and worker.state.epoch < 4 else worker.state
    lives.check(*workers)
    compaction(lives, lake).run()
    assert picture(rebuild(lake, TASK, 0)) == picture(lives.worker().recovered())


def test_an_epoch_that_was_not_closed_is_still_read(lives: Lives) -> None:
    """As earlier versions left it."""
    worker = lives.worker()
    worker.take(lives.hear(3))
    lives.anew()
    worker.take(lives.hear(3))
    alive = picture(worker.recovered())
    (closing,) = [name for name, commit, _ in lives.commits() if commit.closes]
    lives.blobs.delete("commits", closing)
    assert picture(lives.worker().recovered()) == alive
    lives.check(worker)


def test_an_event_of_a_hub_between_two_others_begins_the_epoch_that_it_is_of(lives: Lives) -> None:
    worker = lives.worker()
    worker.take(lives.hear(2))
    lives.anew()
    between = lives.hear(1)
    lives.anew()
    worker.take(between)
    worker.take(lives.hear(2))
    assert lives.places()[-3:] == [(1, 0, 1), (1, 1, 1), (2, 0, 2)]
    lives.check(worker)


def test_a_new_app_on_an_old_hub_begins_there_and_does_not_call_its_past_lost(
    lives: Lives, caplog: pytest.LogCaptureFixture
) -> None:
    past, now = lives.hear(50), lives.hear(2)
    lives.stream.begin = len(past)
    lives.rows = lives.rows[len(past) :]
    worker = lives.worker()
    worker.take(now[1:])  # the trigger left one out that the hub still has
    assert lives.places() == [(0, 0, 50), (0, 50, 52)]
    assert [r.getMessage() for r in caplog.records if "begins with" in r.getMessage()] == [
        "partition 0: begins with event 50, the oldest that the hub has"
    ]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    heir = lives.worker().recovered()
    assert (heir.expired, heir.next) == (0, 52)
    assert picture(heir) == picture(worker.recovered())


def test_a_forgotten_gap_of_a_million_events_costs_one_look_at_the_hub(lives: Lives) -> None:
    worker = lives.worker()
    worker.take(lives.hear(2))
    (event,) = lives.hear(1)
    late = [dataclasses.replace(event, sequence=10**6, enqueued_ms=event.enqueued_ms + 10**6)]
    lives.stream.logs[0] = late
    lives.stream.reads.clear()
    worker.take(late)
    assert lives.stream.reads == []
    assert worker.recovered().expired == 10**6 - 2
    assert lives.commits()[-1][1].follows == 2


def test_what_another_worker_commits_and_the_hub_forgets_between_two_looks_is_not_lost(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = lives.worker(), lives.worker()
    owner.take(lives.hear(4))
    between, later = lives.hear(3), lives.hear(2)
    look = lives.stream.oldest

    def forgetting(partition: int) -> Event | None:
        if not lives.stream.begin:
            other.take(between)
            lives.stream.begin = between[-1].sequence + 1
        return look(partition)

    monkeypatch.setattr(lives.stream, "oldest", forgetting)
    owner.take(later)
    assert lives.commits()[-1][1].follows == later[0].sequence
    lives.check(owner, other)


@pytest.mark.parametrize("old", [True, False], ids=["by its old owner", "by a new worker"])
@pytest.mark.parametrize("skipped", [3, 5])
def test_a_new_hub_whose_beginning_was_skipped_is_no_continuation_of_the_old_one(
    skipped: int, old: bool, lives: Lives
) -> None:
    """A trigger that counts failed batches as delivered goes on just where the old hub ended, or behind that."""
    owner = lives.worker()
    owner.take(lives.hear(3))
    lives.anew()
    fresh = lives.hear(6)
    worker = owner if old else lives.worker()
    worker.take(fresh[skipped:])
    assert worker.recovered().epoch == 1
    lives.check(worker)
