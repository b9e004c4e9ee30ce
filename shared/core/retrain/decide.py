"""Whether a training job is worth its money now: a decision from the ledger, the clock and the newest check alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from shared.core.ledger import Entry, month_of
from shared.core.retrain.history import History
from shared.core.scenario import RetrainRules
from shared.core.task.calendar import DAY_HOURS, HOUR_MS

Reason = Literal["manual", "bootstrap", "drift", "quality", "labels", "schedule", "none"]
Refusal = Literal["data", "running", "run_budget", "money_budget", "cooldown", "challenger", "backoff"]
BINDING: tuple[Refusal, ...] = ("data", "running", "run_budget", "money_budget")  # a person's wish is bound by these
LONGEST_STREAK = 60  # losses beyond which a wait has long reached its maximum


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found.

    Args:
        check: The check's id: a redelivered one has the same.
        dataset: Newest dataset version, such as `lake@12`; None while there is none.
        labelled_rows: Rows with a known truth in it.
        champion: Version of the deployed model, None when there is none.
        trained_rows: Labelled rows there were when the champion was trained, where the ledger knows of no training.
        trained_ms: When that was, in milliseconds since 1970.
        drift: Kind of drift.
        magnitude: Its overall magnitude.
        quality: Where the realised quality is, seen from the accepted range.
        notes: What else the check says of drift and quality, for people.
    """

    check: str
    dataset: str | None = None
    labelled_rows: int = 0
    champion: str | None = None
    trained_rows: int | None = None
    trained_ms: int | None = None
    drift: Literal["not enough data", "none", "device", "pipeline", "population"] = "not enough data"
    magnitude: float | None = None
    quality: Literal["not enough data", "inside", "outside"] = "not enough data"
    notes: tuple[str, ...] = ()


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


class _Case(NamedTuple):
    """What the rules look at."""

    now_ms: int
    history: History
    signals: Signals
    rules: RetrainRules


class _Wanted(NamedTuple):
    reason: Reason
    holds: bool
    text: str


class _No(NamedTuple):
    refusal: Refusal
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
    case = _Case(now_ms, History.of(entries, month_of(now_ms)), signals, rules)
    wishes = [*_asked(manual), *(_first(case) if signals.champion is None else _again(case))]
    reason: Reason = next((wanted.reason for wanted in wishes if wanted.holds), "none")
    refused = [] if reason == "none" else [no for no in _refused(case) if manual is None or no.refusal in BINDING]
    return Decision(
        launch=reason != "none" and not refused,
        reason=reason,
        refusals=tuple(no.refusal for no in refused),
        reasons=(
            *(f"{wanted.reason}: {wanted.text}" for wanted in wishes),
            *(f"refused, {no.refusal}: {no.text}" for no in refused),
        ),
        inputs=_inputs(case),
    )


def _asked(manual: str | None) -> Iterator[_Wanted]:
    if manual is not None:
        yield _Wanted("manual", True, manual)


def _first(case: _Case) -> Iterator[_Wanted]:
    have, need = case.signals.labelled_rows, case.rules.minimum_first_rows
    text = f"no model is deployed; {have:,} labelled rows, {need:,} are needed"
    yield _Wanted("bootstrap", have >= need, text if have >= need else f"not enough data: {text}")


def _again(case: _Case) -> Iterator[_Wanted]:
    signals = case.signals
    size = "" if signals.magnitude is None else f", magnitude {signals.magnitude:.4g}"
    yield _Wanted("drift", signals.drift == "population", f"{signals.drift}{size}")
    yield _Wanted("quality", signals.quality == "outside", _QUALITY[signals.quality])
    yield _labels(case)
    yield _schedule(case)


def _labels(case: _Case) -> _Wanted:
    before = case.history.trained_rows(case.signals.trained_rows)
    if before is None:
        return _Wanted("labels", False, "not known with how many rows the model was trained")
    new, need = case.signals.labelled_rows - before, case.rules.minimum_new_rows
    return _Wanted("labels", new >= need, f"{new:,} labelled rows since the last training, {need:,} are worth another")


def _schedule(case: _Case) -> _Wanted:
    before = case.history.trained_ms(case.signals.trained_ms)
    if before is None:
        return _Wanted("schedule", False, "not known when the model was trained")
    days = case.rules.schedule_days
    waited_h = (case.now_ms - before) / HOUR_MS
    text = f"trained {waited_h / 24:.4g} days ago, due after {days}"
    return _Wanted("schedule", case.now_ms - before >= days * DAY_HOURS * HOUR_MS, text)


def _refused(case: _Case) -> Iterator[_No]:
    yield from _no_data(case)
    if (running := case.history.running) is not None:
        yield _No("running", f"{running.name} has not ended")
    yield from _budgets(case)
    yield from _waits(case)


def _no_data(case: _Case) -> Iterator[_No]:
    if case.signals.dataset is None or case.signals.labelled_rows < 1:
        found = case.signals.dataset or "no dataset"
        yield _No("data", f"not enough data: {case.signals.labelled_rows:,} labelled rows in {found}")


def _budgets(case: _Case) -> Iterator[_No]:
    history, rules = case.history, case.rules
    if not history.runs < rules.maximum_runs_per_month:
        yield _No("run_budget", f"{history.runs} jobs in {history.month}, at most {rules.maximum_runs_per_month}")
    after = round(history.spent + rules.cost_per_run, 6)  # sums of tenths are not exact
    if not after <= round(rules.maximum_cost_per_month, 6):
        limit = f"at most {rules.maximum_cost_per_month:g}"
        yield _No("money_budget", f"jobs in {history.month} would cost {after:g}, {limit}")


def _waits(case: _Case) -> Iterator[_No]:
    history, rules = case.history, case.rules
    if history.last is not None and (text := _early(case, history.last.decision.at_ms, rules.cooldown_h)):
        yield _No("cooldown", f"the last job was decided {text}")
    step, patience_h = history.challenger, float(rules.challenger_wait_days * DAY_HOURS)
    if step is not None and (text := _early(case, step.at_ms, patience_h)):
        yield _No("challenger", f"one is on the ladder, its last step ({step.data.get('step')}) was {text}")
    if history.lost:
        streak = min(len(history.lost) - 1, LONGEST_STREAK)
        wait_h = min(rules.backoff_h * rules.backoff_factor**streak, rules.maximum_backoff_h)
        if text := _early(case, history.lost[-1].at_ms, wait_h):
            yield _No("backoff", f"challengers lost in a row: {len(history.lost)}, the last {text}")


def _early(case: _Case, since_ms: int, wait_h: float) -> str:
    """What to say when a wait is not over yet."""
    passed_ms = max(case.now_ms - since_ms, 0)
    over = passed_ms >= round(wait_h * HOUR_MS)
    return "" if over else f"{passed_ms / HOUR_MS:.4g} h ago, wait {wait_h:g} h"


def _inputs(case: _Case) -> dict[str, Any]:
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
