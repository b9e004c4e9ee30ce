"""`python -m local explain`: what stood behind a forecast, for people or as JSON."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.eventhub import event_log
from local.inspect.console import cell, new_console, table, write_line
from local.stack.workspace import READINGS, Workspace
from shared.adapters.lake.archive import LakeArchive
from shared.adapters.lake.delta.storage_options import storage_options
from shared.app.lookback import forecast_id
from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.explain import Explain
from shared.app.lookback.explanation import Explanation, ModelFacts, ReadingFacts, Window
from shared.app.lookback.forecast_id import ForecastId
from shared.core.scenario.cadence import HOURLY, Cadence
from shared.errors import ConfigError
from shared.wiring import loading

SHOWN_HOURS, SHOWN_READINGS, SHOWN_FEATURES = 6, 6, 24


def run(space: Workspace, given: argparse.Namespace) -> int:
    """Explain a forecast; 1 when the recomputation does not agree.

    Raises:
        ConfigError: The arguments name no forecast.
        ContractBroken: There is no such forecast, or what it rests on is gone.
    """
    wanted = name_of(given, space.scenario.cadence)
    return explain(history_of(space), wanted, given)


def explain(history: CommitHistory, wanted: ForecastId, given: argparse.Namespace) -> int:
    """Explain a forecast of the past; 1 when the recomputation does not agree."""
    found, console = Explain(history, loading)(wanted), new_console()
    if given.json:
        console.print_json(msgspec.json.encode(found).decode())
    else:
        show(console, found, everything=given.all)
    return 0 if found.agrees else 1


def name_of(given: argparse.Namespace, cadence: Cadence = HOURLY) -> ForecastId:
    """The forecast that the arguments name.

    Raises:
        ConfigError: They name none, or two.
    """
    options = (given.device, given.as_of, given.revision, given.role)
    if given.prediction is not None:
        if any(option is not None for option in options):
            raise ConfigError("give either PREDICTION or --device and --as-of, not both")
        return forecast_id.required(given.prediction, cadence)
    if given.device is None or given.as_of is None:
        raise ConfigError("name a forecast: PREDICTION, or --device and --as-of")
    return forecast_id.forecast_id_of(*options, cadence)


def history_of(space: Workspace) -> CommitHistory:
    """What was committed on a stack, its lake included."""
    task = space.task
    lake = LakeArchive(task, options=storage_options(space.storage, None))
    hub = event_log.hub_info(space.logs, READINGS)
    return CommitHistory(task, space.blobs, space.files, lake, hub.partitions if hub else None)


def show(console: Console, found: Explanation, *, everything: bool = False) -> None:
    """An explanation as a page of a terminal."""
    made, commit, model = found.forecast, found.commit, found.model
    seen = "users saw it" if made.served else "users did not see it"
    write_line(console, f"device {made.device}, as of {made.as_of}, for {made.target_time} UTC")
    write_line(
        console,
        f"  {made.value:.6g} ({made.lower:.6g} to {made.upper:.6g}) {made.category}, {made.role}, "
        f"revision {made.revision}, {seen}{', cold start: too little history' if made.cold_start else ''}",
    )
    console.print()
    _verdict(console, found)
    console.print()
    facts = Table(show_header=False, box=None, pad_edge=False)
    quarantine = f", {len(found.deployment.quarantine)} devices in quarantine" if found.deployment.quarantine else ""
    served = {"champion": found.deployment.champion, "challenger": found.deployment.challenger}
    start = commit.begin or "the partition's beginning"
    archived = f", {commit.from_lake} of them from the lake" if commit.from_lake else ""
    known = {
        "commit": f"commits/{commit.name}, events {commit.first} to {commit.next - 1}, scored {commit.enqueued_at}",
        "state before": f"{start} and {commit.folded} commits after it{archived}",
        "deployed": ", ".join([f"{name} {version or 'none'}" for name, version in served.items()]) + quarantine,
        **(_baseline(found) if model is None else _model(model)),
        "runtime": ", ".join(f"{name} {version}" for name, version in found.runtime.items()),
    }
    for name, text in known.items():
        facts.add_row(name, cell(text))
    console.print(facts)
    _readings(console, found.readings, everything=everything)
    _window(console, found.window, everything=everything)
    if model is not None:
        _features(console, found, everything=everything)


def _model(model: ModelFacts) -> dict[str, str]:
    trained = f"{model.rows:,} rows, {model.training_start} to {model.training_end}"
    return {
        "model": f"{model.version}, MLflow run {model.run_id}, code {model.code_version}",
        "trained on": f"{model.dataset}: {trained}",
    }


def _baseline(found: Explanation) -> dict[str, str]:
    parts = {name: _number(value) for name, value in found.made_of.items()}
    return {
        "model": "none served yet: the baseline, damped persistence, which nothing was trained for",
        "made of": "half way between {latest}, the value as of now, and {usual}, the usual one at this time of day; "
        "reach of the interval {reach}".format_map(parts),
    }


def _verdict(console: Console, found: Explanation) -> None:
    lines = table(("recomputed",), ("stored", "again", "bits stored", "bits again"))
    for each in found.compared:
        style = "" if each.agrees else "red"
        numbers = f"{each.stored:.9g}", f"{each.recomputed:.9g}"
        lines.add_row(each.name, *numbers, each.stored_bits, each.recomputed_bits, style=style)
    console.print(lines)
    if found.agrees:
        console.print("agrees bit for bit", style="green")
    else:
        write_line(console, f"does NOT agree: {found.why}", "red")


def _readings(console: Console, readings: Sequence[ReadingFacts], *, everything: bool) -> None:
    shown = readings if everything else readings[-SHOWN_READINGS:]
    _title(console, "readings of that commit", "newest", len(shown), len(readings))
    if shown:
        lines = table(("time (UTC)", "became"), ("event", *shown[0].values))
        for each in shown:
            lines.add_row(each.time[:16], each.disposition, str(each.sequence), *map(_number, each.values.values()))
        console.print(lines)
        sources = sorted({each.source for each in shown})
        write_line(console, f"from {', '.join(sources)}")


def _window(console: Console, window: Window, *, everything: bool) -> None:
    count = len(window.hours) if everything else min(SHOWN_HOURS, len(window.hours))
    _title(console, "window of hours", "newest", count, len(window.hours))
    lines = table(("hour (UTC)",), tuple(window.columns))
    for hour, values in zip(window.hours[-count:], window.values[-count:], strict=True):
        lines.add_row(hour, *map(_number, values))
    console.print(lines)


def _features(console: Console, found: Explanation, *, everything: bool) -> None:
    shown = found.features if everything else found.features[:SHOWN_FEATURES]
    _title(console, "features of the model", "first", len(shown), len(found.features))
    each = [f"{feature.name} {_number(feature.value)}" for feature in shown]
    columns = Table(box=None, pad_edge=False, show_header=False)
    width = 3
    for row in range(math.ceil(len(each) / width)):
        columns.add_row(*(Text(text) for text in each[row * width : row * width + width]))
    console.print(columns)


def _title(console: Console, what: str, which: str, shown: int, there: int) -> None:
    part = f"{there:,}" if shown == there else f"the {which} {shown:,} of {there:,}, all with --all"
    console.print()
    console.print(f"{what} ({part})", style="bold", markup=False)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"
