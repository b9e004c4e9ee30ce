"""Whether a training job is worth its money now: a decision from the ledger, the clock and the newest check alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from shared.core.ledger import Entry, month_of
from shared.core.retrain.history import History
from shared.core.retrain.refusals import Refusal, refusals
from shared.core.retrain.signals import Case, Signals
from shared.core.scenario import RetrainRules
from shared.core.task.calendar import DAY_HOURS, HOUR_MS

Reason = Literal["manual", "bootstrap", "drift", "quality", "labels", "schedule", "none"]
BINDING: tuple[Refusal, ...] = ("data", "running", "run_budget", "money_budget")  # these bind a person too


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether to train.

    Args:
        launch: Whether a job is to be started.
        reason: What speaks for one, the strongest first; "none" when nothing does.
        refusals: What forbids it nevertheless.
        reasons: All of that in words with numbers, also what does not speak for one.
        inputs: What it was decided from.
    """

    launch: bool
    reason: Reason
    refusals: tuple[Refusal, ...]
    reasons: tuple[str, ...]
    inputs: dict[str, Any]


class _Trigger(NamedTuple):
    reason: Reason
    holds: bool
    text: str


def decide(
    entries: Sequence[Entry], now_ms: int, signals: Signals, rules: RetrainRules, manual: str | None = None
) -> Decision:
    """Decide whether to start a training job.

    Args:
        entries: The ledger, oldest first.
        now_ms: Wall time in milliseconds since 1970. A time before the newest entry's counts as no time since it.
        signals: What the newest check found.
        rules: When a job is worth its money.
        manual: Why a person wants one, None when nobody does.

    Returns:
        The decision; the same arguments give the same one.
    """
    case = Case(now_ms, History.of(entries, month_of(now_ms)), signals, rules)
    triggers = [*_manual(manual), *(_bootstrap(case) if signals.champion is None else _retrain(case))]
    reason: Reason = next((trigger.reason for trigger in triggers if trigger.holds), "none")
    refused = [] if reason == "none" else [no for no in refusals(case) if manual is None or no.refusal in BINDING]
    return Decision(
        launch=reason != "none" and not refused,
        reason=reason,
        refusals=tuple(no.refusal for no in refused),
        reasons=(
            *(f"{trigger.reason}: {trigger.text}" for trigger in triggers),
            *(f"refused, {no.refusal}: {no.text}" for no in refused),
        ),
        inputs=_inputs(case),
    )


def _manual(manual: str | None) -> Iterator[_Trigger]:
    if manual is not None:
        yield _Trigger("manual", True, manual)


def _bootstrap(case: Case) -> Iterator[_Trigger]:
    have, need = case.signals.labelled_rows, case.rules.minimum_first_rows
    text = f"no model is deployed; {have:,} labelled rows, {need:,} are needed"
    yield _Trigger("bootstrap", have >= need, text if have >= need else f"not enough data: {text}")


def _retrain(case: Case) -> Iterator[_Trigger]:
    signals = case.signals
    size = "" if signals.magnitude is None else f", magnitude {signals.magnitude:.4g}"
    yield _Trigger("drift", signals.drift == "population", f"{signals.drift}{size}")
    yield _Trigger("quality", signals.quality == "outside", _QUALITY[signals.quality])
    yield _labels(case)
    yield _schedule(case)


def _labels(case: Case) -> _Trigger:
    before = case.history.trained_rows(case.signals.trained_rows)
    if before is None:
        return _Trigger("labels", False, "not known with how many rows the model was trained")
    new, need = case.signals.labelled_rows - before, case.rules.minimum_new_rows
    return _Trigger("labels", new >= need, f"{new:,} labelled rows since the last training, {need:,} are worth another")


def _schedule(case: Case) -> _Trigger:
    before = case.history.trained_ms(case.signals.trained_ms)
    if before is None:
        return _Trigger("schedule", False, "not known when the model was trained")
    days = case.rules.schedule_days
    waited_h = (case.now_ms - before) / HOUR_MS
    text = f"trained {waited_h / 24:.4g} days ago, due after {days}"
    return _Trigger("schedule", case.now_ms - before >= days * DAY_HOURS * HOUR_MS, text)


def _inputs(case: Case) -> dict[str, Any]:
    """As plain JSON, so that they are the same before and after they stood in the ledger."""
    history = case.history
    return {
        "now_ms": case.now_ms,
        "signals": msgspec.json.decode(msgspec.json.encode(case.signals)),
        "rules": msgspec.to_builtins(case.rules),
        "history": {
            "running": history.running.name if history.running else None,
            "last_job": history.last.name if history.last else None,
            "last_job_ms": history.last.decision.at_ms if history.last else None,
            "trained": history.trained.name if history.trained else None,
            "month": history.month,
            "runs": history.runs,
            "spent": history.spent,
            "lost_in_a_row": len(history.lost),
            "lost_ms": history.lost[-1].at_ms if history.lost else None,
            "challenger": history.challenger.data.get("step") if history.challenger else None,
        },
    }


_QUALITY = {
    "not enough data": "not enough data",
    "inside": "inside the accepted range",
    "outside": "outside the accepted range",
}
