"""The model card: what a person should know before trusting a forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.core.model.manifest import Damped, Interval
from shared.core.scenario import Scenario
from training.model.evaluate import Row
from training.model.recalibration import Recalibration

NAMES = {"": "model", "_damped": "damped persistence", "_persistence": "persistence"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the card tells."""

    scenario: Scenario
    dataset: str
    content: str
    level: str
    code_version: str
    start: str
    end: str
    rows: int
    devices: int
    excluded: Mapping[str, int]
    warnings: Sequence[str]
    params: Mapping[str, float]
    trees: int
    folds: Sequence[str]
    importance: Sequence[tuple[str, float]]
    metrics: Mapping[str, float]
    by_device: Sequence[Row]
    interval: Interval
    damped: Damped
    dated: bool


def render(story: Story) -> str:
    """Write the card as Markdown."""
    return (
        "\n\n".join(
            part
            for part in (_head(story), _data(story), _scores(story), _devices(story), _model(story), _limits(story))
            if part
        )
        + "\n"
    )


def _head(story: Story) -> str:
    target = story.scenario.target_channel
    return (
        f"# {story.scenario.title}\n\nForecasts {target.name} ({target.unit}) {story.scenario.horizon} hours after the "
        f"newest of {story.scenario.history} hourly values of {', '.join(story.scenario.channel_names)}."
    )


def _data(story: Story) -> str:
    span = f"from {story.start} to {story.end}" if story.dated else "without timestamps"
    named = "" if story.content == story.dataset else f" (content `{story.content}`)"
    lines = [
        "## Data", "",
        f"{story.rows:,} rows of {story.devices} devices {span}.", "",
        f"Dataset `{story.dataset}`{named}, code `{story.code_version}`.",
    ]  # fmt: skip
    if story.excluded:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in sorted(story.excluded.items()))
        lines += ["", f"Hours that gave no row: {counts}."]
    if story.warnings:
        lines += ["", "Warnings of the validation:", "", *(f"- {_plain(warning)}" for warning in story.warnings)]
    return "\n".join(lines)


def _scores(story: Story) -> str:
    metrics = story.metrics
    kind = "Rolling-origin folds: each fold is later than all it was trained on, with a gap of the horizon."
    if not story.dated:
        kind = "Contiguous blocks of rows without a time: **this is not a forecast score**, the future will be worse."
    table = _table(
        ("", "RMSE", "MAE", "bias"),
        [
            (name, *(_number(metrics.get(f"{measure}{suffix}")) for measure in ("rmse", "mae", "bias")))
            for suffix, name in NAMES.items()
            if f"rmse{suffix}" in metrics
        ],
    )
    left_out = metrics.get("rows_without_floor", 0)
    rows = f"{metrics.get('rows_scored', 0):,.0f} rows, {left_out:,.0f} without a floor left out."
    covered = f"Intervals calibrated on the other folds cover {metrics['coverage_oof']:.1%}"
    cover = f" {covered} (nominal {story.interval.nominal:.0%})."
    folds = "\n".join(f"- {fold}" for fold in story.folds)
    return f"## Out-of-fold scores\n\n{kind} All on the same {rows}{cover}\n\n{table}\n\n{folds}"


def _devices(story: Story) -> str:
    if not story.by_device:
        return ""
    rows = [
        (
            _plain(str(row["group"])),
            str(row["rows"]),
            *(_number(row.get(key)) for key in ("rmse", "rmse_damped", "mae")),
        )
        for row in story.by_device[:50]
    ]
    return f"## By device\n\n{_table(('device', 'rows', 'RMSE', 'RMSE damped', 'MAE'), rows)}"


def _model(story: Story) -> str:
    params = ", ".join(f"{name} {value:.4g}" for name, value in story.params.items())
    floor = story.damped
    level = "" if story.level == str(Recalibration()) else f"Corrected by its newest errors: {story.level}.\n\n"
    important = _table(("feature", "importance"), [(name, f"{value:.1f} %") for name, value in story.importance])
    return (
        f"## Model\n\nCatBoost, {story.trees} symmetric trees refitted on all rows ({params}).\n\n"
        f"{level}{important}\n\n"
        f"Floor: {floor.intercept:.3f} + {floor.latest:.3f} x now + {floor.mean_24:.3f} x mean of the last 24 h."
    )


def _limits(story: Story) -> str:
    low = [f"{a:+.1f} to {b:+.1f}" for a, b in zip(story.interval.lower, story.interval.upper, strict=True)]
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
