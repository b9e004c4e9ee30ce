"""A worker with a partition's old memory, after others went on and commits were removed, starts from what is left."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.adapters.lake.delta_lake import DeltaLake
from shared.adapters.lake.schema import PREDICTIONS
from shared.app.lake.compaction import rebuild
from shared.app.score import recovery, removed
from shared.app.score.partition import HELD_MS, Partition
from shared.core.forecast.losses import TOTALS
from shared.core.profile import merged as profile
from shared.core.stream.commit import place_of
from shared.errors import ContractBroken, StateConflict
from tests.flow.lake.test_lake import DAY_MS, compaction, lake_in
from tests.flow.lake.test_lake import rows as lake_rows
from tests.flow.score.test_epochs import SOURCE, Lives
from tests.kit import TASK, MemoryBlobs, deploy, picture

OLD, ALL = 5, 25


@dataclasses.dataclass
class Days(Lives):
    """A partition that changes hands for long, whose commits are removed once the lake holds them."""

    folder: Path = Path()

    @property
    def lake(self) -> DeltaLake:
        return lake_in(self.folder)

    def worker(self, number: int = 0) -> Partition:
        found = super().worker(number)
        found.context = dataclasses.replace(found.context, rebuild=lambda which: rebuild(self.lake, TASK, which))
        return found

    def give(self, worker: Partition, count: int = 1) -> None:
        for _ in range(count):
            worker.take(self.hear(1))

    def remove(self) -> None:
        """Ten days later what is older than a day is removed; meanwhile another model serves."""
        self.clock.ms = self.stream.logs[0][-1].enqueued_ms + 10 * DAY_MS
        assert compaction(self, self.lake, retain_days=1).run()["removed"]
        deploy(self.blobs, "v2")

    def check_lake(self) -> None:
        """What landed and what the lake holds agree, and every forecast stands in the lake once."""
        self.clock.ms += DAY_MS
        compaction(self, self.lake).run()
        rows = lake_rows(self.lake, PREDICTIONS)
        stored = {(row["device_id"], int(row["as_of"].timestamp()) // 3600, row["revision"]): row for row in rows}
        assert len(stored) == len(rows)
        for key, (value, model) in self.forecasts().items():
            assert (stored[key]["value"], stored[key]["model_version"]) == (value, model)
        heir = self.worker().recovered()
        total = dict(zip(TOTALS, heir.sources[SOURCE].totals.tolist(), strict=True))
        assert (total["applied"], heir.expired) == (len(self.rows), 0)
        assert picture(rebuild(self.lake, TASK, 0)) == picture(heir)


@pytest.fixture
def days(tmp_path: Path) -> Days:
    return Days(every=2, folder=tmp_path)


@pytest.mark.parametrize("snapshots", ["kept", "newest gone", "all gone"])
@pytest.mark.parametrize("forgotten", [0, 23])
def test_memory_from_before_what_was_removed_is_not_gone_on_with(forgotten: int, snapshots: str, days: Days) -> None:
    """Whether the hub still has the events or not."""
    a, b = days.worker(), days.worker()
    days.give(a, OLD)
    days.give(b, ALL - OLD)
    days.remove()
    days.stream.begin = forgotten
    for name in days.blobs.names("state")[-1 if snapshots == "newest gone" else 0 :] if snapshots != "kept" else []:
        days.blobs.delete("state", name)
    days.give(a)
    assert min(place_of(name) for name in days.blobs.names("commits")) > (0, OLD)
    assert picture(a.recovered()) == picture(days.worker().recovered())
    days.check_lake()


def test_a_profile_from_before_what_was_removed_is_outrun(days: Days) -> None:
    """A quick stream took no profile after it, and ended; what it brought then is in no commit that is left."""
    worker = days.worker()
    days.give(worker, OLD)
    left = profile.of(TASK, worker.recovered())
    days.give(worker, ALL - OLD)
    days.remove()
    assert recovery.outrun(worker.context, left)
    (made,) = worker.context.profiles.read_all([0], lambda _: worker.recovered(), lambda _: True)
    assert not recovery.outrun(worker.context, made)
    assert made.devices.head.max() == TASK.newest_hour(worker.recovered()) > left.devices.head.max()


def test_what_was_removed_is_not_made_again_when_its_events_come_again(days: Days) -> None:
    a, b = days.worker(), days.worker()
    days.give(a, OLD)
    days.give(b, ALL - OLD)
    days.remove()
    before = days.blobs.everything("state", "profiles")
    a.take(days.events()[OLD:])
    assert days.blobs.everything("state", "profiles") == before
    assert picture(a.recovered()) == picture(b.recovered())
    days.check_lake()


def test_commits_that_are_removed_while_they_are_caught_up_with_are_looked_for_elsewhere_the_next_time(
    days: Days, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = days.worker(), days.worker()
    days.give(a, OLD)
    days.give(b, ALL - OLD)
    read = days.blobs.read

    def removing(container: str, name: str) -> bytes | None:
        if container == "predictions":
            monkeypatch.undo()
            days.remove()
        return read(container, name)

    monkeypatch.setattr(days.blobs, "read", removing)
    event = days.hear(1)
    with pytest.raises(StateConflict, match="partition 0: commits were removed while they were read"):
        a.take(event)
    a.take(event)
    assert picture(a.recovered()) == picture(days.worker().recovered())
    days.check_lake()


def test_a_commit_that_was_slept_over_until_its_place_was_removed_is_taken_back(days: Days) -> None:
    a, b = days.worker(), days.worker()
    days.give(a, OLD)

    def sleep(number: int) -> None:
        if number == start + 1:  # its forecasts are written, its commit is not
            days.blobs.before = lambda _: None
            b.take(event)
            days.give(b, ALL - OLD)
            days.remove()

    event, start = days.hear(1), days.blobs.count
    days.blobs.before = sleep
    a.take(event)
    assert days.blobs.before is not sleep
    assert (0, OLD) not in [place_of(name) for name in days.blobs.names("commits")]
    days.give(a)
    assert picture(a.recovered()) == picture(days.worker().recovered())
    days.check_lake()


@pytest.mark.parametrize("ms", [HELD_MS, -1])
def test_the_mark_is_looked_at_now_and_then_and_whenever_the_clock_was_set_back(ms: int, days: Days) -> None:
    worker = days.worker()
    days.give(worker, 3)
    asked: list[str] = []
    read: Callable[[str, str], bytes | None] = days.blobs.read

    def counted(container: str, name: str) -> bytes | None:
        asked.extend([name] if name.startswith("removed/") else [])
        return read(container, name)

    days.blobs.read = counted  # type: ignore[method-assign]
    days.give(worker, 3)
    assert asked == []
    days.clock.ms += ms
    days.give(worker, 3)
    assert len(asked) == 1


def test_a_worker_that_never_pauses_looks_at_the_mark_all_the_same(days: Days) -> None:
    """It is given events again whose commits are removed, one in three seconds, just after it looked."""
    late, owner = days.worker(), days.worker()
    days.give(late)
    days.give(owner, ALL - 1)
    days.clock.ms = days.events()[-1].enqueued_ms + 10 * DAY_MS
    late.take(days.events()[:1])
    days.remove()
    kept_from = min(place_of(name) for name in days.blobs.names("commits"))
    for event in days.events()[1:]:
        days.clock.ms += 3_000
        late.take([event])
    again = [place_of(name) for name in days.blobs.names("commits") if place_of(name) < kept_from]
    assert again == [(0, 1), (0, 2), (0, 3)]
    assert picture(late.recovered()) == picture(rebuild(days.lake, TASK, 0))


@pytest.mark.parametrize("forgotten", [0, 23])
def test_a_snapshot_from_before_what_was_removed_that_comes_late_is_no_beginning(forgotten: int, days: Days) -> None:
    """Its worker was held up before it wrote it, and every newer one is gone."""
    days.give(days.worker(), OLD)
    late = {name: days.blobs.read("state", name) or b"" for name in days.blobs.names("state")}
    days.give(days.worker(), ALL - OLD)
    days.remove()
    days.stream.begin = forgotten
    for name in days.blobs.names("state"):
        days.blobs.delete("state", name)
    for name, raw in late.items():
        days.blobs.write("state", name, raw)
    landed = days.blobs.names("commits")
    assert picture(days.worker().recovered()) == picture(rebuild(days.lake, TASK, 0))
    assert days.blobs.names("commits") == landed


def test_memory_from_before_what_was_removed_a_moment_ago_does_not_catch_up_past_it(days: Days) -> None:
    """The mark was looked at less than ten seconds ago, and another event than the next one comes."""
    late = days.worker()
    days.give(late, OLD)
    days.give(days.worker(), ALL - OLD)
    looked_ms = days.clock.ms
    days.remove()
    landed, days.clock.ms = days.blobs.names("commits"), looked_ms
    late.take(days.events()[-1:])
    assert days.blobs.names("commits") == landed
    assert picture(late.recovered()) == picture(rebuild(days.lake, TASK, 0))


def test_the_mark_only_rises_whoever_raises_it() -> None:
    blobs = MemoryBlobs()
    for place, mark in (((0, 5), (0, 5)), ((0, 3), (0, 5)), ((1, 0), (1, 0)), ((0, 9), (1, 0))):
        removed.raise_mark(blobs, 0, *place)
        assert removed.mark_of(blobs, 0) == removed.Mark(*mark)
    assert removed.mark_of(blobs, 1) == removed.Mark()


def test_a_mark_that_is_raised_by_two_at_once_is_raised_by_one() -> None:
    class Raced(MemoryBlobs):
        def read_changed(self, container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:
            found = super().read_changed(container, name, etag)
            self.write(container, name, b"[0,9]")
            return found

    blobs = Raced()
    with pytest.raises(StateConflict):
        removed.raise_mark(blobs, 0, 0, 5)
    assert removed.mark_of(blobs, 0) == removed.Mark(0, 9)


def test_a_damaged_mark_is_named_with_its_blob(days: Days) -> None:
    days.blobs.write(removed.CONTAINER, "removed/partition=00.json", b"{")
    with pytest.raises(ContractBroken, match=r"^progress/removed/partition=00\.json "):
        removed.mark_of(days.blobs, 0)
    with pytest.raises(ContractBroken, match=r"^progress/removed/partition=00\.json "):
        removed.raise_mark(days.blobs, 0, 0, 5)
