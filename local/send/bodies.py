"""Readings as the JSON that devices send."""

from __future__ import annotations

import json

from local.fleet.__main__ import Row
from local.fleet.files import iso
from shared.core.scenario import Scenario


class Bodies:
    """Writes readings as a device does: JSON, missing values absent or null in turn."""

    def __init__(self, scenario: Scenario) -> None:
        self._device, self._time = json.dumps(scenario.key), json.dumps(scenario.names.time[0])
        self._keys = [f",{json.dumps(name)}:" for name in scenario.channel_names]
        self._whole = "".join(f"{key}%r" for key in self._keys).replace("%r", "\0").replace("%", "%%")
        self._whole = self._whole.replace("\0", "%r") + "}"
        self._begin: dict[str, str] = {}

    def of(self, row: Row) -> bytes:
        """A reading's JSON."""
        begin = self._begin.get(row.device)
        if begin is None:
            begin = self._begin[row.device] = f'{{{self._device}:{json.dumps(row.device)},{self._time}:"'
        start, values = begin + iso(row.minute) + '"', row.values
        total = sum(values)  # NaN if one is
        if total == total:
            return (start + self._whole % values).encode()
        parts = [start]
        for place, (key, value) in enumerate(zip(self._keys, values, strict=True)):
            if value == value:
                parts.append(f"{key}{value!r}")
            elif (row.minute // 60 + place) % 2:
                parts.append(f"{key}null")
        return "".join((*parts, "}")).encode()
