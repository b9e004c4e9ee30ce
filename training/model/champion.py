"""The deployed model on the rows of the challenger: its forecasts of the time after its own training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from shared.adapters.models import onnx_model, package_folder
from shared.core.intake.readings import Floats
from shared.core.model import deployment
from shared.core.model.feature import Feature
from shared.core.model.manifest import VERSION, Manifest
from shared.core.model.scoring import clip
from shared.core.scenario import Scenario
from shared.core.scenario.cadence import Cadence
from shared.errors import ConfigError, ContractBroken
from shared.ports import BlobReader, Model
from training.model.hourly.rows import TrainingSet


@dataclass(frozen=True, slots=True)
class Champion:
    """The deployed model.

    Args:
        model: Ready to forecast.
        trained_until: Hour (since 1970) of the last truth that it has seen.
    """

    model: Model
    trained_until: int

    @property
    def version(self) -> str:
        """Version of its package."""
        return self.model.manifest.version

    def forecast(self, scenario: Scenario, rows: TrainingSet) -> Floats:
        """Its forecasts within the target's limits, NaN up to the end of its training, shape (n,).

        Raises:
            ContractBroken: A forecast is not a finite number.
        """
        after = np.flatnonzero(rows.as_of >= self.trained_until)
        found = np.full(len(rows), np.nan, np.float32)
        if len(after):
            found[after] = clip(scenario, self.model.predict(rows.matrix[after]))
        return found


@dataclass(frozen=True, slots=True)
class Compared:
    """The deployed model's forecasts of the training rows.

    Args:
        trained_until: Hour of the last truth that it has seen.
        forecast: Its forecasts by row, NaN where it is not judged, shape (n,).
    """

    trained_until: int
    forecast: Floats


def load(blobs: BlobReader, version: str, features: Sequence[Feature], cadence: Cadence) -> Champion:
    """Read a published package.

    Args:
        blobs: The application's blobs.
        version: Of the package.
        features: What this application computes.
        cadence: Of the scenario.

    Raises:
        ConfigError: That is no version.
        ContractBroken: The package is missing or serving would refuse it, or nobody knows when its training ended.
    """
    if not VERSION.fullmatch(version):
        raise ConfigError(f"--champion: {version[:80]!r} is not of the form {VERSION.pattern}")
    read = {name: blobs.read(deployment.CONTAINER, f"{version}/{name}") for name in package_folder.NAMES}
    model = onnx_model.load({name: raw for name, raw in read.items() if raw is not None}, features)
    if model.manifest.version != version:
        raise ContractBroken(f"manifest.json: is of version {model.manifest.version}")
    return Champion(model, trained_until(model.manifest, cadence))


def trained_until(manifest: Manifest, cadence: Cadence) -> int:
    """Step (since 1970) of the last truth that a model has seen; older packages tell it in words only.

    Raises:
        ContractBroken: The manifest does not say, as when the training rows had no time.
    """
    if manifest.trained_until >= 0:
        return manifest.trained_until
    try:
        return int(datetime.fromisoformat(manifest.training_end).timestamp()) // cadence.step_s
    except ValueError as error:
        raise ContractBroken(f"manifest.json: training_end {manifest.training_end!r} is not a time") from error
