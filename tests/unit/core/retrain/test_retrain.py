"""When a training job is worth its money: tables with a hand-advanced clock."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core import ledger
from shared.core.ledger import Entry, Tail
from shared.core.retrain.decide import Decision, decide
from shared.core.retrain.history import History, job_name, job_of, jobs
from shared.core.retrain.signals import Signals
from shared.core.scenario import RetrainRules

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_793_577_600_000  # 2026-11-02 00:00 UTC
MONTH_END = 1_796_083_200_000  # 2026-12-01 00:00 UTC
RULES = RetrainRules(
    cooldown_h=24.0,
    maximum_runs_per_month=10,
    maximum_cost_per_month=20.0,
    cost_per_run=2.0,
    minimum_new_rows=5000,
    schedule_days=30,
    backoff_h=48.0,
    backoff_factor=2.0,
    maximum_backoff_h=200.0,
    challenger_wait_days=30,
    timeout_h=12.0,
)
QUIET = Signals(
    check="now", dataset="lake@7", labelled_rows=10_000, champion="v1", trained_rows=10_000, trained_ms=START,
    drift="none", quality="inside",
)  # fmt: skip
DRIFT = msgspec.structs.replace(QUIET, drift="population", magnitude=1.75)


@dataclass
class CommitHistory:
    """A ledger in the making."""

    now: int = START
    entries: list[Entry] = field(default_factory=list)
    tail: Tail = field(default_factory=Tail)

    def add(self, kind: str, data: dict[str, Any], key: str = "") -> Entry:
        entry = ledger.make("air", self.tail, self.now, kind, key or f"{len(self.entries)}", data, "airloop")
        self.entries.append(entry)
        self.tail = ledger.after(self.tail, entry)
        return entry

    def decided(self, signals: Signals = DRIFT, *, cost: float = 2.0, launch: bool = True) -> str:
        inputs = {"signals": msgspec.to_builtins(signals)}
        entry = self.add("decision", {"launch": launch, "reason": "drift", "cost": cost, "inputs": inputs})
        return job_name("air", entry.position)

    def job(self, status: str = "completed", **what: Any) -> str:
        name = self.decided(**what)
        self.add("launched", {}, name)
        self.add("job_ended", {"status": status}, name)
        return name

    def rollout(self, *steps: str) -> None:
        for step in steps:
            self.add("rollout", {"step": step})

    def decide(
        self, signals: Signals = DRIFT, rules: RetrainRules = RULES, manual: str | None = None, *, at: int = 0
    ) -> Decision:
        """Decide `at` milliseconds after the start, by default now."""
        return decide(self.entries, START + at if at else self.now, signals, rules, manual)


def changed(signals: Signals, **values: Any) -> Signals:
    return msgspec.structs.replace(signals, **values)


def rules(**values: Any) -> RetrainRules:
    return dataclasses.replace(RULES, **values)


NEW = changed(QUIET, champion=None, trained_rows=None, trained_ms=None)


@pytest.mark.parametrize(
    ("signals", "after_ms", "reason"),
    [
        (QUIET, 0, "none"),
        (NEW, 0, "bootstrap"),
        (changed(NEW, labelled_rows=5000), 0, "bootstrap"),
        (changed(NEW, labelled_rows=4999), 0, "none"),
        (changed(NEW, labelled_rows=4999, drift="population", quality="outside"), 0, "none"),
        (DRIFT, 0, "drift"),
        (changed(QUIET, drift="pipeline"), 0, "none"),
        (changed(QUIET, drift="device", magnitude=99.0), 0, "none"),
        (changed(QUIET, drift="not enough data", quality="not enough data"), 0, "none"),
        (changed(QUIET, quality="outside"), 0, "quality"),
        (changed(QUIET, quality="outside", drift="population"), 0, "drift"),
        (changed(QUIET, labelled_rows=15_000), 0, "labels"),
        (changed(QUIET, labelled_rows=14_999), 0, "none"),
        (changed(QUIET, labelled_rows=15_000, trained_rows=None), 0, "none"),
        (changed(QUIET, labelled_rows=15_000, quality="outside"), 0, "quality"),
        (QUIET, 30 * DAY, "schedule"),
        (QUIET, 30 * DAY - 1, "none"),
        (changed(QUIET, trained_ms=None), 300 * DAY, "none"),
        (changed(QUIET, labelled_rows=15_000), 30 * DAY, "labels"),
        (changed(QUIET, trained_ms=START + 60 * DAY), 30 * DAY, "none"),
    ],
)
def test_what_speaks_for_a_job(signals: Signals, after_ms: int, reason: str) -> None:
    found = CommitHistory().decide(signals, at=after_ms)
    assert (found.reason, found.launch, found.refusals) == (reason, reason != "none", ())


def test_a_person_s_wish_comes_before_all_other_reasons_and_is_told_in_its_own_words() -> None:
    found = CommitHistory().decide(DRIFT, manual="new sensors")
    assert (found.launch, found.reason) == (True, "manual")
    assert found.reasons[0] == "manual: new sensors"
    assert CommitHistory().decide(changed(NEW, labelled_rows=10), manual="try").launch, (
        "a person may start with few rows"
    )


def test_what_the_last_completed_job_knew_counts_instead_of_what_the_champion_says() -> None:
    history = CommitHistory()
    history.job(signals=changed(DRIFT, labelled_rows=40_000))
    history.now += 10 * DAY
    history.job("failed", signals=changed(DRIFT, labelled_rows=60_000))
    history.now += 10 * DAY
    assert history.decide(changed(QUIET, labelled_rows=44_999)).reason == "none"
    assert history.decide(changed(QUIET, labelled_rows=45_000)).reason == "labels"
    assert history.decide(QUIET, at=30 * DAY - 1).reason == "none"
    assert history.decide(QUIET, at=30 * DAY).reason == "schedule", "the failed one is no training"
    history.job(signals=changed(DRIFT, labelled_rows=50_000))
    assert history.decide(changed(QUIET, labelled_rows=54_999), at=50 * DAY - 1).reason == "none"
    assert history.decide(changed(QUIET, labelled_rows=55_000)).reason == "labels"


@pytest.mark.parametrize("status", ["completed", "failed", "canceled"])
@pytest.mark.parametrize(("after_ms", "refusals"), [(1, ("cooldown",)), (DAY - 1, ("cooldown",)), (DAY, ())])
def test_cooldown_counts_from_the_decision_of_the_last_job_whatever_became_of_it(
    status: str, after_ms: int, refusals: tuple[str, ...]
) -> None:
    history = CommitHistory()
    history.job(status)
    found = history.decide(at=after_ms)
    assert (found.refusals, found.launch, found.reason) == (refusals, not refusals, "drift")
    assert history.decide(at=after_ms, manual="now").launch, "a person need not wait"


def test_a_no_starts_no_cooldown_and_counts_in_no_budget() -> None:
    history = CommitHistory()
    history.decided(launch=False)
    assert history.decide(rules=rules(maximum_runs_per_month=1), at=1).launch


def test_a_clock_that_runs_backwards_does_not_shorten_a_wait() -> None:
    history = CommitHistory()
    history.now += 5 * HOUR
    history.job()
    found = history.decide(at=1)
    assert found.refusals == ("cooldown",)
    assert "0 h ago, wait 24 h" in found.reasons[-1]


@pytest.mark.parametrize("manual", [None, "please"])
@pytest.mark.parametrize("launched", [False, True])
def test_one_job_at_most_runs_also_one_that_was_only_decided(launched: bool, manual: str | None) -> None:
    history = CommitHistory()
    name = history.decided()
    if launched:
        history.add("launched", {}, name)
    found = history.decide(at=20 * DAY, manual=manual)
    assert (found.refusals, found.launch) == (("running",), False)
    assert f"refused, running: {name} has not ended" in found.reasons
    history.add("job_ended", {"status": "failed"}, "air-999999")
    assert not history.decide(at=20 * DAY).launch, "the end of another job ends nothing"
    history.add("job_ended", {"status": "failed"}, name)
    assert history.decide(at=20 * DAY).launch


@pytest.mark.parametrize("manual", [None, "please"])
@pytest.mark.parametrize(("ran", "limit", "launch"), [(0, 0, False), (1, 2, True), (2, 2, False), (3, 2, False)])
def test_runs_of_a_month_are_limited(ran: int, limit: int, launch: bool, manual: str | None) -> None:
    history = CommitHistory()
    for _ in range(ran):
        history.job("failed")
        history.now += 2 * DAY
    found = history.decide(rules=rules(maximum_runs_per_month=limit), manual=manual)
    assert (found.launch, found.refusals) == (launch, () if launch else ("run_budget",))


@pytest.mark.parametrize(
    ("decided_ms", "now_ms", "launch"),
    [
        (MONTH_END - DAY - 1, MONTH_END - 1, False),
        (MONTH_END - DAY, MONTH_END, True),
        (MONTH_END, MONTH_END + 25 * DAY, False),
    ],
)
def test_a_budget_begins_anew_with_the_month(decided_ms: int, now_ms: int, launch: bool) -> None:
    history = CommitHistory(now=decided_ms)
    history.job()
    history.now = now_ms
    assert history.decide(rules=rules(maximum_runs_per_month=1)).launch == launch
    assert history.decide(rules=rules(maximum_cost_per_month=2.0)).launch == launch


@pytest.mark.parametrize("manual", [None, "please"])
@pytest.mark.parametrize(
    ("spent", "cost", "limit", "launch"),
    [
        ([], 2.0, 2.0, True),
        ([], 2.01, 2.0, False),
        ([0.1, 0.1], 0.1, 0.3, True),
        ([0.1, 0.1, 0.1], 0.1, 0.3, False),
        ([5.0, 3.0], 2.0, 10.0, True),
        ([5.0, 3.01], 2.0, 10.0, False),
        ([5.0], 0.0, 5.0, True),
    ],
)
def test_money_of_a_month_is_what_its_jobs_cost_when_they_were_decided(
    spent: list[float], cost: float, limit: float, launch: bool, manual: str | None
) -> None:
    history = CommitHistory()
    for each in spent:
        history.job("canceled", cost=each)
        history.now += 2 * DAY
    found = history.decide(rules=rules(maximum_cost_per_month=limit, cost_per_run=cost), manual=manual)
    assert (found.launch, found.refusals) == (launch, () if launch else ("money_budget",))


@pytest.mark.parametrize(("lost", "wait_h"), [(1, 48.0), (2, 96.0), (3, 192.0), (4, 200.0), (5, 200.0), (2000, 200.0)])
def test_every_further_loss_doubles_the_wait_up_to_its_maximum(lost: int, wait_h: float) -> None:
    history = CommitHistory()
    for _ in range(lost):
        history.add("gate", {"verdict": "refuse"})
    wait = round(wait_h * HOUR)
    assert history.decide(at=wait - 1).refusals == ("backoff",)
    assert history.decide(at=wait).launch
    assert history.decide(at=1, manual="please").launch


@pytest.mark.parametrize(
    ("steps", "lost"),
    [
        ([], 0),
        (["promote"], 0),
        (["not enough data"], 0),
        (["refuse"], 1),
        (["refuse", "refuse"], 2),
        (["shadow", "refused"], 1),
        (["refuse", "shadow", "canary", "champion"], 0),
        (["refuse", "installed"], 0),
        (["champion", "refuse"], 1),
        (["champion", "rolled_back"], 1),
        (["refuse", "champion", "rolled_back"], 2),
        (["refuse", "champion", "refuse", "rolled_back"], 3),
        (["refuse", "champion", "guarded", "champion", "rolled_back"], 1),
        (["champion", "rolled_back", "champion", "rolled_back"], 2),
    ],
)
def test_losses_in_a_row_end_with_a_champion_that_stays(steps: list[str], lost: int) -> None:
    history = CommitHistory()
    for step in steps:
        if step in {"promote", "refuse", "not enough data"}:
            history.add("gate", {"kind": step})
        else:
            history.rollout(step)
    assert len(History.of(history.entries, "2026-11").lost) == lost


@pytest.mark.parametrize("step", ["shadow", "canary"])
def test_a_challenger_on_the_ladder_is_waited_for(step: str) -> None:
    history = CommitHistory()
    history.rollout(step)
    assert history.decide(at=30 * DAY - 1).refusals == ("challenger",)
    assert history.decide(at=30 * DAY).launch
    assert history.decide(at=1, rules=rules(challenger_wait_days=0)).launch
    assert history.decide(at=1, manual="please").launch


@pytest.mark.parametrize("step", ["champion", "installed", "guarded"])
def test_when_the_ladder_is_empty_nothing_is_waited_for(step: str) -> None:
    history = CommitHistory()
    history.rollout("shadow", step)
    assert history.decide(at=1).launch


@pytest.mark.parametrize("manual", [None, "please"])
@pytest.mark.parametrize("lacking", [{"dataset": None}, {"labelled_rows": 0}])
def test_without_data_no_job_whoever_wants_it(lacking: dict[str, Any], manual: str | None) -> None:
    found = CommitHistory().decide(changed(DRIFT, **lacking), manual=manual)
    assert (found.launch, found.refusals) == (False, ("data",))
    assert "not enough data" in found.reasons[-1]


def test_everything_that_forbids_a_job_is_told_at_once_with_its_numbers() -> None:
    history = CommitHistory()
    history.job()
    history.add("gate", {"verdict": "refuse"})
    history.rollout("shadow")
    history.now += 6 * HOUR
    name = history.decided()
    found = history.decide(
        changed(DRIFT, dataset=None), rules(maximum_runs_per_month=2, maximum_cost_per_month=5.0), at=12 * HOUR
    )
    assert found.refusals == ("data", "running", "run_budget", "money_budget", "cooldown", "challenger", "backoff")
    assert found.reasons == (
        "drift: population, magnitude 1.75",
        "quality: inside the accepted range",
        "labels: 0 labelled rows since the last training, 5,000 are worth another",
        "schedule: trained 0.5 days ago, due after 30",
        "refused, data: not enough data: 10,000 labelled rows in no dataset",
        f"refused, running: {name} has not ended",
        "refused, run_budget: 2 jobs in 2026-11, at most 2",
        "refused, money_budget: jobs in 2026-11 would cost 6, at most 5",
        "refused, cooldown: the last job was decided 6 h ago, wait 24 h",
        "refused, challenger: one is on the ladder, its last step (shadow) was 12 h ago, wait 720 h",
        "refused, backoff: challengers lost in a row: 1, the last 12 h ago, wait 48 h",
    )
    assert history.decide(changed(DRIFT, dataset=None), at=12 * HOUR, manual="x").refusals == ("data", "running")


def test_without_a_reason_nothing_is_refused_and_the_reasons_say_what_was_looked_at() -> None:
    history = CommitHistory()
    history.decided()
    found = history.decide(changed(QUIET, trained_rows=None, trained_ms=None), at=1)
    assert (found.launch, found.reason, found.refusals) == (False, "none", ())
    assert found.reasons == (
        "drift: none",
        "quality: inside the accepted range",
        "labels: not known with how many rows the model was trained",
        "schedule: not known when the model was trained",
    )
    none = CommitHistory().decide(changed(NEW, labelled_rows=12))
    assert none.reasons == ("bootstrap: not enough data: no model is deployed; 12 labelled rows, 5,000 are needed",)


def test_a_decision_holds_what_it_was_made_from_so_that_it_can_be_made_again() -> None:
    history = CommitHistory()
    name = history.job(cost=2.5)
    found = history.decide(at=2 * DAY)
    assert msgspec.convert(found.inputs["signals"], Signals) == DRIFT
    assert RetrainRules(**found.inputs["rules"]) == RULES
    assert found.inputs["now_ms"] == START + 2 * DAY
    assert found.inputs["history"] == {
        "running": None, "last_job": name, "last_job_ms": START, "trained": name, "month": "2026-11", "runs": 1,
        "spent": 2.5, "lost_in_a_row": 0, "lost_ms": None, "challenger": None,
    }  # fmt: skip
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(found)), Decision) == found


@pytest.mark.parametrize(
    "name", ["", "air-1", "air-000001x", "air-99999999", "river-000000", "AIR-000000", "air-000002", "../air-000000"]
)
def test_a_job_that_nobody_decided_is_not_found_whatever_its_name(name: str) -> None:
    history = CommitHistory()
    known = history.decided()
    history.decided(launch=False)
    assert job_of(history.entries, name) is None
    assert (job_of(history.entries, known), len(jobs(history.entries))) == (jobs(history.entries)[0], 1)


@given(st.lists(st.tuples(st.integers(0, 3 * DAY), st.sampled_from(["drift", "manual", "refuse", "end"])), max_size=40))
def test_whatever_happens_jobs_never_overlap_and_budget_and_cooldown_hold(events: list[tuple[int, str]]) -> None:
    history, tight = CommitHistory(), rules(maximum_runs_per_month=4, maximum_cost_per_month=6.0)
    automatic: list[tuple[int, int]] = []
    for wait, what in events:
        history.now += wait
        open_jobs = [job for job in jobs(history.entries) if job.ended is None]
        if what == "end":
            for job in open_jobs:
                history.add("job_ended", {"status": "completed"}, job.name)
        elif what == "refuse":
            history.add("gate", {"verdict": "refuse"})
        elif history.decide(DRIFT, tight, "wish" if what == "manual" else None).launch:
            assert not open_jobs
            before = max((job.decision.at_ms for job in jobs(history.entries)), default=0)
            history.decided()
            automatic += [(before, history.now)] if what == "drift" else []
    assert all(now - before >= DAY for before, now in automatic)
    months = [ledger.month_of(job.decision.at_ms) for job in jobs(history.entries)]
    assert all(months.count(month) <= 3 for month in months), "three at 2 each are 6"
