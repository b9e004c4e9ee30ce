"""One partition of the small scenario on stores that fail and forget when told, and its state as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.app.score.partition import Partition
from shared.core.forecast.state import own
from shared.core.forecast.task import HourlyForecast
from shared.core.stream.commit import Commit
from shared.core.stream.events import Batch, Event
from shared.core.stream.packing import pack, pack_end
from shared.core.task.state import State
from shared.settings import Settings
from tests.kit.application import Forecasts, assemble, commits, forecasts
from tests.kit.faults import Faulty, Forgetful, HandClock
from tests.kit.model import load
from tests.kit.scenario import SCENARIO, TASK, Row, readings


@dataclass
class Bench:
    """One partition's stores, and workers on them.

    Args:
        every: Commits between two snapshots.
        batch_rows: Most readings in a commit, about.
        task: What is forecast, with the channels of the small scenario.
    """

    every: int = 2
    batch_rows: int = 1000
    task: HourlyForecast = TASK
    blobs: Faulty = field(default_factory=Faulty)
    stream: Forgetful = field(default_factory=Forgetful)
    clock: HandClock = field(default_factory=HandClock)

    def worker(self, number: int = 0) -> Partition:
        """A worker that remembers nothing."""
        settings = Settings(model_refresh_s=0.0, snapshot_commits=self.every, profile_s=1.0, batch_rows=self.batch_rows)
        application = assemble(settings, self.blobs, self.stream, self.clock, task=self.task, load=load)
        return Partition(number, application.context)

    def send(self, source: str, rows: Sequence[Row], end: int | None = None) -> list[Event]:
        """Readings of one source into the hub; the events that hold them."""
        before = len(self.stream.logs[0])
        if rows:
            self.stream.send(0, list(pack(source, SCENARIO.channel_names, readings(rows))))
        if end is not None:
            self.stream.send(0, [pack_end(source, end)])
        return self.stream.logs[0][before:]

    def events(self) -> list[Event]:
        return list(self.stream.logs[0])

    def commits(self) -> list[tuple[str, Commit, Batch]]:
        return list(commits(self.blobs))

    def forecasts(self, role: str = "champion") -> Forecasts:
        return forecasts(self.blobs, role)


def picture(known: State) -> dict[str, Any]:
    """Every field of a state as plain values that can be compared, spare columns left out."""
    state = own(known)
    count = len(state.devices)
    found = {f.name: plain(getattr(state, f.name)) for f in dataclasses.fields(state) if f.name != "columns"}
    arrays = {name: plain(array[:, :, :count]) for name, array in state.columns.arrays().items()}
    return {**found, **arrays, "head": plain(state.columns.ring.head[:count])}


def plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    assert isinstance(value, (int, float, str, bytes, list, tuple, type(None))), type(value)
    return list(value) if isinstance(value, (list, tuple)) else value
