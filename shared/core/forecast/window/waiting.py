"""Forecasts that wait for their truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.core.forecast.window.counting import new_hours
from shared.core.intake.readings import Array, Floats, Longs
from shared.core.model.scoring import PLACES
from shared.core.scenario import Scenario


@dataclass(slots=True)
class Waiting:
    """Forecasts that wait for their truth, in the slot of their as-of hour, a row for each of `PLACES`.

    Args:
        value: Forecast, float32, shape (slots, places, devices).
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
        shape = (slots, len(set(PLACES)), devices)
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
    """As-of hours whose forecasts may still wait, with the lateness that one segment of a batch may add."""
    return scenario.horizon_steps + 2 * scenario.lateness_steps + 2
