"""A commit's step taken again with the real model, watching what one forecast was computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.search import Found
from shared.app.lookback.state_as_of import Before
from shared.app.score.serving import ActiveModels
from shared.app.score.stored_answers import control_of
from shared.core.intake.readings import Floats
from shared.core.model.scoring import BASELINE, ROLES, Control, Inputs, Scored, ScoreRequest
from shared.core.task.state import Outcome
from shared.core.task.versions import bring
from shared.errors import ContractBroken
from shared.ports import Model


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A step taken again: its outcome, the forecast's numbers, its revision, its features and their inputs.

    Args:
        features: Of the model, none for the baseline.
        made_of: What the baseline made it of, nothing for a model.
    """

    outcome: Outcome
    numbers: Mapping[str, Any]
    revision: int
    features: Floats
    inputs: Inputs
    made_of: Mapping[str, float]


def recompute(history: CommitHistory, found: Found, before: Before, model: Model | None) -> Recomputed:
    """Take the step of a forecast's commit again.

    Args:
        history: What was committed.
        found: The forecast.
        before: The state before its commit; left as it is.
        model: The model that made it, on the features of then, None for the baseline.

    Raises:
        ContractBroken: The step does not make the forecast due.
    """
    device, as_of, item = str(found.column("device_id")), int(found.column("as_of")), found.step
    task = bring(history.task, before.state, item.commit.version)
    answering = ActiveModels(task, Control(), model)
    scorer = _Watched(answering, found.column("model_version"), ROLES.index(found.column("role")), device, as_of)
    outcome = task.step(before.state, item.batch, control_of(item.commit), scorer)
    made = outcome.predictions
    rows = [row for row in np.flatnonzero(made.as_of == as_of).tolist() if made.device[row] == device]
    if not rows or scorer.inputs is None:
        raise ContractBroken(f"commits/{item.name}: taken again, its step does not make this forecast due")
    numbers = {name: column[rows[0]] for name, column in made.numbers.items()}
    return Recomputed(outcome, numbers, int(made.revision[rows[0]]), scorer.features, scorer.inputs, scorer.made_of)


@dataclass
class _Watched:
    """A scorer that answers for one role as it did then, and keeps what the last answer for one forecast saw.

    The whole batch is asked, as it was then: a model may round differently for other numbers of rows.
    """

    answering: ActiveModels
    version: str
    role: int
    device: str
    as_of: int
    inputs: Inputs | None = None
    features: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    made_of: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, request: ScoreRequest) -> Sequence[Scored]:
        rows = np.flatnonzero(request.as_of == self.as_of).tolist()
        for row in (row for row in rows if request.device[row] == self.device):
            self.inputs = request.inputs(row)
            self._watch(request, row)
        return [replace(each, role=self.role, model=self.version) for each in self.answering(request)]

    def _watch(self, request: ScoreRequest, row: int) -> None:
        if self.role != BASELINE:
            self.features = request.matrix()[row].copy()
            return
        first = request.baseline()
        place = np.flatnonzero(first.rows == row)
        self.made_of = {name: float(column[place[0]]) for name, column in first.made_of.items() if len(place)}
