"""The lake in a folder: everything committed exactly once, whatever dies when, and the state rebuilt from it alone."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, example, given, settings

from shared.adapters.lake.delta import writes
from shared.adapters.lake.delta.tables import DeltaTables
from shared.adapters.lake.delta_lake import DeltaLake
from shared.adapters.lake.schema import COMMITS, OUTCOMES, PREDICTIONS, READINGS, TABLES
from shared.app.lake.compaction import Compaction, rebuild
from shared.core.task.state import State
from shared.core.task.tasks import task_of
from shared.errors import ContractBroken, StateConflict, TransientFailure
from shared.ports import Advance, LakeRows
from tests.flow.score.test_partition import Play, histories
from tests.kit import HOUR, SCENARIO, TASK, Bench, deploy, hourly, picture

DAY_MS = 86_400_000
TODAY = HOUR // 24 + 2  # after all that `busy` sends


def compaction(bench: Bench, lake: DeltaLake, **rules: Any) -> Compaction:
    return Compaction(task=TASK, blobs=bench.blobs, lake=lake, clock=bench.clock, **rules)


def lake_in(folder: Path | str, group_rows: int = 7) -> DeltaLake:
    """A lake that reads a few rows at a time."""
    return DeltaLake(TASK, str(folder), group_rows=group_rows)


def rows(lake: DeltaLake, table: str) -> list[dict[str, Any]]:
    opened = lake.delta.opened(table)
    if opened is None:
        return []
    pieces = list(opened.read())
    return pa.concat_tables(pieces, promote_options="default").to_pylist() if pieces else []


def keys(lake: DeltaLake, table: str) -> list[tuple[Any, ...]]:
    """What identifies the rows of a table, sorted."""
    names = {
        READINGS: ("partition", "epoch", "sequence_number", "position"),
        PREDICTIONS: ("device_id", "as_of", "role", "revision"),
        OUTCOMES: ("device_id", "as_of", "role"),
        COMMITS: ("name",),
    }[table]
    return sorted(tuple(row[name] for name in names) for row in rows(lake, table))


def busy(bench: Bench, hours: int = 30, champion: str = "v1") -> Bench:
    """A partition with two roles whose commits span two days."""
    deploy(bench.blobs, champion, challenger="v2")
    worker = bench.worker()
    for start in range(0, hours, 5):
        offset = start * 2
        batch = [(place + offset, *rest) for place, *rest in hourly("ab", 5, HOUR + start)]
        worker.take(bench.send("file/x@1", batch))  # type: ignore[arg-type]
    return bench


NAN = float("nan")
# one value is no history: the baseline answers only once the late reading of the same batch has come
ANSWERED_LATER = [
    ("send", ("file/x@1", [(1, "c", (HOUR + 1) * 60, (12.25, NAN, NAN)), (2, "c", HOUR * 60, (90.0, NAN, NAN))])),
    ("take", None),
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
@example(story=ANSWERED_LATER)
def test_the_state_rebuilt_from_the_lake_alone_is_the_live_state(story: list[tuple[str, Any]]) -> None:
    bench = Bench(every=2, batch_rows=3)
    play = Play(bench)
    with TemporaryDirectory() as folder:
        lake = lake_in(folder)
        play.run(story[: len(story) // 2])
        compaction(bench, lake, chunk_rows=5).run()  # half of it now, the rest with other cuts
        play.run(story[len(story) // 2 :])
        compaction(bench, lake, chunk_commits=2).run()
        assert picture(rebuild(lake, TASK, 0)) == picture(play.worker.recovered())


def test_a_story_with_everything_is_rebuilt_from_the_lake(tmp_path: Path) -> None:
    bench = busy(Bench())
    worker = bench.worker()
    deploy(bench.blobs, "v3", quarantine=["b"], challenger="v2", share=0.5)
    late = [(101, "a", (HOUR + 28) * 60 + 1, (3.0, 0.0, 10.0)), (102, "a", (HOUR + 2) * 60 + 5, (4.0, 0.0, 0.0))]
    worker.take(bench.send("file/x@1", [*late, (103, "a", (HOUR + 29) * 60, (9.0, 0.0, 0.0))]))
    worker.take(bench.send("file/x@1", hourly("ab", 4)))  # redelivered
    bench.stream.logs[0] = []
    anew = bench.send("hub/0", hourly("ac", 9, HOUR + 31))
    worker.take([dataclasses.replace(event, enqueued_ms=2 * 10**12) for event in anew])
    lake = lake_in(tmp_path)
    compaction(bench, lake).run()
    alive = worker.recovered()
    assert alive.epoch == 1
    became = {row["disposition"] for row in rows(lake, READINGS)}
    assert became == {"applied", "stored_late", "conflicts", "redelivered"}
    assert {row["model_version"] for row in rows(lake, PREDICTIONS)} == {"v1", "v2", "v3"}
    assert picture(rebuild(lake, TASK, 0)) == picture(alive)


def test_the_tables_hold_what_the_blobs_hold(tmp_path: Path) -> None:
    bench, lake = busy(Bench()), lake_in(tmp_path)
    counts = compaction(bench, lake, chunk_rows=50).run()
    commits = bench.commits()
    assert [row[0] for row in keys(lake, COMMITS)] == [name for name, _, _ in commits]
    held = {
        (row["device_id"], int(row["timestamp"].timestamp()) // 60, row["position"], row["pm"], row["source"])
        for row in rows(lake, READINGS)
    }
    assert held == {
        (
            batch.devices[batch.device[i]],
            int(batch.minute[i]),
            int(batch.position[i]),
            float(batch.values[i, 0]),
            source,
        )
        for _, _, batch in commits
        for i in range(len(batch))
        for source in [batch.sources[batch.source[i]]]
    }
    assert {str(row["date"]) for row in rows(lake, READINGS)} == {"2017-11-30", "2017-12-01"}
    forecasts = {
        (row["device_id"], int(row["as_of"].timestamp()) // 3600, row["revision"]): (row["value"], row["model_version"])
        for row in rows(lake, PREDICTIONS)
        if row["role"] == "champion"
    }
    assert forecasts == bench.forecasts()
    assert counts["commits"] == len(commits) == 6
    assert counts["rows"] == sum(len(rows(lake, table)) for table in TABLES)


def test_outcomes_are_the_final_forecasts_beside_their_truth(tmp_path: Path) -> None:
    bench, lake = busy(Bench()), lake_in(tmp_path)
    compaction(bench, lake).run()
    truths = {(r["device_id"], r["timestamp"]): r["pm"] for r in rows(lake, READINGS)}
    found = rows(lake, OUTCOMES)
    assert len(found) > 50
    assert all(row["truth"] == truths[row["device_id"], row["target_time"]] for row in found)
    last = {(r["device_id"], r["as_of"], r["role"]): r["value"] for r in rows(lake, PREDICTIONS)}
    assert all(row["value"] == last[row["device_id"], row["as_of"], row["role"]] for row in found)


def test_a_second_run_appends_nothing_and_a_later_one_only_what_is_new(tmp_path: Path) -> None:
    bench, lake = busy(Bench(), 10), lake_in(tmp_path)
    compaction(bench, lake).run()
    before = lake.version()
    assert compaction(bench, lake_in(tmp_path)).run()["commits"] == 0
    assert lake.version() == before
    worker = bench.worker()
    worker.take(bench.send("file/x@1", [(500, "a", (HOUR + 40) * 60, (1.0, 0.0, 0.0))]))
    assert compaction(bench, lake_in(tmp_path)).run()["commits"] == 1
    assert lake.version() == before + 1 if before is not None else False
    assert Counter(keys(lake, READINGS)).most_common(1)[0][1] == 1


class Dying(DeltaLake):
    """A lake whose append number `fail_at` fails, before it is stored or after."""

    def __init__(self, folder: Path, fail_at: int, *, stored_anyway: bool) -> None:
        super().__init__(TASK, str(folder), group_rows=7)
        self.fail_at, self.stored_anyway, self.count = fail_at, stored_anyway, 0

    def append(self, table: str, rows: Sequence[LakeRows], advances: Sequence[Advance]) -> bool:
        failing, self.count = self.count == self.fail_at, self.count + 1
        if failing and not self.stored_anyway:
            raise TransientFailure("the store does not answer")
        done = super().append(table, rows, advances)
        if failing:
            raise TransientFailure("the store's answer got lost")
        return done


@pytest.mark.parametrize("stored_anyway", [False, True])
@pytest.mark.parametrize("fail_at", range(8))
def test_a_run_that_dies_between_tables_is_finished_by_the_next(
    tmp_path: Path, fail_at: int, stored_anyway: bool
) -> None:
    bench = busy(Bench(), 20)
    with pytest.raises(TransientFailure):
        compaction(bench, Dying(tmp_path / "a", fail_at, stored_anyway=stored_anyway), chunk_commits=2).run()
    lake, whole = lake_in(tmp_path / "a"), lake_in(tmp_path / "b")
    compaction(bench, lake, chunk_commits=3).run()
    compaction(bench, whole).run()
    for table in TABLES:
        assert keys(lake, table) == keys(whole, table)
    assert picture(rebuild(lake, TASK, 0)) == picture(bench.worker().recovered())


class Interrupted(DeltaLake):
    """A lake in which something happens before append number `at`."""

    def __init__(self, folder: Path, at: int, happens: Any) -> None:
        super().__init__(TASK, str(folder), group_rows=7)
        self.at, self.happens, self.count = at, happens, 0

    def append(self, table: str, rows: Sequence[LakeRows], advances: Sequence[Advance]) -> bool:
        self.count += 1
        if self.count - 1 == self.at:
            self.happens()
        return super().append(table, rows, advances)


@pytest.mark.parametrize("at", range(8))
def test_another_run_in_between_costs_a_second_look_and_no_row_twice(tmp_path: Path, at: int) -> None:
    bench = busy(Bench(), 20)
    other = compaction(bench, lake_in(tmp_path), chunk_commits=3)
    mine = Interrupted(tmp_path, at, other.run)
    compaction(bench, mine, chunk_commits=2).run()
    whole = lake_in(tmp_path / "whole")
    compaction(bench, whole).run()
    for table in TABLES:
        assert keys(mine, table) == keys(whole, table)


def test_two_runs_at_once_append_every_row_once(tmp_path: Path) -> None:
    bench = busy(Bench(), 30)
    failed: list[BaseException] = []

    def go() -> None:
        try:
            compaction(bench, lake_in(tmp_path), chunk_commits=1).run()
        except StateConflict as error:  # it lost again and again: the next hour goes on
            failed.append(error)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) < 2
    lake, whole = lake_in(tmp_path), lake_in(tmp_path / "whole")
    compaction(bench, whole).run()
    for table in TABLES:
        assert keys(lake, table) == keys(whole, table)


def test_a_damaged_blob_stops_its_partition_and_no_other(tmp_path: Path) -> None:
    bench = busy(Bench(), 10)
    other = Bench(blobs=bench.blobs)
    events = other.send("file/y@1", hourly("c", 5))
    other.worker(1).take(events)
    names = [name for name in bench.blobs.names("commits") if name.startswith("partition=00")]
    raw = bench.blobs.read("commits", names[1]) or b""
    bench.blobs.write("commits", names[1], raw[:-9])
    lake = lake_in(tmp_path)
    with pytest.raises(ContractBroken, match=names[1].replace("/", ".")):
        compaction(bench, lake).run()
    assert [row[0] for row in keys(lake, COMMITS)] == [names[0], bench.blobs.names("commits")[-1]]
    bench.blobs.write("commits", names[1], raw)
    compaction(bench, lake).run()
    assert picture(rebuild(lake, TASK, 0)) == picture(bench.worker().recovered())


def test_a_commit_that_was_lost_and_made_again_longer_stops_its_partition_and_no_other(tmp_path: Path) -> None:
    class Dying(DeltaLake):
        def append(self, table: str, rows: Sequence[LakeRows], advances: Sequence[Advance]) -> bool:
            if table != READINGS:
                raise TransientFailure("the store does not answer")
            return super().append(table, rows, advances)

    short, long = Bench(), Bench()
    short.worker().take(short.send("file/x@1", hourly("a", 5)))
    with pytest.raises(TransientFailure):
        compaction(short, Dying(TASK, str(tmp_path))).run()
    events = [*long.send("file/x@1", hourly("a", 5)), *long.send("file/x@1", hourly("b", 5))]
    long.worker().take(events)
    long.worker(1).take(events)
    assert [commit.next - commit.first for _, commit, _ in long.commits()] == [2, 2]
    lake = lake_in(tmp_path)
    with pytest.raises(ContractBroken, match="ends at 2, but the lake holds events up to 1"):
        compaction(long, lake).run()
    assert [row[0] for row in keys(lake, COMMITS)] == [long.blobs.names("commits")[-1]]


@pytest.mark.parametrize("how", ["predictions deleted", "predictions damaged", "commit deleted"])
def test_what_is_missing_is_named(tmp_path: Path, how: str) -> None:
    bench = busy(Bench(), 15)
    if how == "commit deleted":
        bench.blobs.delete("commits", bench.blobs.names("commits")[1])
        wanted = "events 1 to 1 are in no commit"
    else:
        wanted = bench.blobs.names("predictions")[0]
        if how == "predictions deleted":
            bench.blobs.delete("predictions", wanted)
        else:
            bench.blobs.write("predictions", wanted, b"PAR1")
    with pytest.raises(ContractBroken, match=wanted):
        compaction(bench, lake_in(tmp_path)).run()


def test_small_files_of_closed_days_are_merged_once_a_day_and_old_versions_stay_readable(tmp_path: Path) -> None:
    bench, lake = busy(Bench(), 30), lake_in(tmp_path)
    bench.clock.ms = (HOUR // 24 + 1) * DAY_MS  # the second day has begun
    first = compaction(bench, lake, chunk_commits=1)
    assert first.run()["merged"] > 0
    table = DeltaTable(str(tmp_path / READINGS))
    files = Counter(pa.table(table.get_add_actions(flatten=True))["partition.date"].to_pylist())
    assert min(files.values()) == 1
    assert max(files.values()) > 1  # the open day is left alone
    assert picture(rebuild(lake, TASK, 0)) == picture(bench.worker().recovered())
    assert first.run()["merged"] == 0
    assert len(pa.table(DeltaTable(str(tmp_path / READINGS), version=2).to_pyarrow_table())) == 20
    bench.clock.ms += DAY_MS
    assert compaction(bench, lake, retain_h=0, keep=lambda: [2]).run()["vacuumed"] > 0
    assert len(pa.table(DeltaTable(str(tmp_path / READINGS), version=2).to_pyarrow_table())) == 20
    assert picture(rebuild(lake, TASK, 0)) == picture(bench.worker().recovered())


class Overtaken(DeltaTables):
    """Tables whose every entry in the log comes after somebody else's merge."""

    def _commit(self, table: str, *given: Any) -> None:
        assert DeltaTables(self.uri).merge(table, TODAY) > 0
        super()._commit(table, *given)


