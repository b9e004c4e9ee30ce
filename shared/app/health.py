"""What the application says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.app.route.messages import RoutePartition
from shared.app.score.context import ScoringContext
from shared.app.score.partition import Partition
from shared.core.intake.progress import Day
from shared.core.intake.values.dropped import joined, warnings
from shared.core.model.scoring import BASELINE, CHAMPION
from shared.core.scenario import Scenario
from shared.core.task.losses import Losses
from shared.core.task.state import State
from shared.errors import ContractBroken
from shared.validation import decoded

WINDOW_S = 60.0
NEWEST = ("reports", "drift/newest.json")


def health(
    context: ScoringContext,
    partitions: Mapping[int, Partition],
    routes: Mapping[int, RoutePartition],
    window_s: float = WINDOW_S,
) -> dict[str, Any]:
    """What a person asks first: who serves, what was refused, how far each partition is, how good it was so far.

    Args:
        context: Scenario, serving and latencies.
        partitions: Partitions that this worker holds.
        routes: Partitions of the devices' hub that this worker routes.
        window_s: Seconds over which latencies are summed up.
    """
    answering = context.serving.current()
    states = {number: found.state for number, found in sorted(partitions.items())}
    held = {number: state for number, state in states.items() if state is not None}
    return {
        "scenario": context.task.scenario.name,
        "version": context.task.version,
        "champion": answering.control.champion,
        "challenger": answering.control.challenger,
        "share": answering.share,
        "refused": dict(context.serving.problems),
        "partitions": {
            number: {**_partition(state, context.task.losses), "dropped": partitions[number].dropped}
            for number, state in held.items()
        },
        "routes": {number: found.status() for number, found in sorted(routes.items())},
        "warnings": _warnings(context.task.scenario, [found.newest_day for found in routes.values()]),
        "drift": _drift(context.blobs.read(*NEWEST)),
        "quality": _quality(context.task.losses, list(held.values()), CHAMPION),
        "baseline": _quality(context.task.losses, list(held.values()), BASELINE),
        "latency": context.latencies.summary(context.clock.now_ms() - int(window_s * 1000)),
    }


def seconds(window: str) -> float:
    """A window in seconds, at most a day, from whatever a person wrote; `WINDOW_S` where that is no number."""
    try:
        found = float(window)
    except ValueError:
        return WINDOW_S
    return min(max(found, 0.0), 86_400.0) if found == found else WINDOW_S  # NaN differs from itself


def _drift(raw: bytes | None) -> dict[str, Any]:
    """What the newest check came to, why, and what it could not judge; nothing before the first."""
    try:
        found: dict[str, Any] = {} if raw is None else decoded(raw, dict, "/".join(NEWEST))
    except ContractBroken as error:  # a report alone: nothing works with it, and the next check writes another
        return {"problem": str(error)}
    return {name: found[name] for name in ("check", "model", "kind", "reasons", "not_judged") if name in found}


def _warnings(scenario: Scenario, days: list[Day | None]) -> list[str]:
    """Channels of which too many values were dropped on the newest day of the messages that this worker routes."""
    known = [day for day in days if day is not None]
    newest = max((day.day for day in known), default=0)
    values = joined(day.values for day in known if day.day == newest)
    date = np.datetime64(newest, "D")
    return [f"messages of {date}: {line}" for line in warnings(values, scenario.quality.maximum_dropped_share)]


def _partition(state: State, losses: Losses) -> dict[str, int]:
    nothing = np.zeros(len(losses.totals), np.int64)
    totals = dict(zip(losses.totals, sum((t.totals for t in list(state.sources.values())), nothing), strict=True))
    counts = {name: int(totals[name]) for name in ("applied", "forecasts", "first_forecasts")}
    return {"epoch": state.epoch, "next": state.next, "devices": len(state.devices), **counts}


def _quality(losses: Losses, states: list[State], wanted: int) -> dict[str, float]:
    """Errors of a role's matured forecasts, of the days that the states still know."""
    sums = np.zeros(len(losses.errors), np.int64)
    for state in states:
        for (_, role, _), row in list(state.errors.items()):
            if role == wanted:
                sums += row
    if not sums[0]:
        return {"matured": 0}
    scores = losses.scores(sums, losses.unit)
    return {"matured": int(sums[0]), **{name: round(scores[name], 4) for name in losses.shown}}
