"""The hourly featurizer's features, block by block: names, ranges and how each is filled from a Summary."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np

from shared.core.features_window import DEW_POINT, Plan, Scalar, Summary, saturation_pressure
from shared.core.readings import Floats

# Version of every feature whose name matches, 1 for all others. Raise it by one in the commit that changes what the
# feature means or its value for the same window (beyond float32 rounding): formula, constants, unit, span, treatment of
# missing hours. A new feature starts at 1; a removed name is never given to something else.
VERSIONS: dict[str, int] = {}

TARGET_LAGS = (0, 1, 2, 3, 6, 12, 18, 24, 48, 72, 96, 120)
LAGS = (3, 6, 12, 24, 48)
CHANGES = {"atmos_press": (3, 24)}
TARGET_CHANGES = (3, 6, 24)
GAP_SPANS = (24, 120)
DAYS = 366


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the matrix; a model names the features it uses, with their versions.

    Args:
        name: Unique in a featurizer, such as `pm25.mean_24`.
        version: Raised when the same window would give another value.
        unit: Unit of the value, "1" for a pure number.
        low: Smallest value that channels within their limits can give.
        high: Largest such value.
        text: Meaning, for documents.
    """

    name: str
    version: int
    unit: str = field(default="1", compare=False)
    low: float = field(default=-math.inf, compare=False)
    high: float = field(default=math.inf, compare=False)
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Block:
    """Features that are computed together; `fill` writes them into float32 (features, width)."""

    features: tuple[Feature, ...]
    fill: Callable[[Summary, Floats], None]


def version_of(name: str, versions: dict[str, int] | None = None) -> int:
    """Version of a feature: that of the first matching pattern, else 1.

    >>> version_of("temp.std_24", {"*.std_*": 2})
    2
    """
    table = VERSIONS if versions is None else versions
    return next((version for pattern, version in table.items() if fnmatchcase(name, pattern)), 1)


def _feature(name: str, unit: str, low: float, high: float, text: str) -> Feature:
    return Feature(name, version_of(name), unit, low, high, text)


def _same(scalar: Scalar, suffix: str, text: str) -> Feature:
    return _feature(f"{scalar.name}.{suffix}", scalar.unit, scalar.low, scalar.high, text)


def _difference(scalar: Scalar, suffix: str, text: str) -> Feature:
    reach = scalar.high - scalar.low
    return _feature(f"{scalar.name}.{suffix}", scalar.unit, -reach, reach, text)


def latest(plan: Plan) -> Block:
    """Newest valid value of each scalar and of each direction's unit vector."""
    features = [_same(s, "latest", "newest valid value in the window") for s in plan.scalars]
    for flow in plan.flows:
        for part in ("u", "v"):
            name = f"{flow.channel}_{part}.latest"
            features.append(_feature(name, "1", -1, 1, "newest valid mean unit vector (u east, v north)"))
    rows = [plan.rows[f.name.removesuffix(".latest")] for f in features]

    def fill(summary: Summary, out: Floats) -> None:
        for place, row in enumerate(rows):
            out[place] = summary.latest[row]

    return Block(tuple(features), fill)


def age(plan: Plan) -> Block:
    """Hours since each channel's newest valid value."""
    text = "hours from the newest valid value to the as-of hour"
    features = [_feature(f"{name}.hours_since_valid", "h", 0, plan.history - 1, text) for name, _ in plan.gaps]
    rows = [plan.rows[row] for _, row in plan.gaps]

    def fill(summary: Summary, out: Floats) -> None:
        for place, row in enumerate(rows):
            out[place] = summary.age[row]

    return Block(tuple(features), fill)


def lags(plan: Plan) -> Block:
    """Values that many hours before the as-of hour, missing when that very hour is."""
    wanted = [(s, hours) for s in plan.scalars for hours in _lags(plan, s)]
    features = [_same(s, f"lag_{hours}", f"value {hours} h before the as-of hour") for s, hours in wanted]

    def fill(summary: Summary, out: Floats) -> None:
        for place, (scalar, hours) in enumerate(wanted):
            out[place] = summary.lag(scalar.name, hours)

    return Block(tuple(features), fill)


def _lags(plan: Plan, scalar: Scalar) -> Iterable[int]:
    chosen = TARGET_LAGS if scalar.name == plan.target else () if scalar.name == DEW_POINT else LAGS
    return (hours for hours in chosen if hours < plan.history)


