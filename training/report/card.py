"""The model card: what a person should know before trusting a forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.core.scenario import Scenario
from shared.core.scenario.cadence import HOUR_S
from training.data.prepare import Options, Prepared
from training.model.fit import Trained
from training.model.recalibration import Recalibration
from training.report.summary import SCORES, Report, score_rows


@dataclass(frozen=True, slots=True)
class _Run:
    """What the card tells of."""

    options: Options
    prepared: Prepared
    trained: Trained
    found: Report

    @property
    def dated(self) -> bool:
        return self.prepared.rows.dated


def render(options: Options, prepared: Prepared, trained: Trained, found: Report) -> str:
    """The card as Markdown; of the test span it tells nothing, since nothing in a package depends on it."""
    run = _Run(options, prepared, trained, found)
    return (
        "\n\n".join(
            part for part in (_head(run), _data(run), _scores(run), _devices(run), _model(run), _limits(run)) if part
        )
        + "\n"
    )


def _head(run: _Run) -> str:
    scenario, target = run.options.scenario, run.options.scenario.target_channel
    return (
        f"# {scenario.title}\n\nForecasts {target.name} ({target.unit}) {scenario.horizon} hours after the "
        f"newest of {_values(scenario)} of {', '.join(scenario.channel_names)}."
    )


def _values(scenario: Scenario) -> str:
    """What a window is made of."""
    if scenario.cadence_s == HOUR_S:
        return f"{scenario.history} hourly values"
    return f"{scenario.history_steps} values, one every {scenario.cadence_s} s,"


def _data(run: _Run) -> str:
    rows = run.prepared.rows
    span = f"from {run.found.span[0]} to {run.found.span[1]}" if run.dated else "without timestamps"
    named = "" if run.prepared.content == run.prepared.dataset else f" (content `{run.prepared.content}`)"
    lines = [
        "## Data", "",
        f"{len(rows):,} rows of {len(rows.devices)} devices {span}.", "",
        f"Dataset `{run.prepared.dataset}`{named}, code `{run.options.code_version}`.",
    ]  # fmt: skip
    if run.found.excluded:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in sorted(run.found.excluded.items()))
        lines += ["", f"Hours that gave no row: {counts}."]
    if run.prepared.warnings:
        lines += ["", "Warnings of the validation:", "", *(f"- {_plain(warning)}" for warning in run.prepared.warnings)]
    return "\n".join(lines)


def _scores(run: _Run) -> str:
    metrics = run.found.metrics
    kind = "Rolling-origin folds: each fold is later than all it was trained on, with a gap of the horizon."
    if not run.dated:
        kind = "Contiguous blocks of rows without a time: **this is not a forecast score**, the future will be worse."
    table = _table(SCORES, score_rows(metrics))
    left_out = metrics.get("rows_without_floor", 0)
    rows = f"{metrics.get('rows_scored', 0):,.0f} rows, {left_out:,.0f} without a floor left out."
    covered = f"Intervals calibrated on the other folds cover {metrics['coverage_oof']:.1%}"
    cover = f" {covered} (nominal {run.trained.interval.nominal:.0%})."
    folds = "\n".join(f"- {fold}" for fold in run.found.folds)
    return f"## Out-of-fold scores\n\n{kind} All on the same {rows}{cover}\n\n{table}\n\n{folds}"


def _devices(run: _Run) -> str:
    if not run.found.tables["by_device"]:
        return ""
    rows = [
        (
            _plain(str(row["group"])),
            str(row["rows"]),
            *(_number(row.get(key)) for key in ("rmse", "rmse_damped", "mae")),
        )
        for row in run.found.tables["by_device"][:50]
    ]
    return f"## By device\n\n{_table(('device', 'rows', 'RMSE', 'RMSE damped', 'MAE'), rows)}"


def _model(run: _Run) -> str:
    params = ", ".join(f"{name} {value:.4g}" for name, value in run.found.params.items())
    damped = run.trained.damped
    level = "" if run.found.level == str(Recalibration()) else f"Corrected by its newest errors: {run.found.level}.\n\n"
    important = _table(("feature", "importance"), [(name, f"{value:.1f} %") for name, value in run.found.importance])
    return (
        f"## Model\n\nCatBoost, {int(run.found.metrics['trees'])} symmetric trees refitted on all rows ({params}).\n\n"
        f"{level}{important}\n\n"
        f"Floor: {damped.intercept:.3f} + {damped.latest:.3f} x now + {damped.mean_24:.3f} x mean of the last 24 h."
    )


def _limits(run: _Run) -> str:
    low = [f"{a:+.1f} to {b:+.1f}" for a, b in zip(run.trained.interval.lower, run.trained.interval.upper, strict=True)]
    return (
        "## Limits\n\nMeant for the devices and the climate of the data above; other places need their own training. "
        f"The interval's ends are calibrated by band of the forecast ({'; '.join(low)}), not for each device, and do "
        "not widen when the world changes: that is what the drift check is for."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else ""


def _plain(text: str) -> str:
    """Text of hostile origin in one line of Markdown."""
    safe = "".join(c if c.isprintable() else " " for c in text)
    return "".join(f"\\{c}" if c in "\\`*_|[]<>#" else c for c in safe)
