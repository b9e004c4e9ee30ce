"""What of a partition's state must not depend on how its stream was cut or repeated."""

from __future__ import annotations

from typing import Any

import numpy as np

from shared.core.forecast.archive import awake
from shared.core.forecast.losses import TOTALS
from shared.core.forecast.state import State
from tests.kit.bench import plain


def essence(state: State) -> dict[str, Any]:
    """Rings, waiting forecasts, error sums, positions, tallies; silent devices too, as the cut says who is packed."""
    live = awake(state, list(state.archive))
    found: dict[str, Any] = {device: _device(live, place) for place, device in enumerate(live.devices)}
    for name, tally in live.sources.items():
        totals = dict(zip(TOTALS, tally.totals.tolist(), strict=True))
        kept = {
            key: value for key, value in totals.items() if key not in {"forecasts", "first_forecasts", "redelivered"}
        }
        days = {day: np.delete(sums, 1).tolist() for day, sums in tally.daily.items()}  # 1 counts forecasts
        days = {day: sums for day, sums in days.items() if any(sums)}  # how often one was made depends on the cut
        found[f"{live.partition} {name}"] = tally.position, kept, days, tally.first_hour, tally.last_hour
    for (day, role, model), sums in live.errors.items():
        found[f"{live.partition} {day} {role} {live.models[model]}"] = sums.tolist()
    return {**found, f"{live.partition} expired": live.expired}


def _device(state: State, place: int) -> dict[str, Any]:
    out: dict[str, Any] = {"head": int(state.columns.ring.head[place])}
    for name, array in state.columns.arrays().items():
        column = array[:, :, place]
        if name == "revision":
            column = column > 0
        elif name == "model":
            there = state.columns.waiting.revision[:, :, place] > 0
            out[name] = [state.models[model] for model in column[there]]
            continue
        out[name] = plain(np.ascontiguousarray(column))
    return out
