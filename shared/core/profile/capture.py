"""A partition's profile, taken from its state."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.core.forecast.features.watched import Edges
from shared.core.forecast.snapshot import rules_of
from shared.core.forecast.state import Day, State
from shared.core.forecast.step import Machine
from shared.core.intake.readings import Longs
from shared.core.profile.device_table import DeviceTable, Lately


@dataclass(frozen=True, slots=True)
class Profile:
    """One partition's profile; day is the as-of day since 1970, model an index into `models`.

    Args:
        rules: What the numbers rest on, from `snapshot.rules_of`.
        partition: Number of the partition.
        epoch: Epoch of the state it was taken from.
        next: First sequence number that state had not folded.
        watched: Names and versions of the watched features, W of them.
        edges: Edges of their bins, float64, shape (W, BINS + 1).
        models: Model versions.
        histograms: Counts of the champion's matured forecasts' features, int64, shape (W, BINS + 1), by day.
        forecasts: Counts of matured forecasts, int64, shape (BINS + 1,), by (day, role, model).
        errors: Error sums in quanta, named by `ERRORS`, by (day, role, model).
        pairs: Sums over rows both roles forecast, named by `PAIRS`, by (day, champion's model, challenger's model).
        devices: Its devices.
    """

    rules: list[str]
    partition: int
    epoch: int
    next: int
    watched: tuple[tuple[str, int], ...]
    edges: Edges
    models: list[str]
    histograms: dict[Day, Longs]
    forecasts: dict[tuple[Day, int, int], Longs]
    errors: dict[tuple[Day, int, int], Longs]
    pairs: dict[tuple[Day, int, int], Longs]
    devices: DeviceTable


@dataclass(frozen=True, slots=True)
class Taken:
    """A consistent copy of what a profile is made from; the state may go on changing afterwards."""

    sums: Profile
    lately: Lately

    @classmethod
    def of(cls, machine: Machine, state: State) -> Taken:
        """Copy what the devices' hours tell, and share the sums, which are replaced and never changed in place."""
        sums = Profile(
            rules_of(machine.scenario),
            state.partition,
            state.epoch,
            state.next,
            machine.watched.names,
            machine.watched.edges,
            list(state.models),
            dict(state.histograms),
            dict(state.forecasts),
            dict(state.errors),
            dict(state.pairs),
            DeviceTable.empty(len(machine.scenario.stored)),
        )
        return cls(sums, Lately.of(machine.scenario, state))

    def profile(self) -> Profile:
        """The profile, which takes a while with many devices."""
        return replace(self.sums, devices=self.lately.table())


def of(machine: Machine, state: State) -> Profile:
    """A partition's profile."""
    return Taken.of(machine, state).profile()
