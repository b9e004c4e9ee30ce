"""A few days of three stations, forecast by two real packages on stores in memory, to be looked back at."""

from __future__ import annotations

import numpy as np

from shared.adapters.lake.commit_files import ParquetFiles
from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.forecast_id import hour_text
from shared.settings import Settings
from tests.kit import HOUR, HandClock, MemoryBlobs, MemoryStream, assemble, tiny_model

HOURS, DEVICES = 140, ("x", "y", "z@[/b]")


def real_past(hours: int = HOURS) -> tuple[str, CommitHistory]:
    """The champion's version, and what was committed."""
    blobs, stream = MemoryBlobs(), MemoryStream()
    champion = tiny_model.deploy(blobs, challenger=tiny_model.upload(blobs, tiny_model.package_of(1)))
    pipeline = assemble(Settings(), blobs, stream, HandClock())
    blobs.write("incoming", "x.csv", _table(hours).encode())
    pipeline.route_file("x.csv")
    for number, events in enumerate(stream.logs):
        if events:
            pipeline.score(number, events)
    task = pipeline.ports.task
    return champion, CommitHistory(task, blobs, ParquetFiles(task), partitions=stream.partitions())


def _table(hours: int) -> str:
    random, channels = np.random.default_rng(7), tiny_model.SCENARIO.channels
    lines = ["device_id,timestamp," + ",".join(channel.name for channel in channels)]
    for hour in range(hours):
        for device in DEVICES:
            cells = [
                f"{max(c.minimum, 0) + v:.2f}" for c, v in zip(channels, random.random(len(channels)) * 9, strict=True)
            ]
            lines.append(f"{device},{hour_text(HOUR + hour)}:00Z,{','.join(cells)}")
    return "\n".join(lines)
