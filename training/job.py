"""The training job: prepared rows -> a model -> a package that serving accepts, and a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.adapters import package_files
from shared.core.package import Manifest
from shared.errors import ConfigError
from training import baseline, package, report
from training.fit import Trained, judge_unseen, train
from training.prepare import Options, Prepared, held_out_rows, prepare
from training.progress import Screen
from training.report import HeldOut, Report
from training.tracking import Tracker, track


def run(options: Options, screen: Screen, read: Callable[[Options, Screen], Prepared] = prepare) -> dict[str, Any]:
    """Train, judge and write a package, and beside it `{out}.training.json`, whose content is returned.

    Args:
        options: What to train, and where everything goes.
        screen: Where the run reports to.
        read: Gives the prepared rows; a step of a pipeline gives those of the step before.

    Raises:
        DataRefused: The data cannot be trained on.
        ContractBroken: The exported model is not the trained one, or serving would refuse the package.
        ConfigError: The output folder or the tracking URI cannot be used.
    """
    _check_out(options)
    tags = {"scenario": options.scenario.name, "code_version": options.code_version}
    with track(options.tracking_uri, options.scenario.name, tags, run_id=options.run_id) as tracker:
        screen.line(f"MLflow run {tracker.run_id} at {options.tracking_uri}")
        prepared = read(options, screen)
        tracker.tag("dataset", prepared.dataset)
        trained = train(options.scenario, prepared.rows, prepared.folds, tracker, screen)
        tested = _test(options, prepared, trained, screen) if options.test_from is not None else None
        found = report.gather(options.scenario, prepared, trained, tested)
        with screen.step("package") as step:
            manifest = _write(options, prepared, trained, found, tracker)
            step.note = f"{manifest.size_bytes:,} bytes, {manifest.latency_ms:.2f} ms a row"
        content = report.publish(options, found, manifest, tracker, screen)
    report.show(found, manifest, options, screen)
    return content


def _check_out(options: Options) -> None:
    """Find out now what the writing of the package would find out after all the training."""
    out = options.out
    inside = {path.name for path in out.iterdir()} if out.is_dir() else set()
    other = sorted(inside - set(package_files.NAMES))
    if other or (out.exists() and not out.is_dir()):
        raise ConfigError(
            f"--out {out}: needs a new or empty folder, or one with a package; holds {other[:1] or 'a file'}"
        )


def _test(options: Options, prepared: Prepared, trained: Trained, screen: Screen) -> HeldOut:
    with screen.step("test span") as step:
        rows = held_out_rows(options, prepared)
        judged = judge_unseen(options.scenario, trained, rows)
        step.note = f"{len(rows):,} rows that nothing has looked at before"
    return HeldOut(judged, rows.excluded)


def _write(options: Options, prepared: Prepared, trained: Trained, found: Report, tracker: Tracker) -> Manifest:
    golden = package.golden_inputs(prepared.rows.matrix)
    return package.write(
        options.out,
        package.Facts(
            scenario=options.scenario.name,
            created=options.now,
            run_id=tracker.run_id,
            dataset=prepared.dataset,
            code_version=options.code_version,
            training_start=found.span[0],
            training_end=found.span[1],
            rows=len(prepared.rows),
            features=prepared.rows.features,
            interval=trained.interval,
            damped=trained.damped,
            metrics=found.metrics,
        ),
        package.Contents(
            model_onnx=trained.onnx,
            golden_inputs=golden,
            golden_outputs=trained.booster.predict(golden),
            baseline=baseline.arrays(prepared.rows, trained.judged),
            card=report.model_card(options, prepared, trained, found),
        ),
    )
