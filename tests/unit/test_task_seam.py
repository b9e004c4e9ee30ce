"""The seam between the loop and its task: only the forecast, its training and the scenario know hours and weather.

Modules are named as they stand now and as they will stand once they have moved into their rooms.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from shared.adapters.stores.scenario_files import load
from shared.core.forecast.task import HourlyForecast
from shared.core.task.task import Task
from shared.core.task.tasks import task_of

ROOT = Path(__file__).parents[2]
CODE = ("shared", "training", "local")
FORECAST = ("shared/core/forecast/*",)
MODEL = ("training/model/*",)
SCENARIO = ("shared/core/scenario/*",)
STORY = (  # the reference scenario's made-up air, and the demo that tells its story
    "local/fleet*",
    "local/demo*",
    "local/send/sources.py",
)
ROWS = ("local/demo/report/evaluate.py",)  # joins forecasts to what came, hour by hour
PAGE = ("shared/app/reports/drift.py",)  # a sentence of the drift report
SOURCES = (  # what well-known publishers call their columns, and which quantity a unit is one of
    "shared/core/intake/layouts/builtin.py",
    "shared/core/intake/values/units.py",
)
ONE_PLACE = ("shared/core/task/tasks.py",)

WEATHER = re.compile(
    r"(?<![a-z0-9])(temp|temperatures?|humid|humidity|winds?|vapou?r|pm_?2\.?5|dew|rain|rainfall|precip|precipitation"
    r"|pressure|atmos|weather)(?![a-z0-9])"
)
DAY = re.compile(r"(//|\*|%|=)\s*24\b(?!\s*\*\s*60)")
HOURLY = {"horizon", "lateness", "samples_per_hour", "target_column"}
ON_HOURS = (  # what works on an axis of hours whatever the task
    *(f"shared/core/{name}" for name in ("task/calendar.py", "profile/*", "drift/triage.py", "intake/*", "gate/*")),
    *(f"shared/app/{name}" for name in ("charts*", "reports/charts*")),
    *(f"shared/adapters/{name}" for name in ("lake/*", "tables/wide/*")),
)


def modules(*known: str) -> Iterator[tuple[str, str]]:
    """Path and text of every module but those that may know."""
    for path in sorted(path for room in CODE for path in (ROOT / room).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not any(fnmatchcase(name, pattern) for pattern in known):
            yield name, path.read_text("utf-8")


def test_only_the_forecast_its_model_and_the_scenario_speak_of_weather() -> None:
    allowed = (*FORECAST, *MODEL, *SCENARIO, *STORY, *PAGE, *SOURCES)
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in modules(*allowed)
        for number, line in enumerate(text.splitlines(), 1)
        if WEATHER.search(line.lower())
    ]
    assert not found, "\n".join(found)


def test_only_one_place_knows_the_forecasts_modules() -> None:
    inside = {path.relative_to(ROOT).as_posix() for room in CODE for path in (ROOT / room).rglob("*.py")}
    private = {name for name in inside if any(fnmatchcase(name, pattern) for pattern in FORECAST)}
    names = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in private}
    assert "shared.core.forecast.task" in names
    found = [
        f"{name} imports {module}"
        for name, text in modules(*FORECAST, *MODEL, *ROWS, *ONE_PLACE)
        for module in imported(text)
        if module in names
    ]
    assert not found, "\n".join(found)


def imported(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_days_are_counted_by_the_calendar_and_hours_ahead_by_the_task() -> None:
    shared = [each for each in modules(*FORECAST, *SCENARIO, *ON_HOURS) if each[0].startswith("shared/")]
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in shared
        for number, line in enumerate(text.splitlines(), 1)
        if DAY.search(line)
    ]
    for name, text in shared:
        nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute))
        found += [f"{name}:{node.lineno}: .{node.attr}" for node in nodes if node.attr in HOURLY]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line", ["temp = 3", 'SPEED = "wind_spd"', "# PM2.5", "rel_humidity", 'name.startswith("vapour")', "the Weather"]
)
def test_the_word_is_found(line: str) -> None:
    assert WEATHER.search(line.lower())


@pytest.mark.parametrize("line", ["windows", "tempfile", "template", "training", "restrain", "window_days", "attempt"])
def test_another_word_is_not(line: str) -> None:
    assert not WEATHER.search(line.lower())


def test_a_scenario_gets_its_task() -> None:
    task: Task = task_of(load("air_quality"))
    assert isinstance(task, HourlyForecast)
    assert [column.name for column in task.row] == list(task.scenario.channel_names)
    assert [kind for _, kind in task.answer] == ["hour", "hour", "number", "number", "number", "text"]
    assert (task.words.title, task.words.unit) == ("PM2.5 24 hours ahead", "ug/m3")
