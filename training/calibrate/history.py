"""The historic profile: one dated row a training, so that one can see how the world moved from model to model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from shared.core.intake.readings import Floats
from shared.core.model.manifest import Manifest
from shared.core.task.task import Task
from training.model.hourly.rows import TrainingSet

COLUMNS = ("mean", "std", "minimum", "maximum", "missing")


def profile(task: Task, manifest: Manifest, rows: TrainingSet) -> dict[str, Any]:
    """The row of one training: when, what, on which data, and how these were distributed.

    Args:
        task: Decides which features are watched.
        manifest: Of the package.
        rows: The training rows.

    Returns:
        created, version, dataset, content, rows, devices, training_start, training_end, and for each watched feature
        and the target mean, std, minimum and maximum of what is there (None when nothing is) and the missing share.
    """
    place = {feature.name: index for index, feature in enumerate(rows.features)}
    columns = {f.name: rows.matrix[:, place[f.name]] for f in task.watched.features if f.name in place}
    columns[f"target.{task.scenario.target}"] = rows.target
    cells = {f"{name}/{key}": value for name, column in columns.items() for key, value in _cells(column).items()}
    return {
        "created": manifest.created,
        "version": manifest.version,
        "dataset": manifest.dataset,
        "content": manifest.content,
        "rows": len(rows),
        "devices": len(rows.devices),
        "training_start": manifest.training_start,
        "training_end": manifest.training_end,
        **cells,
    }


def _cells(column: Floats) -> dict[str, float | None]:
    there = column[np.isfinite(column)].astype(np.float64)
    if not len(there):
        return {**dict.fromkeys(COLUMNS), "missing": 1.0}
    found = (there.mean(), there.std(), there.min(), there.max(), 1 - len(there) / len(column))
    return {name: float(value) for name, value in zip(COLUMNS, found, strict=True)}


def path_of(out: Path) -> Path:
    """Where the row lies as JSON: beside the package."""
    return out.with_name(f"{out.name}.profile.json")


def blob_of(manifest: Manifest) -> str:
    """Name of the row among the published ones; they sort by time."""
    return f"history/{''.join(c for c in manifest.created if c.isalnum())}-{manifest.version}.json"
