"""Answers of one package, by the same code that answers in the streams."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.adapters.models import onnx_model, package_folder
from shared.adapters.stores import scenario_files
from shared.app.score.serving import ActiveModels
from shared.core.intake.readings import Longs
from shared.core.model.manifest import decode_manifest
from shared.core.model.scoring import Control
from shared.core.task.task import Task
from shared.core.task.tasks import task_of
from shared.errors import ContractBroken
from training.model.hourly.request import NO_TIME, Refused, asked

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Answers:
    """A loaded package.

    Args:
        task: What is asked and answered.
        version: Of the package.
        answering: Its model.
    """

    task: Task
    version: str
    answering: ActiveModels

    def of(self, raw: bytes) -> dict[str, Any]:
        """Forecasts for a request, or what is wrong with it.

        Args:
            raw: JSON: `windows` (each an object with a list of `history` hourly numbers or nulls for each channel,
                oldest first) with `as_of` (ISO 8601 with zone or null, one a window; may be left out), or `readings`
                in the form devices send, of which each device's newest hour is forecast.

        Returns:
            `model_version` with `forecasts`, in the order of the windows or of the device ids, and where values became
            missing because they are none, `dropped`: how many by channel and reason. Or `errors`, the first 20 of
            `count`, when anything else is wrong: then nothing is forecast.
        """
        try:
            found = asked(self.task.scenario, raw)
            numbers = self.answering.forecast(self.task.matrix(found.window, found.as_of))
        except Refused as error:
            return self._refusal(error.problems)
        except ContractBroken as error:
            return self._refusal((("model", "contract_broken", str(error)),))
        columns = self.task.answered(found.as_of, numbers)
        cells = [self._cells(kind, columns[name], found.as_of) for name, kind in self.task.answer]
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)]
        named = zip(found.device, rows, strict=True)
        forecasts = [({"device_id": device} if device else {}) | row for device, row in named]
        dropped = {"dropped": found.dropped} if found.dropped else {}
        return {"model_version": self.version, "forecasts": forecasts, **dropped}

    def _cells(self, kind: str, column: Any, as_of: Longs) -> list[Any]:
        if kind == "hour":
            return [
                None if at == NO_TIME else _iso(hour * self.task.scenario.cadence.step_s)
                for at, hour in zip(as_of, column.tolist(), strict=True)
            ]
        return list(column) if kind == "text" else list(column.tolist())

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
    task = task_of(scenario)
    model = onnx_model.load(files, task.features)
    return Answers(task, manifest.version, ActiveModels(task, Control(manifest.version), model))


def _iso(second: int) -> str:
    return f"{np.datetime64(second, 's').astype('datetime64[m]')}Z"
