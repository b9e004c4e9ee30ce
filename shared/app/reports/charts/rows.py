"""Charts with a row for each name: bars, dots, and one bar that is divided."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shared.app.reports.charts.axis import Scale, count, plain, scale
from shared.app.reports.charts.parts import ROWS, Chart, Part, Role, Row, Series, capped, legend, number


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
) -> Chart:
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
    most = max([*filter(math.isfinite, values), mark or 0.0], default=0.0) or 1.0
    rows = [
        Row(
            label=label,
            value=count(value) if float(value).is_integer() else plain(value),
            meaning=meanings[index] if meanings else "",
            bar=round(1000 * value / most) if math.isfinite(value) and value > 0 else 0,
            role=roles[index] if roles else "model",
        )
        for index, (label, value) in enumerate(zip(labels[:ROWS], values, strict=False))
    ]
    place = None if mark is None else round(1000 * mark / most)
    return Chart(title=title, unit=unit, note=capped(note, len(labels)), rows=rows, mark=place)


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
) -> Chart:
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
    rows = []
    for index, label in enumerate(labels[:ROWS]):
        shown = [f"{number(one[index])}{sign}" for one in values]
        tip = ", ".join(f"{one.name} {value}" for one, value in zip(series, shown, strict=True))
        dots = _dots([float(axis.at(one)[index]) for one in values], [one.role for one in series])
        rows.append(Row(label=label, value=shown[-1], tip=tip, dots=dots))
    place = None if mark is None else round(1000 * (mark * factor - axis.low) / (axis.high - axis.low))
    return Chart(
        title=title, unit=unit, note=capped(note, len(labels)), keys=legend(series, shape="point"), rows=rows,
        ticks=[tick.labelled(sign) for tick in axis.ticks()], mark=place,
    )  # fmt: skip


def split_bar(title: str, parts: Sequence[tuple[str, float]], *, note: str = "") -> Chart:
    """One bar, divided: where everything went; parts of zero are left out."""
    total = sum(size for _, size in parts) or 1.0
    left, drawn = 0.0, []
    for index, (name, size) in enumerate(parts):
        share = size / total
        if size > 0:
            width = max(1000 * share, 2.0)
            drawn.append(Part(name, index, 1000 * left, width, count(size), _percent(share)))
        left += share
    return Chart(title=title, note=note, parts=drawn)


def _dots(places: Sequence[float], roles: Sequence[Role]) -> list[tuple[float, Role]]:
    """Dots that are known, in thousandths; those outside lie on the edge."""
    return [
        (1000 * min(max(place, 0.0), 1.0), role)
        for place, role in zip(places, roles, strict=True)
        if math.isfinite(place)
    ]


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
