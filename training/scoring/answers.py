"""Answers of one package, by the same code that answers in the streams."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.adapters.models import onnx_model, package_folder
from shared.adapters.stores import scenario_files
from shared.app.score.serving import Answering
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.forecast.featurizer import featurizer_of
from shared.core.model.manifest import decode_manifest
from shared.core.model.scoring import Control, categories
from shared.core.scenario import Scenario
from shared.errors import ContractBroken
from training.scoring.windows import NO_TIME, Refused, asked

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Answers:
    """A loaded package.

    Args:
        scenario: Limits and categories of the forecast.
        featurizer: Computes the features.
        version: Of the package.
        answering: Its model.
    """

    scenario: Scenario
    featurizer: Featurizer
    version: str
    answering: Answering

    def of(self, raw: bytes) -> dict[str, Any]:
        """Forecasts for a request, or what is wrong with it.

        Args:
            raw: JSON: `windows` (each an object with a list of `history` hourly numbers or nulls for each channel,
                oldest first) with `as_of` (ISO 8601 with zone or null, one a window; may be left out), or `readings`
                in the form devices send, of which each device's newest hour is forecast.

        Returns:
            `model_version` with `forecasts`, in the order of the windows or of the device ids; or with `errors`, the
            first 20 of `count`, when anything is wrong: then nothing is forecast.
        """
        try:
            found = asked(self.scenario, raw)
            value, lower, upper = self.answering.forecast(self.featurizer.matrix(found.window, found.as_of))
        except Refused as error:
            return self._refusal(error.problems)
        except ContractBroken as error:
            return self._refusal((("model", "contract_broken", str(error)),))
        rows = zip(found.device, found.as_of.tolist(), value.tolist(), lower.tolist(), upper.tolist(),
                   categories(self.scenario, value), strict=True)  # fmt: skip
        return {"model_version": self.version, "forecasts": [self._row(*row) for row in rows]}

    def _row(self, device: str, as_of: int, value: float, lower: float, upper: float, category: str) -> dict[str, Any]:
        return {
            **({"device_id": device} if device else {}),
            "as_of": _iso(as_of),
            "target_time": _iso(as_of + self.scenario.horizon) if as_of != NO_TIME else None,
            "value": value,
            "lower": lower,
            "upper": upper,
            "category": category,
        }

    def _refusal(self, problems: tuple[tuple[str, str, str], ...]) -> dict[str, Any]:
        errors = [{"key": key, "reason": reason, "detail": detail} for key, reason, detail in problems[:SHOWN]]
        return {"model_version": self.version, "errors": errors, "count": len(problems)}


def load(folder: Path, version: str | None = None) -> Answers:
    """The package somewhere below a folder.

    Args:
        folder: Where the platform put the registered model.
        version: The version it has to be, None for any.

    Raises:
        ContractBroken: There is not exactly one package, it is damaged, or of another version.
    """
    found = sorted(folder.rglob("manifest.json"))
    if len(found) != 1:
        raise ContractBroken(f"AZUREML_MODEL_DIR: holds {len(found)} packages (manifest.json), one is needed")
    files = package_folder.read(found[0].parent)
    manifest = decode_manifest(files["manifest.json"])
    if version is not None and manifest.version != version:
        raise ContractBroken(f"AIRLOOP_VERSION: {version[:80]!r} is wanted, the package is {manifest.version}")
    scenario = scenario_files.load(manifest.scenario)
    featurizer = featurizer_of(scenario)
    model = onnx_model.load(files, featurizer.features)
    return Answers(scenario, featurizer, manifest.version, Answering(scenario, Control(manifest.version), model))


def _iso(hour: int) -> str | None:
    return None if hour == NO_TIME else f"{np.datetime64(hour, 'h')}:00Z"
