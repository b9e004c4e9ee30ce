"""Hourly history -> what the drift check would have read at the end of each week, without running the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from local.fleet.__main__ import Fleet
from shared.core.drift.baseline import Baseline
from shared.core.drift.check import check
from shared.core.drift.verdict import Verdict
from shared.core.forecast.losses import QUALITY
from shared.core.forecast.window.columns import Layout, spread
from shared.core.forecast.window.history import Hourly, hourly
from shared.core.forecast.window.recent import RecentDevices
from shared.core.intake.readings import Longs
from shared.core.profile.bins import count, place
from shared.core.profile.device_table import DeviceTable
from shared.core.profile.merged import MergedProfile
from shared.core.scenario import Scenario
from shared.core.task.task import Task
from shared.core.task.tasks import task_of
from training.calibrate.limits import calibrate
from training.data.files import read
from training.model.evaluate import Evaluation
from training.model.hourly.rows import History, before, from_history

HOURS, WEEK, MODEL = 24, 7, "v1"
BLOCK = 4096
MINIMUM_ROWS = 300


def fleet_history(scenario: Scenario, fleet: Fleet) -> dict[str, Hourly]:
    """The hours of a generated fleet."""
    layout, found = Layout.of(scenario), {}
    for station, name in enumerate(fleet.names):
        values = spread(layout, np.ascontiguousarray(fleet.values[:, station])).astype(np.float32)
        sampled = np.asarray(np.isfinite(values).any(axis=1), np.uint8)
        found[name] = Hourly(fleet.first_hour, values, sampled)
    return found


def file_history(scenario: Scenario, path: Path) -> dict[str, Hourly]:
    """The hours of a file in the long form."""
    return hourly(scenario, read([path], scenario, not_after_minute=2**31 - 1).readings)


def shifted(scenario: Scenario, history: History, column: str, amount: float) -> dict[str, Hourly]:
    """The history with one stored column raised on all devices, within the limits of its channel."""
    place_of = scenario.stored.index(column)
    channel = scenario.channels[scenario.channel_names.index(column)]
    found = {}
    for name, hours in history.items():
        values = hours.values.copy()
        values[:, place_of] = np.clip(values[:, place_of] + np.float32(amount), channel.minimum, channel.maximum)
        found[name] = replace(hours, values=values)
    return found


def spread_of(scenario: Scenario, history: History, column: str) -> float:
    """Standard deviation of a column over all hours of all devices."""
    place_of = scenario.stored.index(column)
    return float(np.nanstd(np.concatenate([hours.values[:, place_of] for hours in history.values()])))


def baseline_of(scenario: Scenario, history: History) -> Baseline:
    """What training would leave; persistence stands in for the model's out-of-fold forecasts."""
    rows = from_history(task_of(scenario), history)
    forecast = np.where(np.isfinite(rows.latest), rows.latest, np.nanmean(rows.latest)).astype(np.float32)
    evaluation = Evaluation(
        as_of=rows.as_of,
        device=rows.device,
        devices=rows.devices,
        truth=rows.target,
        forecasts={"": forecast * np.float32(0.9), "_persistence": rows.latest, "_damped": forecast},
        lower=forecast * np.float32(0.3),
        upper=forecast * np.float32(2.5),
    )
    return Baseline.from_arrays(calibrate(task_of(scenario), rows, evaluation))


