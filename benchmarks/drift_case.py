"""Twenty watched features with a baseline, and profiles of any number of readings, for the drift benchmark."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.packages import readings_of
from local.fleet.__main__ import Fleet
from shared.adapters.stores import scenario_files
from shared.core.forecast.state import KEPT_DAYS, State
from shared.core.forecast.task import HourlyForecast
from shared.core.forecast.window.history import Hourly, hourly
from shared.core.intake.readings import Floats, Longs, Readings
from shared.core.model.scoring import Control, Scored, ScoreRequest
from shared.core.profile import merged
from shared.core.profile.bins import CELLS
from shared.core.profile.device_table import DeviceTable, joined
from shared.core.profile.merged import Profile
from shared.core.scenario import Channel, Scenario
from shared.core.stream.events import Event, rows_of, split
from shared.core.stream.gathering import gather
from shared.core.stream.packing import pack

MODEL, TARGET = "v1", "pm25"
DAY_MINUTES = 24 * 60
PARTITIONS = 4
GASES = {"pm10": 1.6, "no2": 0.7, "so2": 0.2, "o3": 0.9}
HALF_WIDTH = 40.0
SHORT = "rel_humidity"  # leaves, so that the gases make twenty of fifteen


def scenario() -> Scenario:
    """Air quality with four gases in place of humidity: twenty watched features."""
    known = scenario_files.load("air_quality")
    gases = (Channel(name=name, unit="ug/m3", minimum=0, maximum=1000) for name in GASES)
    return replace(known, channels=(*(c for c in known.channels if c.name != SHORT), *gases))


@dataclass(frozen=True)
class Case:
    """A fleet in the scenario of twenty features.

    Args:
        task: The forecast in that scenario.
        fleet: Its stations and hours.
    """

    task: HourlyForecast
    fleet: Fleet

    @classmethod
    def of(cls, fleet: Fleet) -> Case:
        """The case of a fleet."""
        own = scenario()
        return cls(HourlyForecast(own), fleet)

    def readings(self) -> Readings:
        """All readings, by time, then device."""
        known = scenario_files.load("air_quality").channel_names
        values = self.fleet.values
        kept = [values[:, :, place] for place, name in enumerate(known) if name != SHORT]
        pm25, rng = values[:, :, known.index(TARGET)], np.random.default_rng(self.fleet.seed)
        gases = [np.clip(pm25 * part * rng.lognormal(0, 0.3, pm25.shape), 0, 1000) for part in GASES.values()]
        return readings_of(
            self.fleet.names, self.fleet.first_hour, np.stack([*kept, *gases], axis=2).astype(np.float32)
        )

    def history(self) -> dict[str, Hourly]:
        """All hours, as training reads them."""
        return hourly(self.task.scenario, self.readings())

    def folded(self) -> list[Profile]:
        """Profiles of all partitions after the real fold, a day in a batch; the newest value is the forecast."""
        states = [self.task.empty(partition) for partition in range(PARTITIONS)]
        for partition, own in split(self.readings(), PARTITIONS):
            days = own.minute // DAY_MINUTES
            for day in np.unique(days):
                self._fold(states[partition], rows_of(own, np.flatnonzero(days == day)))
        return [merged.of(self.task, state) for state in states]

    def _fold(self, state: State, readings: Readings) -> None:
        channels = self.task.scenario.channel_names
        events = [Event(state.next + n, 0, body) for n, body in enumerate(pack("hub", channels, readings))]
        batch, _ = gather(state.partition, 0, events, channels)
        self.task.step(state, batch, Control(MODEL), self._newest).put(state)

    def _newest(self, request: ScoreRequest) -> list[Scored]:
        place = [feature.name for feature in self.task.features].index(f"{TARGET}.latest")
        value: Floats = np.nan_to_num(request.matrix()[:, place], nan=100.0)
        numbers = {"value": value, "lower": value - HALF_WIDTH, "upper": value + HALF_WIDTH}
        return [Scored(0, MODEL, numbers, np.ones(len(value), np.bool_))]


def longer(found: Profile) -> Profile:
    """The same devices for years: histograms of the newest days, error sums as far back as they are kept."""
    newest = max(found.histograms)
    rows = {(newest - back, 0, 0): next(iter(found.errors.values())) for back in range(KEPT_DAYS)}
    return replace(found, errors={**rows, **found.errors})


def more_devices(found: Profile, times: int) -> Profile:
    """The same days with `times` as many devices: counts are drawn anew, the table's rows repeated with some noise."""
    rng = np.random.default_rng(found.partition)
    total = sum(found.histograms.values()) + np.zeros((len(found.watched), CELLS), np.int64)
    histograms = {day: _drawn(rng, counts, total, times) for day, counts in found.histograms.items()}
    whole = sum(found.forecasts.values()) + np.zeros(CELLS, np.int64)
    forecasts = {key: _drawn(rng, row[None], whole[None], times)[0] for key, row in found.forecasts.items()}
    errors = {key: sums * times for key, sums in found.errors.items()}
    tables = [_noisy(rng, found.devices, f"{copy}-") for copy in range(times)]
    devices = joined(tables, found.devices.samples.shape[1])
    return replace(found, histograms=histograms, forecasts=forecasts, errors=errors, devices=devices)


def _drawn(rng: np.random.Generator, counts: Longs, total: Longs, times: int) -> Longs:
    """Counts of `times` the rows, half of them spread as on that day and half as on all days, shape (W, CELLS)."""
    own, every = (side / side.sum(1, keepdims=True) for side in (counts, total))
    return rng.multinomial(counts.sum(1) * times, (own + every) / 2)


def _noisy(rng: np.random.Generator, table: DeviceTable, prefix: str) -> DeviceTable:
    old = {name: getattr(table, name) for name in ("mean", "std", "last", "half")}
    values = {name: (cells * rng.normal(1, 0.01, cells.shape)).astype(np.float32) for name, cells in old.items()}
    return replace(table, device=[prefix + name for name in table.device], **values)
