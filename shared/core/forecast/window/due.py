"""Which as-of hours the readings of a segment make due."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.core.forecast.window.counting import rank_within
from shared.core.forecast.window.ring import Ring
from shared.core.intake.readings import Floats, Longs, Mask
from shared.core.scenario import Scenario
from shared.core.task.calendar import NO_HOUR


@dataclass(slots=True)
class Rows:
    """Readings of a batch that are not redelivered, grouped by device in order of arrival, shape (n,) each.

    Args:
        place: Their places in the batch.
        device: Local device numbers.
        minute: Ticks since 1970.
        hour: Hours since 1970.
        columns: Values of the stored columns, shape (n, columns).
        prints: Fingerprints.
        before: The device's head before each.
        after: The device's head after each.
    """

    place: Longs
    device: Longs
    minute: Longs
    hour: Longs
    columns: Floats
    prints: npt.NDArray[np.uint32]
    before: Longs
    after: Longs

    def at(self, keep: Mask | Longs) -> Rows:
        """Some of them."""
        return Rows(*(getattr(self, name)[keep] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Heads:
    """Hours that were a head in a segment, the one before it included, and their samples while they were.

    Args:
        device: Local device numbers, rising, shape (heads,).
        hour: Hours, rising within a device, shape (heads,).
        samples: Distinct ticks in each, shape (heads,).
    """

    device: Longs
    hour: Longs
    samples: Longs

    @classmethod
    def of(cls, ring: Ring, rows: Rows, device: Longs, old: Longs) -> Heads:
        """Find them, before the rows are folded.

        Args:
            ring: The devices' hours before the segment.
            rows: Its readings.
            device: Its devices.
            old: Their heads before it.
        """
        order = rows.hour == rows.after
        before = old != NO_HOUR
        pairs = np.r_[device[before] << 32 | old[before], rows.device[order] << 32 | rows.hour[order]]
        key, inverse = np.unique(pairs, return_inverse=True)
        count = np.bincount(inverse, minlength=len(key)) - np.isin(key, pairs[: int(before.sum())])
        who, hour = key >> 32, key & 0xFFFFFFFF
        carried = hour == ring.head[who]
        count[carried] += ring.samples(who[carried], hour[carried])
        return cls(who, hour, count)


def due(scenario: Scenario, ring: Ring, rows: Rows, heads: Heads) -> tuple[Longs, Longs]:
    """As-of hours to be forecast: (device, hour), sorted, without repetition.

    Args:
        scenario: Its horizon, and the samples that make an hour complete.
        ring: The devices' hours after the segment.
        rows: Its readings.
        heads: Its heads.
    """
    who, hour = heads.device, heads.hour
    full = heads.samples >= scenario.samples_per_step
    follows = np.r_[who[1:] == who[:-1], False]
    gap = np.where(follows, np.r_[hour[1:], 0] - hour, 0)
    closed = follows & (gap < scenario.horizon_steps)
    changed = np.isin(who << 32 | hour, rows.device << 32 | rows.hour)
    was_full = ~changed & full  # the head before the segment, complete and forecast then
    wanted = (full | closed) & ~was_full
    late = rows.at(rows.hour < rows.after)
    keys = [who[wanted] << 32 | hour[wanted], _touched_by_late(scenario, ring, late, (who << 32 | hour)[full])]
    key = np.unique(np.concatenate(keys))
    return key >> 32, key & 0xFFFFFFFF


def _touched_by_late(scenario: Scenario, ring: Ring, rows: Rows, full: Longs) -> Longs:
    """Keys of complete as-of hours, targets still ahead, whose window a late reading changed."""
    oldest = np.maximum(rows.hour, rows.after - scenario.horizon_steps + 1)
    count = np.maximum(rows.after - oldest + 1, 0)
    owner = np.repeat(np.arange(len(count)), count)
    as_of = oldest[owner] + rank_within(owner)
    key = rows.device[owner] << 32 | as_of
    has_samples = ring.samples(rows.device[owner], as_of) > 0
    complete = (as_of < rows.after[owner]) | np.isin(key, full)
    return key[has_samples & complete]
