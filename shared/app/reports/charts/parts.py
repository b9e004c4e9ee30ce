"""What charts are made of: series, frames, legends, grids, rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.app.reports.charts.axis import Scale, Tick, plain
from shared.app.reports.markup import Html, foreign, join, shorten, tag
from shared.core.intake.readings import Doubles

Role = Literal["truth", "model", "floor", "other"]
WIDTH, HEIGHT = 4000, 2000
ROWS = 24


@dataclass(frozen=True, slots=True)
class Series:
    """Values with a name; the role chooses colour and shape.

    Args:
        name: What the legend says.
        values: Shape (n,), NaN where there is none.
        role: truth, model, floor (what the model has to beat) or other.
    """

    name: str
    values: Doubles
    role: Role = "model"


@dataclass(frozen=True, slots=True)
class Band:
    """An interval around a line: lower and upper ends, shape (n,) each."""

    name: str
    lower: Doubles
    upper: Doubles


def figure(title: str, unit: str, note: str, keys: Iterable[Html], body: Html) -> Html:
    """A chart's frame: title, unit, a sentence, the legend's entries, the drawing."""
    heading = tag("div", tag("strong", title), tag("span", unit, class_="muted") if unit else "", class_="name")
    listed = tag("ul", *keys, class_="legend") if keys else ""
    return tag("figure", tag("figcaption", heading, tag("p", note) if note else "", listed), body, class_="chart")


def plot(drawn: Html, y: Sequence[Tick], x: Sequence[Tick], told: str, *, across: str = "", up: str = "") -> Html:
    """A drawing with its axes' labels; `told` is what a screen reader says, square when the axes have names."""
    height = WIDTH if up else HEIGHT
    svg = tag("svg", drawn, viewBox=f"0 0 {WIDTH} {height}", preserveAspectRatio="none", role="img", aria_label=told)
    left = [tag("span", tick.label, class_="y", style=f"bottom:{100 * tick.at:.2f}%", aria_hidden="true") for tick in y]
    names = [tag("span", up, class_="up"), tag("span", across, class_="across")] if up else []
    return tag("div", svg, *left, x_labels(x), *names, class_="plot square" if up else "plot")


def x_labels(ticks: Sequence[Tick]) -> Html:
    """Labels along the lower edge."""
    labels = []
    for tick in ticks:
        kind = f"x{' last' if tick.at > 0.96 else ''}{' minor' if tick.minor else ''}"
        labels.append(tag("span", tick.label, class_=kind, style=f"left:{100 * tick.at:.2f}%", aria_hidden="true"))
    return join(labels)


def grid(axis: Scale, height: int = HEIGHT) -> Html:
    """Lines at the ticks of the value axis."""
    lines = "".join(f"M0 {round(height * (1 - tick.at))}H{WIDTH}" for tick in axis.ticks(4 if height == WIDTH else 5))
    return tag("path", d=lines, class_="grid")


def row(label: str, drawn: Html, value: str, meaning: str = "") -> Html:
    """A name, its drawing, its value."""
    told = tag("small", meaning) if meaning else ""
    name = tag("span", foreign(shorten(label)), told, class_="label", title=label)
    track, shown = tag("div", drawn, class_="track"), tag("span", value, class_="value")
    return tag("div", name, track, shown, class_="row", role="listitem")


def legend(series: Sequence[Series], band: Band | None, shape: str = "stroke") -> list[Html]:
    """Entries of a legend; none for a single series."""
    if len(series) + (band is not None) < 2:
        return []
    keys = [tag("li", tag("i", class_=f"swatch {shape} {one.role}"), one.name) for one in series]
    if band is not None:
        keys.append(tag("li", tag("i", class_="swatch band"), band.name))
    return keys


def number(value: float) -> str:
    """A value for people."""
    return plain(float(value))


def capped(note: str, rows: int) -> str:
    """The note, with a word about rows that are not drawn."""
    return f"{note} The first {ROWS} of {rows:,} are shown.".strip() if rows > ROWS else note
