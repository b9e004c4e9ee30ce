"""Devices that fall silent, and more devices than there may be, through commits, snapshots, lake and books."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.lake.delta_lake import DeltaLake
from shared.app.lake.compaction import Compaction, rebuild
from shared.app.route.files import INCOMING
from shared.app.score.partition import Partition
from shared.core.forecast.state import own
from shared.core.forecast.task import HourlyForecast
from shared.core.intake.crowds import FEWEST_ROWS
from shared.core.stream.events import share_of
from shared.core.task.state import State
from shared.settings import Settings
from tests.kit import HOUR, TASK, Bench, InMemory, assemble, deploy, hourly, load, message, picture, row, small, table
from tests.kit.whole import Whole

START = HOUR // 24 * 24


def task_of(**sizes: int) -> HourlyForecast:
    return HourlyForecast(small(**sizes), TASK.featurizer)


def worker(bench: Bench, task: HourlyForecast, every: int) -> Partition:
    settings = Settings(model_refresh_s=0.0, snapshot_commits=every, profile_s=1.0)
    application = assemble(settings, bench.blobs, bench.stream, bench.clock, task=task, load=load)
    return Partition(0, application.context)


@pytest.mark.parametrize("every", [1, 3, 10_000])
def test_who_left_is_the_same_live_recovered_and_rebuilt_from_the_lake(every: int, tmp_path: Path) -> None:
    bench, task = Bench(), task_of(silent_days=1)
    deploy(bench.blobs, "v1")
    alive, packed = worker(bench, task, every), set()
    for place, (devices, start) in enumerate((("abc", 0), ("b", 20), ("bc", 40), ("b", 60), ("ab", 80), ("a", 110))):
        rows = [(1000 * place + number, *rest) for number, *rest in hourly(devices, 9, START + start)]
        for low in range(0, len(rows), 5):
            alive.take(bench.send("file/x@1", rows[low : low + 5]))  # type: ignore[arg-type]
            packed |= set(own(alive.recovered()).archive)
    live = alive.recovered()
    assert packed == {"a", "b", "c"}
    assert own(live).archive.keys() == {"b", "c"}
    assert picture(worker(bench, task, every).recovered()) == picture(live)
    lake = DeltaLake(task, str(tmp_path), group_rows=7)
    Compaction(task=task, blobs=bench.blobs, lake=lake, clock=bench.clock).run()
    assert picture(rebuild(lake, task, 0)) == picture(live)
    for name in bench.blobs.names("state"):
        bench.blobs.delete("state", name)
    assert picture(worker(bench, task, every).recovered()) == picture(live)


def states(app: InMemory) -> list[State]:
    return [partition.recovered() for partition in app.partitions]


def test_readings_of_devices_too_many_are_dead_letters_and_come_in_once_there_is_room(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.restart(small(maximum_devices=4))
    fleet = [f"d{number}" for number in range(40)]
    for device in fleet:
        whole.hear(message(device), message(device, 1))
    whole.score()
    share = share_of(4, 2)
    assert share == 4
    assert [len(state.devices) for state in states(whole)] == [share, share]
    assert whole.reasons() == [("too_many_devices", 1)] * 2 * (40 - 2 * share)
    assert "a new device beyond maximum_devices = 4" in whole.letters()[0].detail
    assert whole.books().problems == []
    assert whole.books().totals()["dead_lettered"] == 2 * (40 - 2 * share)

    before = [picture(state) for state in states(whole)]
    whole.restart(small(maximum_devices=40))  # what was refused stands in the commits, whatever the limit is now
    assert [picture(state) for state in states(whole)] == before

    assert whole.resubmit() == {"tried": 64, "accepted": 64, "kept": 0}
    whole.score()
    assert sorted(device for state in states(whole) for device in state.devices) == sorted(fleet)
    assert whole.books().problems == []


def test_a_commit_says_the_limit_only_where_it_refused_something() -> None:
    app = InMemory()
    app.restart(small(maximum_devices=1))
    app.hear(message("a"))
    app.score()
    app.hear(*(message(f"b{number}") for number in range(9)))
    app.score()
    files = ParquetFiles(TASK)
    raw = [app.blobs.read("commits", name) or b"" for name in app.blobs.names("commits")]
    limits = {len(batch.devices): commit.devices for commit, batch in map(files.decode_commit, raw)}
    assert {limit for limit in limits.values() if isinstance(limit, int)} == {1}
    assert all(b'"devices":1' in content for content in raw if b'"refused"' in content)
    assert any(b'"devices":' not in content for content in raw)


def summary_of(app: InMemory) -> dict[str, object]:
    (name,) = [name for name in app.blobs.names("reports") if name.endswith("summary.json")]
    found: dict[str, object] = json.loads(app.blobs.read("reports", name) or b"")
    return found


def test_a_file_with_more_devices_than_there_may_be_is_refused_before_anything_is_sent() -> None:
    app = InMemory()
    app.restart(small(maximum_devices=50))
    app.drop("x.csv", table(*(row(f"row-{number}") for number in range(51))))
    found = summary_of(app)
    assert (found["status"], found["reason"]) == ("refused", "too_many_devices")
    assert found["detail"] == "51 devices are more than maximum_devices = 50; is it the right column?"
    assert app.readings.logs == [[], []]
    assert app.letters() == []


def test_a_file_whose_rows_each_name_a_device_over_days_has_the_wrong_column() -> None:
    app = InMemory()
    app.drop("wrong.csv", table(*(row(f"row-{hour}", hour - FEWEST_ROWS) for hour in range(FEWEST_ROWS))))
    found = summary_of(app)
    assert (found["status"], found["reason"]) == ("refused", "too_many_devices")
    assert found["detail"] == "1000 devices in the first 1000 rows, over 41 days; is it the right column?"
    assert app.readings.logs == [[], []]


@pytest.mark.parametrize(
    "rows",
    [
        [row(f"d{number}", number % 2) for number in range(FEWEST_ROWS)],  # a fleet, once each
        [row(f"d{number}", 1 - number) for number in range(FEWEST_ROWS - 1)],  # few
        [row(f"d{number % 900}", number - FEWEST_ROWS) for number in range(FEWEST_ROWS)],  # a tenth speaks again
    ],
)
def test_a_file_of_a_large_fleet_is_read(rows: list[str]) -> None:
    app = InMemory()
    app.drop("fleet.csv", table(*rows))
    app.score()
    found = summary_of(app)
    assert (found["status"], found["applied"], found["rows_in"]) == ("done", len(rows), len(rows))


def test_a_file_that_reaches_the_limit_later_ends_there_with_its_books_in_order() -> None:
    app = InMemory()
    app.restart(small(maximum_devices=50))
    rows = [*(row(f"d{number % 25}") for number in range(30)), *(row(f"row-{number}") for number in range(70))]
    app.blobs.write(INCOMING, "x.csv", table(*rows).encode())
    replace(app.application.route_file, chunk_rows=30)("x.csv")
    app.score()
    found = summary_of(app)
    assert (found["status"], found["reason"], found["rows_in"]) == ("incomplete", "too_many_devices", 30)
    assert found["detail"] == (
        "too_many_devices: 55 devices are more than maximum_devices = 50; is it the right column?"
    )
    assert (found["rows_accepted"], found["applied"], found["duplicates"]) == (30, 25, 5)
    assert found["devices"] == 25
