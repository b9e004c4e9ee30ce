"""What 10,000 devices cost a partition: memory, a snapshot, and the way back after a crash.

Every device's ring is full before anything is measured, on stores in memory. Run it with
`python -m benchmarks.bench_state`.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np

from benchmarks import packages
from benchmarks.bench_pipeline import NOW_MS, Bench
from benchmarks.timing import MEGABYTE
from local.fleet.__main__ import Fleet
from shared.app.score.partition import Partition
from shared.core.forecast.state import own
from shared.core.intake.readings import Floats
from shared.core.stream.events import Event
from shared.core.stream.packing import pack
from shared.core.task.state import State

T = TypeVar("T")
DEVICES, HOURS = 10_000, 160  # more hours than a ring holds
PATTERN = Fleet(stations=100, hours=HOURS + 10)
HISTORY = Fleet(stations=10, hours=40 * 24)
AT_ONCE = 1000  # devices in one batch of the history
AFTER = 8  # commits of all devices after the snapshot
ROUNDS = 5
NEVER = 1_000_000


def resident_mb() -> float:
    """Memory that this process holds now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096 / MEGABYTE


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and its seconds."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


class Feed:
    """Gives a partition hours of many devices, in batches; every hundredth device says the same."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._channels = bench.pipeline.ports.task.scenario.channel_names
        self._names = [f"device-{place:05}" for place in range(DEVICES)]
        self._sequence = self._position = 0

    def hours(self, first: int, end: int) -> None:
        """Hours `first` to `end - 1` of all devices, `AT_ONCE` devices in a batch."""
        part: Floats = np.tile(PATTERN.values[first:end], (1, AT_ONCE // PATTERN.stations, 1))
        for start in range(0, DEVICES, AT_ONCE):
            names = self._names[start : start + AT_ONCE]
            known = packages.readings_of(names, PATTERN.first_hour + first, part, self._position)
            self._position += len(known)
            bodies = list(pack("hub/0.0", self._channels, known))
            batch = [Event(self._sequence + i, NOW_MS + self._sequence + i, body) for i, body in enumerate(bodies)]
            self._sequence += len(batch)
            self._bench.pipeline.score(0, batch)


def held(bench: Bench) -> State:
    """The partition's state in memory."""
    state = bench.pipeline.score.held[0].state
    assert state is not None
    return state


def memory(bench: Bench, raw: bytes) -> None:
    """Print what a state that is read back from its snapshot adds to the process."""
    before = resident_mb()
    state = own(bench.pipeline.ports.task.restore(raw))
    grown = resident_mb() - before
    arrays = sum(array.nbytes for array in state.columns.arrays().values()) / MEGABYTE
    print(f"memory of {len(state.devices):,} devices: {grown:.0f} MB more resident, arrays alone {arrays:.0f} MB")


def snapshots(bench: Bench) -> bytes:
    """Print how long a batch must wait for the copy, and what the work beside it takes; returns the bytes."""
    task, state = bench.pipeline.ports.task, held(bench)
    rounds = [timed(lambda: task.snapshot(state)) for _ in range(ROUNDS)]
    raw, packing = timed(rounds[-1][0])
    _, storing = timed(lambda: bench.pipeline.context.snapshots.upload("partition=00/bench.state", raw))
    upload = packing + storing
    pause = median(seconds for _, seconds in rounds) * 1e3
    print(f"snapshot of {len(raw) / MEGABYTE:.0f} MB: the batch waits {pause:.0f} ms for the copy; beside it", end=" ")
    print(f"{packing * 1e3:.0f} ms to encode, {upload * 1e3:.0f} with writing, reading back and comparing (in memory)")
    return raw


def recovery(bench: Bench, feed: Feed, commits: int) -> None:
    """Commit some hours of all devices after the snapshot, forget the state, print how long it takes to be back."""
    before = len(bench.blobs.names("commits"))
    for hour in range(HOURS, HOURS + commits):
        feed.hours(hour, hour + 1)
    live = held(bench)
    count, rows = len(bench.blobs.names("commits")) - before, commits * DEVICES
    fresh = Partition(0, bench.pipeline.context)
    state, seconds = timed(fresh.recovered)
    task = bench.pipeline.ports.task
    assert task.snapshot(state)() == task.snapshot(live)(), "the recovered state differs"
    _, newest = timed(partial(bench.pipeline.context.snapshots.newest, 0))
    print(f"recovery: {seconds:.2f} s, of which {newest:.2f} for the snapshot, then {count} commits", end=" ")
    print(f"with {rows:,} readings and their forecasts; the state is the same, bit for bit")


def run() -> None:
    """Fill a partition and print what is measured."""
    with tempfile.TemporaryDirectory() as name:
        package = Path(name)
        packages.train_on(package, HISTORY)
        bench = Bench()
        bench.pipeline.context.snapshots.every = NEVER  # only where it is measured
        feed = Feed(bench)
        feed.hours(0, HOURS)
        bench.deploy(package)
        print(f"one partition, {len(held(bench).devices):,} devices, {HOURS} hours each")
        memory(bench, snapshots(bench))
        recovery(bench, feed, AFTER)


if __name__ == "__main__":
    run()
