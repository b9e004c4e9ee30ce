"""Which task a scenario means: the one place where tasks are known by name."""

from __future__ import annotations

from shared.core.forecast.task import HourlyForecast
from shared.core.scenario import Scenario
from shared.core.task.task import Task

TASKS = {"regression": HourlyForecast}


def task_of(scenario: Scenario) -> Task:
    """The task of a scenario."""
    return TASKS[scenario.task](scenario)
