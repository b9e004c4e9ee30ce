"""A task under the versions that its scenario has had: what was committed is folded by the version it was made under.

A state moves to a version with the first commit that was made under it, so that whoever folds the same commits, live,
recovering or from the lake, has the same state. A worker with an older version cannot read such a commit: it stops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from shared.core.intake.readings import Floats
from shared.core.model.scoring import Scored, Scorer, ScoreRequest
from shared.core.task.state import State
from shared.core.task.task import Task, names_of
from shared.errors import ConfigError, ContractBroken, StateConflict


class OtherScenario(ContractBroken):
    """A snapshot whose numbers rest on other rules.

    Args:
        scenario: Name of its scenario.
        rules: Its rules.
    """

    def __init__(self, scenario: str, rules: Sequence[str]) -> None:
        super().__init__(f"snapshot belongs to scenario {scenario!r} with {', '.join(rules)}")
        self.scenario, self.rules = scenario, list(rules)


def at(task: Task, version: int) -> Task:
    """The task as it was under a version of its scenario.

    Raises:
        ConfigError: The version is newer than the task's own.
    """
    if version > task.version:
        raise ConfigError(
            f"scenario: the store holds version {version}, this app was deployed with version {task.version}; "
            "deploy the app with the newer scenario"
        )
    found = task
    while found.version > version and found.before is not None:
        found = found.before
    return found


def bring(task: Task, state: State, version: int) -> Task:
    """Bring a state to a version; returns the task of that version.

    Raises:
        ConfigError: The version is newer than the task's own.
        StateConflict: The state is ahead of it: a worker with an older scenario was faster; recover anew.
    """
    found = at(task, version)
    if state.version > version:
        raise StateConflict(
            f"partition {state.partition}: a commit was made under scenario version {version}, "
            f"the state in memory is of version {state.version}"
        )
    if state.version < version and found.before is not None:
        found.carry(state, bring(task, state, version - 1))
        state.version = version
    return found


def versions(task: Task) -> list[Task]:
    """The task under all versions, oldest first."""
    found = [task]
    while (before := found[0].before) is not None:
        found.insert(0, before)
    return found


def all_rows(task: Task) -> tuple[str, ...]:
    """Names of the columns that rows have had: today's first, then those that a scenario no longer has."""
    names = [name for each in reversed(versions(task)) for name in names_of(each.row)]
    return tuple(dict.fromkeys(names))


def aligned(scorer: Scorer, given: Task, wanted: Task) -> Scorer:
    """A scorer that knows the features of `wanted`, for requests with those of `given`; what is lacking is missing."""
    if given is wanted:
        return scorer
    places = {feature.name: place for place, feature in enumerate(given.features)}
    picks = [places.get(feature.name, -1) for feature in wanted.features]

    def answer(request: ScoreRequest, /) -> Sequence[Scored]:
        return scorer(replace(request, matrix=_picked(request.matrix, picks)))

    return answer


def _picked(matrix: Callable[[], Floats], picks: Sequence[int]) -> Callable[[], Floats]:
    def wide() -> Floats:
        found = matrix()
        missing = np.full((len(found), 1), np.nan, np.float32)
        return np.ascontiguousarray(np.concatenate([found, missing], axis=1)[:, picks])

    return wide
