"""How values were spread and how they are now: two histograms over the same bins in one drawing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from shared.app.reports.charts.axis import Scale, Tick, plain, scale
from shared.app.reports.charts.parts import HEIGHT, WIDTH, Chart, Column, Plot, Role, Series, Shape, grid, legend
from shared.core.intake.readings import Doubles, Longs

BARS = 32
TAIL = 0.001
APART = 0.1


def shares_chart(
    title: str, edges: Doubles, series: Sequence[tuple[str, Role, Doubles]], *, unit: str = "", note: str = ""
) -> Chart:
    """Histograms above each other: the first as an outline, the last filled.

    Bars of equally many bins lie side by side at equal width, so that an axis whose bins widen is stretched where
    they are narrow; the outermost thousandth of the rows at each end is left out.

    Args:
        title: What is shown.
        edges: Edges of the bins, rising, shape (B + 1,).
        series: Name, role and shares by bin, shape (B,); NaN where nothing is known; without the last nothing is
            drawn.
        unit: Unit of the edges.
        note: A sentence below the title.
    """
    known = [(name, role, values) for name, role, values in series if np.isfinite(values).all() and values.sum() > 0]
    if not known or known[-1][0] != series[-1][0]:
        return Chart(title=title, unit=unit, note=note)
    if len(known) < len(series):
        there = {name for name, _, _ in known}
        gone = ", ".join(name for name, _, _ in series if name not in there)
        note = f"{note} Nothing is known of {gone}.".strip()
    cuts = _cuts([values for _, _, values in known], len(edges) - 1)
    heights = [np.add.reduceat(values[: cuts[-1]], cuts[:-1]) for _, _, values in known]
    lines = [Series(name, 100 * share, role) for (name, role, _), share in zip(known, heights, strict=True)]
    axis = scale(*(line.values for line in lines))
    across = (cuts - cuts[0]) / (cuts[-1] - cuts[0])
    drawn = [grid(axis), _steps(across, axis.at(lines[-1].values), "band", "Z")]
    drawn += [_steps(across, axis.at(line.values), f"line {line.role}") for line in lines]
    label = f"{title}: {', '.join(line.name for line in lines)}, {plain(edges[cuts[0]])} to {plain(edges[cuts[-1]])}"
    up = [tick.labelled(" %") for tick in axis.ticks(4)]
    drawing = Plot(label, drawn, up, ticks_of(edges, cuts), _columns(across, edges[cuts], lines, unit))
    return Chart(title=title, unit=unit, note=note, keys=legend(lines), plot=drawing)


def ticks_of(edges: Doubles, cuts: Longs) -> list[Tick]:
    """Round numbers at their places between the first and the last cut."""
    low, high = float(edges[cuts[0]]), float(edges[cuts[-1]])
    width = np.diff(edges)
    even = Scale(low, high).ticks(6)
    if width.max() < 1.01 * width.min():
        return even
    powers = 10.0 ** np.arange(np.floor(np.log10(width.min())), np.ceil(np.log10(high)) + 1)
    rounds = [0.0, *np.outer(powers, [1.0, 2.0, 5.0]).ravel().tolist()]
    found: list[Tick] = []
    for value in rounds:
        at = float((np.interp(value, edges, np.arange(len(edges))) - cuts[0]) / (cuts[-1] - cuts[0]))
        if low <= value <= high and (not found or at - found[-1].at >= APART):
            found.append(Tick(at, f"{value:,.10g}", minor=bool(len(found) % 2)))
    return found if len(found) > 1 else [Tick(0.0, plain(low)), Tick(1.0, plain(high))]


def _cuts(shares: Sequence[Doubles], bins: int) -> Longs:
    """Bins at which bars begin, and the end of the last."""
    below = [np.cumsum(values) / values.sum() for values in shares]
    first = min(int(np.searchsorted(one, TAIL)) for one in below)
    last = min(max(int(np.searchsorted(one, 1 - TAIL)) for one in below) + 1, bins)
    each = max(1, -(-(last - first) // BARS))
    stop = min(first + each * -(-(last - first) // each), bins)
    cuts = np.arange(first, stop, each, dtype=np.int64)
    return np.append(cuts, stop)


def _steps(across: Doubles, up: Doubles, kind: str, end: str = "") -> Shape:
    places = np.round(across * WIDTH).astype(int).tolist()
    heights = np.round((1 - up) * HEIGHT).astype(int).tolist()
    drawn = "".join(f"V{y}H{x}" for x, y in zip(places[1:], heights, strict=True))
    return Shape(f"M{places[0]} {HEIGHT}{drawn}V{HEIGHT}{end}", kind)


def _columns(across: Doubles, edges: Doubles, lines: Sequence[Series], unit: str) -> list[Column]:
    columns = []
    for place, (left, right) in enumerate(pairwise(across.tolist())):
        tip = [f"{plain(edges[place])} to {plain(edges[place + 1])} {unit}".rstrip()]
        tip += [f"{line.name}: {plain(line.values[place])} %" for line in lines]
        columns.append(Column(round(left * WIDTH), round((right - left) * WIDTH), "\n".join(tip)))
    return columns
