"""What the scoring of all partitions shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.app.score.latencies import Latencies
from shared.app.score.profiles import Profiles
from shared.app.score.serving import Serving
from shared.app.score.snapshots import Snapshots
from shared.core.task.state import State
from shared.core.task.task import Task
from shared.ports import Blobs, Clock, Files, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringContext:
    """What all partitions share.

    Args:
        task: What is asked and answered.
        blobs: Where commits, predictions and dead letters go.
        files: How commits and predictions are written.
        stream: The hub, to read back what no commit covers.
        serving: Who answers.
        snapshots: Where recovery begins.
        profiles: What others watch.
        ended: Called with the state and the source after a source's end marker was committed.
        batch_rows: Most readings in one commit, about.
        clock: Says how long a forecast took.
        latencies: How long recent ones took, for the health route.
        rebuild: A partition's state from the lake, None when that holds nothing of it; asked when no snapshot is whole
            or as new as what was removed, because the first commits may be gone once they were in the lake.
    """

    task: Task
    blobs: Blobs
    files: Files
    stream: Stream
    serving: Serving
    snapshots: Snapshots
    profiles: Profiles
    ended: Callable[[State, str], None]
    batch_rows: int
    clock: Clock
    latencies: Latencies
    rebuild: Callable[[int], State | None] = lambda _: None
