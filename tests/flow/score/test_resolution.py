"""Sensors that send oftener than each minute: every road a reading takes, held against pandas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from shared.adapters.lake.archive import LakeArchive
from shared.adapters.lake.schema import READINGS
from shared.app.evolution import stored
from shared.app.lake.compaction import rebuild
from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.explain import Explain
from shared.app.lookback.forecast_id import ForecastId
from shared.core.forecast.state import own
from shared.core.scenario import Scenario
from tests.kit import HOUR, picture
from tests.kit.edits import Edited, Raw, changed, edit, loading
from training.model.hourly.lake import history

EXTRA = {"high": "max", "low": "min", "newest": "last"}
COLUMNS = ("pm", "rain", "temp", *EXTRA)
HOURS = 4
RESOLUTIONS = pytest.mark.parametrize("resolution_s", [1, 10, 30])


def channels_more(raw: Raw) -> None:
    for name, aggregate in EXTRA.items():
        raw["channels"].append({"name": name, "unit": "V", "minimum": 0, "maximum": 2000, "aggregate": aggregate})


def scenario(resolution_s: int) -> Scenario:
    return changed(channels_more, edit("resolution_s", resolution_s))


def measured(resolution_s: int, first: int = 0, hours: int = HOURS) -> pd.DataFrame:
    """A device's readings, in the order in which they come: jitter, re-sends of other values, some late by a minute."""
    rng = np.random.default_rng(resolution_s + first)
    span = 700 * max(resolution_s, 2) if resolution_s < 10 else 3600  # of each hour; at a second more than 255 of it
    starts = (HOUR + first + np.arange(hours)) * 3600
    at = np.concatenate([start + np.arange(0, min(span, 3600), resolution_s) for start in starts])
    at = np.concatenate([at + rng.integers(0, resolution_s, len(at)), rng.choice(at, len(at) // 10)])
    order = np.argsort(at + rng.integers(0, 2, len(at)) * 60, kind="stable")
    values = {name: np.round(rng.uniform(0 if name == "rain" else 900, 1 if name == "rain" else 1000, len(at)), 2)
              for name in COLUMNS}  # fmt: skip
    values["temp"] = np.round(values["temp"] / 20, 2)
    return pd.DataFrame({"at": at, **values}).iloc[order].reset_index(drop=True)


def first_of_each(frame: pd.DataFrame, resolution_s: int) -> pd.DataFrame:
    """What counts: the first reading of each part of time, by when it was measured."""
    when = pd.to_datetime(frame["at"], unit="s", utc=True).dt.floor(f"{resolution_s}s")
    return frame.assign(when=when).drop_duplicates("when").set_index("when").sort_index()


def by_hour(frame: pd.DataFrame, resolution_s: int) -> pd.DataFrame:
    rules = {"pm": "mean", "rain": "sum", "temp": "mean", "high": "max", "low": "min", "newest": "last"}
    hours = first_of_each(frame, resolution_s).resample("1h")
    return pd.DataFrame({name: hours[name].agg(rule) for name, rule in rules.items()})


def told(frame: pd.DataFrame, device: str) -> list[dict[str, Any]]:
    whole = frame.rename(columns={"at": "timestamp"}).assign(device_id=device)
    return [{str(name): cell for name, cell in row.items()} for row in whole.to_dict("records")]


def as_messages(frame: pd.DataFrame, device: str) -> Iterator[bytes]:
    """Each of several readings; their times as epochs in turn of seconds, milliseconds, and as texts."""
    forms = (lambda at: at, lambda at: at * 1000 + 7, lambda at: f"{np.datetime64(at, 's')}.250Z")
    for place, start in enumerate(range(0, len(frame), 300)):
        part = told(frame.iloc[start : start + 300], device)
        yield json.dumps([{**each, "timestamp": forms[place % 3](each["timestamp"])} for each in part]).encode()


def as_file(frame: pd.DataFrame, device: str) -> str:
    rows = pd.DataFrame(told(frame, device))
    rows["timestamp"] = pd.to_datetime(rows["timestamp"], unit="s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return rows.to_csv(index=False)


def app_with(tmp_path: Path, resolution_s: int) -> Edited:
    """Two devices with the same readings: "a" sends messages, "b" is in a file."""
    app, frame = Edited(tmp_path, scenario(resolution_s)), measured(resolution_s)
    for body in as_messages(frame, "a"):
        app.hear(body)
    app.drop("b.csv", as_file(frame, "b"))
    app.score()
    return app


def hours_of(app: Edited, device: str, hours: Sequence[int]) -> npt.NDArray[np.float64]:
    """What the state says, shape (hours, columns)."""
    (state,) = (state for part in app.partitions if device in (state := own(part.recovered())).devices)
    ring, place = state.columns.ring, np.full(len(hours), state.index[device])
    at = np.array(hours) + HOUR
    columns = [ring.value_at(place, at, app.scenario.stored.index(name)) for name in COLUMNS]
    return np.stack(columns, axis=1).astype(np.float64)


@RESOLUTIONS
def test_hours_by_message_and_by_file_are_those_of_pandas_and_every_way_back_gives_them(
    tmp_path: Path, resolution_s: int
) -> None:
    app, frame = app_with(tmp_path, resolution_s), measured(resolution_s)
    wanted = by_hour(frame, resolution_s)[list(COLUMNS)].to_numpy()
    for device in "ab":
        np.testing.assert_allclose(hours_of(app, device, range(HOURS)), wanted, rtol=1e-6)
    counted, kept = app.counts(), first_of_each(frame, resolution_s)
    assert counted["applied"] == 2 * len(kept)
    assert counted["conflicts"] + counted["duplicates"] == 2 * (len(frame) - len(kept)) > 0
    assert app.books().balance
    live = [picture(part.recovered()) for part in app.partitions]
    lake = app.lake()
    for number in range(2):
        assert picture(rebuild(lake, app.application.ports.task, number)) == live[number]
    app.restart()
    assert [picture(part.recovered()) for part in app.partitions] == live
    for name in app.blobs.names("state"):
        app.blobs.delete("state", name)
    app.restart()
    assert [picture(part.recovered()) for part in app.partitions] == live


@RESOLUTIONS
def test_the_lake_and_what_is_learned_from_it_are_those_of_pandas(tmp_path: Path, resolution_s: int) -> None:
    app, frame = app_with(tmp_path, resolution_s), measured(resolution_s)
    kept, lake = first_of_each(frame, resolution_s), app.lake()
    view = lake.delta.opened(READINGS)
    assert view is not None
    rows = pd.concat([piece.to_pandas() for piece in view.read()])
    applied = rows[rows["disposition"] == "applied"].sort_values(["device_id", "timestamp"])
    assert applied["timestamp"].tolist() == [*kept.index, *kept.index]
    np.testing.assert_array_equal(applied["pm"].to_numpy(), [*kept["pm"].astype(np.float32)] * 2)
    found, count = history(app.scenario, lake.delta.uri, lake.delta.options, lake.version() or 0, rows_at_once=500)
    assert count == 2 * len(kept)
    wanted = by_hour(frame, resolution_s)
    for device in "ab":
        hours = found[device]
        assert hours.samples.tolist() == kept.resample("1h").size().tolist()
        values = {name: hours.values[:, app.scenario.stored.index(name)] for name in COLUMNS}
        for name in COLUMNS:
            np.testing.assert_allclose(values[name], wanted[name], rtol=1e-6, err_msg=name)


def test_explain_tells_readings_by_their_seconds_and_gives_the_same_bits(tmp_path: Path) -> None:
    app = app_with(tmp_path, 10)
    task = app.application.ports.task
    app.lake()
    lake = LakeArchive(task, str(app.lake_folder))
    as_of, revision = max((as_of, revision) for device, as_of, revision in app.forecasts() if device == "a")
    for archive in (None, lake):
        explained = Explain(CommitHistory(task, app.blobs, app.files, archive), loading)(
            ForecastId("a", as_of, revision)
        )
        assert explained.agrees, explained.why
        times = {each.time for each in explained.readings}
        assert any(not time.endswith(":00Z") for time in times)
        assert {int(time[-3:-1]) % 10 for time in times} == {0}


@pytest.mark.parametrize("resolution_s", [1, 10, 60, 300])
def test_a_conflict_names_the_setting_and_the_same_again_is_a_duplicate(tmp_path: Path, resolution_s: int) -> None:
    app = Edited(tmp_path, scenario(resolution_s))
    at, last = HOUR * 3600, HOUR * 3600 + resolution_s - 1
    for when, pm in ((at, 5.0), (at, 5.0), (last, 6.0)):
        app.hear(json.dumps({"device_id": "a", "timestamp": when, "pm": pm}).encode())
    app.score()
    app.drop("c.csv", f"device_id,timestamp,pm\nc,{at},5\nc,{last},7\n")
    app.score()
    counts = app.counts()
    assert (counts["applied"], counts["duplicates"], counts["conflicts"]) == (2, 1, 2)
    said = {letter.detail for letter in app.letters()}
    assert len(said) == 1
    assert f"resolution_s = {resolution_s} " in said.pop()
    assert {json.loads(letter.original())["timestamp"] for letter in app.letters()} == {at}
    (page,) = (name for name in app.blobs.names("reports") if name.endswith("report.html"))
    assert f"resolution_s = {resolution_s} " in (app.blobs.read("reports", page) or b"").decode()
    app.hear(json.dumps({"device_id": "a", "timestamp": at + resolution_s, "pm": 8.0}).encode())
    app.score()
    assert app.counts()["applied"] == 3
    assert app.books().balance


def test_readings_without_a_time_have_the_second_in_which_the_hub_took_them(tmp_path: Path) -> None:
    """Also when they are fed back from the dead letters after the scenario was mended."""
    app = Edited(tmp_path, changed(edit("resolution_s", 1), edit("channels.maximum", 100), no_categories))
    app.now_ms = (HOUR * 3600 + 17) * 1000
    app.hear(b'{"device_id": "a", "pm": 1}', b'{"device_id": "a", "pm": 500}')
    app.now_ms += 1000
    app.hear(b'{"device_id": "a", "pm": 2}')
    app.restart(changed(edit("resolution_s", 1), no_categories))
    app.now_ms += 100_000
    app.application.resubmit("", ["out_of_range"])
    app.score()
    found = {(at - HOUR * 3600, value) for at, value in ticks(app)}
    assert found == {(17, 1.0), (18, 2.0)} | {(17, 500.0)}


def no_categories(raw: Raw) -> None:
    raw["categories"] = []


def ticks(app: Edited) -> Iterator[tuple[int, float]]:
    """Ticks and values of pm of everything committed."""
    for name in app.blobs.names("commits"):
        _, batch = app.files.decode_commit(app.blobs.read("commits", name) or b"")
        yield from zip(batch.minute.tolist(), batch.values[:, 0].tolist(), strict=True)


def test_after_an_edit_to_ten_seconds_all_readings_are_averaged_and_those_of_before_stay(tmp_path: Path) -> None:
    """What waits in the hub was packed in minutes; what came before counts once, whoever sends it again."""
    app = Edited(tmp_path, scenario(60))
    before, after = measured(10, 0, 2), measured(10, 2, 2)
    for body in as_messages(before, "a"):
        app.hear(body)
    waiting = [event for log in app.readings.logs for event in log]
    assert waiting
    app.score()
    then = hours_of(app, "a", range(2))
    np.testing.assert_allclose(then, by_hour(before, 60)[list(COLUMNS)].to_numpy(), rtol=1e-6)
    for body in as_messages(measured(60, 1, 1).assign(at=lambda frame: frame["at"] + 3600), "b"):
        app.hear(body)  # not yet folded
    app.restart(scenario(10))
    applied = app.counts()["applied"]
    for body in as_messages(before, "a"):
        app.hear(body)
    app.score()
    assert len(stored(app.blobs)[0]) == 2
    np.testing.assert_array_equal(hours_of(app, "a", range(2)), then)
    b = measured(60, 1, 1).assign(at=lambda frame: frame["at"] + 3600)
    assert app.counts()["applied"] == applied + len(first_of_each(b, 60))
    np.testing.assert_allclose(hours_of(app, "b", [2]), by_hour(b, 60)[list(COLUMNS)].to_numpy(), rtol=1e-6)
    for body in as_messages(after, "a"):
        app.hear(body)
    app.score()
    np.testing.assert_allclose(hours_of(app, "a", [2, 3]), by_hour(after, 10)[list(COLUMNS)].to_numpy(), rtol=1e-6)
    spoken = [number for number, part in enumerate(app.partitions) if own(part.recovered()).devices]
    live = [picture(app.partitions[number].recovered()) for number in spoken]
    assert [picture(rebuild(app.lake(), app.application.ports.task, number)) for number in spoken] == live
    for name in app.blobs.names("state"):
        app.blobs.delete("state", name)
    app.restart()
    assert [picture(app.partitions[number].recovered()) for number in spoken] == live
    assert app.books().balance
