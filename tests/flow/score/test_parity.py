"""Training rows and served rows are the same bits: the same readings by both roads, for few and many devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from shared.adapters.stores.scenario_files import load
from shared.core.forecast.task import HourlyForecast
from shared.core.forecast.window.history import hourly
from shared.core.intake.readings import Floats, Longs, Readings
from shared.core.model.scoring import Control, Scored, ScoreRequest
from shared.core.scenario import Scenario, with_overrides
from shared.core.stream.events import Event, rows_of
from shared.core.stream.gathering import gather
from shared.core.stream.packing import pack
from shared.core.task.tasks import task_of
from training.model.hourly.rows import TrainingSet, from_history

AIR = load("air_quality")
START = 420_000  # an hour of 2017
LOW = np.array([-20, 0, 5, 0, 0, 950, 0], np.float32)
HIGH = np.array([40, 9, 100, 360, 20, 1050, 400], np.float32)


@dataclass(frozen=True)
class Fleet:
    """How many devices report for how many hours, and how unreliably.

    Args:
        devices: Number of devices.
        hours: Hours that they report.
        samples: Samples in an hour.
        missing: Share of readings that never come, and of values that are missing in those that do.
        late: Share of readings that come some hours late, but before the target hours of what they change.
    """

    devices: int
    hours: int
    samples: int = 1
    missing: float = 0.2
    late: float = 0.0

    def readings(self, seed: int) -> Readings:
        """Readings in the order of arrival; every device misses some whole stretches too."""
        draw = np.random.default_rng(seed)
        device, hour, sample = (grid.ravel() for grid in np.indices((self.devices, self.hours, self.samples)))
        begins = draw.integers(0, self.hours // 4, self.devices)
        silent = draw.integers(0, self.hours, (self.devices, 2))
        length = draw.integers(1, 20, (self.devices, 2))
        quiet = (hour[:, None] >= silent[device]) & (hour[:, None] < silent[device] + length[device])
        here = (hour >= begins[device]) & ~quiet.any(axis=1) & (draw.random(len(device)) >= self.missing)
        device, hour, sample = device[here], hour[here], sample[here]
        delay = np.where(draw.random(len(device)) < self.late, draw.integers(0, AIR.horizon - 1, len(device)), 0)
        order = np.lexsort((draw.random(len(device)), sample, hour + delay))
        device, minute = device[order], (START + hour[order]) * 60 + sample[order] * (60 // self.samples)
        values = draw.uniform(LOW, HIGH, (len(device), len(LOW))).astype(np.float32)
        values[draw.random(values.shape) < self.missing] = np.nan
        names = tuple(f"device-{place}" for place in range(self.devices))
        place = np.arange(1, len(device) + 1)
        return Readings(names, device.astype(np.int32), minute.astype(np.int32), place, values)


@dataclass
class Recorder:
    """A scorer that keeps the newest feature row of every device and as-of hour from some hour on."""

    since: int
    rows: dict[tuple[str, int], bytes] = field(default_factory=dict)
    widths: set[int] = field(default_factory=set)

    def __call__(self, ask: ScoreRequest) -> Sequence[Scored]:
        """No answers; they would change nothing in the features."""
        wanted = ask.as_of >= self.since
        if wanted.any():
            matrix = ask.matrix()
            self.widths.add(len(matrix))
            for place in np.flatnonzero(wanted).tolist():
                self.rows[ask.device[place], int(ask.as_of[place])] = matrix[place].tobytes()
        return []


def served(scenario: Scenario, readings: Readings, edges: Sequence[int], since: int) -> Recorder:
    """What the models would see when the readings come in batches that end at these rows."""
    recorder, state = Recorder(since), HourlyForecast(scenario).empty(0)
    task = HourlyForecast(scenario)
    start = 0
    for end in [*edges, len(readings)]:
        part = rows_of(readings, np.arange(start, end))
        bodies = list(pack("file/x@1", scenario.channel_names, part))
        events = [Event(state.next + place, 0, body) for place, body in enumerate(bodies)]
        start = end
        if events:
            batch, bad = gather(0, 0, events, scenario.channel_names)
            assert not bad
            task.step(state, batch, Control(), recorder).put(state)
    return recorder


def trained(scenario: Scenario, readings: Readings, since: int) -> TrainingSet:
    """What a training run learns from, by the functions that it calls."""
    return from_history(task_of(scenario), hourly(scenario, readings), since=since)


def assert_parity(rows: TrainingSet, recorder: Recorder, least: int) -> None:
    """Every training row was served, with the same bits; `least` keeps the test from comparing nothing."""
    assert len(rows) >= least
    names: list[str] = [rows.devices[place] for place in rows.device.tolist()]
    differing = [
        (name, as_of)
        for name, as_of, row in zip(names, rows.as_of.tolist(), rows.matrix, strict=True)
        if recorder.rows.get((name, as_of)) != row.tobytes()
    ]
    assert not differing, f"{len(differing)} of {len(rows)} rows differ, first {differing[:3]}"


def cuts(readings: Readings, how: str) -> Longs:
    """Rows after which a batch ends."""
    count = len(readings)
    hour = readings.minute // 60
    if how == "hours":
        return np.flatnonzero(np.diff(np.maximum.accumulate(hour))) + 1
    if how == "one":
        return np.zeros(0, np.int64)
    if how == "each":
        return np.arange(1, count)
    return np.sort(np.random.default_rng(int(how)).choice(np.arange(1, count), min(30, count - 1), replace=False))


@pytest.mark.parametrize("how", ["hours", "one", "each", "3", "4"])
@pytest.mark.parametrize("devices", [1, 2, 7])
def test_training_rows_are_the_rows_that_serving_computed(devices: int, how: str) -> None:
    fleet = Fleet(devices, hours=200)
    readings, since = fleet.readings(seed=devices), START + 130
    if how == "each":
        since = START + 160  # one reading a batch costs a batch's overhead each
    recorder = served(AIR, readings, cuts(readings, how).tolist(), since)
    assert_parity(trained(AIR, readings, since), recorder, least=2 * devices)


@pytest.mark.parametrize("how", ["hours", "one"])
def test_training_rows_are_the_rows_that_serving_computed_for_a_thousand_devices(how: str) -> None:
    readings, since = Fleet(1000, hours=150).readings(seed=5), START + 120
    recorder = served(AIR, readings, cuts(readings, how).tolist(), since)
    assert_parity(trained(AIR, readings, since), recorder, least=2000)
    assert max(recorder.widths) > 512, "many windows at a time, more than the features work on at once"


@pytest.mark.parametrize("how", ["hours", "one", "8"])
def test_several_samples_an_hour_are_added_in_the_same_order(how: str) -> None:
    scenario = with_overrides(AIR, samples_per_hour=4)
    readings, since = Fleet(7, hours=190, samples=4).readings(seed=9), START + 130
    recorder = served(scenario, readings, cuts(readings, how).tolist(), since)
    assert_parity(trained(scenario, readings, since), recorder, least=40)


@pytest.mark.parametrize("how", ["hours", "one", "8"])
def test_late_readings_end_in_the_same_rows(how: str) -> None:
    readings, since = Fleet(7, hours=170, late=0.3).readings(seed=11), START + 130
    recorder = served(AIR, readings, cuts(readings, how).tolist(), since)
    assert_parity(trained(AIR, readings, since), recorder, least=40)


def test_a_device_alone_and_among_a_thousand_has_the_same_rows() -> None:
    readings, since = Fleet(1000, hours=60).readings(seed=5), START + 52
    among = served(AIR, readings, cuts(readings, "hours").tolist(), since)
    for device in (0, 1, 999):
        own = rows_of(readings, np.flatnonzero(readings.device == device))
        alone = served(AIR, own, cuts(own, "hours").tolist(), since)
        mine = {key: row for key, row in among.rows.items() if key[0] == f"device-{device}"}
        assert alone.rows == mine
        assert mine


def test_the_comparison_notices_one_bit() -> None:
    readings, since = Fleet(2, hours=170).readings(seed=2), START + 130
    recorder = served(AIR, readings, [], since)
    rows = trained(AIR, readings, since)
    bits: Floats = rows.matrix
    bits.view(np.uint32)[0, 0] ^= 1
    with pytest.raises(AssertionError, match="1 of"):
        assert_parity(rows, recorder, least=1)
