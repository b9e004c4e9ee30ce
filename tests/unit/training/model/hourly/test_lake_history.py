"""History from the lake is the history from the same files, whatever files and pieces it is read from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.adapters.lake.delta_lake import DeltaLake
from shared.adapters.lake.schema import READINGS
from shared.core.forecast.window.history import Hourly, hourly
from shared.core.intake.readings import Readings
from shared.core.scenario import Scenario, parse
from shared.core.task.tasks import task_of
from shared.errors import ContractBroken
from tests.flow.lake.test_lake import compaction
from tests.kit import CHANNELS, HEAD, HOUR, SCENARIO, SIZES, Bench, Row, readings
from training.data.files import DataRefused
from training.model.hourly import lake as training_lake
from training.model.hourly.rows import dataset_hash


def rows(count: int = 400) -> list[Row]:
    """Four devices over some days: hours with several samples, gaps, missing values, always forward per device."""
    draw = np.random.default_rng(5)
    minutes = dict.fromkeys("abcd", HOUR * 60)
    found: list[Row] = []
    for position in range(1, count + 1):
        device = str(draw.choice(list("abcd")))
        minutes[device] += int(draw.choice([7, 20, 60, 60, 130]))
        values = [float(np.float32(draw.normal(50, 20))), float("nan") if draw.random() < 0.2 else 0.1, 90.0]
        found.append((position, device, minutes[device], values))
    return found


def in_lake(folder: Path, sent: list[Row], *, batch: int = 60) -> Bench:
    bench = Bench(batch_rows=batch)
    worker = bench.worker()
    for start in range(0, len(sent), batch):
        worker.take(bench.send("file/x@1", sent[start : start + batch]))
    compaction(bench, DeltaLake(task_of(SCENARIO), str(folder)), chunk_commits=2).run()
    return bench


def from_file(sent: list[Row]) -> dict[str, Hourly]:
    """As the training from files does it: in the order of time."""
    return hourly(SCENARIO, readings(sorted(sent, key=lambda row: row[2])))


def same(one: dict[str, Hourly], other: dict[str, Hourly]) -> None:
    assert one.keys() == other.keys()
    for name, hours in one.items():
        assert hours.first_hour == other[name].first_hour
        assert hours.values.tobytes() == other[name].values.tobytes()
        assert hours.samples.tobytes() == other[name].samples.tobytes()


@pytest.mark.parametrize("at_once", [1, 25, 90, 10_000])
def test_the_lake_gives_the_hours_of_the_file_to_the_bit(tmp_path: Path, at_once: int) -> None:
    sent = rows()
    in_lake(tmp_path, sent)
    version = DeltaLake(task_of(SCENARIO), str(tmp_path)).version()
    assert version is not None
    found, count = training_lake.history(SCENARIO, str(tmp_path), dict, version, rows_at_once=at_once)
    wanted = from_file(sent)
    same(found, wanted)
    assert count == len(sent)
    assert dataset_hash(found) == dataset_hash(wanted)


def test_only_readings_that_were_applied_count_and_the_first_of_a_minute_wins(tmp_path: Path) -> None:
    sent = rows(50)
    last = len(sent)
    again = [(last + 1 + i, *row[1:]) for i, row in enumerate(sent[-3:])]
    conflict = [
        (last + 10, sent[-1][1], sent[-1][2], (1.0, 0.0, 0.0)),
        (last + 11, "a", (HOUR - 99) * 60, (1.0, 0.0, 0.0)),
    ]
    in_lake(tmp_path, [*sent, *again, *conflict])
    found, count = training_lake.history(SCENARIO, str(tmp_path), dict, 1)
    same(found, from_file(sent))
    assert count == len(sent)


def test_an_old_version_is_the_old_data(tmp_path: Path) -> None:
    sent = rows()
    in_lake(tmp_path, sent)
    found, count = training_lake.history(SCENARIO, str(tmp_path), dict, 1)
    same(found, from_file(sent[:120]))  # two commits of 60 rows are one append
    assert count == 120


def test_a_channel_that_came_later_is_missing_before(tmp_path: Path) -> None:
    in_lake(tmp_path, rows(60))
    more = parse({**HEAD, **SIZES, "channels": [*CHANNELS, {"name": "fog", "unit": "m", "minimum": 0, "maximum": 9}]})
    found, _ = training_lake.history(more, str(tmp_path), dict, 1)
    assert all(np.isnan(hours.values[:, -1]).all() for hours in found.values())
    lake = DeltaLake(task_of(more), str(tmp_path))
    assert lake.reached(READINGS, []) == {}  # the table gets the new column
    found, count = training_lake.history(more, str(tmp_path), dict, lake.version() or 0)
    assert (count, lake.version()) == (60, 2)


def test_a_version_that_does_not_exist_and_a_lake_without_readings_are_refused(tmp_path: Path) -> None:
    in_lake(tmp_path, rows(20))
    with pytest.raises(ContractBroken, match="lake readings@99"):
        training_lake.history(SCENARIO, str(tmp_path), dict, 99)
    with pytest.raises(DataRefused, match="lake@0: holds no applied reading"):
        training_lake.history(SCENARIO, str(tmp_path), dict, 0)
    next((tmp_path / READINGS).rglob("*.parquet")).unlink()
    with pytest.raises(ContractBroken, match=r"lake readings@1: FileNotFoundError.*[0-9a-f]{32}-[0-9a-f]{8}\.parquet"):
        training_lake.history(SCENARIO, str(tmp_path), dict, 1)


def test_a_day_with_too_many_rows_is_read_by_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = rows(300)
    in_lake(tmp_path, sent)
    version = DeltaLake(task_of(SCENARIO), str(tmp_path)).version() or 0
    held: list[int] = []

    def watched(scenario: Scenario, some: Readings) -> dict[str, Hourly]:
        held.append(len(some))
        return hourly(scenario, some)

    monkeypatch.setattr(training_lake, "hourly", watched)
    training_lake.history(SCENARIO, str(tmp_path), dict, version, rows_at_once=10)
    assert max(held) < 30 < sum(held)
