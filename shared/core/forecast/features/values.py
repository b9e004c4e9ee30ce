"""Features of single hours: newest values, lags, tendencies, the same time of day, gaps and the calendar."""

from __future__ import annotations

import math

import numpy as np

from shared.core.forecast.features.block import Block, difference, feature, same
from shared.core.forecast.features.plan import Plan, Scalar
from shared.core.forecast.features.summary import ZERO, Summary
from shared.core.intake.readings import Floats

TARGET_LAGS = (0, 1, 2, 3, 6, 12, 18, 24, 48, 72, 96, 120)
LAGS = (3, 6, 12, 24, 48)  # hour 0 of the other channels is their newest value, in `latest`
TARGET_CHANGES = (3, 6, 24)
CHANGES, PRESSURE_CHANGES = (24,), (3, 24)  # the weather service's pressure tendency is over 3 h
GAP_SPANS = (24, 120)
DAY, YEAR = 24, 365.25


def latest(plan: Plan) -> Block:
    """Newest valid value of each scalar and of each direction's mean unit vector."""
    text = "newest valid value in the window"
    units = [f"{flow.channel}_{part}" for flow in plan.flows for part in ("u", "v")]
    features = [feature(f"{name}.latest", f"{text}, mean unit vector", -1, 1) for name in units]
    features += [same(scalar, "latest", text) for scalar in plan.scalars]
    return Block(tuple(features), lambda summary, out: np.copyto(out, summary.latest))


def age(plan: Plan) -> Block:
    """Hours since each channel's newest valid value."""
    text = "hours from the newest valid value to the as-of hour"
    features = [
        feature(f"{name}.hours_since_valid", text, 0, (plan.history - 1) / plan.hour, "h") for name in plan.presence
    ]
    rows = [plan.rows[row] for row in plan.presence.values()]
    return Block(tuple(features), lambda summary, out: _take(summary.age, rows, out))


def lags(plan: Plan) -> Block:
    """Value of an earlier hour, missing when that very hour is."""
    wanted = [(s, h) for s in plan.scalars for h in (TARGET_LAGS if s is plan.target else LAGS) if plan.holds(h)]
    features = [same(scalar, f"lag_{hours}", f"value {hours} h before the as-of hour") for scalar, hours in wanted]
    places = [plan.place(scalar.name, hours) for scalar, hours in wanted]
    return Block(tuple(features), lambda summary, out: _take(summary.by_hour, places, out))


def _take(values: Floats, rows: list[int], out: Floats) -> Floats:
    return values.take(rows, axis=0, out=out, mode="clip")  # "raise", the default, goes through a buffer


def changes(plan: Plan) -> Block:
    """Change of a level over the hours before the as-of hour, missing when either hour is."""
    wanted = [(s, h) for s in plan.scalars if not s.amount for h in _changes(plan, s) if plan.holds(h)]
    features = [
        difference(scalar, f"change_{hours}", f"value minus value {hours} h before") for scalar, hours in wanted
    ]
    ends = [plan.place(scalar.name, 0) for scalar, _ in wanted]
    starts = [plan.place(scalar.name, hours) for scalar, hours in wanted]

    def fill(summary: Summary, out: Floats) -> None:
        np.subtract(_take(summary.by_hour, ends, out), summary.by_hour[starts], out=out)

    return Block(tuple(features), fill)


def _changes(plan: Plan, scalar: Scalar) -> tuple[int, ...]:
    if scalar is plan.target:
        return TARGET_CHANGES
    return PRESSURE_CHANGES if scalar.role == "pressure" else CHANGES


def same_hour(plan: Plan) -> Block:
    """The target at the as-of hour's time of day on the days of the window: the forecast's time of day too."""
    kinds = ("mean", "min", "max")
    features = [same(plan.target, f"same_hour_{k}", f"{k} of the valid values at this time of day") for k in kinds]
    places = [plan.place(plan.target.name, hours) for hours in range(0, -(-plan.history // plan.hour), DAY)]

    def fill(summary: Summary, out: Floats) -> None:
        values = summary.by_hour[places]
        np.fmin.reduce(values, axis=0, out=out[1])
        np.fmax.reduce(values, axis=0, out=out[2])
        count = len(values) - np.add.reduce(np.isnan(values), axis=0, dtype=np.float32)
        total = np.add.reduce(np.fmax(values, ZERO) + np.fmin(values, ZERO), axis=0)
        np.divide(total, count, out=out[0])

    return Block(tuple(features), fill)


def gaps(plan: Plan) -> Block:
    """Share of missing hours of each channel."""
    spans = [(i, span) for i, span in enumerate(plan.spans) if span in GAP_SPANS]
    features = [
        feature(f"{name}.share_missing_{span}", f"missing hours among the last {span}, divided by {span}", 0, 1)
        for _, span in spans
        for name in plan.presence
    ]
    rows = [plan.rows[row] for row in plan.presence.values()]

    def fill(summary: Summary, out: Floats) -> None:
        for (i, span), part in zip(spans, out.reshape(len(spans), len(rows), out.shape[1]), strict=True):
            steps = np.float32(span * plan.hour)
            np.divide(steps - summary.counts[i, rows], steps, out=part)

    return Block(tuple(features), fill)


def calendar(plan: Plan) -> Block:
    """Time of day and of year of the as-of hour (UTC), missing when it is unknown."""
    names = [(what, kind) for what in ("hour_of_day", "day_of_year") for kind in ("sin", "cos")]
    features = [feature(f"time.{what}_{kind}", f"{kind} of the {what} as an angle, UTC", -1, 1) for what, kind in names]
    # tables, not a vectorised sine: its last digit could depend on the place in the batch
    day_steps = DAY * plan.hour
    times, days = _circle(day_steps, day_steps), _circle(YEAR, 366)

    def fill(summary: Summary, out: Floats) -> None:
        date = (summary.as_of // day_steps).astype("datetime64[D]")
        day = (date - date.astype("datetime64[Y]")).astype(np.int64)
        out[:2] = times[:, summary.as_of % day_steps]
        out[2:] = days[:, day]
        out[:, summary.as_of < 0] = np.nan

    return Block(tuple(features), fill)


def _circle(period: float, count: int) -> Floats:
    turns = [2 * math.pi * i / period for i in range(count)]
    return np.array([[math.sin(turn) for turn in turns], [math.cos(turn) for turn in turns]], np.float32)
