"""The pipeline in one process on stores in memory: route alone, score alone, and how long a small batch takes.

A batch is folded, forecast, encoded as Parquet and committed; only the stores' own time is missing. Run it with
`python -m benchmarks.bench_pipeline`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import packages
from benchmarks.timing import TREES
from local.fleet.__main__ import Fleet
from shared.adapters.models import onnx_model, package_folder
from shared.adapters.stores.clock import WallClock
from shared.app.release.publish import Release
from shared.core.stream.events import Event
from shared.core.stream.packing import pack
from shared.settings import Settings
from tests.kit import MemoryBlobs, MemoryStream, assemble

FILE = Fleet(stations=85, hours=125 * 24)
DEVICES, SIZES = 1000, (1, 10, 100, 1000)
FIRST_H, BATCHES = 125, 40  # every device has a full window before the first measured batch
NOW_MS = 1_800_000_000_000
GOAL_MS = 40
EVENTS = 100  # handed over at once


class Bench:
    """A pipeline on memory."""

    def __init__(self) -> None:
        self.blobs, self.stream = MemoryBlobs(), MemoryStream()
        settings = Settings(model_refresh_s=0.0)
        self.pipeline = assemble(settings, self.blobs, self.stream, WallClock())

    def deploy(self, package: Path) -> None:
        """Let a model serve."""
        features = self.pipeline.ports.task.features
        release = Release(self.blobs, partial(onnx_model.load, featurizer_features=features))
        release.deploy(release.publish(package_folder.read(package)))

    def score_all(self) -> None:
        """Hand over everything that the stream holds."""
        for partition, events in enumerate(self.stream.logs):
            for start in range(0, len(events), EVENTS):
                self.pipeline.score(partition, events[start : start + EVENTS])


def rates(package: Path, readings: Path, rows: int) -> None:
    """Print readings per second of routing a file and of scoring what came of it."""
    bench = Bench()
    bench.deploy(package)
    bench.blobs.write("incoming", readings.name, readings.read_bytes())
    took = seconds(lambda: bench.pipeline.route_file(readings.name)), seconds(bench.score_all)
    for name, spent in zip(("route", "score"), took, strict=True):
        print(f"{name} alone, a file of {rows:,} readings {rows / spent:12,.0f} readings/s")


def seconds(work: Callable[[], object]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def latencies(package: Path) -> None:
    """Print how long a batch of one reading each from some devices takes, out of a thousand known ones."""
    fleet = Fleet(stations=DEVICES, hours=FIRST_H + BATCHES)
    for size in SIZES:
        bench = Bench()
        batches = hours(fleet, bench.pipeline.ports.task.scenario.channel_names, size)
        bench.deploy(package)  # first, or forecasts of the baseline would mature in what is measured
        bench.pipeline.score(0, next(batches))
        took = [seconds(partial(bench.pipeline.score, 0, batch)) * 1e3 for batch in batches]
        goal = f" (goal: {GOAL_MS})" if size == DEVICES else ""
        print(f"a batch from {size:4} of {DEVICES} devices: median {median(took):5.1f} ms, max {max(took):5.1f}{goal}")


def hours(fleet: Fleet, channels: tuple[str, ...], size: int) -> Iterator[list[Event]]:
    """A batch with the history of all devices, then one an hour from the first `size` devices."""
    sequence, position = 0, 0
    for first, end, devices in [(0, FIRST_H, DEVICES), *((h, h + 1, size) for h in range(FIRST_H, fleet.hours))]:
        values = fleet.values[first:end, :devices]
        known = packages.readings_of(fleet.names[:devices], fleet.first_hour + first, values, position)
        bodies = list(pack("hub/0", channels, known))
        yield [Event(sequence + place, NOW_MS + sequence + place, body) for place, body in enumerate(bodies)]
        sequence, position = sequence + len(bodies), position + len(known)


def run() -> None:
    """Make a model and a file, and print what is measured."""
    with tempfile.TemporaryDirectory() as name:
        readings, package = Path(name) / "readings.csv", Path(name) / "package"
        rows = FILE.write_csv(readings)
        packages.train_on(package, Fleet(stations=10, hours=40 * 24))
        print(f"in one process, on memory; {TREES['iterations']} trees of depth {TREES['depth']}")
        rates(package, readings, rows)
        latencies(package)


if __name__ == "__main__":
    run()
