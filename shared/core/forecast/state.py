"""What a partition knows. Everything here is rebuilt by folding the partition's commits; nothing else may live here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from shared.core import task
from shared.core.calendar import NO_HOUR
from shared.core.forecast.columns import Layout
from shared.core.forecast.losses import QUALITY, TOTALS
from shared.core.forecast.ring import Ring, new_hours
from shared.core.intake.readings import Array, Floats, Longs
from shared.core.model.scoring import ROLES
from shared.core.scenario import Scenario

Day: TypeAlias = int
KEPT_SOURCES = 4096
KEPT_DAYS = 400
PROFILE_DAYS = 63  # histograms are large; a drift check looks back on a few weeks
QUALITY_DAYS = 8  # newest as-of days of a device whose errors are kept for it alone: a week and the day that fills


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
class Waiting:
    """Forecasts that wait for their truth, in the slot of their as-of hour, a row for each role.

    Args:
        value: Forecast, float32, shape (slots, roles, devices).
        lower: Lower end of the interval, same shape.
        upper: Upper end of the interval, same shape.
        revision: 1 + revision, 0 where there is no forecast, uint16.
        model: Index into the state's model versions, uint16.
        bins: Bins of the watched features behind the champion's forecast, uint16, shape (slots, W, devices).
    """

    value: Floats
    lower: Floats
    upper: Floats
    revision: npt.NDArray[np.uint16]
    model: npt.NDArray[np.uint16]
    bins: npt.NDArray[np.uint16]

    @classmethod
    def empty(cls, slots: int, devices: int, watched: int = 0) -> Waiting:
        """No forecast waits; `watched` is the number of watched features."""
        shape = (slots, len(ROLES), devices)
        value, lower, upper = (np.zeros(shape, np.float32) for _ in range(3))
        revision, model = (np.zeros(shape, np.uint16) for _ in range(2))
        return cls(value, lower, upper, revision, model, np.zeros((slots, watched, devices), np.uint16))

    @property
    def slots(self) -> int:
        """As-of hours held per device."""
        return len(self.value)

    def arrays(self) -> dict[str, Array]:
        """The slotted arrays by name."""
        names = ("value", "lower", "upper", "revision", "model", "bins")
        return {name: getattr(self, name) for name in names}

    def advance(self, device: Longs, old: Longs, head: Longs) -> None:
        """Clear the slots of the hours that heads move over; the heads themselves are the ring's."""
        owner, hour = new_hours(old, head, self.slots)
        slot, whose = hour % self.slots, device[owner]
        for array in self.arrays().values():
            array[slot, :, whose] = 0


def waiting_slots(scenario: Scenario) -> int:
    """As-of hours whose forecasts may still wait, with the lateness that one stretch of a batch may add."""
    return scenario.horizon + 2 * scenario.lateness + 2


