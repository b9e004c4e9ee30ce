"""Charts as inline SVG that stretches with the page, its labels as text beside it; no script, nothing from outside.

Colours are CSS variables of templates/style.css, by role: truth, model, baseline, other. Shapes differ too, so that
nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.app.reports.charts.axis import moment, scale, thin, time_ticks
from shared.app.reports.charts.parts import (
    HEIGHT,
    WIDTH,
    Band,
    Chart,
    Column,
    Plot,
    Series,
    Shape,
    grid,
    legend,
    number,
)
from shared.core.intake.readings import Doubles, Longs

HOVERS = 160
LEVELS = 6


def line_chart(
    title: str,
    hours: Longs,
    series: Sequence[Series],
    *,
    band: Band | None = None,
    unit: str = "",
    note: str = "",
    zero: bool = True,
    clock: bool = True,
    shaded: tuple[int, int] | None = None,
) -> Chart:
    """Lines over time, with an interval behind them, gaps where values are NaN.

    Args:
        title: What is shown.
        hours: Hours since 1970 UTC, rising, shape (n,).
        series: Lines; later ones lie on top.
        band: Interval drawn behind the lines.
        unit: Unit of the values.
        note: A sentence below the title.
        zero: Let the value axis begin at 0.
        clock: Show the time of day in tooltips.
        shaded: Hours between which the ground is shaded.
    """
    values = [one.values.astype(np.float64) for one in series]
    ends = [band.lower.astype(np.float64), band.upper.astype(np.float64)] if band else []
    if not any(np.isfinite(one).any() for one in values):
        return Chart(title=title, unit=unit, note=note)
    first, last = int(hours[0]), int(hours[-1])
    if first == last:
        first, last = first - 12, last + 12
    x = (hours - first) / (last - first)
    axis = scale(*values, *ends, zero=zero)
    shapes = [grid(axis)]
    if axis.low < 0 < axis.high:
        shapes.append(Shape(f"M0 {round(HEIGHT * axis.high / (axis.high - axis.low))}H{WIDTH}", "zero"))
    if ends:
        shapes.append(_area(x, axis.at(ends[0]), axis.at(ends[1])))
    for one, each in zip(series, values, strict=True):
        shapes += _line(x, axis.at(each), one.role)
    drawing = Plot(
        f"{title}: {_spoken(series, hours, unit, clock)}", shapes, axis.ticks(), time_ticks(first, last),
        _columns(x, hours, series, band, unit, clock), _ground(shaded, first, last),
    )  # fmt: skip
    return Chart(title=title, unit=unit, note=note, keys=legend(series, band), plot=drawing)


def density_chart(title: str, truth: Doubles, forecast: Doubles, *, unit: str = "", note: str = "") -> Chart:
    """How often which forecast met which truth: cells that darken with the count, and the line of perfect forecasts."""
    known = np.isfinite(truth) & np.isfinite(forecast)
    truth, forecast = truth[known].astype(np.float64), forecast[known].astype(np.float64)
    if not len(truth):
        return Chart(title=title, unit=unit, note=note)
    axis = scale(np.percentile(np.concatenate((truth, forecast)), [0.0, 99.7]))
    cells = 40
    counts, _, _ = np.histogram2d(truth, forecast, bins=cells, range=[[axis.low, axis.high]] * 2)
    outside = len(truth) - int(counts.sum())
    label = f"{title}: {len(truth):,} pairs, correlation {_correlation(truth, forecast)}"
    shapes = [grid(axis, WIDTH), *_cells(counts), Shape(f"M0 {WIDTH}L{WIDTH} 0", "perfect")]
    drawing = Plot(label, shapes, axis.ticks(4), axis.ticks(4), names=("measured", "forecast"))
    axes = "Stronger cells hold more pairs; the dashed line is a perfect forecast."
    beyond = f" {outside:,} of {len(truth):,} pairs lie outside." if outside else ""
    return Chart(title=title, unit=unit, note=f"{note} {axes}{beyond}".strip(), plot=drawing)


def _ground(shaded: tuple[int, int] | None, first: int, last: int) -> Column | None:
    if shaded is None:
        return None
    left, right = (round(WIDTH * min(max((hour - first) / (last - first), 0.0), 1.0)) for hour in shaded)
    return Column(left, max(right - left, 0))


def _line(x: Doubles, y: Doubles, role: str) -> list[Shape]:
    """The line, and a spot on each value where they are few."""
    drawn = Shape(_path(*thin(x, y)), f"line {role}")
    known = np.isfinite(y)
    if known.sum() > 45:
        return [drawn]
    places = zip(x[known].tolist(), y[known].tolist(), strict=True)
    spots = "".join(f"M{round(a * WIDTH)} {round((1 - b) * HEIGHT)}h0" for a, b in places)
    return [drawn, Shape(spots, f"spot {role}")]


def _path(x: Doubles, y: Doubles) -> str:
    """Path through the points, broken where y is NaN; a point between two gaps becomes a dot."""
    across = np.round(x * WIDTH).astype(int).tolist()
    known = np.isfinite(y)
    down = np.round(np.where(known, 1 - y, 0.0) * HEIGHT).astype(int).tolist()
    parts, pen = [], False
    for place, (left, top, here) in enumerate(zip(across, down, known.tolist(), strict=True)):
        if here:
            alone = not pen and (place + 1 == len(known) or not known[place + 1])
            parts.append(f"{'L' if pen else 'M'}{left} {top}{'h0' if alone else ''}")
        pen = here
    return "".join(parts)


def _area(x: Doubles, lower: Doubles, upper: Doubles) -> Shape:
    known = np.isfinite(lower) & np.isfinite(upper)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(int)))
    shapes = []
    for low, high in zip(edges[::2], edges[1::2], strict=True):
        part = slice(low, high)
        buckets = max(2, int(500 * (high - low) / len(x)))
        there = _path(*thin(x[part], upper[part], buckets))
        back_x, back_y = thin(x[part], lower[part], buckets)
        back = _path(back_x[::-1], back_y[::-1])
        shapes.append(f"{there.replace('h0', '')}L{back[1:].replace('h0', '')}Z")
    return Shape("".join(shapes), "band")


def _columns(
    x: Doubles, hours: Longs, series: Sequence[Series], band: Band | None, unit: str, clock: bool
) -> list[Column]:
    """Invisible columns that light up under the pointer and tell the values, at most `HOVERS` of them."""
    chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), HOVERS)).astype(int))
    half = 0.5 / max(len(chosen) - 1, 1)
    columns = []
    for place in chosen.tolist():
        lines = [moment(float(hours[place]), clock=clock)]
        lines += [f"{one.name}: {number(one.values[place])} {unit}".rstrip() for one in series]
        if band is not None:
            lines.append(f"{band.name}: {number(band.lower[place])} to {number(band.upper[place])}")
        left, right = max(0.0, float(x[place]) - half), min(1.0, float(x[place]) + half)
        columns.append(Column(round(left * WIDTH), round((right - left) * WIDTH), "\n".join(lines)))
    return columns


def _cells(counts: Doubles) -> list[Shape]:
    """Cells in steps of the logarithm of their count, one path a step."""
    size = WIDTH // len(counts)
    most = float(np.log1p(counts.max())) or 1.0
    level = np.ceil(LEVELS * np.log1p(counts) / most).astype(int)
    shapes = []
    for step in range(1, LEVELS + 1):
        inside = counts[level == step]
        if inside.size:
            places = np.argwhere(level == step).tolist()
            drawn = "".join(f"M{size * i} {WIDTH - size * (j + 1)}h{size}v{size}h-{size}z" for i, j in places)
            tip = f"{inside.min():.0f} to {inside.max():.0f} pairs in a cell"
            shapes.append(Shape(drawn, "cell", tip, f"{0.1 + 0.9 * step / LEVELS:.2f}"))
    return shapes


def _spoken(series: Sequence[Series], hours: Longs, unit: str, clock: bool) -> str:
    means = ", ".join(f"{one.name} {number(_mean(one.values))} {unit} on average".replace("  ", " ") for one in series)
    return f"{means}, from {moment(float(hours[0]), clock=clock)} to {moment(float(hours[-1]), clock=clock)} UTC"


def _mean(values: Doubles) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _correlation(left: Doubles, right: Doubles) -> str:
    if len(left) < 2 or not (left.std() > 0 and right.std() > 0):
        return "unknown"
    return f"{float(np.corrcoef(left, right)[0, 1]):.2f}"
