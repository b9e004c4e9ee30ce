"""What a partition knows. Everything here is rebuilt by folding the partition's commits; nothing else may live here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from shared.core.forecast.losses import TOTALS
from shared.core.forecast.window.columns import Layout
from shared.core.forecast.window.slots import Columns
from shared.core.forecast.window.waiting import waiting_slots
from shared.core.intake.readings import Longs
from shared.core.scenario import Scenario
from shared.core.task.calendar import NO_HOUR
from shared.core.task.state import State as AnyState

Day: TypeAlias = int
KEPT_SOURCES = 4096
KEPT_DAYS = 400
PROFILE_DAYS = 63  # histograms are large; a drift check looks back on a few weeks


@dataclass(slots=True)
class Tally:
    """What one source brought to this partition.

    Args:
        position: Position of its newest reading; anything not beyond it is redelivered.
        touched: Sequence number at which it was last heard of.
        totals: Counts and error sums (in quanta), named by `TOTALS`, int64.
        daily: The same by day since 1970, named by `DAILY`; of files only.
        first_hour: Oldest hour it brought, `NO_HOUR` if none.
        last_hour: Newest hour it brought.
    """

    position: int = -1
    touched: int = -1
    totals: Longs = field(default_factory=lambda: np.zeros(len(TOTALS), np.int64))
    daily: dict[Day, Longs] = field(default_factory=dict)
    first_hour: int = NO_HOUR
    last_hour: int = NO_HOUR

    def copy(self) -> Tally:
        """An independent copy."""
        daily = {day: sums.copy() for day, sums in self.daily.items()}
        return Tally(self.position, self.touched, self.totals.copy(), daily, self.first_hour, self.last_hour)


@dataclass(slots=True)
class State:
    """A partition's state.

    Args:
        partition: Number of the partition.
        epoch: How often the hub was created anew.
        next: Sequence number of the first event not yet folded.
        enqueued_ms: Enqueued time of the newest folded event, milliseconds since 1970.
        devices: Ids of the live devices, in the order in which they spoke first, or again.
        columns: Hours and waiting forecasts of these devices.
        archive: The same of devices that went silent, packed; see `archive`.
        sources: What each source brought, newest `KEPT_SOURCES`.
        models: Model versions that made forecasts here.
        errors: Error sums in quanta of matured forecasts by (as-of day, role, model), named by `ERRORS`.
        pairs: Sums over matured forecasts that both roles made of the same revision, by (as-of day, champion's model,
            challenger's model), named by `PAIRS`, in quanta.
        histograms: Counts of the bins of the watched features behind the champion's matured forecasts, by as-of day,
            whether their truth is known or not, int64, shape (W, BINS + 1).
        forecasts: Counts of the bins of matured forecasts by (as-of day, role, model), int64, shape (BINS + 1,).
        expired: Events that neither a commit nor the hub could give back.
        version: Version of its scenario that its numbers are of.
    """

    partition: int
    columns: Columns
    epoch: int = 0
    next: int = 0
    enqueued_ms: int = -1
    devices: list[str] = field(default_factory=list)
    sources: dict[str, Tally] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    errors: dict[tuple[Day, int, int], Longs] = field(default_factory=dict)
    pairs: dict[tuple[Day, int, int], Longs] = field(default_factory=dict)
    histograms: dict[Day, Longs] = field(default_factory=dict)
    forecasts: dict[tuple[Day, int, int], Longs] = field(default_factory=dict)
    expired: int = 0
    version: int = 0
    index: dict[str, int] = field(default_factory=dict)
    archive: dict[str, bytes] = field(default_factory=dict)

    @property
    def known(self) -> int:
        """Devices ever heard of."""
        return len(self.devices) + len(self.archive)

    @classmethod
    def empty(cls, scenario: Scenario, partition: int, watched: int) -> State:
        """The state before the first event; `watched` is the number of watched features."""
        return cls(partition, Columns.empty(Layout.of(scenario), waiting_slots(scenario), 0, watched=watched))


def own(state: AnyState) -> State:
    """A state that is known to be of an hourly forecast, as every state that its task has made.

    Raises:
        TypeError: It is of another task.
    """
    if not isinstance(state, State):
        raise TypeError(f"a {type(state).__name__} is not the state of an hourly forecast")
    return state
