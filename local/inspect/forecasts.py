"""`python -m local forecasts`: what was forecast, as a table, as CSV or as JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from local.inspect.console import cell, new_console, table, write_line
from local.inspect.explain import history_of
from local.stack.workspace import Workspace
from shared.app.api.forecasts import span_of
from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.explanation import Forecast
from shared.app.lookback.forecast_pages import as_csv, as_json
from shared.app.lookback.forecasts import served
from shared.core.intake.readings import shown
from shared.core.task.task import Task

FLEET_DAYS = 2  # of the lake that are looked into for the newest forecasts of all devices
LONGEST_NAME = 36
NOTHING = "`python -m local status` says what is still missing for one"


def run(space: Workspace, given: argparse.Namespace) -> int:
    """Show forecasts; 1 when there are none.

    Raises:
        ConfigError: The arguments ask for what cannot be asked.
    """
    return show(history_of(space), given)


def show(history: CommitHistory, given: argparse.Namespace) -> int:
    """Show what the past holds; 1 when that is nothing."""
    asked = {"last": given.last, "from": given.first, "to": given.until}
    query = {name: value for name, value in asked.items() if value is not None}
    span = span_of(query or ({} if given.device is not None else {"last": "1"}), history.task.scenario.cadence)
    newest_of_all = given.device is None and span.first == 0
    found = sorted(served(history, given.device, span, FLEET_DAYS if newest_of_all else None), key=_device)
    if given.format == "table":
        _table(new_console(), history.task, found)
    else:
        pages = as_csv(found) if given.format == "csv" else as_json(history.task, found, given.device)
        sys.stdout.write(pages.decode())
    if not found:
        whose = "any device" if given.device is None else f"device {shown(given.device)}"
        sys.stderr.write(f"there is no such forecast of {whose}; {NOTHING}\n")
    return 0 if found else 1


def _table(console: Console, task: Task, found: Sequence[Forecast]) -> None:
    if not found:
        return
    lines = table(("device", "as of", "for (UTC)"), ("forecast", "from", "to"))
    for name in ("", "who", "model"):
        lines.add_column(name)
    for each in found:
        numbers = (f"{value:.4g}" for value in (each.value, each.lower, each.upper))
        who = f"{each.role}{', cold start' * each.cold_start}{f', revision {each.revision}' * bool(each.revision)}"
        texts = cell(each.category), cell(who), cell(each.model)
        lines.add_row(cell(each.device, LONGEST_NAME), each.as_of, each.target_time, *numbers, *texts)
    write_line(console, f"{task.words.title}, {task.words.unit}")
    console.print(lines)


def _device(found: Forecast) -> str:
    return found.device
