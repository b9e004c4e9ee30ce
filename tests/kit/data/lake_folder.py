"""A lake in a folder, made from readings at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from shared.adapters.lake import schema
from shared.core.intake.readings import Readings
from shared.core.scenario import Scenario
from shared.core.task.tasks import task_of


def write(place: str, scenario: Scenario, readings: Readings, options: dict[str, str] | None = None) -> None:
    """Append readings to the table `readings`, as applied."""
    count = len(readings)
    minute = readings.minute.astype(np.int64)
    names = np.array(readings.devices)[readings.device]
    columns = {
        "date": pa.array((minute // 1440).astype(np.int32), pa.int32()).cast(pa.date32()),
        "partition": np.zeros(count, np.int32),
        "epoch": np.zeros(count, np.int32),
        "sequence_number": np.arange(count),
        "device_id": list(names),
        "timestamp": pa.array(minute * 60_000_000, pa.timestamp("us", tz="UTC")),
        "disposition": ["applied"] * count,
        "source": ["file/fleet.csv@1"] * count,
        "position": readings.position,
        **{name: readings.values[:, index] for index, name in enumerate(scenario.channel_names)},
    }
    rows = schema.table(columns, schema.schemas(task_of(scenario))[schema.READINGS])
    write_deltalake(f"{place}/{schema.READINGS}", rows, mode="append", partition_by=["date"], storage_options=options)


def data_files(place: Path) -> list[Path]:
    """Files of the table's rows, sorted."""
    return sorted((place / schema.READINGS).rglob("*.parquet"))
