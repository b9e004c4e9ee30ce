"""How good the forecasts were, from the blobs that the functions wrote and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from local.demo.report.outcomes import Outcomes
from local.send.sources import joined
from shared.adapters.lake.commit_files import ParquetFiles
from shared.core.forecast.window.history import Hourly, hourly
from shared.core.intake.readings import Array, Readings
from shared.core.model.manifest import Damped, damped
from shared.core.model.scoring import BASELINE, ROLES
from shared.core.scenario import Scenario
from shared.core.stream.commit import APPLIED
from shared.ports import BlobReader


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Forecasts beside what came later.

    Args:
        outcomes: Served forecasts whose truth is known.
        predictions: Forecasts of models that were served, newest revision each.
        untrue: Of these, without a known truth (yet).
    """

    outcomes: Outcomes
    predictions: int
    untrue: int

    def scores(self) -> dict[str, Any]:
        """Errors of model, persistence and damped persistence on the same rows; what was left out is counted."""
        found = self.outcomes
        fair = found.fair()
        truth = found.truth[fair].astype(np.float64)
        out: dict[str, Any] = {"rows": len(truth), "excluded_no_truth": self.untrue}
        out["excluded_no_latest"] = len(found.truth) - len(truth)
        for name, forecast in {
            "": found.forecast,
            "_persistence": found.persistence,
            "_damped": found.damped,
        }.items():
            error = forecast[fair].astype(np.float64) - truth
            out[f"rmse{name}"] = float(np.sqrt(np.mean(error**2)))
            out[f"mae{name}"] = float(np.mean(np.abs(error)))
        inside = (found.truth >= found.lower) & (found.truth <= found.upper)
        out["interval_coverage"] = float(inside.mean())
        return out


def evaluate(
    blobs: BlobReader, files: ParquetFiles, baseline: Damped, since_hour: int, until_hour: int = 2**40
) -> Evaluation:
    """Compare forecasts with readings.

    Args:
        blobs: Commits and predictions.
        files: Reads them.
        baseline: Coefficients of damped persistence, from the model's manifest.
        since_hour: First as-of hour to be judged.
        until_hour: As-of hours from this one on are not.
    """
    scenario = files.scenario
    parts, served = _gather(blobs, files)
    history = hourly(scenario, joined(parts, len(scenario.channels)))
    devices = sorted(history)
    rows = sorted((devices.index(d), a) for d, a in served if since_hour <= a < until_hour)
    place = np.array([device for device, _ in rows], np.int64)
    as_of = np.array([hour for _, hour in rows], np.int64)
    forecast = np.array([served[devices[d], a][1:] for d, a in rows], np.float32).reshape(-1, 3)
    truth, latest, recent = (np.empty(len(rows), np.float32) for _ in range(3))
    for number, device in enumerate(devices):
        mine = place == number
        found = history[device]
        truth[mine] = _at(scenario, found, as_of[mine] + scenario.horizon_steps)
        latest[mine] = _at(scenario, found, as_of[mine])
        hours = as_of[mine][None, :] - np.arange(scenario.cadence.day)[:, None]
        recent[mine] = _mean(_at(scenario, found, hours))
    known = ~np.isnan(truth)
    naive = np.where(np.isnan(latest), np.float32(np.nan), damped(baseline, latest, recent))
    outcomes = Outcomes(
        devices=devices,
        device=place[known].astype(np.int32),
        hour=as_of[known] + scenario.horizon_steps,
        forecast=forecast[known, 0],
        lower=forecast[known, 1],
        upper=forecast[known, 2],
        truth=truth[known],
        persistence=latest[known],
        damped=naive[known].astype(np.float32),
    )
    return Evaluation(outcomes, len(rows), int((~known).sum()))


def _gather(
    blobs: BlobReader, files: ParquetFiles
) -> tuple[list[Readings], dict[tuple[str, int], tuple[int, float, float, float]]]:
    parts: list[Readings] = []
    served: dict[tuple[str, int], tuple[int, float, float, float]] = {}
    for name in blobs.names("commits"):
        raw = blobs.read("commits", name) or b""
        commit, batch = files.decode_commit(raw)
        keep = files.dispositions(raw) == APPLIED
        columns = (batch.device, batch.minute, batch.position)
        device, minute, position = (column[keep] for column in columns)
        parts.append(Readings(batch.devices, device, minute, position, batch.values[keep]))
        if commit.predictions is not None:
            _newest(files.read_predictions(blobs.read("predictions", commit.predictions) or b""), served)
    return parts, served


def _newest(found: dict[str, Any], served: dict[tuple[str, int], tuple[int, float, float, float]]) -> None:
    shown = found["served"] & (np.array(found["role"]) != ROLES[BASELINE])  # models are judged, not first forecasts
    columns = (found["as_of"], found["revision"], found["value"], found["lower"], found["upper"], shown)
    for device, as_of, revision, value, lower, upper, seen in zip(
        found["device_id"], *(column.tolist() for column in columns), strict=True
    ):
        if seen and revision >= served.get((device, as_of), (-1,))[0]:
            served[device, as_of] = (revision, value, lower, upper)


def _at(scenario: Scenario, found: Hourly, hour: Array) -> Array:
    """A device's target by hour, NaN outside its history."""
    values = found.values[:, scenario.target_column]
    place = hour - found.first_hour
    inside = (place >= 0) & (place < len(values))
    return np.where(inside, values[np.where(inside, place, 0)], np.float32(np.nan))


def _mean(values: Array) -> Array:
    count = np.count_nonzero(~np.isnan(values), axis=0)
    mean: Array = np.nansum(values, axis=0) / np.where(count, count, np.nan)
    return mean
