"""The training job: prepared rows -> a model -> a package that serving accepts, and a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from shared.adapters.models import package_folder
from shared.core.gate import evidence as gate_evidence
from shared.core.model.manifest import Arrays, Manifest
from shared.core.scenario.shape import meaning
from shared.core.task.tasks import task_of
from shared.errors import ConfigError, ContractBroken
from training.calibrate import baseline, history
from training.calibrate.limits import calibrate
from training.data.prepare import Options, Prepared, held_out_rows, prepare
from training.model.champion import Compared
from training.model.champion import load as load_champion
from training.model.fit import Trained, evaluate_held_out, train
from training.package import evidence, writer
from training.package.publish import publish
from training.report import card, summary
from training.report.console import Screen
from training.report.summary import HeldOut, Report
from training.report.tracking import Tracker, track


def run(options: Options, screen: Screen, read: Callable[[Options, Screen], Prepared] = prepare) -> dict[str, Any]:
    """Train, judge and write a package, and beside it `{out}.training.json`, whose content is returned.

    Beside the package lie also the evidence for the gate, `{out}.evidence.npz`, and its row of the historic profile,
    `{out}.profile.json`. With `options.publish` all goes to the application's blobs.

    Args:
        options: What to train, and where everything goes.
        screen: Where the run reports to.
        read: Gives the prepared rows; a step of a pipeline gives those of the step before.

    Raises:
        DataRefused: The data cannot be trained on.
        ContractBroken: The exported model is not the trained one, or serving would refuse the package.
        ConfigError: The output folder or the tracking URI cannot be used.
        TransientFailure: The storage does not answer.
    """
    _check_out(options)
    with track(options.tracking_uri, options.scenario.name, _tags(options), run_id=options.run_id) as tracker:
        screen.line(f"MLflow run {tracker.run_id} at {options.tracking_uri}")
        prepared = read(options, screen)
        tracker.tag("dataset", prepared.dataset)
        tracker.tag("content", prepared.content)
        champion = _champion(options, prepared, tracker, screen)
        since = None if champion is None else champion.trained_until
        trained = train(options.scenario, prepared.rows, prepared.folds, tracker, screen, since)
        tested = _test(options, prepared, trained, screen) if options.test_from is not None else None
        found = summary.gather(options.scenario, prepared, trained, tested)
        with screen.step("package") as step:
            manifest = _write(options, prepared, trained, found, tracker)
            step.note = f"{manifest.size_bytes:,} bytes, {manifest.latency_ms:.2f} ms a row"
        _beside(options, prepared, trained, champion, manifest, tracker)
        content = summary.publish(options, found, manifest, tracker, screen)
        _publish(options, screen)
    summary.show(found, manifest, options, screen)
    return content


def _tags(options: Options) -> dict[str, str]:
    known = {
        "scenario": options.scenario.name,
        "code_version": options.code_version,
        "job": options.job,
        "champion": options.champion,
        "lake.version": None if options.lake is None else str(options.lake.version),
    }
    return {name: value for name, value in known.items() if value is not None}


def _champion(options: Options, prepared: Prepared, tracker: Tracker, screen: Screen) -> Compared | None:
    """The deployed model; when it cannot be used the training goes on without it, and the gate will say so."""
    if options.champion is None or options.blobs is None:
        return None
    try:
        with screen.step("champion") as step:
            found = load_champion(options.blobs, options.champion, prepared.rows.features, options.scenario.cadence)
            forecast = found.forecast(options.scenario, prepared.rows)
            after = int(np.isfinite(forecast).sum())
            step.note = f"{found.version} is judged on {after:,} rows after its training"
    except ContractBroken as error:
        problem = f"champion {options.champion}: {error}; nothing is compared with it"
        screen.line(f"warning: {problem}", style="yellow")
        tracker.tag("champion.problem", problem[:400])
        return None
    return Compared(found.trained_until, forecast)


def _beside(
    options: Options,
    prepared: Prepared,
    trained: Trained,
    champion: Compared | None,
    manifest: Manifest,
    tracker: Tracker,
) -> None:
    """What lies beside the package: its row of the historic profile, and the evidence for the gate."""
    row = history.profile(task_of(options.scenario), manifest, prepared.rows)
    history.path_of(options.out).write_bytes(msgspec.json.encode(row))
    tracker.table("historic_profile", [row])
    place = evidence.path_of(options.out)
    place.unlink(missing_ok=True)
    if prepared.rows.dated:
        found = evidence.gather(prepared.rows, trained, None if champion is None else champion.forecast)
        place.write_bytes(gate_evidence.encode(found))


def _publish(options: Options, screen: Screen) -> None:
    if not options.publish or options.blobs is None or options.job is None:
        return
    with screen.step("upload") as step:
        version = publish(options.blobs, options.scenario, options.out, options.job)
        step.note = f"package {version} of job {options.job}"


def _check_out(options: Options) -> None:
    """Find out now what the writing of the package would find out after all the training."""
    out = options.out
    inside = {path.name for path in out.iterdir()} if out.is_dir() else set()
    other = sorted(inside - set(package_folder.NAMES))
    if other or (out.exists() and not out.is_dir()):
        raise ConfigError(
            f"--out {out}: needs a new or empty folder, or one with a package; holds {other[:1] or 'a file'}"
        )


def _test(options: Options, prepared: Prepared, trained: Trained, screen: Screen) -> HeldOut:
    with screen.step("test span") as step:
        rows = held_out_rows(options, prepared)
        evaluation = evaluate_held_out(options.scenario, trained, rows)
        step.note = f"{len(rows):,} rows that nothing has looked at before"
    return HeldOut(evaluation, rows.excluded)


def _write(options: Options, prepared: Prepared, trained: Trained, found: Report, tracker: Tracker) -> Manifest:
    golden = writer.golden_inputs(prepared.rows.matrix)
    return writer.write(
        options.out,
        writer.Facts(
            scenario=options.scenario.name,
            created=options.now,
            run_id=tracker.run_id,
            dataset=prepared.dataset,
            content=prepared.content,
            trained_until=_trained_until(options, prepared),
            trained_for=meaning(options.scenario),
            code_version=options.code_version,
            training_start=found.span[0],
            training_end=found.span[1],
            rows=len(prepared.rows),
            features=prepared.rows.features,
            interval=trained.interval,
            damped=trained.damped,
            metrics=found.metrics,
        ),
        writer.Contents(
            model_onnx=trained.onnx,
            golden_inputs=golden,
            golden_outputs=trained.booster.predict(golden),
            baseline=_baseline(options, prepared, trained),
            card=card.render(options, prepared, trained, found),
        ),
    )


def _baseline(options: Options, prepared: Prepared, trained: Trained) -> Arrays:
    """What the data looked like, and the limits of the drift check."""
    seen = baseline.arrays(prepared.rows, trained.evaluation)
    return {**seen, **calibrate(task_of(options.scenario), prepared.rows, trained.evaluation)}


def _trained_until(options: Options, prepared: Prepared) -> int:
    return int(prepared.rows.as_of[-1]) + options.scenario.horizon_steps if prepared.rows.dated else -1
