"""From files to what a training run may see: read, cut at the test span, checked, turned into rows and folds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from shared.core.scenario import Scenario
from shared.core.task.tasks import task_of
from shared.ports import Blobs
from training.data import files, folds, validate
from training.data.files import DataRefused, Inputs, Source
from training.data.folds import Fold
from training.data.validate import Finding
from training.model.hourly import rows as data
from training.model.hourly.rows import History, TrainingSet
from training.report.console import Screen


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeVersion:
    """A version of the lake's readings.

    Args:
        version: Of the table, 0 or more.
        uri: Where the lake's tables are, `az://lake` or a folder.
        options: How to reach it, from `delta/storage_options.py`.
    """

    version: int
    uri: str
    options: Callable[[], Mapping[str, str]] = dict

    def __str__(self) -> str:
        return f"lake@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to train, on what, and where everything goes.

    Args:
        scenario: The use case with its search budget and seed.
        readings: Files and folders.
        out: Folder of the package: new, empty, or holding an older package.
        tracking_uri: Of MLflow.
        now: The clock's time, aware: readings beyond it are refused, the package is dated with it.
        code_version: Of the code that runs.
        test_from: Hour since 1970 from which on everything is kept out and only reported on, None for no such span.
        zone: Zone of timestamps without one.
        run_id: MLflow run to log into, None for a new one.
        lake: The version of the lake to train on, in place of files.
        champion: Version of the deployed model, whose forecasts go beside the new model's.
        job: Name of the job.
        publish: Whether the package goes to the application's blobs.
        blobs: The application's blobs, for `champion` and `publish`.
        limits: What the validation accepts.
    """

    scenario: Scenario
    readings: Sequence[Path] = ()
    out: Path
    tracking_uri: str
    now: datetime
    code_version: str = "unknown"
    test_from: int | None = None
    zone: str | None = None
    run_id: str | None = None
    lake: LakeVersion | None = None
    champion: str | None = None
    job: str | None = None
    publish: bool = False
    blobs: Blobs | None = None
    limits: validate.Limits = field(default_factory=validate.Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a run may see, and beside it the whole history, which only the final report looks at.

    Args:
        rows: Training rows; no truth of theirs lies in the test span.
        folds: Rows to train on and to validate on.
        dataset: Name of the training data: the lake's version, or of files the content.
        content: Name of the training data by content.
        sources: What each file gave.
        warnings: Of the validation of the training data; the package tells them too.
        file_warnings: About files as wholes, where the test span cannot be told apart.
        history: Every device's hours, the test span included.
    """

    rows: TrainingSet
    folds: tuple[Fold, ...]
    dataset: str
    content: str
    sources: tuple[Source, ...] = ()
    warnings: tuple[str, ...]
    file_warnings: tuple[str, ...] = ()
    history: History


def prepare(options: Options, screen: Screen) -> Prepared:
    """Read the files or the lake, check them and build rows and folds.

    Raises:
        DataRefused: The data cannot be trained on.
        ContractBroken: The lake has no such version, or a file of it is gone or damaged.
    """
    return _from_lake(options, options.lake, screen) if options.lake is not None else _from_files(options, screen)


def held_out_rows(options: Options, prepared: Prepared) -> TrainingSet:
    """Rows of the test span: the as-of hours from its first hour on whose truth has come."""
    return data.from_history(task_of(options.scenario), prepared.history, since=options.test_from)


def _from_files(options: Options, screen: Screen) -> Prepared:
    with screen.step("read") as step:
        inputs = files.read(
            options.readings,
            options.scenario,
            zone=options.zone,
            not_after_minute=int(options.now.timestamp()) // 60,
            advance=step.advance,
        )
        windows = sum(len(chunk.ids) for chunk in inputs.windows)
        step.note = f"{len(inputs.readings):,} readings, {windows:,} windows from {len(inputs.sources)} file(s)"
    file_warnings = _accepted(validate.check_sources(inputs.sources, options.limits), screen)
    if windows and len(inputs.readings):
        raise DataRefused("readings: long files and wide files cannot be trained on together")
    found = _from_windows(options, inputs, screen) if windows else _from_readings(options, inputs, screen)
    return replace(found, sources=inputs.sources, file_warnings=tuple(file_warnings))


def _from_lake(options: Options, lake: LakeVersion, screen: Screen) -> Prepared:
    from training.model.hourly.lake import history as lake_history  # late: Delta tables are not needed for files

    with screen.step("read") as step:
        history, count = lake_history(options.scenario, lake.uri, lake.options, lake.version)
        step.note = f"{count:,} readings of {lake}"
    found = _from_history(options, history, [], screen)
    return replace(found, dataset=str(lake), sources=(Source(name=str(lake), rows=count),))


def _from_readings(options: Options, inputs: Inputs, screen: Screen) -> Prepared:
    with screen.step("hours") as step:
        history = data.hours(options.scenario, inputs.readings)
        step.note = f"{sum(len(h.values) for h in history.values()):,} hours of {len(history)} device(s)"
    warnings = _accepted(
        validate.check_duplicates(options.scenario, inputs.readings, options.test_from, options.limits), screen
    )
    return _from_history(options, history, warnings, screen)


def _from_history(options: Options, history: History, warnings: list[str], screen: Screen) -> Prepared:
    scenario, limits = options.scenario, options.limits
    seen = history if options.test_from is None else data.before(history, options.test_from)
    warnings = warnings + _accepted(validate.check_history(scenario, seen, limits), screen)
    with screen.step("features") as step:
        rows = data.from_history(task_of(scenario), seen, advance=step.advance)
        step.note = f"{len(rows):,} rows of {len(rows.features)} features"
    split = folds.rolling(rows.as_of, scenario.horizon_steps, scenario.search.folds)
    warnings += _accepted(validate.check_rows(rows, split, limits), screen)
    content = data.dataset_hash(seen)
    return Prepared(rows=rows, folds=split, dataset=content, content=content, warnings=tuple(warnings), history=history)


def _from_windows(options: Options, inputs: Inputs, screen: Screen) -> Prepared:
    if options.test_from is not None:
        raise DataRefused("test span: the rows of a wide file have no time; leave --test-from out")
    if options.publish:
        raise DataRefused("wide files: their rows have no time, so nobody could judge the model; leave --publish out")
    with screen.step("features") as step:
        rows = data.from_windows(task_of(options.scenario), inputs.windows)
        step.note = f"{len(rows):,} rows of {len(rows.features)} features"
    screen.line(
        "warning: rows without a time are validated in blocks that may overlap in time: "
        "such a score is not a forecast score",
        style="yellow",
    )
    split = folds.blocks(len(rows), options.scenario.search.folds)
    warnings = _accepted(validate.check_rows(rows, split, options.limits), screen)
    warnings.insert(0, "time: rows have none, so the scores are not forecast scores")
    content = data.dataset_hash({}, inputs.windows)
    return Prepared(rows=rows, folds=split, dataset=content, content=content, warnings=tuple(warnings), history={})


def _accepted(findings: Iterable[Finding], screen: Screen) -> list[str]:
    """Show the warnings and return them; stop when there are errors."""
    found = list(findings)
    warnings = [str(finding) for finding in found if finding.level == "warning"]
    for warning in warnings:
        screen.line(f"warning: {warning}", style="yellow")
    validate.refuse(found)
    return warnings
