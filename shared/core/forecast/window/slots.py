"""The slotted arrays of some devices, taken out for a batch and put back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.core.forecast.losses import QUALITY
from shared.core.forecast.window.columns import Layout
from shared.core.forecast.window.counting import new_hours
from shared.core.forecast.window.ring import Ring
from shared.core.forecast.window.waiting import Waiting
from shared.core.intake.readings import Array, Longs

QUALITY_DAYS = 8  # newest as-of days of a device whose errors are kept for it alone: a week and the day that fills


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
