"""Features over spans of hours that end with the as-of hour: level, spread, extremes, amounts, wind."""

from __future__ import annotations

import numpy as np

from shared.core.forecast.features.block import Block, difference, feature, same
from shared.core.forecast.features.plan import Plan
from shared.core.forecast.features.summary import ZERO, Summary
from shared.core.intake.readings import Floats


def means(plan: Plan) -> Block:
    """Mean of the valid hours."""
    features = [
        same(s, f"mean_{h}", f"mean of the valid values of the last {h} h") for h in plan.spans for s in plan.scalars
    ]

    def fill(summary: Summary, out: Floats) -> None:
        shaped = out.reshape(summary.lows.shape)
        np.add(summary.offsets[:, : len(plan.scalars)], summary.latest[plan.first :], out=shaped)

    return Block(tuple(features), fill)


def deviations(plan: Plan) -> Block:
    """Standard deviation of the valid hours (divided by their number): 0 for one hour or a constant."""
    features = [
        feature(
            f"{s.name}.std_{h}",
            f"standard deviation of the valid values of the last {h} h",
            0,
            (s.high - s.low) / 2,
            s.unit,
        )
        for h in plan.spans
        for s in plan.scalars
    ]

    def fill(summary: Summary, out: Floats) -> None:
        shaped = out.reshape(summary.lows.shape)
        offsets = summary.offsets[:, : len(plan.scalars)]
        np.multiply(offsets, offsets, out=shaped)
        np.subtract(summary.squares, shaped, out=shaped)
        np.maximum(shaped, ZERO, out=shaped)  # squares too small for float32 can come out below 0
        np.sqrt(shaped, out=shaped)

    return Block(tuple(features), fill)


def lows(plan: Plan) -> Block:
    """Smallest valid value."""
    features = [
        same(s, f"min_{h}", f"smallest valid value of the last {h} h") for h in plan.spans for s in plan.scalars
    ]
    return Block(tuple(features), lambda summary, out: np.copyto(out.reshape(summary.lows.shape), summary.lows))


def highs(plan: Plan) -> Block:
    """Largest valid value."""
    features = [same(s, f"max_{h}", f"largest valid value of the last {h} h") for h in plan.spans for s in plan.scalars]
    return Block(tuple(features), lambda summary, out: np.copyto(out.reshape(summary.highs.shape), summary.highs))


def amounts(plan: Plan) -> Block:
    """Sum of the valid hours of each amount, such as rain."""
    start = len(plan.moving)
    features = [
        feature(
            f"{s.name}.sum_{h}",
            f"sum of the valid values of the last {h} h",
            h * plan.hour * min(s.low, 0),
            h * plan.hour * max(s.high, 0),
            s.unit,
        )
        for h in plan.spans
        for s in plan.scalars[start:]
    ]

    def fill(summary: Summary, out: Floats) -> None:
        rows = slice(plan.first + start, plan.measured)
        mean = summary.offsets[:, start : len(plan.scalars)] + summary.latest[rows]
        np.multiply(mean, summary.counts[:, rows], out=out.reshape(mean.shape))

    return Block(tuple(features), fill)


def departures(plan: Plan) -> Block:
    """Where a level stands: newest value against the day's mean, the day's against three days'."""
    if not {24, 72} <= set(plan.spans):
        return Block((), lambda _summary, _out: None)
    day, days, count = plan.spans.index(24), plan.spans.index(72), len(plan.moving)
    features = [difference(s, "latest_minus_mean_24", "newest value minus mean of 24 h") for s in plan.moving]
    features += [difference(s, "mean_24_minus_mean_72", "mean of 24 h minus mean of 72 h") for s in plan.moving]

    def fill(summary: Summary, out: Floats) -> None:
        np.subtract(ZERO, summary.offsets[day, :count], out=out[:count])
        np.subtract(summary.offsets[day, :count], summary.offsets[days, :count], out=out[count:])

    return Block(tuple(features), fill)


def flows(plan: Plan) -> Block:
    """Mean vector of each flow, and its steadiness: the length of the mean vector divided by the mean speed."""
    features = []
    for hours in plan.spans:
        over = f"of the valid values of the last {hours} h"
        for flow in plan.flows:
            for part in ("u", "v"):
                name = f"{flow.name}.{part}_{hours}"
                features.append(feature(name, f"{part} of the mean vector {over}", -flow.high, flow.high, flow.unit))
            text = f"length of the mean vector divided by the mean speed {over}, missing in a calm"
            features.append(feature(f"{flow.name}.steadiness_{hours}", text, 0, 1))

    def fill(summary: Summary, out: Floats) -> None:
        vectors = summary.offsets[:, len(plan.scalars) :]
        shaped = out.reshape(vectors.shape)
        np.copyto(shaped, vectors)
        u, v, speed = (vectors[:, part::3] for part in range(3))
        np.minimum(np.sqrt(u * u + v * v) / speed, np.float32(1), out=shaped[:, 2::3])

    return Block(tuple(features), fill)
