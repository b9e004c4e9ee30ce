"""The step against the plain dictionary model: any cut into batches gives the same final values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.events import Batch, Event, gather, pack
from shared.core.features import Feature
from shared.core.readings import Floats, Longs, Readings
from shared.core.scenario import Scenario, parse
from shared.core.scoring import Ask, Control, Scored
from shared.core.state import ERRORS, State
from shared.core.step import Machine, step
from tests.unit.plain_model import Plain, Reading

CHANNELS = [
    {"name": "pm", "unit": "ug/m3", "minimum": 0, "maximum": 1000},
    {"name": "rain", "unit": "mm", "minimum": 0, "maximum": 300, "aggregate": "sum"},
    {"name": "wind", "unit": "deg", "minimum": 0, "maximum": 360, "aggregate": "circular"},
]


def small(samples_per_hour: int = 1, horizon: int = 3, lateness: int = 3, history: int = 7) -> Scenario:
    return parse(
        {
            "name": "small",
            "title": "small",
            "task": "regression",
            "key": "device_id",
            "target": "pm",
            "featurizer": "hourly",
            "channels": CHANNELS,
            "samples_per_hour": samples_per_hour,
            "horizon": horizon,
            "lateness": lateness,
            "history": history,
        }
    )


@dataclass(frozen=True)
class WholeWindow:
    """A featurizer whose features are the window itself, so that a misplaced hour shows."""

    features: tuple[Feature, ...]

    def matrix(self, window: Floats, as_of: Longs) -> Floats:
        return window.reshape(-1, len(as_of)).T.copy()


def machine(scenario: Scenario) -> Machine:
    width = scenario.history * len(scenario.stored)
    features = tuple(Feature(f"f{i}", 1) for i in range(width))
    return Machine(scenario, WholeWindow(features))  # type: ignore[arg-type]


def guess(row: Sequence[float]) -> float:
    """The model: a sum that depends on the place of every value and of every gap, exact in float32."""
    total = 0
    for place, value in enumerate(row):
        total += (place % 11 + 1) * (3 if math.isnan(value) else int(round(float(value) * 4)) % 17)
    return float(total % 1000)


def scorer(ask: Ask) -> list[Scored]:
    values = np.array([guess(row) for row in ask.matrix().tolist()], np.float32)
    return [Scored(0, "v1", values, values - 5, values + 5, np.ones(len(values), bool))]


def nobody(ask: Ask) -> list[Scored]:
    return []


def as_batches(scenario: Scenario, readings: Sequence[Reading], cuts: Sequence[int]) -> list[Batch]:
    """Readings as they would arrive: runs of one source are packed into events, events cut into batches."""
    batches = []
    edges = sorted({0, *(min(c, len(readings)) for c in cuts), len(readings)})
    sequence = 0
    for low, high in zip(edges, edges[1:], strict=False):
        events = []
        for source, run in _runs(readings[low:high]):
            for body in pack(source, scenario.channel_names, columns(scenario, run)):
                events.append(Event(sequence, 1000 + sequence, body))
                sequence += 1
        batch, bad = gather(0, 0, events, scenario.channel_names)
        assert not bad
        batches.append(batch)
    return batches


def _runs(readings: Sequence[Reading]) -> list[tuple[str, list[Reading]]]:
    runs: list[tuple[str, list[Reading]]] = []
    for reading in readings:
        if runs and runs[-1][0] == reading.source and runs[-1][1][-1].position < reading.position:
            runs[-1][1].append(reading)
        else:
            runs.append((reading.source, [reading]))
    return runs


def columns(scenario: Scenario, readings: Sequence[Reading]) -> Readings:
    devices = sorted({r.device for r in readings})
    return Readings(
        tuple(devices),
        np.array([devices.index(r.device) for r in readings], np.int32),
        np.array([r.minute for r in readings], np.int32),
        np.array([r.position for r in readings], np.int64),
        np.array([[math.nan if v is None else v for v in r.values] for r in readings], np.float32).reshape(
            len(readings), len(scenario.channels)
        ),
    )


def fold(
    scenario: Scenario, batches: Sequence[Batch], control: Control = Control(), answer: Any = scorer
) -> tuple[State, dict[str, int], dict[tuple[str, int], tuple[float, int]]]:  # noqa: B008
    state, counts = State.empty(scenario, 0), dict.fromkeys(Plain(scenario, guess).counts, 0)
    newest: dict[tuple[str, int], tuple[float, int]] = {}
    for batch in batches:
        outcome = step(machine(scenario), state, batch, control, answer)
        for name in counts:
            counts[name] += outcome.counts()[name]
        found = outcome.predictions
        for device, as_of, value, revision in zip(
            found.device, found.as_of.tolist(), found.value.tolist(), found.revision.tolist(), strict=True
        ):
            if (device, as_of) in newest:
                assert revision > newest[device, as_of][1], "revisions only increase"
            newest[device, as_of] = (value, revision)
        outcome.put(state)
    return state, counts, newest


START = 420_000  # an hour of 2017


@st.composite
def histories(draw: st.DrawFn) -> list[Reading]:
    """Mostly forward, sometimes late, repeated, conflicting, jumping; several devices and sources."""
    readings: list[Reading] = []
    clocks = dict.fromkeys("abc", START)
    positions = dict.fromkeys(("file/x", "hub/0"), 0)
    for _ in range(draw(st.integers(1, 60))):
        device = draw(st.sampled_from("abc"))
        source = draw(st.sampled_from(sorted(positions)))
        kind = draw(st.sampled_from(["next"] * 8 + ["same", "late", "late", "jump", "leap", "repeat", "resend"]))
        if kind == "resend" and readings:
            readings.append(readings[draw(st.integers(0, len(readings) - 1))])
            continue
        ahead = {"next": 1, "jump": draw(st.integers(2, 9)), "leap": draw(st.integers(10, 200))}.get(kind, 0)
        clocks[device] += ahead
        behind = draw(st.integers(0, 5)) if kind == "late" else 0
        minute = (clocks[device] - behind) * 60 + draw(st.sampled_from([0, 0, 0, 7, 59]))
        positions[source] += draw(st.integers(1, 3))
        values = draw(st.tuples(*(st.one_of(st.none(), st.sampled_from([0.0, 1.0, 12.25, 90.0])) for _ in range(3))))
        if kind == "repeat" and readings:
            twin = readings[draw(st.integers(0, len(readings) - 1))]
            device, minute, values = twin.device, twin.minute, draw(st.sampled_from([twin.values, values]))
        readings.append(Reading(source, positions[source], device, minute, values))
    return readings


@settings(max_examples=120, deadline=None)
@given(histories(), st.lists(st.integers(0, 60), max_size=12), st.sampled_from([1, 2]), st.booleans())
def test_any_cut_into_batches_gives_what_one_reading_at_a_time_gives(
    readings: list[Reading], cuts: list[int], samples: int, equal: bool
) -> None:
    scenario = small(samples_per_hour=samples, lateness=3 if equal else 2)
    plain = Plain(scenario, lambda window: guess(np.array(window, np.float32).ravel().tolist()))
    for reading in readings:
        plain.read(reading)
    state, counts, newest = fold(scenario, as_batches(scenario, readings, cuts))
    expected = {(n, a): f[0] for n, d in plain.devices.items() for a, f in d.forecasts.items()}
    assert {key: value for key, (value, _) in newest.items()} == expected
    # In one batch a repeated minute is compared with the first reading itself, later with a bounded memory of it.
    repeated = counts.pop("duplicates") + counts.pop("conflicts")
    assert repeated == plain.counts.pop("duplicates") + plain.counts.pop("conflicts")
    assert counts == plain.counts
    sums: dict[int, list[int]] = {}
    for (day, _, _), row in state.errors.items():
        assert day not in sums
        sums[day] = [int(row[ERRORS.index(name)]) for name in ("matured", "absolute", "squared")]
    assert sums == plain.errors
    _same_ring(state, plain)


def _same_ring(state: State, plain: Plain) -> None:
    ring = state.columns.ring
    values = ring.values()
    assert set(state.devices) == set(plain.devices)
    for place, name in enumerate(state.devices):
        device = plain.devices[name]
        assert ring.head[place] == device.head
        for hour in range(max(device.head - ring.slots + 1, 0), device.head + 1):
            expected = np.array(plain.hour(device, hour), np.float32)
            np.testing.assert_allclose(values[hour % ring.slots, :, place], expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(histories(), st.lists(st.integers(0, 60), max_size=12), st.lists(st.integers(0, 60), max_size=3))
def test_the_cut_into_batches_leaves_no_trace_in_the_state(
    readings: list[Reading], one: list[int], two: list[int]
) -> None:
    scenario = small()
    left, _, _ = fold(scenario, as_batches(scenario, readings, one))
    right, _, _ = fold(scenario, as_batches(scenario, readings, two))
    count = len(left.devices)
    assert sorted(left.devices) == sorted(right.devices)
    order = [right.index[name] for name in left.devices]
    for name, array in left.columns.arrays().items():
        other = right.columns.arrays()[name]
        if name != "revision":  # how often an hour was forecast again does depend on the cut
            np.testing.assert_array_equal(array[:, :, :count], other[:, :, order], err_msg=name)
    assert {k: v.tolist() for k, v in left.errors.items()} == {k: v.tolist() for k, v in right.errors.items()}


def test_a_quarantined_device_is_stored_but_not_forecast() -> None:
    scenario = small()
    readings = [Reading("hub/0", i + 1, "ab"[i % 2], (START + i // 2) * 60, (1.0, 0.0, 0.0)) for i in range(20)]
    _, counts, newest = fold(scenario, as_batches(scenario, readings, []), Control(quarantine=frozenset("a")))
    assert counts["applied"] == 20
    assert {device for device, _ in newest} == {"b"}


def test_without_a_model_hours_are_folded_and_nothing_is_forecast() -> None:
    scenario = small()
    readings = [Reading("hub/0", i + 1, "a", (START + i) * 60, (1.0, 0.0, 0.0)) for i in range(20)]
    state, _, newest = fold(scenario, as_batches(scenario, readings, []), answer=nobody)
    assert not newest
    assert state.columns.ring.head.max() == START + 19


def test_a_step_leaves_the_state_as_it_was() -> None:
    scenario = small()
    readings = [Reading("hub/0", i + 1, "a", (START + i) * 60, (1.0, 0.0, 0.0)) for i in range(20)]
    first, second = as_batches(scenario, readings, [10])
    state = State.empty(scenario, 0)
    step(machine(scenario), state, first, Control(), scorer).put(state)
    before = {name: array.tobytes() for name, array in state.columns.arrays().items()}
    tally = state.sources["hub/0"].copy()
    step(machine(scenario), state, second, Control(), scorer)
    assert {name: array.tobytes() for name, array in state.columns.arrays().items()} == before
    assert (state.next, state.sources["hub/0"].position) == (first.next, tally.position)


@pytest.mark.parametrize("gap", [0, 1, 5, 6, 7, 100])
def test_a_gap_keeps_hour_k_in_slot_k(gap: int) -> None:
    scenario = small()
    hours = [START, START + 1, START + 2 + gap]
    readings = [Reading("f", i + 1, "a", hour * 60, (float(i), 0.0, 0.0)) for i, hour in enumerate(hours)]
    state, _, _ = fold(scenario, as_batches(scenario, readings, []))
    values = state.columns.ring.values()[:, 0, 0]
    for hour in range(hours[-1] - scenario.slots + 1, hours[-1] + 1):
        expected = float(hours.index(hour)) if hour in hours else math.nan
        np.testing.assert_equal(float(values[hour % scenario.slots]), expected)


def _forecasts(samples: int, *rows: tuple[int, int, float]) -> dict[int, tuple[float, int]]:
    """Newest forecasts of one device from readings (hours after START, minute, pm), all in one batch."""
    scenario = small(samples_per_hour=samples)
    readings = [Reading("f", i + 1, "a", (START + h) * 60 + m, (v, 0.0, 0.0)) for i, (h, m, v) in enumerate(rows)]
    _, _, newest = fold(scenario, as_batches(scenario, readings, []))
    return {as_of - START: found for (_, as_of), found in newest.items()}


def test_a_reading_as_late_as_the_horizon_changes_the_hour_but_not_the_forecast_that_is_final() -> None:
    rows = [(0, 0, 1.0), (1, 0, 2.0), (2, 0, 3.0), (3, 0, 4.0)]
    late = _forecasts(1, *rows, (0, 7, 90.0))
    assert late[0] == _forecasts(1, *rows)[0]
    assert late[1][0] != _forecasts(1, *rows)[1][0]


def test_an_incomplete_hour_is_forecast_when_the_next_begins_unless_its_target_is_past_by_then() -> None:
    assert set(_forecasts(2, (0, 0, 1.0), (2, 0, 2.0))) == {0}
    assert set(_forecasts(2, (0, 0, 1.0), (3, 0, 2.0))) == set()
    assert set(_forecasts(2, (0, 0, 1.0), (0, 9, 1.0))) == {0}


@settings(max_examples=60, deadline=None)
@given(histories(), st.sampled_from([1, 2]))
def test_one_reading_a_batch_gives_the_revisions_of_the_plain_model(readings: list[Reading], samples: int) -> None:
    scenario = small(samples_per_hour=samples)
    plain = Plain(scenario, lambda window: guess(np.array(window, np.float32).ravel().tolist()))
    for reading in readings:
        plain.read(reading)
    _, _, newest = fold(scenario, as_batches(scenario, readings, list(range(len(readings)))))
    expected = {(n, a): (f[0], f[2]) for n, d in plain.devices.items() for a, f in d.forecasts.items()}
    assert newest == expected
