"""How each device has been lately: what its hours and its matured forecasts tell of it, one row a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.core.intake.readings import Doubles, Floats, Longs

HOURS = 120
NEWEST = 24  # hours that are compared with the ones before them


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """One row a device, n devices; C are the scenario's stored columns, hours the newest 120 up to its own head.

    Where the ring holds less than 120 hours, "120" below stands for what it holds.

    Args:
        device: Device ids.
        head: Its newest hour, hours since 1970, int64, shape (n,).
        samples: Hours with a value, int64, shape (n, C).
        mean: Mean of the hourly values, NaN when there is none, float32, shape (n, C).
        std: Their standard deviation (divided by the count), NaN when there is none, float32, shape (n, C).
        last: The newest value, NaN when there is none, float32, shape (n, C).
        run: How many of the newest values in a row, missing hours skipped, equal the newest, int64, shape (n, C).
        silent: Hours from the newest value to the head, 120 when there is none, int64, shape (n, C).
        half: Means of the older 96 hours and of the newest 24, NaN when there is none, float32, shape (n, 2, C).
        matured: Matured forecasts of the champion with a known truth, as-of in its newest `QUALITY_DAYS` days, int64,
            shape (n,).
        absolute: Sum of their absolute errors in the target's unit, float64, shape (n,).
        covered: How many truths lay in the interval, int64, shape (n,).
    """

    device: list[str]
    head: Longs
    samples: Longs
    mean: Floats
    std: Floats
    last: Floats
    run: Longs
    silent: Longs
    half: Floats
    matured: Longs
    absolute: Doubles
    covered: Longs

    def __len__(self) -> int:
        return len(self.device)

    @classmethod
    def empty(cls, columns: int) -> DeviceTable:
        """No devices."""
        longs, floats = np.zeros((0, columns), np.int64), np.zeros((0, columns), np.float32)
        one, halves = np.zeros(0, np.int64), np.zeros((0, 2, columns), np.float32)
        return cls([], one, longs, floats, floats, floats, longs, longs, halves, one, np.zeros(0), one)


NAMES = tuple(name for name in DeviceTable.__slots__ if name != "device")


def joined(tables: Sequence[DeviceTable], columns: int) -> DeviceTable:
    """The rows of all tables, in order.

    Args:
        tables: Any number of tables.
        columns: Stored columns of the scenario.
    """
    every = [DeviceTable.empty(columns), *tables]
    device = [name for table in every for name in table.device]
    return DeviceTable(device, *(np.concatenate([getattr(table, name) for table in every]) for name in NAMES))
