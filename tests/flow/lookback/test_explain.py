"""Time travel: what stood behind a forecast, and the same bits again from the state as it was then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from shared.adapters.lake.archive import LakeArchive
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.models.onnx_model import load as load_onnx
from shared.app.evolution import migrate
from shared.app.lake.compaction import Compaction
from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.explain import Explain
from shared.app.lookback.explanation import Explanation
from shared.app.lookback.forecast_id import ForecastId, forecast_id_of, hour_text, parse, required
from shared.app.lookback.search import find
from shared.app.lookback.state_as_of import state_before
from shared.core.forecast.task import HourlyForecast
from shared.core.intake.readings import Floats
from shared.core.model import deployment
from shared.core.model.deployment import Deployment
from shared.core.model.manifest import decode_manifest, encode_manifest
from shared.core.scenario.shape import meaning
from shared.core.stream.commit import place_of
from shared.errors import ConfigError, ContractBroken
from tests import kit
from tests.kit import HOUR, SCENARIO, TASK, Bench, Guess, MemoryBlobs, Row, deploy, edits, hourly
from tests.kit.data.real_past import real_past

HOSTILE = "a@2026-01-01T00/#champion"


def history_of(bench: Bench, lake: LakeArchive | None = None, partitions: int | None = None) -> CommitHistory:
    return CommitHistory(TASK, bench.blobs, ParquetFiles(TASK), lake, partitions)


def explain(bench: Bench, wanted: ForecastId, lake: LakeArchive | None = None) -> Explanation:
    return Explain(history_of(bench, lake), lambda _: kit.load)(wanted)


def rows_at(start: int, hours: int, devices: str = "ab", first: int = 1) -> list[Row]:
    return [(place + first - 1, *rest) for place, *rest in hourly(devices, hours, HOUR + start)]  # type: ignore[misc]


def feed(bench: Bench, source: str, rows: list[Row]) -> None:
    bench.worker().take(bench.send(source, rows))


def listed(blobs: MemoryBlobs, version: str) -> None:
    """Let the package of a version say that it uses all features."""
    raw = blobs.read("models", f"{version}/manifest.json")
    features = [(feature.name, feature.version) for feature in TASK.features]
    manifest = msgspec.structs.replace(decode_manifest(raw or b""), features=features, run_id=f"run-{version}")
    blobs.write("models", f"{version}/manifest.json", encode_manifest(manifest))


@pytest.fixture
def story() -> Bench:
    """Two models in shadow, then in canary; a late reading; a quarantine; another champion. Snapshots in between."""
    bench = Bench(every=2)
    deploy(bench.blobs, "v1", challenger="v2")
    feed(bench, "hub/0", rows_at(0, 10))
    late = (21, "a", (HOUR + 8) * 60 + 30, (44.0, 0.5, 10.0))
    feed(bench, "hub/0", [late])
    deploy(bench.blobs, "v1", challenger="v2", share=1.0, quarantine=["b"])
    feed(bench, "hub/0", rows_at(10, 4, first=22))
    deploy(bench.blobs, "v3")
    feed(bench, "hub/0", rows_at(14, 6, first=30))
    for version in ("v1", "v2", "v3"):
        listed(bench.blobs, version)
    return bench


def every(bench: Bench) -> list[ForecastId]:
    """Names of all forecasts that were made."""
    return [
        ForecastId(device, as_of, revision, role)
        for role in ("champion", "challenger")
        for device, as_of, revision in bench.forecasts(role)
    ]


def test_every_forecast_of_a_story_with_everything_is_recomputed_to_the_bit(story: Bench) -> None:
    names = every(story)
    assert {name.role for name in names} == {"champion", "challenger"}
    assert any(name.revision == 1 for name in names)
    begins, made = set(), {role: story.forecasts(role) for role in ("champion", "challenger")}
    for name in names:
        found = explain(story, name)
        assert (found.agrees, found.why) == (True, ""), name
        value, model = made[name.role or ""][name.device, name.as_of, name.revision or 0]
        assert (found.forecast.value, found.forecast.model) == (value, model)
        assert found.model is not None
        assert found.model.run_id == f"run-{model}"
        begins.add(found.commit.begin)
    assert "" in begins
    assert len(begins) > 1, "some began with a snapshot"


def test_without_revision_and_role_the_newest_one_that_users_saw_is_meant(story: Bench) -> None:
    shadow = explain(story, ForecastId("a", HOUR + 8)).forecast
    assert (shadow.revision, shadow.model, shadow.role, shadow.served) == (1, "v1", "champion", True)
    first = explain(story, ForecastId("a", HOUR + 8, 0)).forecast
    assert (first.revision, first.value != shadow.value) == (0, True)
    canary = explain(story, ForecastId("a", HOUR + 12)).forecast
    assert (canary.model, canary.role, canary.served) == ("v2", "challenger", True)
    out_of_fold = explain(story, ForecastId("a", HOUR + 12, role="champion")).forecast
    assert (out_of_fold.model, out_of_fold.served) == ("v1", False)


def test_it_tells_the_deployment_of_that_time_and_not_of_now(story: Bench) -> None:
    found = explain(story, ForecastId("a", HOUR + 12))
    assert msgspec.to_builtins(found.deployment) == {"champion": "v1", "challenger": "v2", "quarantine": ["b"]}
    assert explain(story, ForecastId("a", HOUR + 16)).deployment.champion == "v3"


def test_the_window_is_what_the_readings_say(story: Bench) -> None:
    found = explain(story, ForecastId("a", HOUR + 8))
    assert (found.window.hours[-1], len(found.window.hours)) == (hour_text(HOUR + 8), SCENARIO.history)
    told = dict(zip(found.window.columns, found.window.values[-1], strict=True))
    first = next(values for _, device, minute, values in rows_at(0, 10) if (device, minute) == ("a", (HOUR + 8) * 60))
    assert told["pm"] == (first[0] + 44.0) / 2
    assert told["rain"] == 1.5
    assert told["wind_v"] == pytest.approx((math.cos(math.radians(90)) + math.cos(math.radians(10))) / 2)


def test_features_are_those_the_model_was_given(story: Bench) -> None:
    found = explain(story, ForecastId("a", HOUR + 8))
    cells = [math.nan if cell is None else cell for row in found.window.values for cell in row]
    told = [math.nan if each.value is None else each.value for each in found.features]
    np.testing.assert_array_equal(told, cells)  # the features of this model are its window
    again = kit.load({"manifest.json": story.blobs.read("models", "v1/manifest.json") or b""})
    assert again.predict(np.array([told], np.float32))[0] == found.forecast.value


def test_readings_are_the_device_s_own_of_that_commit_with_what_became_of_them(story: Bench) -> None:
    found = explain(story, ForecastId("a", HOUR + 8))
    assert [(each.time[11:16], each.disposition, each.values["pm"]) for each in found.readings] == [
        (f"{(HOUR + 8) % 24:02d}:30", "applied", 44.0)
    ]
    first = explain(story, ForecastId("a", HOUR + 8, 0))
    assert len(first.readings) == 8, "hours 2 to 9: seven of the window, and the one that closed its last hour"


def test_missing_hours_are_null(story: Bench) -> None:
    found = explain(story, ForecastId("a", HOUR + 2))
    assert found.window.values[0] == [None] * len(found.window.columns)


def test_a_hostile_device_id_is_found_whatever_number_of_partitions_is_told() -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    feed(bench, "hub/0", [(place, HOSTILE, minute, values) for place, _, minute, values in rows_at(0, 9, "a")])
    wanted = required(f"{HOSTILE}@{hour_text(HOUR + 7)}/champion")
    assert (wanted.device, wanted.role) == (HOSTILE, "champion")
    for partitions in (None, 1, 7):
        found = Explain(history_of(bench, partitions=partitions), lambda _: kit.load)(wanted)
        assert (found.agrees, found.forecast.device) == (True, HOSTILE)


@dataclass(frozen=True)
class Off(Guess):
    """A model that is a little off."""

    def predict(self, matrix: Floats) -> Floats:
        return np.nextafter(super().predict(matrix), np.float32(np.inf))


def test_one_bit_is_a_disagreement_and_is_told_in_units(story: Bench) -> None:
    def off(files: Mapping[str, bytes]) -> Guess:
        return Off(kit.load(files).manifest)

    found = Explain(history_of(story), lambda _: off)(ForecastId("a", HOUR + 8))
    assert not found.agrees
    value = found.compared[0]
    assert (value.name, value.agrees) == ("value", False)
    assert int(value.recomputed_bits, 16) == int(value.stored_bits, 16) + 1
    assert value.apart == value.recomputed - value.stored > 0
    assert found.why.startswith(f"value differs by {value.apart:+.9g}")


def test_another_interval_shows_too(story: Bench) -> None:
    manifest = kit.load({"manifest.json": story.blobs.read("models", "v1/manifest.json") or b""}).manifest
    wider = msgspec.structs.replace(manifest.interval, upper=[6.0, 10.0])
    story.blobs.write("models", "v1/manifest.json", encode_manifest(msgspec.structs.replace(manifest, interval=wider)))
    found = explain(story, ForecastId("a", HOUR + 8))
    assert {each.name: each.agrees for each in found.compared} == {"value": True, "lower": True, "upper": False}


def test_of_a_batch_that_forecasts_in_many_segments_the_window_is_the_one_that_was_used() -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    listed(bench.blobs, "v1")
    rows = rows_at(0, 60)
    events = bench.send("hub/0", rows) + bench.send("hub/1", [(1, "a", (HOUR + 56) * 60 + 30, (7.0, 1.0, 10.0))])
    bench.worker().take(events)
    assert len(bench.commits()) == 1
    for name in every(bench):
        found = explain(bench, name)
        cells = [cell for row in found.window.values for cell in row]
        assert (found.agrees, [each.value for each in found.features]) == (True, cells)
    sent = {(device, minute // 60 - HOUR): values[0] for _, device, minute, values in rows}
    used = explain(bench, ForecastId("a", HOUR + 56)).window.values[-1][0]
    assert used == sent["a", 56], "the late reading came when its target was known"
    later = explain(bench, ForecastId("a", HOUR + 58)).window.values[-3][0]
    assert later == (sent["a", 56] + 7.0) / 2


class Shifted(ParquetFiles):
    """Files that say another revision than was written."""

    def read_predictions(self, raw: bytes) -> dict[str, Any]:
        found = super().read_predictions(raw)
        return {**found, "revision": found["revision"] + 1}


def test_another_revision_is_a_disagreement(story: Bench) -> None:
    history = CommitHistory(TASK, story.blobs, Shifted(TASK))
    found = Explain(history, lambda _: kit.load)(ForecastId("a", HOUR + 5, 1))
    assert (found.agrees, found.why, found.recomputed_revision) == (False, "revision is 0, not 1", 0)


def test_forecasts_behind_lost_events_are_recomputed_on_what_was_left() -> None:
    bench = Bench(every=100)
    deploy(bench.blobs, "v1")
    feed(bench, "hub/0", rows_at(0, 8))
    bench.send("hub/1", rows_at(8, 1))
    rest = bench.send("hub/2", rows_at(9, 3))
    bench.stream.begin = rest[0].sequence
    bench.worker().take(rest)
    found = find(history_of(bench), ForecastId("a", HOUR + 10))
    assert state_before(history_of(bench), found.step).state.expired == 1
    assert explain(bench, ForecastId("a", HOUR + 10)).agrees


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("model.onnx", None, "model v1 made it, but its package cannot be used: v1/model.onnx is missing"),
        ("manifest.json", b"{", "model v1 made it, but its package cannot be used"),
        ("manifest.json", "v3", "the package in v1/ says it is version v3"),
    ],
)
def test_a_damaged_package_is_told(story: Bench, name: str, data: Any, message: str) -> None:
    def load(files: Mapping[str, bytes]) -> Guess:
        return Guess(decode_manifest(files["manifest.json"]))

    if data is None:
        story.blobs.delete("models", f"v1/{name}")
    else:
        raw = story.blobs.read("models", f"{data}/{name}") if isinstance(data, str) else data
        story.blobs.write("models", f"v1/{name}", raw or b"")
    with pytest.raises(ContractBroken, match=message):
        Explain(history_of(story), lambda _: load)(ForecastId("a", HOUR + 8))


def test_a_challenger_s_damage_does_not_keep_the_champion_from_being_explained(story: Bench) -> None:
    story.blobs.delete("models", "v2/model.onnx")
    assert explain(story, ForecastId("a", HOUR + 8)).agrees
    with pytest.raises(ContractBroken, match=r"v2/model\.onnx is missing"):
        explain(story, ForecastId("a", HOUR + 8, role="challenger"))


@pytest.mark.parametrize(
    "wanted",
    [
        ForecastId("nobody", HOUR + 8),
        ForecastId("a", HOUR + 99),
        ForecastId("a", HOUR + 8, 2),
        ForecastId("b", HOUR + 12),
        ForecastId("a", HOUR + 16, role="challenger"),
    ],
)
def test_a_forecast_that_was_never_made_is_told_with_what_there_is(story: Bench, wanted: ForecastId) -> None:
    with pytest.raises(
        ContractBroken, match=r"no such forecast: device .* as of .*; the oldest commits still there"
    ) as e:
        explain(story, wanted)
    assert f"commits/{story.commits()[0][0]}" in str(e.value)


def test_predictions_that_no_commit_names_do_not_exist(story: Bench) -> None:
    name, commit, _ = story.commits()[-1]
    zombie = Bench()
    deploy(zombie.blobs, "v9")
    feed(zombie, "hub/0", rows_at(0, 20))
    stray = zombie.commits()[0][1].predictions or ""
    raw = zombie.blobs.read("predictions", stray) or b""
    for place in (name.removesuffix(".parquet"), "partition=00/epoch=00000/99999999999999999999"):
        story.blobs.write("predictions", f"{place}-00.parquet", raw)
        story.blobs.write("predictions", f"{place}-ff.parquet", raw[:50])
    assert explain(story, ForecastId("a", HOUR + 8)).forecast.model == "v1"
    assert commit.predictions is not None


def test_damaged_predictions_and_commits_are_named(story: Bench) -> None:
    name, commit, _ = story.commits()[0]
    raw = story.blobs.read("predictions", commit.predictions or "") or b""
    story.blobs.write("predictions", commit.predictions or "", raw[:-40] + b"x" + raw[-39:])
    with pytest.raises(ContractBroken, match=f"predictions/{commit.predictions}: .*damaged"):
        explain(story, ForecastId("a", HOUR + 5))
    story.blobs.delete("commits", name)
    story.blobs.write("commits", name, b"rubbish")
    with pytest.raises(ContractBroken, match=f"commits/{name}: .*damaged"):
        explain(story, ForecastId("a", HOUR + 5))


def remove(bench: Bench, count: int) -> list[str]:
    """Remove the oldest commits with their predictions."""
    gone = bench.commits()[:count]
    for name, commit, _ in gone:
        bench.blobs.delete("commits", name)
        bench.blobs.delete("predictions", commit.predictions or "")
    return [name for name, _, _ in gone]


def without_snapshots(bench: Bench, *, but: int = 0) -> None:
    for name in bench.blobs.names("state")[but:]:
        bench.blobs.delete("state", name)


def test_a_removed_commit_is_named_where_the_state_cannot_be_rebuilt(story: Bench) -> None:
    gone = remove(story, 1)
    without_snapshots(story)
    with pytest.raises(ContractBroken, match=f"cannot be rebuilt from the first commit: commits/{gone[0]} is gone"):
        explain(story, ForecastId("a", HOUR + 8))
    with pytest.raises(ContractBroken, match="was removed may be in the lake, which was not looked into"):
        explain(story, ForecastId("a", HOUR + 5))


def test_a_snapshot_stands_for_the_commits_before_it(story: Bench) -> None:
    names = story.blobs.names("state")
    assert len(names) == 2
    remove(story, 2)
    found = explain(story, ForecastId("a", HOUR + 12))
    assert (found.agrees, found.commit.begin, found.commit.folded) == (True, f"state/{names[0]}", 0)
    story.blobs.write("state", names[0], b"rubbish")
    with pytest.raises(ContractBroken, match="cannot be rebuilt from the first commit"):
        explain(story, ForecastId("a", HOUR + 12))


def archive_of(bench: Bench, folder: Path) -> LakeArchive:
    lake = LakeArchive(TASK, str(folder), group_rows=7)
    Compaction(task=TASK, blobs=bench.blobs, lake=lake, clock=bench.clock).run()
    return lake


def test_what_was_removed_is_found_and_rebuilt_from_the_lake(story: Bench, tmp_path: Path) -> None:
    names = every(story)
    lake = archive_of(story, tmp_path)
    feed(story, "hub/0", rows_at(20, 4, first=42))  # not in the lake yet
    remove(story, 3)
    without_snapshots(story)
    for name in [*names[::4], ForecastId("a", HOUR + 12), ForecastId("a", HOUR + 22)]:
        assert explain(story, name, lake).agrees, name
    newest = explain(story, ForecastId("a", HOUR + 8), lake)
    assert (newest.forecast.revision, newest.commit.folded, newest.commit.from_lake) == (1, 1, 1)
    later = explain(story, ForecastId("a", HOUR + 22), lake)
    assert (later.commit.folded, later.commit.from_lake) == (4, 3)
    with pytest.raises(ContractBroken, match="no such forecast") as told:
        explain(story, ForecastId("a", HOUR + 99), lake)
    assert "lake" not in str(told.value)


def test_a_gap_that_the_lake_does_not_fill_either_is_named(story: Bench, tmp_path: Path) -> None:
    lake = LakeArchive(TASK, str(tmp_path))
    gone = remove(story, 2)
    without_snapshots(story)
    with pytest.raises(ContractBroken, match=f"commits/{gone[0]} is gone, also from the lake"):
        explain(story, ForecastId("a", HOUR + 12), lake)


def test_forecasts_of_a_recreated_hub_are_recomputed_and_a_lost_epoch_is_seen() -> None:
    bench = Bench(every=100)
    deploy(bench.blobs, "v1")
    feed(bench, "hub/0", rows_at(0, 9))
    bench.stream.logs[0].clear()
    later = bench.send("hub/0.1", rows_at(9, 4))
    bench.worker().take([replace(event, enqueued_ms=event.enqueued_ms + 10**6) for event in later])
    assert [place_of(name)[0] for name, _, _ in bench.commits()] == [0, 0, 1]
    assert explain(bench, ForecastId("a", HOUR + 11)).agrees
    remove(bench, 1)
    with pytest.raises(ContractBroken, match=r"epoch=00000/0+\.parquet is gone"):
        explain(bench, ForecastId("a", HOUR + 11))


def test_a_real_model_gives_the_same_bits_again() -> None:
    champion, history = real_past()
    load = partial(load_onnx, featurizer_features=history.task.features)
    for role in ("champion", "challenger"):
        found = Explain(history, lambda _: load)(ForecastId("y", HOUR + 130, role=role))
        assert (found.agrees, found.why) == (True, "")
        assert found.model is not None
        assert (found.model.version == champion) == (role == "champion")
        assert len(found.features) == len(history.task.features)
        latest = next(each.value for each in found.features if each.name == "temp.latest")
        assert latest == found.window.values[-1][found.window.columns.index("temp")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@2026-11-20T10", ("a", "2026-11-20T10", None, None)),
        ("a@2026-11-20T10:00Z#3", ("a", "2026-11-20T10", 3, None)),
        ("a@2026-11-20 10:00:00+00:00#0/champion", ("a", "2026-11-20T10", 0, "champion")),
        ("a@2026-11-20T10/challenger", ("a", "2026-11-20T10", None, "challenger")),
        ("x@2026-11-20T10@2026-11-20T11", ("x@2026-11-20T10", "2026-11-20T11", None, None)),
        ("x@2026-11-20T10#1/champion@2026-11-20T11", ("x@2026-11-20T10#1/champion", "2026-11-20T11", None, None)),
        ("@@2026-11-20T10", ("@", "2026-11-20T10", None, None)),
        ("a\nb@2026-11-20T10", ("a\nb", "2026-11-20T10", None, None)),
        ("@2026-11-20T10", None),
        ("a@2026-11-20", None),
        ("a@2026-11-20T10:30", None),
        ("a@2026-11-20T10+01:00", None),
        ("a@2026-11-20T10#x", None),
        ("a@2026-11-20T10/x", None),
        ("a@2026-11-20T1\u0660", None),
        ("lake@12", None),
    ],
)
def test_names_of_forecasts_are_read_from_their_end(text: str, expected: tuple[Any, ...] | None) -> None:
    found = parse(text)
    assert found == (None if expected is None else forecast_id_of(*expected))
    if found is None:
        with pytest.raises(ConfigError, match="does not name a forecast: write DEVICE@AS_OF"):
            required(text)
    else:
        assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("as_of", "revision"), [("2026-13-20T10", None), ("2026-11-20T24", None), ("2026-11-20T10", -1)]
)
def test_there_must_be_such_an_hour_and_such_a_revision(as_of: str, revision: int | None) -> None:
    with pytest.raises(ConfigError, match=r"is not a whole hour in UTC|is outside 0 to 65535"):
        forecast_id_of("a", as_of, revision)


@pytest.mark.parametrize("name", ["a channel more", "wider", "horizon", "a channel less"])
def test_forecasts_from_before_and_after_an_edit_of_the_scenario_come_out_again(tmp_path: Path, name: str) -> None:
    makes = {
        "a channel more": edits.add_a_channel,
        "wider": edits.wider,
        "horizon": edits.EDITS["horizon"][0],
        "a channel less": lambda raw: raw["channels"].pop(1),
    }
    app, scenario = edits.Edited(tmp_path), edits.changed(makes[name])
    app.go_on(0, edits.UNTIL)
    if name in {"horizon", "a channel less"}:
        migrate(scenario, app.blobs, dry_run=False)
    kit.publish(app.blobs, "v2")
    app.train("v2", HourlyForecast(scenario).features, trained_for=meaning(scenario))
    app.restart(scenario)
    app.blobs.write("models", "deployment.json", deployment.encode(Deployment(champion="v2")))
    app.go_on(edits.UNTIL, edits.END)
    history = CommitHistory(app.application.ports.task, app.blobs, app.files)
    made = app.forecasts()
    assert {model for _, model in made.values()} == {"v1", "v2"}
    for device, as_of, revision in [key for key in made if key[0] in "ag"]:
        found = Explain(history, edits.loading)(ForecastId(device, as_of, revision))
        assert found.agrees, (device, as_of - HOUR, revision, found.why)
