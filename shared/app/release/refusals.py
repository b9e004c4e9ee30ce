"""Packages that serving refuses: the ledger tells it, and the rollout that they are part of takes its step back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

from shared.app.ledger_store import Ledger
from shared.core.rollout.decide import Step
from shared.core.rollout.improvement import Days, improvement
from shared.core.scenario import RolloutRules
from shared.errors import ContractBroken

log = logging.getLogger(__name__)
REFUSED = "refused_package"
CheckPackage: TypeAlias = Callable[[str], object]


def refusal(ledger: Ledger, check: CheckPackage, version: str | None, position: int) -> str:
    """Why serving refuses a version, "" when it takes it; a refusal is entered once for each step of the rollout.

    Args:
        ledger: Gets the entry.
        check: Loads a version as serving does, or raises ContractBroken.
        version: A version, None for no model.
        position: Position of the entry that says who is to serve.
    """
    if version is None:
        return ""
    try:
        check(version)
    except ContractBroken as error:
        log.warning("package %s is refused: %s", version, error)
        ledger.append(REFUSED, f"{version}/{position}", {"about": version, "text": str(error)})
        return f"package {version} is refused: {error}"
    return ""


def step_back(stage: str, share: float, champion: str, challenger: str, rules: RolloutRules) -> Step | None:
    """What follows when packages are refused, None when nothing does.

    A challenger falls, and a champion under guard makes room for the one before. A guard that could not come back
    ends. Where nothing else could serve, those that are loaded go on.

    Args:
        stage: Stage of the rollout.
        share: Share of devices that the challenger answers.
        champion: Why the champion is refused, "" when it is not; likewise `challenger`.
        challenger: See `champion`.
        rules: For the improvement, of which nothing is known here.
    """
    reasons = tuple(each for each in (champion, challenger) if each)
    found = improvement(Days.of({}), rules)
    if stage == "guard" and reasons:
        if champion and challenger:
            return Step(kind="hold", share=share, reasons=reasons, improvement=found)
        return Step(kind="roll_back" if champion else "promote", share=0.0, reasons=reasons, improvement=found)
    if stage in {"shadow", "canary"} and challenger:
        return Step(kind="roll_back", share=0.0, reasons=(challenger,), improvement=found)
    return None