@dataclass(slots=True)
class Columns:
    """The slotted arrays of some devices; spare columns stand at the end.

    Args:
        ring: Their hours.
        waiting: Their waiting forecasts.
        quality: Sums over the champion's matured forecasts, named by `QUALITY`, errors in quanta, of each device's
            newest as-of days, in the slot day modulo `QUALITY_DAYS`, int64, shape (QUALITY_DAYS, 3, devices).
    """

    ring: Ring
    waiting: Waiting
    quality: Longs

    @classmethod
    def empty(cls, layout: Layout, waiting: int, devices: int, extra: int = 0, watched: int = 0) -> Columns:
        """Columns of devices never heard of, with room for `extra` more hours."""
        return cls(
            Ring.empty(layout, devices, layout.slots + extra),
            Waiting.empty(waiting + extra, devices, watched),
            np.zeros((QUALITY_DAYS, len(QUALITY), devices), np.int64),
        )

    @property
    def watched(self) -> int:
        """Number of watched features."""
        return int(self.waiting.bins.shape[1])

    def hourly(self) -> dict[str, Array]:
        """The arrays whose slots are hours, by name."""
        return {**self.ring.arrays(), **self.waiting.arrays()}

    def arrays(self) -> dict[str, Array]:
        """All slotted arrays by name."""
        return {**self.hourly(), "quality": self.quality}

    def forget_days(self, device: Longs, old: Longs, new: Longs) -> None:
        """Clear the slots of the days that become a device's newest as-of days, as it moves from `old` to `new`."""
        owner, day = new_hours(old, new, QUALITY_DAYS)
        self.quality[day % QUALITY_DAYS, :, device[owner]] = 0

    def take(self, device: Longs, extra: int = 0) -> Columns:
        """Copies of some devices' columns; devices beyond the present ones come empty.

        Args:
            device: Rising device indices, shape (n,).
            extra: Hours of room added to the slots.
        """
        known = int(np.searchsorted(device, len(self.ring.head)))
        if known == len(device) and not extra:
            return self._copies(device)
        out = Columns.empty(self.ring.layout, self.waiting.slots, len(device), extra, self.watched)
        out.ring.head[:known] = self.ring.head[device[:known]]
        places = np.arange(known)
        for name, array in out.arrays().items():
            move(self.arrays()[name], device[:known], array, places, out.ring.head[:known], len(array))
        return out

    def _copies(self, device: Longs) -> Columns:
        ring = {name: array.take(device, axis=2) for name, array in self.ring.arrays().items()}
        waiting = {name: array.take(device, axis=2) for name, array in self.waiting.arrays().items()}
        quality = self.quality.take(device, axis=2)
        return Columns(Ring(self.ring.layout, self.ring.head[device], **ring), Waiting(**waiting), quality)

    def put(self, device: Longs, source: Columns, hours: int) -> None:
        """Write columns back that `take` gave, growing for devices not yet here.

        Args:
            device: Their indices.
            source: The columns.
            hours: How many of each device's newest hours may have changed; older ones are left alone.
        """
        missing = int(device[-1]) + 1 - len(self.ring.head) if len(device) else 0
        if missing > 0:
            self.grow(max(missing, len(self.ring.head) // 2))
        self.ring.head[device] = source.ring.head
        self.quality[:, :, device] = source.quality
        every, given = np.arange(len(device)), source.hourly()
        for name, array in self.hourly().items():
            move(given[name], every, array, device, source.ring.head, hours)

    def grow(self, devices: int) -> None:
        """Add empty devices."""
        ring, waiting = self.ring, self.waiting
        more = Columns.empty(ring.layout, waiting.slots, devices, watched=self.watched)
        self.ring = Ring(
            ring.layout,
            np.concatenate([ring.head, more.ring.head]),
            *(np.concatenate([a, b], axis=-1) for a, b in _pairs(ring.arrays(), more.ring.arrays())),
        )
        self.waiting = Waiting(
            *(np.concatenate([a, b], axis=-1) for a, b in _pairs(waiting.arrays(), more.waiting.arrays()))
        )
        self.quality = np.concatenate([self.quality, more.quality], axis=-1)


def _pairs(one: dict[str, Array], other: dict[str, Array]) -> list[tuple[Array, Array]]:
    return [(one[name], other[name]) for name in one]


def move(source: Array, columns: Longs, target: Array, places: Longs, head: Longs, hours: int) -> None:
    """Copy the newest hours of slotted columns; the two arrays may have different numbers of slots."""
    held = min(len(source), len(target), hours)
    if held == len(source) == len(target):
        target[:, :, places] = source[:, :, columns]
        return
    hour = head[None, :] - np.arange(held)[:, None]
    target[hour % len(target), :, places[None, :]] = source[hour % len(source), :, columns[None, :]]


@dataclass(slots=True)
class State:
    """A partition's state.

    Args:
        partition: Number of the partition.
        epoch: How often the hub was created anew.
        next: Sequence number of the first event not yet folded.
        enqueued_ms: Enqueued time of the newest folded event, milliseconds since 1970.
        devices: Device ids in the order of their first reading.
        columns: Hours and waiting forecasts of these devices.
        sources: What each source brought, newest `KEPT_SOURCES`.
        models: Model versions that made forecasts here.
        errors: Error sums in quanta of matured forecasts by (as-of day, role, model), named by `ERRORS`.
        pairs: Sums over matured forecasts that both roles made of the same revision, by (as-of day, champion's model,
            challenger's model), named by `PAIRS`, in quanta.
        histograms: Counts of the bins of the watched features behind the champion's matured forecasts, by as-of day,
            whether their truth is known or not, int64, shape (W, BINS + 1).
        forecasts: Counts of the bins of matured forecasts by (as-of day, role, model), int64, shape (BINS + 1,).
        expired: Events that neither a commit nor the hub could give back.
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
    index: dict[str, int] = field(default_factory=dict)

    @classmethod
    def empty(cls, scenario: Scenario, partition: int, watched: int) -> State:
        """The state before the first event; `watched` is the number of watched features."""
        return cls(partition, Columns.empty(Layout.of(scenario), waiting_slots(scenario), 0, watched=watched))


def own(state: task.State) -> State:
    """A state that is known to be of an hourly forecast, as every state that its task has made.

    Raises:
        TypeError: It is of another task.
    """
    if not isinstance(state, State):
        raise TypeError(f"a {type(state).__name__} is not the state of an hourly forecast")
    return state
