"""What of a state survives an edit of the scenario."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from shared.core.forecast.losses import QUALITY, TOTALS, quantum
from shared.core.forecast.state import State
from shared.core.forecast.task import HourlyForecast
from shared.core.intake.readings import Floats, Readings
from shared.core.model.scoring import Control, Inputs, Scored, ScoreRequest
from shared.core.profile.bins import MISSING
from shared.core.scenario import Scenario
from shared.core.stream.commit import CONFLICT, DUPLICATE
from shared.core.stream.events import Event
from shared.core.stream.gathering import gather
from shared.core.stream.packing import pack
from shared.core.task.versions import aligned, at, bring, versions
from shared.errors import ConfigError, StateConflict
from tests.kit import HOUR
from tests.kit.edits import EDITS, add_a_channel, changed, wider

HOURS, DEVICES = 30, ("a", "b", "c")
Columns = dict[str, tuple[float, ...]]


def answers(request: ScoreRequest) -> list[Scored]:
    value = np.array([(hour * 13) % 40 + 0.5 for hour in request.as_of], np.float32)
    numbers = {"value": value, "lower": value - 6, "upper": value + 6}
    return [Scored(role, model, numbers, np.full(len(value), role == 0)) for role, model in enumerate(("v1", "v2"))]


def readings(scenario: Scenario, first: int, hours: int) -> Readings:
    """Hourly readings of all channels; a value says where it belongs."""
    place = np.arange(hours * len(DEVICES))
    device, hour = place % len(DEVICES), first + place // len(DEVICES)
    base = (hour * 7 + device * 5) % 41 + 0.25
    values = np.stack([base + column for column in range(len(scenario.channels))], axis=1)
    position = np.arange(first * len(DEVICES), first * len(DEVICES) + len(place))
    return Readings(DEVICES, device.astype(np.int32), ((HOUR + hour) * 60).astype(np.int32), position + 1,
                    values.astype(np.float32))  # fmt: skip


def told(task: HourlyForecast, state: State, first: int, hours: int, source: str = "file/x@1") -> Any:
    """Fold hours into a state; returns the outcome of the last batch."""
    outcome = None
    for body in pack(source, task.scenario.channel_names, readings(task.scenario, first, hours)):
        batch, _ = gather(0, 0, [Event(state.next, 1, body)], task.scenario.channel_names)
        outcome = task.step(state, batch, Control("v1", "v2"), answers)
        outcome.put(state)
    return outcome


def begun(scenario: Scenario | None = None) -> tuple[HourlyForecast, State]:
    task = HourlyForecast(scenario or changed())
    state = task.empty(0)
    told(task, state, 0, HOURS)
    return task, state


def edited(before: HourlyForecast, *edits: Any) -> HourlyForecast:
    return before.under(changed(*edits), before)


def hourly(task: HourlyForecast, state: State, name: str, hours: int) -> Floats:
    """Newest hours of a stored column, newest first, shape (hours, devices)."""
    column = task.scenario.stored.index(name)
    device = np.arange(len(DEVICES))
    ring = state.columns.ring
    return np.stack([ring.value_at(device, ring.head[device] - back, column) for back in range(hours)])


def test_a_wider_limit_keeps_hours_errors_and_waiting_forecasts() -> None:
    before, state = begun()
    after = edited(before, wider)
    ratio = quantum(before.scenario) / quantum(after.scenario)
    assert ratio == 0.25
    hours = [hourly(before, state, name, 9) for name in before.scenario.stored]
    scores = {key: before.losses.scores(sums, before.losses.unit) for key, sums in state.errors.items()}
    waiting, totals = state.columns.waiting.revision.sum(), state.sources["file/x@1"].totals.copy()
    quality = state.columns.quality.copy()
    bring(after, state, 1)
    assert state.version == 1
    for name, then in zip(after.scenario.stored, hours, strict=True):
        assert np.array_equal(hourly(after, state, name, 9), then, equal_nan=True)
    assert scores
    for key, then_scores in scores.items():
        now = after.losses.scores(state.errors[key], after.losses.unit)
        assert now == pytest.approx(then_scores, rel=1e-3), key
    assert 0 < state.columns.waiting.revision.sum() <= waiting
    now_totals = dict(zip(TOTALS, state.sources["file/x@1"].totals, strict=True))
    for name, then_total in zip(TOTALS, totals, strict=True):
        power = 2 if "squared" in name else 1 if "absolute" in name else 0
        assert now_totals[name] == np.rint(then_total * ratio**power), name
    assert np.array_equal(state.columns.quality[:, QUALITY.index("matured")], quality[:, QUALITY.index("matured")])
    assert not state.forecasts  # their bins are others


def test_counts_in_the_same_bins_are_kept_and_those_in_others_count_as_missing() -> None:
    before, state = begun()
    after = edited(before, wider, add_a_channel)
    counts = {day: table.copy() for day, table in state.histograms.items()}
    bring(after, state, 1)
    then = {name: place for place, (name, _) in enumerate(before.watched.names)}
    assert counts
    for day, table in state.histograms.items():
        for place, (name, _) in enumerate(after.watched.names):
            if name in then and not name.startswith("pm."):
                assert np.array_equal(table[place], counts[day][then[name]]), name
            else:
                assert table[place][MISSING] == counts[day][0].sum() == table[place].sum(), name


def test_forecasts_that_wait_are_judged_once_after_the_edit_as_without_it() -> None:
    before, state = begun()
    _, undisturbed = begun()
    after = edited(before, add_a_channel)
    bring(after, state, 1)
    told(after, state, HOURS, 12)
    told(before, undisturbed, HOURS, 12)
    assert {key: sums.tolist() for key, sums in state.errors.items()} == {
        key: sums.tolist() for key, sums in undisturbed.errors.items()
    }
    assert {key: sums.tolist() for key, sums in state.pairs.items()} == {
        key: sums.tolist() for key, sums in undisturbed.pairs.items()
    }


@pytest.mark.parametrize("lateness", [1, 2, 4, 5])
def test_another_lateness_judges_no_forecast_twice(lateness: int) -> None:
    def later(raw: dict[str, Any]) -> None:
        raw.update(lateness=lateness, horizon=5, history=12)

    def base(raw: dict[str, Any]) -> None:
        raw.update(lateness=3, horizon=5, history=12)

    before, state = begun(changed(base))
    after = edited(before, later)
    bring(after, state, 1)
    told(after, state, HOURS, 20)
    counted = sum(int(sums[0]) for (_, role, _), sums in state.errors.items() if role == 0)
    made = len(DEVICES) * (HOURS + 20 - 1)  # the newest hour has not ended
    waiting = len(DEVICES) * (after.delay_h + 1)
    lost = len(DEVICES) * max(0, 3 - lateness)  # between the old and the new delay
    assert counted == made + len(DEVICES) - waiting - lost


@pytest.mark.parametrize("key", ["target", "horizon", "channels.aggregate"])
def test_errors_of_forecasts_that_meant_something_else_are_not_kept(key: str) -> None:
    before, state = begun()
    after = edited(before, EDITS[key][0])
    arrived = state.sources["file/x@1"].totals[TOTALS.index("arrived")]
    bring(after, state, 1)
    assert (state.errors, state.pairs, state.forecasts) == ({}, {}, {})
    assert not state.columns.quality.any()
    totals = dict(zip(TOTALS, state.sources["file/x@1"].totals.tolist(), strict=True))
    assert (totals["arrived"], totals["matured"], totals["absolute"]) == (arrived, 0, 0)


def test_revisions_count_on_although_what_was_forecast_is_void() -> None:
    before, state = begun()
    after = edited(before, EDITS["horizon"][0])
    bring(after, state, 1)
    late = dataclasses.replace(
        readings(after.scenario, HOURS - 1, 1), minute=readings(after.scenario, HOURS - 1, 1).minute + 7
    )
    (body,) = pack("file/late@1", after.scenario.channel_names, late)
    batch, _ = gather(0, 0, [Event(state.next, 1, body)], after.scenario.channel_names)
    made = after.step(state, batch, Control("v1", "v2"), answers)
    assert set(made.predictions.as_of.tolist()) == {HOUR + HOURS - 1}
    assert set(made.predictions.revision.tolist()) == {1}
    made.put(state)
    told(after, state, HOURS, 20)
    counted = sum(int(sums[0]) for (_, role, _), sums in state.errors.items() if role == 0)
    answered = len(DEVICES) * 21  # the hours made after the edit, the first of them anew
    assert counted == answered - len(DEVICES) * (after.delay_h + 1)


def test_a_longer_history_keeps_the_newest_hours_and_a_removed_channel_goes() -> None:
    before, state = begun()
    held = before.scenario.slots

    def edit(raw: dict[str, Any]) -> None:
        raw.update(history=20)
        raw["channels"].pop(1)

    then = hourly(before, state, "pm", held)
    after = edited(before, edit)
    bring(after, state, 1)
    found = hourly(after, state, "pm", after.scenario.slots)
    assert np.array_equal(found[:held], then)
    assert np.isnan(found[held:]).all()
    assert "rain" not in after.scenario.stored


def test_a_reading_of_before_that_comes_again_is_a_duplicate_whatever_it_says_now() -> None:
    before, state = begun()
    after = edited(before, add_a_channel)
    assert set(told(before, state, HOURS - 1, 1, "file/y@1").disposition) == {DUPLICATE}
    bring(after, state, 1)
    assert set(told(after, state, HOURS - 2, 1, "file/z@1").disposition) == {DUPLICATE}
    told(after, state, HOURS, 1)
    again = readings(after.scenario, HOURS, 1)
    other = dataclasses.replace(again, values=again.values + 1)
    (body,) = pack("file/w@1", after.scenario.channel_names, other)
    batch, _ = gather(0, 0, [Event(state.next, 1, body)], after.scenario.channel_names)
    assert set(after.step(state, batch, Control(), answers).disposition) == {CONFLICT}  # both came after the edit


def test_versions_are_walked_one_by_one_and_never_back() -> None:
    first, state = begun()
    second = edited(first, add_a_channel)
    third = second.under(changed(add_a_channel, wider), second)
    assert versions(third) == [first, second, third]
    assert [each.version for each in versions(third)] == [0, 1, 2]
    assert at(third, 1) is second
    assert bring(third, state, 2) is third
    with pytest.raises(StateConflict, match="of version 2"):
        bring(third, state, 1)
    with pytest.raises(ConfigError, match="the store holds version 2, this app was deployed with version 1"):
        bring(second, state, 2)


def test_a_scorer_of_todays_features_answers_requests_with_those_of_before() -> None:
    before = HourlyForecast(changed())
    after = edited(before, add_a_channel)
    seen: list[Floats] = []

    def scorer(request: ScoreRequest, /) -> list[Scored]:
        seen.append(request.matrix())
        return []

    given = np.arange(2 * len(before.features), dtype=np.float32).reshape(2, -1)
    nothing = Inputs((), np.zeros(0, np.int64), np.zeros((0, 0), np.float32))
    request = ScoreRequest(["a", "b"], np.array([1, 2]), lambda: given, lambda _: nothing)
    aligned(scorer, before, after)(request)
    places = {feature.name: place for place, feature in enumerate(before.features)}
    for column, feature in enumerate(after.features):
        if feature.name in places:
            assert np.array_equal(seen[0][:, column], given[:, places[feature.name]])
        else:
            assert np.isnan(seen[0][:, column]).all()
            assert "noise" in feature.name
    assert aligned(scorer, before, before) is scorer
