"""What forbids a training job although something speaks for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from shared.core.retrain.signals import Case
from shared.core.task.calendar import DAY_HOURS, HOUR_MS

Refusal = Literal["data", "running", "run_budget", "money_budget", "cooldown", "challenger", "backoff"]
LONGEST_STREAK = 60  # losses beyond which a wait has long reached its maximum


class Refused(NamedTuple):
    """A refusal, and why in words with numbers."""

    refusal: Refusal
    text: str


def refusals(case: Case) -> Iterator[Refused]:
    """All that holds now, what a person is bound by first."""
    yield from _no_data(case)
    if (running := case.history.running) is not None:
        yield Refused("running", f"{running.name} has not ended")
    yield from _budgets(case)
    yield from _waits(case)


def _no_data(case: Case) -> Iterator[Refused]:
    if case.signals.dataset is None or case.signals.labelled_rows < 1:
        found = case.signals.dataset or "no dataset"
        yield Refused("data", f"not enough data: {case.signals.labelled_rows:,} labelled rows in {found}")


def _budgets(case: Case) -> Iterator[Refused]:
    history, rules = case.history, case.rules
    if not history.runs < rules.maximum_runs_per_month:
        yield Refused("run_budget", f"{history.runs} jobs in {history.month}, at most {rules.maximum_runs_per_month}")
    after = round(history.spent + rules.cost_per_run, 6)  # sums of tenths are not exact
    if not after <= round(rules.maximum_cost_per_month, 6):
        limit = f"at most {rules.maximum_cost_per_month:g}"
        yield Refused("money_budget", f"jobs in {history.month} would cost {after:g}, {limit}")


def _waits(case: Case) -> Iterator[Refused]:
    history, rules = case.history, case.rules
    if history.last is not None and (text := _early(case, history.last.decision.at_ms, rules.cooldown_h)):
        yield Refused("cooldown", f"the last job was decided {text}")
    step, patience_h = history.challenger, float(rules.challenger_wait_days * DAY_HOURS)
    if step is not None and (text := _early(case, step.at_ms, patience_h)):
        yield Refused("challenger", f"one is on the ladder, its last step ({step.data.get('step')}) was {text}")
    if history.lost:
        streak = min(len(history.lost) - 1, LONGEST_STREAK)
        wait_h = min(rules.backoff_h * rules.backoff_factor**streak, rules.maximum_backoff_h)
        if text := _early(case, history.lost[-1].at_ms, wait_h):
            yield Refused("backoff", f"challengers lost in a row: {len(history.lost)}, the last {text}")


def _early(case: Case, since_ms: int, wait_h: float) -> str:
    """What to say when a wait is not over yet."""
    passed_ms = max(case.now_ms - since_ms, 0)
    over = passed_ms >= round(wait_h * HOUR_MS)
    return "" if over else f"{passed_ms / HOUR_MS:.4g} h ago, wait {wait_h:g} h"
