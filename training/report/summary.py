"""What came of a run, for people (terminal, model card) and for machines (`training.json`, MLflow)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shared.core.model.manifest import Manifest
from shared.core.scenario import Scenario
from shared.core.scenario.cadence import HOURLY, Cadence
from training.data.folds import Fold
from training.data.prepare import Options, Prepared
from training.model.evaluate import NAMES, Evaluation, Row
from training.model.fit import Trained
from training.report.console import Screen
from training.report.tracking import Tracker

IMPORTANT = 15
SCORES = ("", "RMSE", "MAE", "bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run found out.

    Args:
        metrics: Scores; names that begin with test_ are of the test span.
        excluded: Hours that gave no training row, by reason.
        test_excluded: Hours of the test span that gave no row, by reason.
        tables: Scores by device and by month, by name.
        params: The chosen recipe.
        level: The correction by the newest errors, in words.
        folds: One line a fold.
        warnings: Of the validation.
        sources: What each file gave.
        importance: The features that matter most, with their share in per cent.
        span: First as-of hour and last truth's hour, "" where rows have no time.
    """

    metrics: dict[str, float]
    excluded: dict[str, int]
    test_excluded: dict[str, int]
    tables: dict[str, list[Row]]
    params: dict[str, float]
    level: str
    folds: list[str]
    warnings: list[str]
    sources: list[dict[str, Any]]
    importance: list[tuple[str, float]]
    span: tuple[str, str]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The test span, looked at once."""

    evaluation: Evaluation
    excluded: dict[str, int] = field(default_factory=dict)


def gather(scenario: Scenario, prepared: Prepared, trained: Trained, tested: HeldOut | None) -> Report:
    """Collect all numbers of a run."""
    rows = prepared.rows
    metrics = {
        **{name: value for name, value in trained.evaluation.metrics().items() if name != "coverage"},
        "coverage_oof": trained.coverage,  # not the one above, whose intervals were made for these very rows
        "rows": float(len(rows)),
        "devices": float(len(rows.devices)),
        "trees": float(trained.booster.tree_count_),
        "parity": trained.parity,
    }
    tables = {"by_device": trained.evaluation.by_device(), "by_month": trained.evaluation.by_month()}
    if tested is not None:
        metrics |= {f"test_{name}": value for name, value in tested.evaluation.metrics().items()}
        metrics |= {f"test_excluded_{reason}": float(count) for reason, count in tested.excluded.items()}
        tables |= {"test_by_device": tested.evaluation.by_device(), "test_by_month": tested.evaluation.by_month()}
    shares = trained.booster.get_feature_importance()
    top = np.argsort(-shares, kind="stable")[:IMPORTANT]
    return Report(
        metrics=metrics,
        excluded=rows.excluded,
        test_excluded=tested.excluded if tested else {},
        tables=tables,
        params=dict(trained.fitted.params),
        level=str(trained.out_of_fold.recalibration),
        folds=[
            _fold_line(scenario, prepared, fold, rmse)
            for fold, rmse in zip(trained.out_of_fold.folds, trained.out_of_fold.rmse(rows.target), strict=True)
        ],
        warnings=[*prepared.file_warnings, *prepared.warnings],
        sources=[asdict(source) for source in prepared.sources],
        importance=[(rows.features[index].name, float(shares[index])) for index in top],
        span=_span(scenario, prepared),
    )


def _span(scenario: Scenario, prepared: Prepared) -> tuple[str, str]:
    as_of = prepared.rows.as_of
    return _texts(scenario, as_of[0], as_of[-1] + scenario.horizon_steps) if prepared.rows.dated else ("", "")


def _texts(scenario: Scenario, first: int, last: int) -> tuple[str, str]:
    return hour_text(first, scenario.cadence), hour_text(last, scenario.cadence)


def hour_text(step: int, cadence: Cadence = HOURLY) -> str:
    """A step since 1970 as ISO 8601 in UTC.

    >>> hour_text(24)
    '1970-01-02T00:00:00Z'
    """
    return f"{np.datetime64(int(step) * cadence.step_s, 's')}Z"


def _fold_line(scenario: Scenario, prepared: Prepared, fold: Fold, rmse: float) -> str:
    sizes = f"{len(fold.train):,} rows train, {len(fold.valid):,} validate, RMSE {rmse:.2f}"
    if not prepared.rows.dated:
        return f"rows {fold.valid[0] + 1} to {fold.valid[-1] + 1}: {sizes}"
    as_of = prepared.rows.as_of[fold.valid]
    return f"{' to '.join(_texts(scenario, as_of[0], as_of[-1]))}: {sizes}"


def path_of(out: Path) -> Path:
    """Where the machine-readable report lies: beside the package, which holds nothing but itself."""
    return out.with_name(f"{out.name}.training.json")


def publish(options: Options, found: Report, manifest: Manifest, tracker: Tracker, screen: Screen) -> dict[str, Any]:
    """Write the report beside the package and everything to MLflow; returns the report's content."""
    content: dict[str, Any] = {
        "version": manifest.version,
        "out": options.out.name,
        "dataset": manifest.dataset,
        "content": manifest.content,
    }
    content |= asdict(found)
    with screen.step("publish") as step:
        tracker.log({**found.params, "seed": options.scenario.search.seed, "level": found.level}, found.metrics)
        tracker.tag("model_version", manifest.version)
        for name, rows in found.tables.items():
            tracker.table(name, rows)
        tracker.files(options.out)
        tracker.text("training.json", _json(content))
        step.note = "metrics, tables and package in MLflow"
    content["seconds"] = dict(screen.seconds)
    path_of(options.out).write_text(_json(content), encoding="utf-8")
    return content


def _json(content: object) -> str:
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode()


def show(found: Report, manifest: Manifest, options: Options, screen: Screen) -> None:
    """Show the scores on the terminal."""
    _scores("Out-of-fold scores", found.metrics, "", screen)
    if "test_rows_scored" in found.metrics:
        _scores("Test span, looked at once", found.metrics, "test_", screen)
        left_out = ", ".join(f"{reason} {count:,}" for reason, count in found.test_excluded.items())
        screen.line(f"hours of the test span without a row: {left_out or 'none'}")
    screen.line(f"package {manifest.version} in {options.out}", style="green")


def score_rows(metrics: Mapping[str, float], prefix: str = "") -> list[tuple[str, ...]]:
    """A line of `SCORES` for each forecast that has them."""
    return [
        (name, *(f"{metrics[f'{prefix}{measure}{suffix}']:.2f}" for measure in ("rmse", "mae", "bias")))
        for suffix, name in NAMES.items()
        if f"{prefix}rmse{suffix}" in metrics
    ]


def _scores(title: str, metrics: dict[str, float], prefix: str, screen: Screen) -> None:
    same, left = metrics[f"{prefix}rows_scored"], metrics[f"{prefix}rows_without_floor"]
    screen.table(f"{title}: {same:,.0f} rows ({left:,.0f} without a floor)", SCORES, score_rows(metrics, prefix))
    covered = metrics.get("coverage_oof" if not prefix else "test_coverage", float("nan"))
    screen.line(f"intervals cover {covered:.1%}")
