"""Answering a batch from its stored predictions instead of scoring it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.core.commit import Commit
from shared.core.scoring import Ask, Control, Scored
from shared.core.state import ROLES
from shared.errors import ContractBroken


def control_of(commit: Commit) -> Control:
    """What serving was told when the batch was committed."""
    return Control(commit.champion, commit.challenger, frozenset(commit.quarantine))


class Stored:
    """A scorer that looks answers up.

    Args:
        predictions: Columns of the batch's predictions, None when it made none.
    """

    def __init__(self, predictions: dict[str, Any] | None) -> None:
        self._roles: list[tuple[int, dict[tuple[str, int], int], dict[str, Any]]] = []
        if predictions is None:
            return
        roles = np.array([ROLES.index(role) for role in predictions["role"]])
        for role in sorted(set(roles.tolist())):
            rows = np.flatnonzero(roles == role)
            keys = zip((predictions["device_id"][r] for r in rows), predictions["as_of"][rows].tolist(), strict=True)
            self._roles.append((role, dict(zip(keys, rows.tolist(), strict=True)), predictions))

    def __call__(self, ask: Ask) -> Sequence[Scored]:
        """The stored answers.

        Raises:
            ContractBroken: A forecast that this batch makes due is not among them.
        """
        return [self._answers(ask, *stored) for stored in self._roles]

    def _answers(self, ask: Ask, role: int, rows: dict[tuple[str, int], int], stored: dict[str, Any]) -> Scored:
        keys = list(zip(ask.device, ask.as_of.tolist(), strict=True))
        missing = [key for key in keys if key not in rows]
        if missing:
            raise ContractBroken(f"{len(missing)} stored predictions are missing, first {missing[0]}")
        at = np.array([rows[key] for key in keys], np.int64)
        model = stored["model_version"][at[0]]
        return Scored(role, model, stored["value"][at], stored["lower"][at], stored["upper"][at], stored["served"][at])
