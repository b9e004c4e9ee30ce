"""What a job that checks drift with evidently does; runs in an environment of its own, which lacks our packages.

`python plain_evidently.py FOLDER` reads reference.npy and current.npy, shape (rows, columns), and prints JSON.
"""

import time

start = time.perf_counter()
from evidently import Report  # type: ignore[import-not-found]  # noqa: E402 - the import is timed
from evidently.presets import DataDriftPreset  # type: ignore[import-not-found]  # noqa: E402

imported = time.perf_counter() - start

import json  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

ROUNDS = 2


def main(folder: Path) -> None:
    """Check the columns some times and print the fastest."""
    reference, current = (
        pd.DataFrame(np.load(folder / f"{name}.npy")).add_prefix("f") for name in ("reference", "current")
    )
    took = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        found = Report([DataDriftPreset()]).run(current, reference)
        took.append(time.perf_counter() - begun)
    values = [m["value"] for m in found.dict()["metrics"] if m["metric_name"].startswith("ValueDrift")]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"import_s": imported, "seconds": min(took), "peak_mb": peak, "values": list(map(float, values))}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
