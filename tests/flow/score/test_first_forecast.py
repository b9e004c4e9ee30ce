"""Before there is a model the baseline answers, marked and apart; a device with too little history says so."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from local.inspect import explain as page
from shared.adapters.lake.archive import LakeArchive
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.lake.schema import OUTCOMES, PREDICTIONS
from shared.app.health import health
from shared.app.lake.compaction import rebuild
from shared.app.ledger_store import Ledger
from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.explain import Explain
from shared.app.lookback.forecast_id import ForecastId, hour_text
from shared.app.lookback.lineage import Trace
from shared.core.forecast.losses import ERRORS, TOTALS
from shared.core.forecast.state import own
from shared.core.forecast.task import HourlyForecast
from shared.core.model.scoring import BASELINE, CHAMPION, FLOOR
from shared.core.profile import merged
from shared.core.scenario import ColdStart, with_overrides
from shared.core.task.state import State
from tests import kit
from tests.flow.lake.test_lake import compaction, lake_in, rows
from tests.kit import HOUR, TASK, Bench, Row, deploy, picture, small, window_features
from tests.kit.scenario import WholeWindow

WAIT = TASK.scenario.horizon + TASK.scenario.lateness + 1


def cold_task(**rules: Any) -> HourlyForecast:
    scenario = with_overrides(small(), cold_start=ColdStart(**{"hours": 3, **rules}))
    return HourlyForecast(scenario, WholeWindow(window_features(scenario)))  # type: ignore[arg-type]


def feed(bench: Bench, start: int, hours: int, devices: str = "ab") -> State:
    """These hours, an event and a commit each; the state after them."""
    worker = bench.worker()
    for hour in range(start, start + hours):
        places = enumerate(devices, hour * len(devices) + 1)
        run: list[Row] = [(n, name, (HOUR + hour) * 60, (float(n * 7 % 50), 1.0, 90.0)) for n, name in places]
        worker.take(bench.send(f"file/{devices}@1", run))
    return worker.recovered()


def made(bench: Bench) -> list[dict[str, Any]]:
    """All rows of predictions that commits name."""
    out = []
    for _, commit, _ in bench.commits():
        if commit.predictions:
            found = ParquetFiles(bench.task).read_predictions(
                bench.blobs.read("predictions", commit.predictions) or b""
            )
            out += [{name: found[name][row] for name in found} for row in range(len(found["role"]))]
    return out


def counted(state: State, role: int, name: str = "matured") -> int:
    return sum(int(sums[ERRORS.index(name)]) for (_, each, _), sums in state.errors.items() if each == role)


def total(state: State, name: str) -> int:
    return sum(int(tally.totals[TOTALS.index(name)]) for tally in state.sources.values())


def test_the_baseline_answers_from_the_second_hour_on_until_there_is_a_champion() -> None:
    bench = Bench()
    feed(bench, 0, 10)
    assert {(row["role"], row["model_version"], bool(row["served"])) for row in made(bench)} == {
        ("baseline", FLOOR, True)
    }
    assert sorted({int(row["as_of"]) - HOUR for row in made(bench)}) == list(range(1, 10))
    assert {commit.champion for _, commit, _ in bench.commits()} == {None}
    deploy(bench.blobs, "v1", challenger="v2")
    feed(bench, 10, 3)
    later = {(row["role"], row["model_version"]) for row in made(bench) if row["as_of"] >= HOUR + 10}
    assert later == {("champion", "v1"), ("challenger", "v2")}


def test_the_baselines_outcomes_are_counted_apart_from_those_of_a_champion() -> None:
    bench = Bench()
    before = feed(bench, 0, 8 + WAIT)
    assert counted(before, BASELINE) == 2 * 7
    assert (counted(before, CHAMPION), total(before, "forecasts"), total(before, "matured")) == (0, 0, 0)
    assert total(before, "first_forecasts") == 2 * (7 + WAIT)
    assert (before.histograms, before.pairs) == ({}, {})
    assert own(before).columns.quality.sum() == 0
    deploy(bench.blobs, "v1", challenger="v2")
    after = feed(bench, 8 + WAIT, 20)
    known = merged.merge(TASK, [merged.of(TASK, after)])
    assert {(role, model) for _, role, model in known.errors} == {
        ("baseline", FLOOR), ("champion", "v1"), ("challenger", "v2"),
    }  # fmt: skip
    assert {models[1:] for models in known.pairs} == {("v1", "v2")}
    assert total(after, "first_forecasts") == total(before, "first_forecasts")
    assert counted(after, BASELINE) == total(before, "first_forecasts")


def test_a_late_reading_under_the_first_champion_replaces_what_the_baseline_said() -> None:
    bench = Bench()
    feed(bench, 0, 6, "a")
    deploy(bench.blobs, "v1")
    late: list[Row] = [(1, "a", (HOUR + 5) * 60 + 7, (50.0, 1.0, 90.0))]
    bench.worker().take(bench.send("hub/0", late))
    mine = [row for row in made(bench) if row["as_of"] == HOUR + 5]
    assert [(row["role"], row["revision"]) for row in mine] == [("baseline", 0), ("champion", 1)]
    state = feed(bench, 6, WAIT, "a")
    assert counted(state, CHAMPION) == 1
    assert counted(state, BASELINE) == 4, "of the as-of hours 1 to 4: that of 5 was said anew"


@pytest.mark.parametrize("rules", [{}, {"answer": False}])
def test_recovery_with_snapshots_without_them_and_from_the_lake_gives_the_same_bytes(
    rules: dict[str, Any], tmp_path: Path
) -> None:
    task = cold_task(**rules)
    bench = Bench(every=3, task=task)
    feed(bench, 0, 9)
    deploy(bench.blobs, "v1", challenger="v2")
    feed(bench, 9, 5, "abd")  # d is new to the models
    deploy(bench.blobs, None)
    live = feed(bench, 14, 12, "abc")
    lake = kit_lake(task, tmp_path)
    compaction(bench, lake).run()
    assert picture(rebuild(lake, task, 0)) == picture(live)
    assert picture(bench.worker().recovered()) == picture(live)
    for name in bench.blobs.names("state"):
        bench.blobs.delete("state", name)
    assert picture(bench.worker().recovered()) == picture(live)
    # the rule is edited: what was committed is taken again as it was made
    other = Bench(every=3, blobs=bench.blobs, stream=bench.stream, task=cold_task(hours=5, answer=bool(rules)))
    assert picture(other.worker().recovered()) == picture(live)


def kit_lake(task: HourlyForecast, folder: Path) -> Any:
    lake = lake_in(folder)
    return type(lake)(task, str(folder), group_rows=7)


def test_the_lake_tells_first_forecasts_and_cold_starts_apart(tmp_path: Path) -> None:
    task = cold_task()
    bench, lake = Bench(task=task), kit_lake(task, tmp_path)
    feed(bench, 0, 4 + WAIT, "a")
    compaction(bench, lake).run()
    told = {
        (row["as_of"].timestamp() // 3600 - HOUR, row["role"], row["cold_start"]) for row in rows(lake, PREDICTIONS)
    }
    assert told == {(hour, "baseline", hour < 2) for hour in range(1, 4 + WAIT)}
    assert {(row["role"], row["model_version"]) for row in rows(lake, OUTCOMES)} == {("baseline", FLOOR)}


@pytest.mark.parametrize("champion", [None, "v1"])
def test_a_device_with_too_little_history_is_marked_and_its_interval_is_wider(champion: str | None) -> None:
    plain, marked = Bench(), Bench(task=cold_task(bounds=2.0))
    for bench in (plain, marked):
        deploy(bench.blobs, champion)
        feed(bench, 0, 6, "a")
    assert not any(row["cold_start"] for row in made(plain))
    for one, two in zip(made(plain), made(marked), strict=True):
        assert two["cold_start"] == (two["as_of"] < HOUR + 2)
        assert two["value"] == one["value"]
        wide = 2.0 if two["cold_start"] else 1.0
        ends = one["value"] + wide * (np.array([one["lower"], one["upper"]]) - one["value"])
        if ends[0] > 0 and ends[1] < 1000 and one["lower"] > 0:
            np.testing.assert_allclose([two["lower"], two["upper"]], ends, rtol=1e-5)
        assert 0 <= two["lower"] <= one["lower"] <= two["value"] <= one["upper"] <= two["upper"] <= 1000


def test_where_the_scenario_says_so_it_is_not_forecast_and_the_commit_says_why() -> None:
    bench = Bench(task=cold_task(answer=False))
    feed(bench, 0, 4, "a")
    feed(bench, 4, 4, "b")
    firsts = {name: min(int(row["as_of"]) - HOUR for row in made(bench) if row["device_id"] == name) for name in "ab"}
    assert firsts == {"a": 2, "b": 6}
    assert {commit.minimum_hours for _, commit, _ in bench.commits()} == {3}
    assert not any(row["cold_start"] for row in made(bench))
    feed(bench, 100, 3, "a")
    again = [int(row["as_of"]) - HOUR for row in made(bench) if row["as_of"] >= HOUR + 100]
    assert again == [102], "a device that was silent for its whole window begins anew"


def test_a_whole_window_is_always_enough_history() -> None:
    bench = Bench(task=cold_task(hours=2000, answer=False))
    feed(bench, 0, 9, "a")
    assert sorted(int(row["as_of"]) - HOUR for row in made(bench)) == [6, 7, 8]


def test_a_package_may_not_have_the_baselines_version() -> None:
    bench = Bench()
    deploy(bench.blobs, FLOOR)
    worker = bench.worker()
    serving = worker.context.serving
    assert serving.current().control.champion is None
    assert "baseline" in serving.problems[FLOOR]


def test_health_shows_how_good_the_baseline_was_and_no_quality_of_a_champion() -> None:
    bench = Bench()
    feed(bench, 0, 8 + WAIT)
    worker = bench.worker()
    worker.recovered()
    found = health(worker.context, {0: worker}, {})
    assert found["champion"] is None
    assert found["quality"] == {"matured": 0}
    assert found["baseline"]["matured"] == 14
    assert found["baseline"]["mae"] > 0
    assert found["partitions"][0]["first_forecasts"] == 2 * (7 + WAIT)


def test_explain_says_what_a_first_forecast_was_made_of_and_makes_it_again() -> None:
    task = cold_task()
    bench = Bench(task=task)
    feed(bench, 0, 3, "a")
    history = CommitHistory(task, bench.blobs, ParquetFiles(task))
    found = Explain(history, lambda _: kit.load)(ForecastId("a", HOUR + 1))
    assert (found.agrees, found.model, found.features) == (True, None, [])
    assert (found.forecast.role, found.forecast.model, found.forecast.cold_start) == ("baseline", FLOOR, True)
    assert found.made_of == {"latest": 14.0, "usual": 10.5, "reach": 21.0}
    assert found.forecast.value == 12.25
    assert msgspec.json.encode(found)
    console = Console(file=io.StringIO(), width=200)
    page.show(console, found)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    for part in (
        "baseline, revision 0, users saw it, cold start: too little history",
        "champion none, challenger none",
        "half way between 14, the value as of now, and 10.5, the usual one",
        "agrees bit for bit",
    ):
        assert part in told
    assert "features of the model" not in told


def test_the_lineage_of_a_first_forecast_ends_with_the_baseline(tmp_path: Path) -> None:
    bench = Bench()
    feed(bench, 0, 4, "a")
    history = CommitHistory(TASK, bench.blobs, ParquetFiles(TASK))
    found = Trace(history, Ledger(TASK.scenario.name, bench.blobs, bench.clock))("a@" + hour_text(HOUR + 2))
    (version,) = found.versions
    assert (version.version, version.package, version.serves) == (FLOOR, None, "")
    assert "baseline" in version.problem
    assert {role: (sums.made, sums.served) for role, sums in version.forecasts.items()} == {"baseline": (3, 3)}
    compaction(bench, lake_in(tmp_path)).run()
    landed = CommitHistory(TASK, bench.blobs, ParquetFiles(TASK), LakeArchive(TASK, str(tmp_path)))
    again = Trace(landed, Ledger(TASK.scenario.name, bench.blobs, bench.clock))("a@" + hour_text(HOUR + 2))
    assert again.versions == found.versions
