"""Model packages for the benchmarks, made in seconds: a few CatBoost trees, no search, no folds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import catboost
import numpy as np

from benchmarks.timing import TREES
from local.fleet.__main__ import Fleet
from shared.adapters.stores import scenario_files
from shared.core.forecast.window.history import hourly
from shared.core.intake.readings import Floats, Readings
from shared.core.model.feature import Feature
from shared.core.model.manifest import Damped, Interval
from shared.core.task.tasks import task_of
from training.model.export import to_onnx
from training.model.hourly import rows as data
from training.package import writer


def write(folder: Path, model: catboost.CatBoostRegressor, features: Sequence[Feature], rows: Floats, of: str) -> None:
    """Write a model as a package of the scenario named `of`; golden rows are chosen from `rows`."""
    inputs = writer.golden_inputs(rows)
    facts = writer.Facts(
        scenario=of,
        created=datetime(2026, 1, 1, tzinfo=timezone.utc),
        run_id="",
        dataset="",
        code_version="",
        training_start="",
        training_end="",
        rows=len(rows),
        features=features,
        interval=Interval(nominal=0.9, edges=[], lower=[0.0], upper=[0.0]),
        damped=Damped(intercept=0.0, latest=1.0, mean_24=0.0),
        metrics={},
    )
    contents = writer.Contents(
        model_onnx=to_onnx(model, len(features)),
        golden_inputs=inputs,
        golden_outputs=model.predict(inputs),
        baseline={},
        card="",
    )
    writer.write(folder, facts, contents)


def train_on(folder: Path, fleet: Fleet) -> None:
    """Fit `TREES` on all features of a short history and write the package."""
    scenario = scenario_files.load("air_quality")
    task = task_of(scenario)
    history = hourly(scenario, readings_of(fleet.names, fleet.first_hour, fleet.values))
    rows = data.from_history(task, history)
    model = catboost.CatBoostRegressor(**TREES).fit(rows.matrix, rows.target)
    write(folder, model, task.features, rows.matrix, scenario.name)


def readings_of(names: Sequence[str], first_hour: int, values: Floats, first_position: int = 0) -> Readings:
    """Hourly values of a fleet as readings, by time, then device.

    Args:
        names: Device ids, length devices.
        first_hour: Hours since 1970 UTC of the first row.
        values: Shape (hours, devices, channels).
        first_position: Position of the first reading in its source.
    """
    hours, devices, channels = values.shape
    minute = np.repeat((first_hour + np.arange(hours)) * 60, devices)
    device = np.tile(np.arange(devices), hours)
    position = first_position + np.arange(hours * devices)
    return Readings(
        tuple(names), device.astype(np.int32), minute.astype(np.int32), position, values.reshape(-1, channels)
    )
