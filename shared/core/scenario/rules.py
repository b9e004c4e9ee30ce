"""Rules of a scenario: the search for a model, the gate, drift, retraining, and the rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from shared.validation import Number

Count = Annotated[int, Meta(ge=1, le=10**9)]
Days = Annotated[int, Meta(ge=1, le=3650)]
Hours = Annotated[float, Meta(ge=0, le=8760)]
Money = Annotated[float, Meta(ge=0, le=1e9)]
Share = Annotated[float, Meta(ge=0, le=1)]
Loss = Literal["absolute", "squared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Candidates and budget of a training run."""

    candidates: tuple[Literal["catboost"], ...] = ("catboost",)
    trials: Annotated[int, Meta(ge=1, le=200)] = 6
    folds: Annotated[int, Meta(ge=2, le=10)] = 3
    max_trees: Annotated[int, Meta(ge=1, le=5000)] = 600
    seed: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """What becomes of a device that has too little history.

    Args:
        hours: Hours of its window in which it must have spoken, or has too little; a whole window is enough anyhow.
        answer: Whether it is forecast then.
        bounds: By how much the interval is wider then.
    """

    hours: Annotated[int, Meta(ge=0, le=2000)] = 72
    answer: bool = True
    bounds: Annotated[float, Meta(ge=1, le=100)] = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRules:
    """When what comes in is warned of.

    Args:
        maximum_dropped_share: Share of a channel's values that may be dropped in a file or a day without a warning.
    """

    maximum_dropped_share: Share = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """When a challenger may replace the champion.

    Args:
        minimum_improvement: Least share by which the challenger's error has to be below the champion's.
        confidence: Probability that the improvement is above the lower end of its interval.
        minimum_rows: Fewest forecasts that both models answered.
        minimum_days: Fewest days (UTC) these fall into.
        minimum_blocks: Fewest independent stretches of time in them.
        worst_group_ratio: Most that a device's or band's error may grow to, as a share of the champion's.
        minimum_group_rows: Rows from which a device or band is judged alone; smaller ones are judged together.
        coverage_tolerance: Most that the interval's coverage may differ from the nominal.
        coverage_days: Newest days of the evidence in which it may be instead of in all.
        maximum_parity: Largest difference between the exported and the trained model, in the target's unit.
        maximum_mb: Largest package.
        maximum_latency_ms: Slowest answer.
        suspicious_ratio: Error as a share of damped persistence's from which on it is too good to be true.
        suspicious_correlation: Correlation of forecast and truth, overall or of a device, that is too good to be true.
        resamples: Draws of the bootstrap.
        seed: Of the draws.
    """

    minimum_improvement: Annotated[float, Meta(ge=0, le=0.5)] = 0.01
    confidence: Annotated[float, Meta(ge=0.5, le=0.999)] = 0.95
    minimum_rows: Count = 500
    minimum_days: Days = 14
    minimum_blocks: Annotated[int, Meta(ge=2, le=1000)] = 8
    worst_group_ratio: Annotated[float, Meta(ge=1, le=10)] = 1.1
    minimum_group_rows: Count = 200
    coverage_tolerance: Annotated[float, Meta(ge=0, le=0.5)] = 0.05
    coverage_days: Days = 14
    maximum_parity: Annotated[float, Meta(ge=0, le=1e6)] = 0.001
    maximum_mb: Annotated[float, Meta(ge=0, le=10_000)] = 50.0
    maximum_latency_ms: Annotated[float, Meta(ge=0, le=60_000)] = 50.0
    suspicious_ratio: Share = 0.3
    suspicious_correlation: Share = 0.995
    resamples: Annotated[int, Meta(ge=200, le=20_000)] = 2000
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRules:
    """When recent data count as drifted."""

    window_days: int = 7
    minimum_rows: int = 300
    false_alarm_rate: Number = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRules:
    """When a training job is worth its money.

    Args:
        cooldown_h: Hours between two jobs, whatever became of the first.
        maximum_runs_per_month: Most jobs in a calendar month (UTC).
        maximum_cost_per_month: Most money for jobs in a calendar month, in the unit of `cost_per_run`.
        cost_per_run: What a job costs.
        minimum_first_rows: Labelled rows that the first training needs.
        minimum_new_rows: Labelled rows since the last training that are worth another.
        schedule_days: Days after the last training at which another is due anyway.
        backoff_h: Hours to wait after a challenger that lost; further losses in a row multiply them.
        backoff_factor: By how much.
        maximum_backoff_h: Longest such wait.
        challenger_wait_days: Days that a challenger on the ladder is given before another is trained.
        timeout_h: Hours after its launch at which a job is ended as failed, as its place of jobs is told too; one that
            cannot be launched is given up as long after its decision.
    """

    cooldown_h: Hours = 24.0
    maximum_runs_per_month: Annotated[int, Meta(ge=0, le=1000)] = 10
    maximum_cost_per_month: Money = 20.0
    cost_per_run: Money = 2.0
    minimum_first_rows: Count = 5000
    minimum_new_rows: Count = 5000
    schedule_days: Days = 30
    backoff_h: Hours = 48.0
    backoff_factor: Annotated[float, Meta(ge=1, le=10)] = 2.0
    maximum_backoff_h: Hours = 720.0
    challenger_wait_days: Annotated[int, Meta(ge=0, le=3650)] = 30
    timeout_h: Annotated[float, Meta(ge=0.1, le=168)] = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRules:
    """The ladder a challenger climbs, and when it falls: by matured paired labels, whatever the share it answers.

    Args:
        ladder: Shares of devices, from shadow (0) to champion (1).
        minimum_labels: Pairs needed on each rung.
        block_days: Days that are judged as one, because errors of neighbouring days are alike.
        minimum_blocks: Blocks below which nothing is concluded.
        error_rate: Chance that a challenger which is no better becomes champion, whatever the number of looks.
        tolerance: How much worse it may still be on the way up; a champion has to be better.
        maximum_days: Days after which a challenger without a decision is given up.
        guard_days: Days that the model before stays beside a new champion, ready to come back.
        emergency_ratio: Error relative to the other's above which a model falls without waiting for blocks.
        maximum_unanswered: Share of forecasts that a challenger may fail to answer.
        maximum_latency_ms: Most time for one forecast.
        maximum_forecast_shift: Distance of its forecasts from the champion's, in standard deviations.
        approval: Whether a person has to approve the way from shadow to canary.
    """

    ladder: tuple[Number, ...] = (0.0, 0.1, 0.5, 1.0)
    minimum_labels: int = 500
    block_days: int = 2
    minimum_blocks: int = 5
    error_rate: Number = 0.05
    tolerance: Number = 0.05
    maximum_days: int = 150
    guard_days: int = 30
    emergency_ratio: Number = 1.5
    maximum_unanswered: Number = 0.02
    maximum_latency_ms: Number = 50.0
    maximum_forecast_shift: Number = 3.0
    approval: bool = False
