"""A partition's profile, taken from its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.core.intake.readings import Longs
from shared.core.profile.bins import Edges
from shared.core.profile.device_table import DeviceTable
from shared.core.task.state import State
from shared.core.task.task import Task


@dataclass(frozen=True, slots=True)
class Profile:
    """One partition's profile; day is the as-of day since 1970, model an index into `models`.

    Args:
        rules: What the numbers rest on.
        partition: Number of the partition.
        epoch: Epoch of the state it was taken from.
        next: First sequence number that state had not folded.
        watched: Names and versions of the watched features, W of them.
        edges: Edges of their bins, float64, shape (W, BINS + 1).
        models: Model versions.
        histograms: Counts of the champion's matured forecasts' features, int64, shape (W, BINS + 1), by day.
        forecasts: Counts of matured forecasts, int64, shape (BINS + 1,), by (day, role, model).
        errors: Error sums in quanta, named by the task's losses, by (day, role, model).
        pairs: Sums over rows both roles forecast, named likewise, by (day, champion's model, challenger's model).
        devices: Its devices.
    """

    rules: list[str]
    partition: int
    epoch: int
    next: int
    watched: tuple[tuple[str, int], ...]
    edges: Edges
    models: list[str]
    histograms: dict[int, Longs]
    forecasts: dict[tuple[int, int, int], Longs]
    errors: dict[tuple[int, int, int], Longs]
    pairs: dict[tuple[int, int, int], Longs]
    devices: DeviceTable


@dataclass(frozen=True, slots=True)
class ProfileSnapshot:
    """A consistent copy of what a profile is made from; the state may go on changing afterwards."""

    sums: Profile
    devices: Callable[[], DeviceTable]

    @classmethod
    def of(cls, task: Task, state: State) -> ProfileSnapshot:
        """Copy what the devices' hours tell, and share the sums, which are replaced and never changed in place."""
        sums = Profile(
            task.rules,
            state.partition,
            state.epoch,
            state.next,
            task.watched.names,
            task.watched.edges,
            list(state.models),
            dict(state.histograms),
            dict(state.forecasts),
            dict(state.errors),
            dict(state.pairs),
            DeviceTable.empty(len(task.device_columns)),
        )
        return cls(sums, task.device_table(state))

    def profile(self) -> Profile:
        """The profile, which takes a while with many devices."""
        return replace(self.sums, devices=self.devices())


def of(task: Task, state: State) -> Profile:
    """A partition's profile."""
    return ProfileSnapshot.of(task, state).profile()
