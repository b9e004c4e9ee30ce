"""What makes evidence worthless."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.core.gate.evidence import Answers, Evidence, Facts
from shared.core.intake.readings import Ints, Longs, Mask

_SAME = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaws:
    """Numbers or rows that make evidence worthless; all have to be 0.

    Args:
        not_finite: Numbers that are NaN or infinite where they may not be.
        misaligned: Rows whose truth is not the truth of their device and hour.
        disordered: Rows of a device that are not later than the one before.
        seen: Rows whose truth may have been in the challenger's training.
        champion_seen: The same of the champion.
    """

    not_finite: int
    misaligned: int
    disordered: int
    seen: int
    champion_seen: int


def flaws_of(evidence: Evidence, facts: Facts) -> Flaws:
    """Count them in evidence on forecasts of numbers."""
    needed = (evidence.truth, evidence.challenger, evidence.lower, evidence.upper)
    optional = (evidence.champion, evidence.persistence, evidence.damped)
    apart = np.abs(evidence.truth.astype(np.float64) - evidence.witness)
    answered = ~np.isnan(evidence.champion)
    return Flaws(
        not_finite=sum(int((~np.isfinite(a)).sum()) for a in needed) + sum(int(np.isinf(a).sum()) for a in optional),
        misaligned=int((~(apart <= _SAME * (1 + np.abs(evidence.truth)))).sum()),
        disordered=disordered(evidence.device, evidence.as_of),
        seen=int((evidence.trained_until > evidence.as_of).sum()),
        champion_seen=champion_seen(evidence, answered, facts),
    )


def disordered(device: Ints, as_of: Longs) -> int:
    """Rows that do not come after the row before of the same device."""
    order = np.argsort(device, kind="stable")
    same = np.diff(device[order]) == 0
    return int((same & (np.diff(as_of[order]) <= 0)).sum())


def champion_seen(evidence: Answers, answered: Mask, facts: Facts) -> int:
    """Rows answered by the champion whose truth may have been in its training."""
    if facts.champion is None:
        return 0
    return int((answered & (evidence.as_of < facts.champion.trained_until)).sum())
