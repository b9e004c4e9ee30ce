"""Charts with a row for each name: bars, dots, and one bar that is divided."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shared.app.reports.charts.axis import Scale, Tick, count, plain, scale
from shared.app.reports.charts.parts import ROWS, Role, Series, capped, figure, legend, number, row, x_labels
from shared.app.reports.markup import Html, join, shorten, tag


def bar_chart(
    title: str,
    labels: Sequence[str],
    values: Sequence[float],
    *,
    unit: str = "",
    note: str = "",
    roles: Sequence[Role] = (),
    meanings: Sequence[str] = (),
    mark: float | None = None,
) -> Html:
    """Horizontal bars with their values, in the order given; the longest fills the width.

    Args:
        title: What is shown.
        labels: Names of the bars; the first `ROWS` are drawn.
        values: Their lengths, 0 or more; one that is not finite has no bar.
        unit: Unit of the values.
        note: A sentence below the title.
        roles: Role of each bar; all are the model's without them.
        meanings: A smaller text below each name.
        mark: A value to be marked by a line through all bars.
    """
    known = [value for value in values if math.isfinite(value)]
    most = max([*known, mark or 0.0], default=0.0) or 1.0
    line = "" if mark is None else tag("path", d=f"M{1000 * mark / most:.0f} -6V16", class_="mark")
    rows = []
    for index, (label, value) in enumerate(zip(labels[:ROWS], values, strict=False)):
        role = roles[index] if roles else "model"
        width = round(1000 * value / most) if math.isfinite(value) and value > 0 else 0
        bar = tag("rect", width=width, height=10, class_=f"bar {role}")
        drawn = tag("svg", bar, line, viewBox="0 0 1000 10", preserveAspectRatio="none", aria_hidden="true")
        rows.append(
            row(label, drawn, count(value) if float(value).is_integer() else plain(value), *meanings[index : index + 1])
        )
    kind = "rows told" if meanings else "rows"
    return figure(title, unit, capped(note, len(labels)), (), tag("div", *rows, class_=kind, role="list"))


def dot_chart(
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    unit: str = "",
    note: str = "",
    mark: float | None = None,
    limits: tuple[float, float] | None = None,
    percent: bool = False,
) -> Html:
    """A row for each label with a dot for each series on one common axis.

    Args:
        title: What is shown.
        labels: Names of the rows.
        series: Values by row; the last series' value is written at the row's end.
        unit: Unit of the values.
        note: A sentence below the title.
        mark: A value to be marked by a line through all rows.
        limits: Ends of the axis; without them it is chosen from the values, 0 included.
        percent: Values are shares, to be shown in percent.
    """
    factor, sign = (100.0, " %") if percent else (1.0, "")
    values = [one.values.astype(np.float64) * factor for one in series]
    axis = Scale(limits[0] * factor, limits[1] * factor) if limits else scale(*values)
    ticks = axis.ticks()
    rows = []
    for index, label in enumerate(labels[:ROWS]):
        at = [float(axis.at(one[index : index + 1])[0]) for one in values]
        told = ", ".join(f"{one.name} {number(v[index])}{sign}" for one, v in zip(series, values, strict=True))
        dots = _dots(
            at,
            [one.role for one in series],
            ticks,
            None if mark is None else (mark * factor - axis.low) / (axis.high - axis.low),
        )
        drawn = tag(
            "svg",
            tag("title", f"{shorten(label)}: {told}"),
            dots,
            viewBox="0 0 1000 20",
            preserveAspectRatio="none",
            role="img",
        )
        rows.append(row(label, drawn, f"{number(values[-1][index])}{sign}"))
    labelled = [Tick(tick.at, f"{tick.label}{sign}", tick.minor) for tick in ticks]
    foot = tag(
        "div",
        tag("span"),
        tag("div", x_labels(labelled), class_="track axis"),
        tag("span"),
        class_="row",
        aria_hidden="true",
    )
    body = tag("div", *rows, foot, class_="rows", role="list")
    return figure(title, unit, capped(note, len(labels)), legend(series, None, "point"), body)


def split_bar(title: str, parts: Sequence[tuple[str, float]], *, note: str = "") -> Html:
    """One bar, divided: where everything went; parts of zero are left out."""
    total = sum(size for _, size in parts) or 1.0
    left, drawn, keys = 0.0, [], []
    for index, (name, size) in enumerate(parts):
        if size <= 0:
            continue
        share = size / total
        told = f"{name}: {count(size)} ({_percent(share)})"
        width = max(1000 * share, 2.0)
        drawn.append(
            tag(
                "rect",
                tag("title", told),
                x=f"{1000 * left:.1f}",
                width=f"{width:.1f}",
                height=10,
                class_=f"part p{index}",
            )
        )
        key = tag(
            "svg",
            tag("rect", width=10, height=10, class_=f"part p{index}"),
            viewBox="0 0 10 10",
            class_="key",
            aria_hidden="true",
        )
        keys.append(tag("li", key, name, tag("b", count(size)), tag("span", _percent(share), class_="muted")))
        left += share
    bar = tag(
        "svg", *drawn, viewBox="0 0 1000 10", preserveAspectRatio="none", class_="split", role="img", aria_label=title
    )
    return figure(title, "", note, (), join((bar, tag("ul", *keys, class_="parts"))))


def _dots(at: Sequence[float], roles: Sequence[Role], ticks: Sequence[Tick], mark: float | None) -> Html:
    parts = [tag("path", d="".join(f"M{1000 * tick.at:.0f} 0V20" for tick in ticks), class_="grid")]
    if mark is not None:
        parts.append(tag("path", d=f"M{1000 * mark:.0f} 0V20", class_="mark"))
    shown = [(place, role) for place, role in zip(at, roles, strict=True) if np.isfinite(place)]
    if len(shown) > 1:
        places = [place for place, _ in shown]
        parts.append(tag("path", d=f"M{1000 * min(places):.1f} 10H{1000 * max(places):.1f}", class_="reach"))
    for place, role in shown:
        spot = f"M{1000 * min(max(place, 0.0), 1.0):.1f} 10h0"
        parts.append(tag("path", d=spot, class_=f"dot {role}"))
        if role == "floor":
            parts.append(tag("path", d=spot, class_="dot hole"))
    return join(parts)


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
