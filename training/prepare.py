"""From files to what a training run may see: read, cut at the test span, checked, turned into rows and folds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from shared.core.features import Featurizer
from shared.core.ring import Hourly, hourly
from shared.core.scenario import Scenario
from training import data, files, folds, validate
from training.data import TrainingSet
from training.files import DataRefused, Inputs, Source
from training.folds import Fold
from training.progress import Screen
from training.validate import Finding


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
        limits: What the validation accepts.
    """

    scenario: Scenario
    readings: Sequence[Path]
    out: Path
    tracking_uri: str
    now: datetime
    code_version: str = "unknown"
    test_from: int | None = None
    zone: str | None = None
    run_id: str | None = None
    limits: validate.Limits = field(default_factory=validate.Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a run may see, and beside it the whole history, which only the final report looks at.

    Args:
        rows: Training rows; no truth of theirs lies in the test span.
        folds: Rows to train on and to validate on.
        dataset: Name of the training data by content.
        sources: What each file gave.
        warnings: Of the validation of the training data; the package tells them too.
        file_warnings: About files as wholes, where the test span cannot be told apart.
        history: Every device's hours, the test span included.
    """

    rows: TrainingSet
    folds: tuple[Fold, ...]
    dataset: str
    sources: tuple[Source, ...]
    warnings: tuple[str, ...]
    file_warnings: tuple[str, ...]
    history: dict[str, Hourly]


def prepare(options: Options, screen: Screen) -> Prepared:
    """Read the files, check them and build rows and folds.

    Raises:
        DataRefused: The data cannot be trained on.
    """
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
    file_warnings = _judge(validate.check_sources(inputs.sources, options.limits), screen)
    if windows and len(inputs.readings):
        raise DataRefused("readings: long files and wide files cannot be trained on together")
    found = _from_windows(options, inputs, screen) if windows else _from_readings(options, inputs, screen)
    return Prepared(
        rows=found.rows,
        folds=found.folds,
        dataset=found.dataset,
        sources=inputs.sources,
        warnings=tuple(found.warnings),
        file_warnings=tuple(file_warnings),
        history=found.history,
    )


def held_out_rows(options: Options, prepared: Prepared) -> TrainingSet:
    """Rows of the test span: the as-of hours from its first hour on whose truth has come."""
    return data.from_history(options.scenario, Featurizer(options.scenario), prepared.history, since=options.test_from)


@dataclass(frozen=True, slots=True)
class _Found:
    rows: TrainingSet
    folds: tuple[Fold, ...]
    dataset: str
    warnings: list[str]
    history: dict[str, Hourly]


def _from_readings(options: Options, inputs: Inputs, screen: Screen) -> _Found:
    scenario, limits = options.scenario, options.limits
    with screen.step("hours") as step:
        history = hourly(scenario, inputs.readings)
        seen = history if options.test_from is None else data.before(history, options.test_from)
        step.note = f"{sum(len(h.values) for h in seen.values()):,} hours of {len(seen)} device(s) to learn from"
    warnings = _judge(validate.check_duplicates(inputs.readings, options.test_from, limits), screen)
    warnings += _judge(validate.check_history(scenario, seen, limits), screen)
    with screen.step("features") as step:
        featurizer = Featurizer(scenario)
        rows = data.from_history(scenario, featurizer, seen, advance=step.advance)
        step.note = f"{len(rows):,} rows of {len(rows.features)} features"
    split = folds.rolling(rows.as_of, scenario.horizon, scenario.search.folds)
    warnings += _judge(validate.check_rows(rows, split, limits), screen)
    return _Found(rows, split, data.dataset_hash(seen), warnings, history)


def _from_windows(options: Options, inputs: Inputs, screen: Screen) -> _Found:
    if options.test_from is not None:
        raise DataRefused("test span: the rows of a wide file have no time; leave --test-from out")
    with screen.step("features") as step:
        rows = data.from_windows(options.scenario, Featurizer(options.scenario), inputs.windows)
        step.note = f"{len(rows):,} rows of {len(rows.features)} features"
    screen.line(
        "warning: rows without a time are validated in blocks that may overlap in time: "
        "such a score is not a forecast score",
        style="yellow",
    )
    split = folds.blocks(len(rows), options.scenario.search.folds)
    warnings = _judge(validate.check_rows(rows, split, options.limits), screen)
    warnings.insert(0, "time: rows have none, so the scores are not forecast scores")
    return _Found(rows, split, data.dataset_hash({}, inputs.windows), warnings, {})


def _judge(findings: Iterable[Finding], screen: Screen) -> list[str]:
    """Show the warnings and return them; stop when there are errors."""
    found = list(findings)
    warnings = [str(finding) for finding in found if finding.level == "warning"]
    for warning in warnings:
        screen.line(f"warning: {warning}", style="yellow")
    validate.refuse(found)
    return warnings
