"""Answering a batch from its stored predictions instead of scoring it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from shared.core.model.scoring import BASELINE, ROLES, Control, Scored, ScoreRequest
from shared.core.stream.commit import EXPIRED, Commit
from shared.core.stream.events import Batch
from shared.core.task.state import State
from shared.core.task.task import Task
from shared.core.task.versions import bring
from shared.errors import ContractBroken


def control_of(commit: Commit) -> Control:
    """Who answered, and for whom, when the batch was committed."""
    limit = None if commit.devices is msgspec.UNSET else commit.devices
    quarantine = frozenset(commit.quarantine)
    return Control(commit.champion, commit.challenger, quarantine, limit, commit.minimum_hours or 0)


def replay(task: Task, state: State, commit: Commit, batch: Batch, predictions: dict[str, Any] | None) -> None:
    """Take a committed step again, with the answers that were stored, and put it into the state."""
    answers = Stored(predictions, partial=state.expired > 0)  # what was lost may have made other forecasts due
    bring(task, state, commit.version).step(state, batch, control_of(commit), answers).put(state)
    state.epoch, state.next = commit.after
    state.expired += commit.counts.get(EXPIRED, 0)


class Stored:
    """A scorer that looks answers up.

    Args:
        predictions: Columns of the batch's predictions, None when it made none.
        partial: Whether the state lacks what the batch was committed on, because events were lost for good: forecasts
            that it would make due without them are then not asked for.
    """

    def __init__(self, predictions: dict[str, Any] | None, *, partial: bool = False) -> None:
        self._partial = partial
        self._roles: list[tuple[int, dict[tuple[str, int], int], dict[str, Any]]] = []
        if predictions is None:
            return
        roles = np.array([ROLES.index(role) for role in predictions["role"]])
        for role in sorted(set(roles.tolist())):
            rows = np.flatnonzero(roles == role)
            keys = zip((predictions["device_id"][r] for r in rows), predictions["as_of"][rows].tolist(), strict=True)
            self._roles.append((role, dict(zip(keys, rows.tolist(), strict=True)), predictions))

    def __call__(self, request: ScoreRequest) -> Sequence[Scored]:
        """The stored answers.

        Raises:
            ContractBroken: A forecast that this batch makes due is not among them; the baseline may have had none.
        """
        answers = (self._answers(request, *stored) for stored in self._roles)
        return [answer for answer in answers if len(answer.served)]

    def _answers(
        self, request: ScoreRequest, role: int, rows: dict[tuple[str, int], int], stored: dict[str, Any]
    ) -> Scored:
        keys = list(zip(request.device, request.as_of.tolist(), strict=True))
        place = np.array([rows.get(key, -1) for key in keys], np.int64)
        known = np.flatnonzero(place >= 0)
        if len(known) < len(keys) and not self._partial and role != BASELINE:
            missing = [key for key in keys if key not in rows]
            raise ContractBroken(f"{len(missing)} stored predictions are missing, first {missing[0]}")
        at = place[known]
        model = stored["model_version"][at[0]] if len(at) else ""
        numbers = {name: column[at] for name, column in stored.items() if isinstance(column, np.ndarray)}
        revision = numbers["revision"].astype(np.int64)
        return Scored(role, model, numbers, numbers["served"], known, revision, numbers["cold_start"])
