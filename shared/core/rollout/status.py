"""Who is to serve in a rollout, and where a step leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from shared.core.ledger import Entry
from shared.core.retrain.history import ROLLOUT
from shared.core.rollout.decide import Step

CLIMBING = ("shadow", "canary")
Stage = Literal["none", "shadow", "canary", "guard"]


class RolloutStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to serve, as an entry of kind ROLLOUT says it.

    Args:
        step: What was done: shadow, canary, champion, installed, rolled_back, refused or guarded.
        stage: Where that leaves the two models.
        champion: Version that answers users.
        challenger: Version beside it; in the stage guard the champion of before.
        share: Share of devices that the challenger answers.
        salt: Chooses these devices.
        since_day: First as-of day (since 1970) whose pairs count.
        rung_day: First as-of day on this rung.
        about: Version that the step is about.
        reasons: Why.
        evidence: What was measured.
    """

    step: str
    stage: Stage
    champion: str | None
    challenger: str | None = None
    share: float = 0.0
    salt: str = ""
    since_day: int = 0
    rung_day: int = 0
    about: str = ""
    reasons: tuple[str, ...] = ()
    evidence: dict[str, Any] = {}


def newest_step(entries: Sequence[Entry]) -> Entry | None:
    """The entry that says who is to serve."""
    return next((entry for entry in reversed(entries) if entry.kind == ROLLOUT), None)


def after(status: RolloutStatus, step: Step, day: int) -> RolloutStatus | None:
    """Where a step leads to, None when it makes no sense where things stand."""
    evidence = msgspec.to_builtins(step.improvement)
    common: dict[str, Any] = {"reasons": step.reasons, "evidence": _finite(evidence)}
    if status.stage == "guard":
        return _guarded(status, step, common)
    if status.stage == "none" or status.challenger is None:
        return None
    about = status.challenger
    if step.kind == "roll_back":
        return RolloutStatus(step="refused", stage="none", champion=status.champion, about=about, **common)
    if step.kind == "promote":
        return msgspec.structs.replace(promoted(status, about, day, "champion", step.reasons), **common)
    return msgspec.structs.replace(
        status, step="canary", stage="canary", share=step.share, rung_day=day, about=about, **common
    )


def promoted(now: RolloutStatus, version: str, day: int, step: str, reasons: tuple[str, ...]) -> RolloutStatus:
    """A new champion, with the one before beside it."""
    stage: Stage = "guard" if now.champion else "none"
    return RolloutStatus(
        step=step,
        stage=stage,
        champion=version,
        challenger=now.champion,
        since_day=day,
        about=version,
        reasons=reasons,
    )


def _guarded(status: RolloutStatus, step: Step, common: dict[str, Any]) -> RolloutStatus | None:
    """The end of a guard: the champion stays alone, or the one before comes back."""
    if step.kind == "roll_back":
        return RolloutStatus(
            step="rolled_back", stage="none", champion=status.challenger, about=status.champion or "", **common
        )
    return RolloutStatus(step="guarded", stage="none", champion=status.champion, about=status.champion or "", **common)


def _finite(evidence: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: a bound that is not known yet is null."""
    return {name: None if isinstance(v, float) and v - v != 0 else v for name, v in evidence.items()}