def means(plan: Plan) -> Block:
    """Mean of the valid hours of each span."""
    features = [
        _same(s, f"mean_{span}", f"mean of the valid hours of the last {span} h")
        for span in plan.spans
        for s in plan.scalars
    ]

    def fill(summary: Summary, out: Floats) -> None:
        shaped = out.reshape(summary.lows.shape)
        count = _counts(summary, len(plan.scalars))
        np.divide(summary.sums[:, : len(plan.scalars)], count, out=shaped)
        np.add(shaped, summary.latest[: len(plan.scalars)], out=shaped)

    return Block(tuple(features), fill)


def _counts(summary: Summary, rows: int) -> Floats:
    spans = np.asarray(summary.plan.spans, np.float32)[:, None, None]
    counts: Floats = spans - summary.missing[:, :rows]
    return counts


def deviations(plan: Plan) -> Block:
    """Standard deviation of the valid hours of each span."""
    features = [
        _feature(f"{s.name}.std_{span}", s.unit, 0, (s.high - s.low) / 2, f"standard deviation, last {span} h")
        for span in plan.spans
        for s in plan.scalars
    ]

    def fill(summary: Summary, out: Floats) -> None:
        shaped = out.reshape(summary.lows.shape)
        count = _counts(summary, len(plan.scalars))
        centre = summary.sums[:, : len(plan.scalars)] / count
        np.divide(summary.squares, count, out=shaped)
        np.subtract(shaped, np.multiply(centre, centre, out=centre), out=shaped)
        np.sqrt(np.maximum(shaped, np.float32(0), out=shaped), out=shaped)

    return Block(tuple(features), fill)


def extremes(plan: Plan) -> Block:
    """Smallest and largest valid value of each span."""
    features = [
        _same(s, f"{kind}_{span}", f"{kind} of the valid hours of the last {span} h")
        for kind in ("min", "max")
        for span in plan.spans
        for s in plan.scalars
    ]

    def fill(summary: Summary, out: Floats) -> None:
        shaped = out.reshape((2, *summary.lows.shape))
        shaped[0] = summary.lows
        shaped[1] = summary.highs

    return Block(tuple(features), fill)


def totals(plan: Plan) -> Block:
    """Sum of the valid hours of each span for channels that are amounts, such as rain."""
    wanted = [(i, s) for i, s in enumerate(plan.scalars) if s.summed]
    features = [
        _feature(f"{s.name}.sum_{span}", s.unit, span * min(s.low, 0), span * max(s.high, 0), f"sum, last {span} h")
        for _, s in wanted
        for span in plan.spans
    ]

    def fill(summary: Summary, out: Floats) -> None:
        shaped = out.reshape((len(wanted), len(plan.spans), summary.width))
        count = _counts(summary, len(plan.scalars))
        for place, (row, _) in enumerate(wanted):
            shaped[place] = summary.sums[:, row] + count[:, row] * summary.latest[row]

    return Block(tuple(features), fill)


def flows(plan: Plan) -> Block:
    """Mean vector and steadiness of each direction over each span."""
    features = []
    for flow in plan.flows:
        for span in plan.spans:
            over = f"over the last {span} h"
            for part in ("u", "v"):
                text = f"mean {part} of the vector {over}"
                features.append(_feature(f"{flow.name}.{part}_{span}", flow.unit, -flow.high, flow.high, text))
            features.append(
                _feature(f"{flow.name}.steadiness_{span}", "1", 0, 1, f"|mean vector| / mean length {over}")
            )

    def fill(summary: Summary, out: Floats) -> None:
        shaped = out.reshape((len(plan.flows), len(plan.spans), 3, summary.width))
        first = len(plan.scalars)
        for place in range(len(plan.flows)):
            rows = slice(first + 3 * place, first + 3 * place + 3)
            count = np.asarray(plan.spans, np.float32)[:, None, None] - summary.missing[:, rows]
            u, v, speed = np.moveaxis(summary.sums[:, rows] / count, 1, 0)
            shaped[place, :, 0] = u
            shaped[place, :, 1] = v
            shaped[place, :, 2] = np.minimum(np.sqrt(u * u + v * v) / speed, np.float32(1))

    return Block(tuple(features), fill)


def vapour(plan: Plan) -> Block:
    """Vapour terms of the newest temperature and dew point."""
    if not plan.derives_dew_point:
        return Block((), lambda _summary, _out: None)
    temperature, dew = plan.rows["temp"], plan.rows[DEW_POINT]
    features = (
        _feature("vapour.saturation_pressure", "hPa", 0, 1100, "saturation pressure at the newest temperature"),
        _feature("vapour.deficit", "hPa", 0, 1100, "saturation pressure minus vapour pressure"),
        _feature("vapour.absolute_humidity", "g/m3", 0, 700, "mass of vapour in a volume of air"),
    )

    def fill(summary: Summary, out: Floats) -> None:
        warmth = summary.latest[temperature]
        pressure = saturation_pressure(summary.latest[dew])
        out[0] = saturation_pressure(warmth)
        out[1] = np.maximum(out[0] - pressure, np.float32(0))
        out[2] = np.float32(216.68) * pressure / (warmth + np.float32(273.15))

    return Block(features, fill)


