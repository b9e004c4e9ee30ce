"""The training job: prepared rows -> search -> refit -> a package that serving accepts, and a report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from catboost import CatBoostRegressor

from shared.adapters import package_files
from shared.core.package import Damped, Interval, Manifest
from shared.core.readings import Floats, Longs
from shared.core.scenario import Scenario
from shared.core.scoring import bounds, clip
from shared.errors import ConfigError
from training import baseline, boosting, export, floor, intervals, package, report
from training.boosting import Fitted
from training.data import TrainingSet
from training.evaluate import Judged
from training.prepare import Options, Prepared, prepare, test_rows
from training.progress import Screen
from training.search import search
from training.tracking import Tracker, track


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The model refitted on all rows, and how its recipe did on rows it had not seen.

    Args:
        fitted: The recipe on the folds.
        judged: Its out-of-fold forecasts.
        coverage: Share of truths covered by intervals calibrated on the other folds.
        interval: Offsets calibrated on all folds.
        damped: The floor, fitted on all rows.
        booster: The model.
        onnx: Its graph.
        parity: Largest difference between the two.
    """

    fitted: Fitted
    judged: Judged
    coverage: float
    interval: Interval
    damped: Damped
    booster: CatBoostRegressor
    onnx: bytes
    parity: float


def run(options: Options, screen: Screen) -> report.Report:
    """Train, judge and write a package, and beside it `{out}.training.json`.

    Raises:
        DataRefused: The data cannot be trained on.
        ContractBroken: The exported model is not the trained one, or serving would refuse the package.
        ConfigError: The output folder or the tracking URI cannot be used.
    """
    check_out(options)
    tags = {"scenario": options.scenario.name, "code_version": options.code_version}
    with track(options.tracking_uri, options.scenario.name, tags, run_id=options.run_id) as tracker:
        screen.line(f"MLflow run {tracker.run_id} at {options.tracking_uri}")
        prepared = prepare(options, screen)
        tracker.tag("dataset", prepared.dataset)
        trained = train(options.scenario, prepared, tracker, screen)
        tested = _test(options, prepared, trained, screen)
        found = report.gather(options, prepared, trained, tested)
        with screen.step("package") as step:
            manifest = _write(options, prepared, trained, found, tracker)
            step.note = f"{manifest.version}, {manifest.size_bytes:,} bytes, {manifest.latency_ms:.2f} ms a row"
        return report.publish(options, found, manifest, tracker, screen)
