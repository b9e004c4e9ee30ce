"""A look at a finished package, as serving will take it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from shared.adapters.models import onnx_model, package_folder
from shared.adapters.models.onnx_limits import ModelLimits
from shared.core.model.scoring import clip
from shared.core.scenario import Scenario
from shared.core.task.tasks import task_of
from shared.errors import ContractBroken
from training.model.fit import spread
from training.model.hourly.rows import TrainingSet

ROWS = 2000


def inspect(scenario: Scenario, out: Path, rows: TrainingSet) -> dict[str, Any]:
    """Load a package with all its checks, forecast some rows with it, and return its facts.

    It is no score: the package has seen these rows. Scores on unseen rows stand in the manifest; the gate judges them.

    Args:
        scenario: The use case.
        out: Folder of the package.
        rows: Prepared rows; at most 2,000 of them, evenly spread, are forecast.

    Raises:
        ContractBroken: Serving would refuse the package, a forecast or a metric is not a finite number.
    """
    model = onnx_model.load(package_folder.read(out), task_of(scenario).features, trial=ModelLimits())
    manifest = model.manifest
    broken = sorted(name for name, value in manifest.metrics.items() if not math.isfinite(value))
    if broken:
        raise ContractBroken(f"package {manifest.version}: metrics {', '.join(broken)} are not finite numbers")
    forecasts = clip(scenario, model.predict(rows.matrix[spread(len(rows), ROWS)]))
    if not np.isfinite(forecasts).all():
        raise ContractBroken(f"package {manifest.version}: a forecast is not a finite number")
    return {
        "version": manifest.version,
        "forecasts": len(forecasts),
        "lowest": float(forecasts.min()),
        "highest": float(forecasts.max()),
        "size_bytes": manifest.size_bytes,
        "latency_ms": manifest.latency_ms,
        "metrics": manifest.metrics,
    }
