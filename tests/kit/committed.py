"""What was committed, read as anybody would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shared.adapters.lake.commit_files import ParquetFiles
from shared.core.stream.commit import Commit
from shared.core.stream.events import Batch
from shared.ports import Blobs
from tests.kit.scenario import TASK

FILES = ParquetFiles(TASK)
Forecasts = dict[tuple[str, int, int], tuple[float, str]]  # device, as-of hour, revision: value, model


def commits(blobs: Blobs) -> Iterator[tuple[str, Commit, Batch]]:
    """Every commit with its name and batch, in order."""
    for name in blobs.names("commits"):
        yield name, *FILES.decode_commit(blobs.read("commits", name) or b"")


def forecasts(blobs: Blobs, role: str = "champion") -> Forecasts:
    """Every forecast of a role that a commit names; each exactly once."""
    found: Forecasts = {}
    for _, commit, _ in commits(blobs):
        if commit.predictions is None:
            continue
        rows = FILES.read_predictions(blobs.read("predictions", commit.predictions) or b"")
        for place, device in enumerate(rows["device_id"]):
            if rows["role"][place] != role:
                continue
            key = device, int(rows["as_of"][place]), int(rows["revision"][place])
            assert key not in found, f"{key} stands in two named blobs"
            found[key] = float(rows["value"][place]), rows["model_version"][place]
    return found


def newest(found: Mapping[tuple[str, int, int], tuple[float, str]]) -> dict[tuple[str, int], tuple[float, str]]:
    """The last revision of each forecast."""
    return {(device, as_of): value for (device, as_of, _), value in sorted(found.items())}
