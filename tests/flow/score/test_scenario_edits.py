"""A scenario's file is edited while the application has state: key by key, what goes on, what is refused, and how."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.app.evolution import migrate, stored
from shared.app.lake.compaction import rebuild
from shared.core.forecast.state import own
from shared.core.forecast.task import HourlyForecast
from shared.core.forecast.window.columns import hour_values
from shared.core.scenario.shape import meaning, shape_of
from shared.core.stream.commit import EVOLVED, place_of
from shared.errors import ConfigError, StateConflict
from tests.kit import HOUR, message, picture
from tests.kit.application import EAGER, Forecasts, assemble
from tests.kit.edits import (
    DEVICES,
    EDITS,
    END,
    UNTIL,
    Edited,
    Raw,
    add_a_channel,
    changed,
    keys,
    loading,
    wider,
)
from training.model.hourly.lake import history

Make = Callable[[Raw], None]
WITH_EFFECT = {effect: [key for key, (_, found) in EDITS.items() if found == effect] for _, effect in EDITS.values()}
TAKEN_OVER = [*WITH_EFFECT["taken over"], "a channel"]
REFUSED = [*WITH_EFFECT["needs a migration"], *WITH_EFFECT["needs another store"]]
MORE: dict[str, Make] = {
    "a channel": add_a_channel,
    "a channel less": lambda raw: raw["channels"].pop(1),
    "channels in another order": lambda raw: raw["channels"].insert(1, raw["channels"].pop(2)),
    "a channel between": lambda raw: raw["channels"].insert(1, {**raw["channels"][0], "name": "pm10"}),
}
REORDERED = ["a channel less", "channels in another order", "a channel between"]


@pytest.fixture
def app(tmp_path: Path) -> Edited:
    """The application after some hours under the scenario as it was."""
    made = Edited(tmp_path)
    made.go_on(0, UNTIL)
    return made


def edited(name: str) -> Any:
    return changed(EDITS[name][0] if name in EDITS else MORE[name])


def states(app: Edited) -> list[Any]:
    return [picture(partition.recovered()) for partition in app.partitions]


def test_every_key_of_a_scenario_has_an_edit() -> None:
    assert sorted(EDITS) == sorted(keys())


@pytest.mark.parametrize("key", WITH_EFFECT["one value"])
def test_a_key_with_one_value_cannot_be_edited(key: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(key)):
        edited(key)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], Forecasts]:
    """States and forecasts of an application whose scenario was never edited."""
    made = Edited(tmp_path_factory.mktemp("undisturbed"))
    made.go_on(0, END)
    return states(made), made.forecasts()


@pytest.mark.parametrize("key", WITH_EFFECT["none"])
def test_an_edit_that_gives_no_number_another_meaning_begins_no_version(key: str) -> None:
    assert edited(key) != changed()
    assert shape_of(edited(key)) == shape_of(changed())


def test_such_edits_change_no_bit(app: Edited, undisturbed: tuple[list[Any], Forecasts]) -> None:
    one_at_a_time = [key for key in WITH_EFFECT["none"] if key.startswith("layouts.")]  # some exclude each other
    app.restart(changed(*(EDITS[key][0] for key in WITH_EFFECT["none"] if key not in one_at_a_time[1:])))
    app.go_on(UNTIL, END)
    assert (states(app), app.forecasts()) == undisturbed
    assert len(stored(app.blobs)[0]) == 1


@pytest.mark.parametrize("name", TAKEN_OVER)
def test_an_additive_edit_is_taken_over_and_everything_goes_on(
    app: Edited, name: str, undisturbed: tuple[list[Any], Forecasts]
) -> None:
    before = app.forecasts()
    app.restart(edited(name))
    app.go_on(UNTIL, END)
    goes_on(app, before)
    assert app.forecasts().keys() == undisturbed[1].keys()
    if name != "channels.minimum":  # lets the forecast itself be lower
        assert app.forecasts() == undisturbed[1]  # its model chooses the features of before by name


@pytest.mark.parametrize("name", [*WITH_EFFECT["needs a migration"], *REORDERED])
def test_a_migration_keeps_what_means_the_same_and_everything_goes_on(app: Edited, name: str) -> None:
    before, scenario = app.forecasts(), edited(name)
    assert [change.effect for change in migrate(scenario, app.blobs, dry_run=False)]
    app.restart(scenario)
    app.train("v1", HourlyForecast(scenario).features, trained_for=meaning(scenario))
    app.go_on(UNTIL, END)
    goes_on(app, before)
    newest = {device: max(key[1] for key in app.forecasts() if key[0] == device) for device in DEVICES}
    assert len(set(newest.values())) == 1
    assert len(app.forecasts()) > len(before)


def goes_on(app: Edited, before: Forecasts) -> None:
    """Forecasts of before are as they were, the books balance, and every way back gives the same state."""
    after = app.forecasts()
    assert after.items() >= before.items()
    assert app.books().balance
    live, scenario = states(app), app.scenario
    for number in range(2):
        assert picture(rebuild(app.lake(), app.application.ports.task, number)) == live[number]
    app.restart(scenario)
    assert states(app) == live
    for name in app.blobs.names("state"):
        app.blobs.delete("state", name)
    app.restart(scenario)
    assert states(app) == live
    assert {np.isfinite(value) for value, _ in after.values()} == {True}


@pytest.mark.parametrize(
    ("before", "after"),
    [("mean", "max"), ("min", "mean"), ("max", "min"), ("last", "max"), ("sum", "last"), ("mean", "sum")],
)
def test_hours_that_another_rule_made_begin_missing_where_either_rule_picks_a_sample(
    app: Edited, before: str, after: str
) -> None:
    """Sums of a mean are those of an amount; one of the samples is neither, and nothing of it is carried over."""
    app.restart(changed(noise_by(before)))
    app.go_on(UNTIL, UNTIL + 3)
    forecasts = app.forecasts()
    scenario = changed(noise_by(after))
    migrate(scenario, app.blobs, dry_run=False)
    app.restart(scenario)
    app.train("v1", HourlyForecast(scenario).features, trained_for=meaning(scenario))
    app.go_on(UNTIL + 3, UNTIL + 6)
    kept = {before, after} == {"mean", "sum"}
    spoken = {HOUR + hour: 40.0 + hour for hour in range(UNTIL if kept else UNTIL + 3, UNTIL + 6)}
    for hour in range(UNTIL + HOUR, UNTIL + 6 + HOUR):
        assert noise(app, "b", hour) == pytest.approx(spoken.get(hour, np.nan), nan_ok=True)
    goes_on(app, forecasts)


def noise_by(aggregate: str) -> Make:
    """A channel more, whose hours are made by a rule."""

    def make(raw: Raw) -> None:
        add_a_channel(raw)
        raw["channels"][-1]["aggregate"] = aggregate

    return make


def noise(app: Edited, device: str, hour: int) -> float:
    """What the state says of an hour."""
    (state,) = (state for p in app.partitions if device in (state := own(p.recovered())).devices)
    ring, place = state.columns.ring, list(state.devices).index(device)
    one = slice(place, place + 1)
    values = hour_values(ring.layout, ring.sums[:, :, one], ring.counts[:, :, one])
    return float(values[hour % ring.slots, app.scenario.stored.index("noise"), 0])


@pytest.mark.parametrize("name", [*REFUSED, *REORDERED])
def test_an_edit_that_stored_numbers_cannot_follow_is_refused_and_nothing_is_changed(
    app: Edited, name: str, undisturbed: tuple[list[Any], Forecasts]
) -> None:
    scenario, before = edited(name), app.blobs.everything()
    with pytest.raises(ConfigError) as refused:
        app.restart(scenario)
    key = name if name in EDITS else "channels"
    assert key.split(".")[-1] in str(refused.value) or "channels.pm" in str(refused.value)
    assert "python -m local migrate" in str(refused.value)
    assert app.blobs.everything() == before
    app.restart(changed())
    app.go_on(UNTIL, END)
    assert (states(app), app.forecasts()) == undisturbed


def test_every_trigger_and_health_say_key_old_and_new_value(app: Edited) -> None:
    task = HourlyForecast(edited("samples_per_hour"))
    refused = assemble(EAGER, app.blobs, app.readings, app.clock, app.devices, task=task, load=loading(task))
    says = "samples_per_hour: 1 in the store, 2 in the file (needs a migration)"
    triggers: list[Callable[[], object]] = [
        lambda: refused.score(0, []),
        lambda: refused.route_events(0, []),
        lambda: refused.route_file("a.csv"),
        lambda: refused.sweep(),
        lambda: refused.resubmit("", []),
        lambda: refused.loop,
    ]
    for trigger in triggers:
        with pytest.raises(ConfigError, match=re.escape(says)):
            trigger()
    well, body = refused.health()
    assert not well
    assert says in body["error"]


def test_a_dry_run_changes_nothing(app: Edited) -> None:
    before = app.blobs.everything()
    assert [str(change) for change in migrate(edited("horizon"), app.blobs, dry_run=True)] == [
        "horizon: 3 in the store, 4 in the file"
    ]
    assert app.blobs.everything() == before


@pytest.mark.parametrize("name", WITH_EFFECT["needs another store"])
def test_what_needs_another_store_is_not_migrated(app: Edited, name: str) -> None:
    before = app.blobs.everything()
    with pytest.raises(ConfigError, match="cannot be migrated"):
        migrate(edited(name), app.blobs, dry_run=False)
    assert app.blobs.everything() == before


def test_a_model_trained_for_another_horizon_is_not_served_after_the_migration(app: Edited) -> None:
    before, scenario = app.forecasts(), edited("horizon")
    migrate(scenario, app.blobs, dry_run=False)
    app.restart(scenario)
    app.go_on(UNTIL, END)
    assert app.forecasts() == before
    problem = app.application.health()[1]["refused"]["v1"]
    assert "horizon was 3, is 4" in problem


GO_ON = ["lateness", "channels in another order", "a channel between", "a channel that knows its role"]
MORE["a channel that knows its role"] = lambda raw: raw["channels"].append(
    {"name": "press", "unit": "hPa", "minimum": 500, "maximum": 1100, "role": "pressure"}
)


@pytest.mark.parametrize("name", [*WITH_EFFECT["needs a migration"], *REORDERED, GO_ON[-1]])
def test_after_a_migration_a_model_goes_on_or_is_refused_by_what_it_rests_on(app: Edited, name: str) -> None:
    before, scenario = app.forecasts(), edited(name)
    migrate(scenario, app.blobs, dry_run=False)
    app.restart(scenario)
    app.go_on(UNTIL, UNTIL + 3)
    refused = app.application.health()[1]["refused"]
    assert bool(refused) == (name not in GO_ON)
    assert (len(app.forecasts()) > len(before)) == (name in GO_ON)


def test_a_commit_that_was_lost_before_the_edit_is_made_again_as_it_was(app: Edited) -> None:
    app.restart(changed(add_a_channel))
    app.go_on(UNTIL, END)
    live, everything = states(app), app.blobs.everything("state", "profiles", "receipts")
    lost = [name for name in app.blobs.names("commits") if place_of(name)[1] in {3, 7, UNTIL - 1}]
    assert len(lost) >= 4
    for name in lost:
        app.blobs.delete("commits", name)
    for name in app.blobs.names("state"):
        app.blobs.delete("state", name)
    app.restart()
    assert states(app) == live
    assert app.blobs.everything("state", "profiles", "receipts") == everything


def test_training_reads_a_lake_from_before_and_after_an_edit(app: Edited) -> None:
    app.lake()
    app.restart(changed(add_a_channel))
    app.go_on(UNTIL, END)
    lake = app.lake()
    found, count = history(app.scenario, lake.delta.uri, lake.delta.options, lake.version() or 0)
    assert sorted(found) == list(DEVICES)
    assert count > len(DEVICES) * END - 2
    for hours in found.values():
        noise = hours.values[:, app.scenario.stored.index("noise")]
        assert np.isnan(noise[:UNTIL]).all()
        assert noise[UNTIL:].tolist() == [40.0 + hour for hour in range(UNTIL, END)]
        assert not np.isnan(hours.values[:, 0]).any()


def test_a_worker_with_the_scenario_of_before_stops_where_the_new_one_has_committed(app: Edited) -> None:
    old = app.partitions
    app.restart(changed(add_a_channel))
    app.go_on(UNTIL, UNTIL + 2)
    committed, logs = app.blobs.names("commits"), app.readings.logs
    for number, partition in enumerate(old):
        with pytest.raises(ConfigError, match="the store holds version 1"):
            partition.take(logs[number][partition.recovered().next :])
    assert app.blobs.names("commits") == committed


@pytest.mark.parametrize("skipping", [0, 1])
def test_a_worker_with_the_scenario_of_before_may_still_commit_before_the_new_one_has(
    app: Edited, skipping: int
) -> None:
    old, before = app.partitions, list(app.taken)
    app.restart(changed(add_a_channel))
    states(app)
    for hour in (UNTIL, UNTIL + 1):
        app.hear(*(message(device, hour, 3.0, rain=0.0) for device in DEVICES))
    for number, partition in enumerate(app.partitions):
        fresh = app.readings.logs[number][before[number] :]
        old[number].take(fresh[:1])
        with suppress(StateConflict):  # its memory has moved to the new scenario, ahead of that commit
            partition.take(fresh[skipping:])
        partition.take(fresh)  # the trigger tries again
    live, made = states(app), app.forecasts()
    app.restart()
    assert states(app) == live
    assert {(device, hour) for device, hour, _ in made} >= {(device, HOUR + UNTIL) for device in DEVICES}


def test_an_app_with_the_scenario_of_before_does_not_start_again(app: Edited) -> None:
    app.restart(changed(add_a_channel))
    before = app.blobs.everything()
    with pytest.raises(ConfigError, match="this is version 0 of it, the store went on to version 1"):
        app.restart(changed())
    assert app.blobs.everything() == before


def test_commits_say_their_version_only_once_there_is_more_than_one(app: Edited) -> None:
    app.restart(changed(add_a_channel))
    app.go_on(UNTIL, UNTIL + 1)
    found = [app.files.decode_commit(app.blobs.read("commits", name) or b"")[0] for name in app.blobs.names("commits")]
    assert {(commit.format, commit.version) for commit in found} == {(1, 0), (EVOLVED, 1)}


@pytest.mark.parametrize("edits", [(add_a_channel,), (EDITS["samples_per_hour"][0],), (EDITS["horizon"][0],)])
@pytest.mark.parametrize("snapshots", [True, False])
def test_a_store_without_a_record_is_refused_under_another_scenario(
    app: Edited, edits: tuple[Make, ...], snapshots: bool
) -> None:
    app.blobs.delete("models", "scenario.json")
    for name in app.blobs.names("state") if not snapshots else []:
        app.blobs.delete("state", name)
    if snapshots or edits == (add_a_channel,):
        with pytest.raises(ConfigError, match="begun under another scenario, without a record of it"):
            app.restart(changed(*edits))
    app.restart(changed())
    assert len(stored(app.blobs)[0]) == 1


def test_two_edits_after_each_other_and_a_removed_channel_stay_in_the_lake(app: Edited) -> None:
    before = app.forecasts()
    app.restart(changed(add_a_channel))
    app.go_on(UNTIL, UNTIL + 4)
    app.restart(changed(add_a_channel, wider))
    app.go_on(UNTIL + 4, UNTIL + 6)
    less = changed(add_a_channel, wider, MORE["a channel less"])
    migrate(less, app.blobs, dry_run=False)
    app.restart(less)
    app.go_on(UNTIL + 6, END)
    goes_on(app, before)
    view = app.lake().delta.opened("readings")
    assert view is not None
    rows = [row for piece in view.read() for row in piece.to_pylist()]
    told = {name: [row for row in rows if row.get(name) is not None] for name in ("rain", "noise")}
    hours = {name: sorted({row["timestamp"].hour for row in found}) for name, found in told.items()}
    first = datetime.fromtimestamp(HOUR * 3600, timezone.utc).hour
    assert hours["rain"] == sorted((first + hour) % 24 for hour in range(UNTIL + 6))
    assert hours["noise"] == sorted((first + hour) % 24 for hour in range(UNTIL, END))
