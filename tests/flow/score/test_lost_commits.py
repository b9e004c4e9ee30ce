"""A store that loses what it acknowledged: compaction finds the gap, and what the hub still has is folded again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from local.books.partitions import Partitions
from shared.adapters.lake.archive import LakeArchive
from shared.app.lake.compaction import Compaction, rebuild
from shared.app.lookback.commit_history import CommitHistory
from shared.app.score import recovery, removed
from shared.core.stream.commit import commit_name
from shared.errors import ContractBroken
from tests.flow.lake.test_lake import DAY_MS, compaction
from tests.flow.score.test_removed import Days
from tests.kit import TASK, picture
from tests.kit.application import FILES
from tests.kit.whole import READINGS, write_log

EVENTS, LOST = 12, (5, 6, 7)


class Losing(Days):
    """A partition, some commits of which are lost while its worker goes on."""

    def compaction(self, retain_days: float = 1) -> Compaction:
        return compaction(self, self.lake, retain_days=retain_days, mend=partial(recovery.mend, self.worker().context))

    def lose(self, *events: int) -> None:
        for event in events:
            assert self.blobs.read("commits", commit_name(0, 0, event)) is not None
            self.blobs.delete("commits", commit_name(0, 0, event))

    def check_chain(self) -> None:
        commits = self.lake.commits(0)
        assert [commit.follows for _, commit in commits] == [0, *(commit.next for _, commit in commits[:-1])]
        assert picture(rebuild(self.lake, TASK, 0)) == picture(self.worker().recovered())


@pytest.fixture
def losing(tmp_path: Path) -> Losing:
    return Losing(every=2, folder=tmp_path)


@pytest.mark.parametrize("compacted", [0, 3, 5, 8])
def test_lost_commits_are_made_again_from_the_hub_by_themselves(compacted: int, losing: Losing) -> None:
    """Whether the lake holds nothing yet, some of what stands before them, all of it, or even what was lost."""
    worker = losing.worker()
    losing.give(worker, compacted)
    losing.compaction().run()
    losing.give(worker, EVENTS - compacted)
    losing.lose(*LOST)
    losing.compaction().run()
    losing.check_chain()
    losing.check_lake()
    if compacted < EVENTS - 4:  # else the lake has them, and nobody misses the blobs
        losing.check(worker)


def test_they_are_made_again_where_everything_before_them_was_removed(losing: Losing) -> None:
    worker = losing.worker()
    losing.give(worker, EVENTS)
    losing.remove()
    losing.give(worker, EVENTS)
    losing.lose(EVENTS + 1, EVENTS + 2)
    for name in losing.blobs.names("state"):
        losing.blobs.delete("state", name)
    losing.compaction().run()
    losing.check_chain()
    assert losing.worker().recovered().expired == 0


def test_what_an_older_version_removed_is_not_made_again_with_them(losing: Losing) -> None:
    """It left no mark of what it removed, and the snapshots that are left are newer than the loss."""
    worker = losing.worker()
    losing.give(worker, EVENTS)
    losing.remove()
    losing.blobs.delete(removed.CONTAINER, "removed/partition=00.json")
    there = set(losing.blobs.names("commits"))
    losing.give(worker, EVENTS)
    losing.lose(EVENTS + 1)
    losing.compaction().run()
    events = range(EVENTS, 2 * EVENTS)
    assert set(losing.blobs.names("commits")) - there == {commit_name(0, 0, event) for event in events}
    losing.check_chain()
    losing.check_lake()


def test_what_the_hub_no_longer_has_is_said_to_be_lost_and_the_lake_goes_on(losing: Losing) -> None:
    worker = losing.worker()
    losing.give(worker, EVENTS)
    losing.lose(*LOST)
    losing.stream.begin = 7
    losing.compaction().run()
    assert [(c.follows, c.first, c.next, c.counts["applied"]) for _, c in losing.lake.commits(0)][5:8] == [
        (5, 7, 8, 1),
        (8, 8, 9, 1),
        (9, 9, 10, 1),
    ]
    assert rebuild(losing.lake, TASK, 0).expired == 2


def test_all_lost_at_once_and_forgotten_by_the_hub_is_one_commit_that_says_so(losing: Losing) -> None:
    worker = losing.worker()
    losing.give(worker, EVENTS)
    losing.lose(*LOST)
    losing.stream.begin = EVENTS
    for _ in range(2):
        losing.clock.ms += DAY_MS
        losing.compaction().run()
    gone = [commit for _, commit in losing.lake.commits(0) if commit.counts.get("expired")]
    assert [(commit.first, commit.next, commit.counts["expired"]) for commit in gone] == [(5, 8, 3)]
    assert rebuild(losing.lake, TASK, 0).expired == 3


def test_without_anybody_who_mends_the_gap_is_named(losing: Losing) -> None:
    losing.give(losing.worker(), EVENTS)
    losing.lose(*LOST)
    with pytest.raises(ContractBroken, match="events 5 to 7 are in no commit"):
        compaction(losing, losing.lake).run()


@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("ahead", [1, 3, 5])
@pytest.mark.parametrize("behind", [2, 4, 6])
def test_what_two_owners_commit_side_by_side_after_the_newest_was_lost_counts_once(
    behind: int, ahead: int, between: bool, losing: Losing
) -> None:
    """One remembers the lost commit and goes on after it; the other has not heard of it and begins in its place."""
    remembers, unaware = losing.worker(), losing.worker()
    losing.give(remembers, EVENTS)
    unaware.recovered()
    losing.give(remembers)
    losing.lose(EVENTS)
    remembers.take(losing.hear(ahead))
    unaware.take([*losing.events(), *losing.hear(max(0, behind - 1 - ahead))][EVENTS : EVENTS + behind])
    if between:
        losing.compaction(retain_days=0).run()
    remembers.take(losing.hear(2))
    losing.give(losing.worker(), 2)
    losing.compaction(retain_days=0).run()
    losing.check_chain()
    assert losing.worker().recovered().expired == 0
    assert CommitHistory(TASK, losing.blobs, FILES, LakeArchive(TASK, str(losing.folder))).outside(0) == []
    write_log(losing.folder / "logs", READINGS, losing.stream.logs[:1])
    for lake in (losing.lake, None):
        (found,) = Partitions(losing.blobs, FILES, losing.folder / "logs", READINGS, lake=lake).accounts()
        assert (found.problems, found.arrived, found.waiting) == ([], len(losing.rows), 0)
        assert [note for note in found.notes if f"commit {EVENTS + 1} counts for nothing" in note]
