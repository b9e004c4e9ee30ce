"""Files that name more devices than there can be, told before they flood the stream."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shared.core.intake.readings import Readings
from shared.core.scenario import Scenario
from shared.errors import BadEvent

FEWEST_ROWS = 1000
SHARE = 0.9
LONGEST_ROUND_S = 2 * 24 * 3600  # within which a fleet may well send one reading each


@dataclass(slots=True)
class Crowd:
    """The devices of one file so far.

    Args:
        scenario: How many there may be.
        devices: Their ids.
    """

    scenario: Scenario
    devices: set[str] = field(default_factory=set)

    def count(self, readings: Readings) -> int:
        """Count a stretch of the file: how many devices there were so far.

        Raises:
            BadEvent: `too_many_devices`: more than the scenario allows, or the file begins with rows of which nearly
                each names a device of its own while their times are days apart; then the column is hardly that of the
                device.
        """
        first = not self.devices
        count, most = len(self.devices.union(readings.devices)), self.scenario.maximum_devices
        if count > most:
            raise _refused(f"{count} devices are more than maximum_devices = {most}")
        if first and len(readings) >= FEWEST_ROWS and count > SHARE * len(readings):
            span = int(np.ptp(readings.minute)) * self.scenario.resolution_s
            if span > LONGEST_ROUND_S:
                raise _refused(f"{count} devices in the first {len(readings)} rows, over {span // 86_400} days")
        self.devices.update(readings.devices)
        return count


def _refused(found: str) -> BadEvent:
    return BadEvent("too_many_devices", f"{found}; is it the right column?")
