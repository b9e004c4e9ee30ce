"""How the tests of layouts read a file."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.adapters.tables.open import open_table
from shared.core.intake.readings import Rejection
from shared.core.intake.tables import LongTable
from shared.core.scenario import FileLayout, Scenario, with_overrides
from tests.unit.adapters.tables.table_files import AIR, NOW


@dataclass
class Read:
    """A file with a layout, read to its end.

    Attributes:
        rows: (device, time in UTC, values by channel).
        rejected: Rows that were not accepted.
    """

    table: LongTable
    rows: list[tuple[str, str, dict[str, float]]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)

    @property
    def reasons(self) -> list[tuple[int, str]]:
        return [(rejection.position, rejection.reason) for rejection in self.rejected]


def read(data: str | bytes, name: str = "a.csv", *, scenario: Scenario = AIR, **more: Any) -> Read:
    content = data.encode() if isinstance(data, str) else data
    table = open_table(name, io.BytesIO(content), scenario, **{"zone": None, "not_after_minute": NOW, **more})
    assert isinstance(table, LongTable)
    found = Read(table)
    for parsed in table:
        readings = parsed.readings
        for device, minute, values in zip(readings.device, readings.minute, readings.values, strict=True):
            held = {
                name: round(float(value), 2)
                for name, value in zip(scenario.channel_names, values, strict=True)
                if not np.isnan(value)
            }
            found.rows.append((readings.devices[device], str(np.datetime64(int(minute), "m")), held))
        found.positions += readings.position.tolist()
        found.rejected += parsed.rejected
    assert found.positions == sorted(set(found.positions))
    assert table.rows == len(found.rows) + len(found.rejected)
    return found


def with_layout(**keys: Any) -> Scenario:
    return with_overrides(AIR, layouts=(FileLayout(**{"name": "mine", **keys}),))