def test_many_days_are_merged_by_one_entry_of_the_log_as_far_as_its_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each entry costs a look at the log; a history of years, day by day, took thousands of them."""
    bench, lake = busy(Bench(), 30), lake_in(tmp_path)
    bench.clock.ms = 0  # nothing is merged yet
    compaction(bench, lake, chunk_commits=1).run()
    before, view = lake.version() or 0, lake.delta.opened(READINGS)
    assert view is not None
    one, two = writes.small(view.files, TODAY)
    monkeypatch.setattr(writes, "MERGED_FILES", len(one) + len(two) - 1)
    assert list(writes.together([one, two])) == [one, two]
    monkeypatch.setattr(writes, "MERGED_FILES", len(one) + len(two))
    assert list(writes.together([one, two])) == [one + two]
    assert lake.delta.merge(READINGS, TODAY) == len(one) + len(two)
    assert lake.version() == before + 1
    assert picture(rebuild(lake, TASK, 0)) == picture(bench.worker().recovered())


def test_two_that_merge_the_same_files_at_once_keep_every_row_once(tmp_path: Path) -> None:
    bench, lake = busy(Bench(), 30), lake_in(tmp_path)
    bench.clock.ms = 0  # no day is closed: nothing is merged yet
    compaction(bench, lake, chunk_commits=1).run()
    before = keys(lake, READINGS)
    with pytest.raises(StateConflict, match="lake readings"):
        Overtaken(str(tmp_path)).merge(READINGS, TODAY)
    assert keys(lake, READINGS) == before


def test_files_from_before_and_after_a_channel_was_added_are_merged(tmp_path: Path) -> None:
    bench = busy(Bench(), 10)
    narrow = dataclasses.replace(SCENARIO, channels=SCENARIO.channels[:-1])
    added = SCENARIO.channels[-1].name
    compaction(bench, DeltaLake(task_of(narrow), str(tmp_path))).run()
    bench.worker().take(bench.send("file/z@1", hourly("c", 5)))
    lake = lake_in(tmp_path)
    compaction(bench, lake).run()
    before = sorted(rows(lake, READINGS), key=str)
    assert {row[added] is None for row in before} == {True, False}
    bench.clock.ms = (HOUR // 24 + 1) * DAY_MS
    assert compaction(bench, lake).run()["merged"] > 0
    assert sorted(rows(lake, READINGS), key=str) == before


def old(bench: Bench) -> None:
    """Let the clock run until everything is old."""
    bench.clock.ms = max(commit.enqueued_ms for _, commit, _ in bench.commits()) + 10 * DAY_MS


def test_landed_commits_go_when_they_are_compacted_behind_every_snapshot_and_old(tmp_path: Path) -> None:
    bench = busy(Bench(every=1), 30)  # snapshots after commits 4, 5 and 6
    lake = lake_in(tmp_path)
    old(bench)
    alive, before = picture(bench.worker().recovered()), set(bench.blobs.everything())
    named = {("predictions", commit.predictions) for _, commit, _ in bench.commits()[:4] if commit.predictions}
    gone = {("commits", name) for name in bench.blobs.names("commits")[:4]} | named
    assert compaction(bench, lake, retain_days=9).run()["removed"] == len(gone)
    assert before - set(bench.blobs.everything()) == gone
    assert picture(rebuild(lake, TASK, 0)) == alive == picture(bench.worker().recovered())
    assert compaction(bench, lake, retain_days=9).run()["commits"] == 0


@pytest.mark.parametrize("why", ["young", "disabled", "no snapshot", "damaged snapshots", "lake lost rows"])
def test_landed_commits_stay(tmp_path: Path, why: str) -> None:
    bench, lake = busy(Bench(every=1), 30), lake_in(tmp_path)
    old(bench)
    compaction(bench, lake).run()
    for name in bench.blobs.names("state"):
        if why == "no snapshot":
            bench.blobs.delete("state", name)
        elif why == "damaged snapshots":
            bench.blobs.write("state", name, (bench.blobs.read("state", name) or b"")[:-1])
    if why == "lake lost rows":
        DeltaTable(str(tmp_path / READINGS)).delete("position = 3")
    bench.clock.ms += DAY_MS
    rules = {"young": 12.0, "disabled": 0.0}
    assert compaction(bench, lake, retain_days=rules.get(why, 1.0)).run()["removed"] == 0
    assert len(bench.blobs.names("commits")) == 6


def test_a_removal_that_died_half_way_is_finished(tmp_path: Path) -> None:
    bench, lake = busy(Bench(every=1), 30), lake_in(tmp_path)
    old(bench)
    compaction(bench, lake).run()
    for name in bench.blobs.names("commits")[:3]:
        bench.blobs.delete("commits", name)
    before = set(bench.blobs.names("predictions"))
    stray = bench.commits()[0][1].predictions or ""
    zombie = f"{stray.rsplit('-', 1)[0]}-0123456789abcdef.parquet"
    bench.blobs.write("predictions", zombie, b"of nobody")
    bench.clock.ms += DAY_MS
    compaction(bench, lake, retain_days=1).run()
    left = set(bench.blobs.names("predictions"))
    assert zombie in left
    assert left - {zombie} == {commit.predictions for _, commit, _ in bench.commits() if commit.predictions} < before


def lake_files(folder: Path, table: str) -> list[Path]:
    return sorted((folder / table).rglob("*.parquet"))


def flip_every_byte(path: Path) -> Iterator[bytes]:
    raw = path.read_bytes()
    for place in range(4, len(raw) - 8, max(1, len(raw) // 150)):
        yield raw[:place] + bytes([raw[place] ^ 0x10]) + raw[place + 1 :]


def test_a_file_that_is_damaged_anywhere_is_named(tmp_path: Path) -> None:
    bench, lake = busy(Bench(), 15), lake_in(tmp_path)
    compaction(bench, lake).run()
    wanted = picture(rebuild(lake, TASK, 0))
    path = lake_files(tmp_path, READINGS)[0]
    whole = path.read_bytes()
    refused = tried = 0
    for damaged in flip_every_byte(path):
        tried += 1
        path.write_bytes(damaged)
        refused += refuses(lake, wanted, path.name)
    assert refused == tried > 100
    path.write_bytes(whole)
    assert picture(rebuild(lake, TASK, 0)) == wanted


def refuses(lake: DeltaLake, wanted: Any, name: str) -> bool:
    try:
        found: State = rebuild(lake, TASK, 0)
    except ContractBroken as error:
        return f"{READINGS}@" in str(error) and name in str(error)
    assert picture(found) == wanted
    return False


@pytest.mark.parametrize("table", [READINGS, PREDICTIONS, COMMITS])
def test_a_file_that_is_gone_is_named(tmp_path: Path, table: str) -> None:
    bench, lake = busy(Bench(), 15), lake_in(tmp_path)
    compaction(bench, lake).run()
    gone = lake_files(tmp_path, table)[0]
    gone.unlink()
    with pytest.raises(ContractBroken, match=f"lake {table}@[0-9]+.*{gone.name}"):
        rebuild(lake, TASK, 0)


def test_rows_that_somebody_deleted_from_a_table_are_missed(tmp_path: Path) -> None:
    bench, lake = busy(Bench(), 15), lake_in(tmp_path)
    compaction(bench, lake).run()
    DeltaTable(str(tmp_path / READINGS)).delete("position = 3")
    with pytest.raises(ContractBroken, match="says 10 readings, the lake holds 9"):
        rebuild(lake, TASK, 0)
    DeltaTable(str(tmp_path / COMMITS)).delete("first = 1")
    with pytest.raises(ContractBroken, match=r"events 1 to 1 are in no commit|holds 9"):
        rebuild(lake, TASK, 0)


def test_files_that_another_tool_rewrote_are_read_and_merged(tmp_path: Path) -> None:
    bench, lake = busy(Bench(), 30), lake_in(tmp_path)
    bench.clock.ms = 0  # nothing is merged yet
    compaction(bench, lake, chunk_commits=1).run()
    DeltaTable(str(tmp_path / READINGS)).optimize.compact()
    compaction(busy(bench, 5), lake).run()
    assert lake.delta.merge(READINGS, TODAY) > 0
    assert picture(rebuild(lake, TASK, 0)) == picture(bench.worker().recovered())


def test_an_append_builds_on_what_its_run_has_seen_even_after_an_append_of_its_own(tmp_path: Path) -> None:
    bench, mine, other = busy(Bench(), 10), lake_in(tmp_path), lake_in(tmp_path)
    some = [
        mine.rows(name, bench.blobs.read("commits", name) or b"", read_from(bench)) for name, _, _ in bench.commits()
    ]
    assert mine.reached(READINGS, ["x", "y"]) == other.reached(READINGS, ["x", "y"]) == {}
    assert other.append(READINGS, some[:1], [Advance("x", None, 1)])
    assert mine.append(READINGS, some[1:], [Advance("y", None, 2)])  # its view of the table moves on with this
    with pytest.raises(StateConflict, match="x is at 1, not at None"):
        mine.append(READINGS, some[:1], [Advance("x", None, 1)])
    assert len(keys(mine, READINGS)) == len(set(keys(mine, READINGS))) == 20
    assert mine.reached(READINGS, ["x", "y", "z"]) == {"x": 1, "y": 2}


def read_from(bench: Bench) -> Callable[[str], bytes]:
    return lambda name: bench.blobs.read("predictions", name) or b""
