"""Forecasts for a machine: JSON and CSV with the names that the lake's table has."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime

import msgspec

from shared.app.lookback.explanation import Forecast
from shared.app.route.wide_answers import escaped
from shared.core.task.task import Task
from shared.validation import number

NAMES = (
    *("device_id", "as_of", "target_time", "value", "lower", "upper"),
    *("category", "model_version", "role", "revision", "cold_start"),
)


def as_json(task: Task, found: Sequence[Forecast], device: str | None = None) -> bytes:
    """Forecasts as a JSON document, times as RFC 3339 in UTC.

    Args:
        task: Says what is forecast, and in which unit.
        found: The forecasts.
        device: Whose they are, named once; None where each says it.
    """
    head = {"scenario": task.scenario.name, "title": task.words.title, "unit": task.words.unit}
    whose = {} if device is None else {"device_id": device}
    rows = [dict(list(_row(each).items())[len(whose) :]) for each in found]
    return msgspec.json.encode({**head, **whose, "count": len(rows), "forecasts": rows})


def as_csv(found: Sequence[Forecast]) -> bytes:
    """Forecasts as CSV; a text that a spreadsheet could take for a formula has a ' in front."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(NAMES)
    for each in found:
        row = _row(each)
        lines.writerow([escaped(cell) if isinstance(cell, str) else cell for cell in row.values()])
    return text.getvalue().encode()


def _row(each: Forecast) -> dict[str, str | float | None]:
    times = (f"{datetime.fromisoformat(time).isoformat()}Z" for time in (each.as_of, each.target_time))
    numbers = (number(float(f"{value:.7g}")) for value in (each.value, each.lower, each.upper))  # of a float32
    cells = (each.device, *times, *numbers, each.category, each.model, each.role, each.revision, each.cold_start)
    return dict(zip(NAMES, cells, strict=True))
