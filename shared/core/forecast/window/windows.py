"""Features of the as-of hours that are due, computed when somebody needs them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shared.core.forecast import floor
from shared.core.forecast.losses import FORECAST
from shared.core.forecast.window.ring import Ring
from shared.core.intake.readings import Floats, Longs
from shared.core.model.scoring import First, Inputs
from shared.core.profile import bins
from shared.core.scenario import Scenario
from shared.core.task.task import Task

WINDOWS_AT_ONCE = 1024
CELLS_AT_ONCE = 16_384


class Windows:
    """The windows behind some as-of hours.

    Args:
        task: Its features.
        ring: Holds the windows.
        device: Device of each, shape (n,).
        as_of: Their newest hours, shape (n,).
    """

    def __init__(self, task: Task, ring: Ring, device: Longs, as_of: Longs) -> None:
        self._task, self._ring, self._device, self._as_of = task, ring, device, as_of
        self._matrix: Floats | None = None

    def matrix(self) -> Floats:
        """All features of all rows, float32, shape (n, features)."""
        if self._matrix is None:
            self._matrix = self._of(slice(None))
        return self._matrix

    def bins(self, rows: Longs) -> bins.Places:
        """Bins of the watched features of some rows, shape (rows, W); answers may be stored, so all may be missing."""
        seen = self._task.watched
        known = self._of(rows)[:, seen.columns] if self._matrix is None else self._matrix[:, seen.columns][rows]
        return bins.place(known, seen.edges)

    def inputs(self, row: int) -> Inputs:
        """The window behind one row."""
        scenario = self._task.scenario
        own = slice(row, row + 1)
        window = windows(self._ring.values(), self._device[own], self._as_of[own], scenario.history_steps)
        hours = np.arange(self._as_of[row] - scenario.history_steps + 1, self._as_of[row] + 1)
        return Inputs(scenario.stored, hours, window[:, :, 0])

    def spoken(self) -> Longs:
        """In how many hours of each window its device spoke, shape (n,)."""
        return spoken(self._task.scenario, self._ring, self._device, self._as_of)

    def baseline(self) -> First:
        """What is due without a model: damped persistence, for rows where the target is known well enough."""
        scenario, values = self._task.scenario, self._ring.values()
        target = np.ascontiguousarray(values[:, [scenario.target_column]])
        parts = [
            floor.forecasts(scenario, windows(target, device, as_of, scenario.history_steps)[:, 0])
            for device, as_of in ((self._device[part], self._as_of[part]) for part in _parts(len(self._device)))
        ]
        rows = np.flatnonzero(~np.isnan(np.concatenate([part["value"] for part in parts])))
        found = {name: np.concatenate([part[name] for part in parts])[rows] for name in parts[0]}
        return First(rows, *({name: found[name] for name in names} for names in (FORECAST, floor.MADE_OF)))

    def _of(self, rows: Longs | slice) -> Floats:
        """Features of some rows, a bounded number of windows at a time."""
        device, as_of, values = self._device[rows], self._as_of[rows], self._ring.values()
        out = np.empty((len(device), len(self._task.features)), np.float32)
        for part in _parts(len(device)):
            window = windows(values, device[part], as_of[part], self._task.scenario.history_steps)
            out[part] = self._task.matrix(window, as_of[part])
        return out


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + WINDOWS_AT_ONCE) for start in range(0, count, WINDOWS_AT_ONCE))


def spoken(scenario: Scenario, ring: Ring, device: Longs, as_of: Longs) -> Longs:
    """How many hours the steps of a window make in which its device spoke, shape (n,); see `windows`."""
    before = np.zeros((ring.slots + 1, ring.minutes.shape[2]), np.int64)  # steps seen in the slots before each
    np.cumsum(ring.minutes.any(axis=1), axis=0, out=before[1:])
    first = (as_of + 1 - scenario.history_steps) % ring.slots
    end = first + scenario.history_steps
    around = np.maximum(end - ring.slots, 0)  # slots at the ring's beginning that end the window
    count = before[np.minimum(end, ring.slots), device] - before[first, device] + before[around, device]
    return count // scenario.cadence.hour


def windows(values: Floats, device: Longs, as_of: Longs, history: int) -> Floats:
    """Windows that end with the as-of hours, oldest hour first.

    Args:
        values: Hourly values in slot order, from `Ring.values`, shape (slots, columns, devices).
        device: Device of each window, shape (n,).
        as_of: Newest hour of each window, which the ring must hold with all its history, shape (n,).
        history: Hours in a window.

    Returns:
        Contiguous float32, shape (history, columns, n).
    """
    slots, width, devices = values.shape
    hour = width * devices  # cells from one hour to the next
    hours = min(history, max(1, CELLS_AT_ONCE // (width * max(len(as_of), 1))))
    cell = (as_of + 1 - history) % slots * hour + device
    index = cell + (np.arange(hours) * hour)[:, None, None] + (np.arange(width) * devices)[:, None]
    cut: Floats = np.empty((history, width, len(as_of)), np.float32)
    for start in range(0, history, hours):  # an index of all hours at once would not fit into the processor's cache
        part = cut[start : start + hours]
        values.reshape(-1).take(index[: len(part)], out=part, mode="wrap")  # the slot after the last is the first
        index += hours * hour
    return cut