def changes(plan: Plan) -> Block:
    """Newest value against the day's mean, the day's against three days', and tendencies between two hours."""
    moving = [s for s in plan.scalars if not s.summed]
    pairs = [(s, hours) for s in moving for hours in _changes(plan, s)]
    long = {24, 72} <= set(plan.spans)
    features = [_difference(s, "latest_minus_mean_24", "newest value minus mean of 24 h") for s in moving if long]
    features += [_difference(s, "mean_24_minus_mean_72", "mean of 24 h minus mean of 72 h") for s in moving if long]
    features += [_difference(s, f"change_{h}", f"value minus value {h} h before") for s, h in pairs]
    rows = [plan.rows[s.name] for s in moving]

    def fill(summary: Summary, out: Floats) -> None:
        place = 0
        if long:
            day, days = plan.spans.index(24), plan.spans.index(72)
            count = _counts(summary, len(plan.scalars))
            offset = summary.sums[:, : len(plan.scalars)] / count
            for place, row in enumerate(rows):
                out[place] = -offset[day, row]
                out[place + len(rows)] = offset[day, row] - offset[days, row]
            place = 2 * len(rows)
        for at, (scalar, hours) in enumerate(pairs, place):
            np.subtract(summary.lag(scalar.name, 0), summary.lag(scalar.name, hours), out=out[at])

    return Block(tuple(features), fill)


def _changes(plan: Plan, scalar: Scalar) -> Iterable[int]:
    chosen = TARGET_CHANGES if scalar.name == plan.target else CHANGES.get(scalar.name, (24,))
    return (hours for hours in chosen if hours < plan.history)


def same_hour(plan: Plan) -> Block:
    """The target at the as-of hour's time of day, over this and the past days."""
    target = next(s for s in plan.scalars if s.name == plan.target)
    hours = range(0, plan.history, 24)
    features = [_same(target, f"same_hour_{kind}", f"{kind} at this time of day") for kind in ("mean", "min", "max")]

    def fill(summary: Summary, out: Floats) -> None:
        out[0], count = 0, np.zeros(summary.width, np.float32)
        out[1:] = np.nan
        for values in (summary.lag(target.name, h) for h in hours):
            out[0] += np.nan_to_num(values)
            count += ~np.isnan(values)
            np.fmin(out[1], values, out=out[1])
            np.fmax(out[2], values, out=out[2])
        out[0] /= count

    return Block(tuple(features), fill)


def _circle(period: float, count: int) -> Floats:
    turns = [2 * math.pi * i / period for i in range(count)]
    return np.array([[math.sin(x) for x in turns], [math.cos(x) for x in turns]], np.float32)


def calendar(_plan: Plan) -> Block:
    """Time of day and of year (UTC) of the as-of hour, missing when it is unknown."""
    names = [f"time.{what}_{kind}" for what in ("hour", "day") for kind in ("sin", "cos")]
    features = [_feature(name, "1", -1, 1, "") for name in names]
    # from tables: no vectorised sine whose last digit could depend on the batch
    hours, days = _circle(24, 24), _circle(365.25, DAYS)

    def fill(summary: Summary, out: Floats) -> None:
        date = (summary.as_of // 24).astype("datetime64[D]")
        day = (date - date.astype("datetime64[Y]")).astype(np.int64)
        out[:2] = hours[:, summary.as_of % 24]
        out[2:] = days[:, day]
        out[:, summary.as_of < 0] = np.nan

    return Block(tuple(features), fill)


def gaps(plan: Plan) -> Block:
    """Share of missing hours of each channel."""
    spans = [(i, span) for i, span in enumerate(plan.spans) if span in GAP_SPANS]
    features = [
        _feature(f"{n}.share_missing_{span}", "1", 0, 1, f"missing hours of {span}")
        for n, _ in plan.gaps
        for _, span in spans
    ]
    rows = [row for _, row in plan.gaps]

    def fill(summary: Summary, out: Floats) -> None:
        place = 0
        for name in rows:
            for i, span in spans:
                row = plan.rows[name]
                np.divide(summary.missing[i, row], np.float32(span), out=out[place])
                place += 1

    return Block(tuple(features), fill)