@dataclass(frozen=True)
class Replay:
    """Counts by day and device, and the hours that device tables are made of.

    Args:
        task: The forecast.
        history: Devices' hours.
        first_day: Day of the first counts.
        counts: By device, shape (days, W, BINS + 1).
    """

    task: Task
    history: History
    first_day: int
    counts: dict[str, Longs]

    @classmethod
    def of(cls, scenario: Scenario, history: History) -> Replay:
        """Count the features of every hour with a sample."""
        task = task_of(scenario)
        first = min(hours.first_hour for hours in history.values()) // HOURS
        last = max(hours.first_hour + len(hours.values) for hours in history.values()) // HOURS
        found = {name: _counted(task, h, first, last) for name, h in history.items()}
        return cls(task, history, first, found)

    def with_device(self, name: str, hours: Hourly) -> Replay:
        """The same with another history of one device."""
        last = self.first_day + len(self.counts[name])
        own = _counted(self.task, hours, self.first_day, last)
        return replace(self, history={**self.history, name: hours}, counts={**self.counts, name: own})

    def weeks(self, first_day: int) -> list[int]:
        """Ends of the whole weeks that lie behind a day and whose forecasts have matured."""
        delay = -(-self.task.delay_h // HOURS) + 1
        last = self.first_day + len(next(iter(self.counts.values()))) - delay
        return list(range(first_day + 2 * WEEK, last + 1, WEEK))

    def merged(self, end: int, other: Replay | None = None, since: int = 0) -> MergedProfile:
        """The profiles as they stand when the day before `end` has matured; from day `since` on as in `other`."""
        hour = end * HOURS + self.task.delay_h
        days = range(end - 2 * WEEK, end)
        after = other or self
        sums = {d: sum((self if d < since else after).counts[n][d - self.first_day] for n in self.counts) for d in days}
        return MergedProfile(
            task=self.task,
            stamps={0: (0, 1)},
            newest_hour=hour,
            watched=self.task.watched.names,
            edges=self.task.watched.edges,
            histograms={day: np.asarray(total) for day, total in sums.items()},
            forecasts={},
            errors={},
            pairs={},
            devices=after.table(hour),
        )

    def table(self, head: int) -> DeviceTable:
        """The device table at an hour."""
        layout = Layout.of(self.task.scenario)
        hours = np.arange(head - layout.slots + 1, head + 1)
        names = sorted(self.history)
        sums = np.full((layout.slots, layout.columns, len(names)), np.nan, np.float32)
        for column, name in enumerate(names):
            own = self.history[name]
            at = hours - own.first_hour
            inside = (at >= 0) & (at < len(own.values))
            sums[hours[inside] % layout.slots, :, column] = own.values[at[inside]]
        counts = np.isfinite(sums).astype(np.uint8)
        none = np.zeros((len(QUALITY), len(names)), np.int64)
        heads = np.full(len(names), head, np.int64)
        return RecentDevices(layout, self.task.losses.unit, 1, names, heads, np.nan_to_num(sums), counts, none).table()

    def without(self, name: str, since: int) -> Replay:
        """The same with nothing counted of a device from a day on: it is in quarantine."""
        own = self.counts[name].copy()
        own[since - self.first_day :] = 0
        return replace(self, counts={**self.counts, name: own})

    def check(
        self,
        baseline: Baseline,
        end: int,
        other: Replay | None = None,
        since: int = 0,
        quarantined: tuple[str, ...] = (),
    ) -> Verdict:
        """The verdict when the day before `end` has matured."""
        merged = self.merged(end, other, since)
        rules = replace(self.task.scenario.drift, minimum_rows=MINIMUM_ROWS)
        return check(rules, baseline, merged, merged.newest_hour, MODEL, quarantined)


def calibrated(scenario: Scenario, history: History, days: int) -> tuple[Baseline, int]:
    """A baseline from the first days of a history, and the day behind them."""
    first = min(hours.first_hour for hours in history.values()) // HOURS
    return baseline_of(scenario, before(history, (first + days) * HOURS)), first + days


def _counted(task: Task, hours: Hourly, first: int, last: int) -> Longs:
    scenario, watched = task.scenario, task.watched
    found = np.zeros((last - first, len(watched), watched.edges.shape[1]), np.int64)
    ahead = np.full((scenario.history - 1, hours.values.shape[1]), np.nan, np.float32)
    series = np.concatenate([ahead, hours.values])
    for start in range(0, len(hours.values), BLOCK):
        part = series[start : start + BLOCK + scenario.history - 1]
        view = np.lib.stride_tricks.sliding_window_view(part, scenario.history, axis=0).transpose(2, 1, 0)
        as_of = np.arange(view.shape[2]) + hours.first_hour + start
        matrix = task.matrix(np.ascontiguousarray(view), as_of)[:, watched.columns]
        keep = hours.samples[start : start + BLOCK].reshape(view.shape[2], -1).max(1) > 0
        places, day = place(matrix[keep], watched.edges), as_of[keep] // HOURS - first
        for one in np.unique(day[(day >= 0) & (day < len(found))]):
            found[one] += count(places[day == one])
    return found
