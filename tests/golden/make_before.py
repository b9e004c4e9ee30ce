"""Write the golden files anew: `python -m tests.golden.make_before FOLDER [--overwrite]`.

The files in tests/golden/before were written before a large refactoring, to show that what it wrote is still read and
still written. Writing them anew gives that up: do so only when a change of the bytes is wanted, and say so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.core.forecast.task import HourlyForecast
from shared.core.model.manifest import encode_arrays
from shared.core.profile import merged
from tests.golden import kept
from tests.golden.stories import (
    AIR,
    DAY_MS,
    KINDS,
    SMALL,
    Told,
    air_story,
    compact,
    everything,
    filled,
    lake_of,
    released,
    small_story,
    windows,
    worker,
)
from tests.kit import HOUR
from tests.kit.tiny_model import loaded, package_of

MERGED_MS = (HOUR // 24 + 3) * DAY_MS  # the days of the small story are closed


def make(folder: Path) -> None:
    """Write all golden files into an empty folder."""
    with tempfile.TemporaryDirectory() as hubs:
        told = {"small": small_story(Path(hubs)), "air": air_story()}
    for name, each in told.items():
        kept.write(folder / name, _story(name, each))
    release = {"/".join(place): raw for place, raw in everything(released().blobs).items()}
    kept.write(folder / "release" / "blobs", release)
    kept.write(folder / "model", package_of(0))
    _lake(folder / "lake", told["small"])
    kept.write(folder / "features", _features())
    (folder / "written_with.json").write_text(json.dumps(kept.tools(), indent=2) + "\n", "utf-8")


def _story(name: str, told: Told) -> dict[str, bytes]:
    """Events, blobs, and each partition's last state and its profile."""
    files = {f"hubs/{hub}.msgpack": kept.packed(events) for hub, events in told.hubs.items()}
    files |= {"/".join(("blobs", *place)): raw for place, raw in told.out().items()}
    kind = KINDS[name]
    for number in range(kind.partitions):
        state = worker(kind, filled(told.out()), number).recovered()
        files[f"last/{number}.state"] = HourlyForecast(kind.scenario).snapshot(state)()
        files[f"last/{number}.profile"] = merged.encode(merged.of(kind.task, state))
    return files


def _lake(folder: Path, told: Told) -> None:
    """The small story's lake: appended in steps, the small files of its days merged."""
    tables = folder / "tables"
    compact(SMALL, filled(told.out()), tables)
    compact(SMALL, filled(told.out()), tables, MERGED_MS)
    digests = kept.lake_digests(lake_of(SMALL, tables))
    (folder / "rows.json").write_text(json.dumps(digests, indent=2) + "\n", "utf-8")


def _features() -> dict[str, bytes]:
    """The real scenario's feature rows, names, limits and bins, and what a model makes of them."""
    window, as_of = windows()
    matrix, watched = AIR.task.matrix(window, as_of), AIR.task.watched
    arrays: dict[str, npt.NDArray[Any]] = {
        "window": window,
        "as_of": as_of,
        "matrix": matrix,
        "edges": watched.edges.astype(np.float32),  # they lie on float32
        "columns": watched.columns,
        "forecast_edges": AIR.task.answer_edges,
        "forecast": loaded(package_of(0)).predict(matrix),
    }
    return {"air_quality.npz": encode_arrays(arrays), "air_quality.json": described()}


def described() -> bytes:
    """Features in their order with version, unit and limits, what is watched, and the rules that snapshots carry."""
    watched = AIR.task.watched
    told = {
        "features": [(f.name, f.version, f.unit, float(f.low), float(f.high)) for f in AIR.task.features],
        "watched": watched.names,
        "bins": watched.rules(),
        **{f"rules of {name}": kind.task.rules for name, kind in KINDS.items()},
    }
    lines = [json.dumps(name) + ": [\n" + ",\n".join(map(json.dumps, each)) + "\n]" for name, each in told.items()]
    return ("{" + ",\n".join(lines) + "}\n").encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=kept.BEFORE)
    parser.add_argument("--overwrite", action="store_true", help="replace golden files that are there")
    given = parser.parse_args()
    there = [path for path in given.folder.glob("*") if path.name != "README.md"]
    if there and not given.overwrite:
        parser.error(f"{given.folder} holds golden files; they say what older code wrote (see its README.md)")
    with tempfile.TemporaryDirectory() as made:
        make(Path(made))
        for path in there:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(made, given.folder, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
