"""A commit's step taken again with the real model, watching what one forecast was computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.app.lookback.commit_history import Past
from shared.app.lookback.search import Found
from shared.app.lookback.state_as_of import Before
from shared.app.score.serving import Answering
from shared.app.score.stored_answers import control_of
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.forecast.outcome import Outcome
from shared.core.forecast.state import ROLES
from shared.core.forecast.step import Machine, step
from shared.core.intake.readings import Floats, Longs
from shared.core.model.scoring import Ask, Control, Scored
from shared.errors import ContractBroken
from shared.ports import Model

NUMBERS = ("value", "lower", "upper")


@dataclass(frozen=True, slots=True)
class Taken:
    """A step taken again: its outcome, the forecast's numbers, its features, its window (hours, columns)."""

    outcome: Outcome
    row: Mapping[str, Any]
    features: Floats
    window: Floats


def take_again(past: Past, found: Found, before: Before, model: Model) -> Taken:
    """Take the step of a forecast's commit again.

    Args:
        past: What was committed.
        found: The forecast.
        before: The state before its commit; left as it is.
        model: The model that made it.

    Raises:
        ContractBroken: The step does not make the forecast due.
    """
    scenario, role = past.machine.scenario, ROLES.index(found.column("role"))
    seen = _Seen(past.machine.featurizer)
    device, as_of = str(found.column("device_id")), int(found.column("as_of"))
    scorer = _Watched(Answering(scenario, Control(), model), role, seen, device, as_of)
    item = found.step
    outcome = step(Machine(scenario, seen), before.state, item.batch, control_of(item.commit), scorer)
    made = outcome.predictions
    rows = [row for row in np.flatnonzero(made.as_of == as_of).tolist() if made.device[row] == device]
    if not rows or scorer.window is None:
        raise ContractBroken(f"commits/{item.name}: taken again, its step does not make this forecast due")
    row = {name: getattr(made, name)[rows[0]] for name in (*NUMBERS, "revision")}
    return Taken(outcome, row, scorer.features, scorer.window)


class _Seen(Featurizer):
    """A featurizer that keeps the windows it was given."""

    def __init__(self, inner: Featurizer) -> None:
        self._inner = inner
        self.features = inner.features
        self.windows: list[Floats] = []

    def matrix(self, window: Floats, as_of: Longs) -> Floats:
        """What the inner one gives."""
        self.windows.append(window)
        return self._inner.matrix(window, as_of)


@dataclass
class _Watched:
    """A scorer that answers for one role with the real model, and keeps what the last answer for one forecast saw.

    The whole batch is asked, as it was then: a model may round differently for other numbers of rows.
    """

    answering: Answering
    role: int
    seen: _Seen
    device: str
    as_of: int
    window: Floats | None = None
    features: Floats = field(default_factory=lambda: np.empty(0, np.float32))

    def __call__(self, ask: Ask) -> Sequence[Scored]:
        self.seen.windows.clear()
        matrix = ask.matrix()
        rows = [row for row in np.flatnonzero(ask.as_of == self.as_of).tolist() if ask.device[row] == self.device]
        for row in rows:
            self.features = matrix[row].copy()
            self.window = np.concatenate([each.transpose(2, 0, 1) for each in self.seen.windows])[row]
        assert self.answering.champion is not None  # noqa: S101 - the caller loaded it
        numbers = self.answering.forecast(matrix)
        served = np.ones(len(matrix), bool)
        return [Scored(self.role, self.answering.champion.manifest.version, *numbers, served)]
