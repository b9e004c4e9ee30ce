"""A commit's step taken again with the real model, watching what one forecast was computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.search import Found
from shared.app.lookback.state_as_of import Before
from shared.app.score.serving import ActiveModels
from shared.app.score.stored_answers import control_of
from shared.core.intake.readings import Floats
from shared.core.model.scoring import ROLES, Control, Inputs, Scored, ScoreRequest
from shared.core.task.state import Outcome
from shared.core.task.versions import bring
from shared.errors import ContractBroken
from shared.ports import Model


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A step taken again: its outcome, the forecast's numbers, its revision, its features and their inputs."""

    outcome: Outcome
    numbers: Mapping[str, Any]
    revision: int
    features: Floats
    inputs: Inputs


def recompute(history: CommitHistory, found: Found, before: Before, model: Model) -> Recomputed:
    """Take the step of a forecast's commit again.

    Args:
        history: What was committed.
        found: The forecast.
        before: The state before its commit; left as it is.
        model: The model that made it, on the features of then.

    Raises:
        ContractBroken: The step does not make the forecast due.
    """
    device, as_of, item = str(found.column("device_id")), int(found.column("as_of")), found.step
    task = bring(history.task, before.state, item.commit.version)
    answering = ActiveModels(task, Control(), model)
    scorer = _Watched(answering, model.manifest.version, ROLES.index(found.column("role")), device, as_of)
    outcome = task.step(before.state, item.batch, control_of(item.commit), scorer)
    made = outcome.predictions
    rows = [row for row in np.flatnonzero(made.as_of == as_of).tolist() if made.device[row] == device]
    if not rows or scorer.inputs is None:
        raise ContractBroken(f"commits/{item.name}: taken again, its step does not make this forecast due")
    numbers = {name: column[rows[0]] for name, column in made.numbers.items()}
    return Recomputed(outcome, numbers, int(made.revision[rows[0]]), scorer.features, scorer.inputs)


@dataclass
class _Watched:
    """A scorer that answers for one role with the real model, and keeps what the last answer for one forecast saw.

    The whole batch is asked, as it was then: a model may round differently for other numbers of rows.
    """

    answering: ActiveModels
    version: str
    role: int
    device: str
    as_of: int
    inputs: Inputs | None = None
    features: Floats = field(default_factory=lambda: np.empty(0, np.float32))

    def __call__(self, request: ScoreRequest) -> Sequence[Scored]:
        matrix = request.matrix()
        rows = np.flatnonzero(request.as_of == self.as_of).tolist()
        for row in (row for row in rows if request.device[row] == self.device):
            self.features, self.inputs = matrix[row].copy(), request.inputs(row)
        return [Scored(self.role, self.version, self.answering.forecast(matrix), np.ones(len(matrix), bool))]
