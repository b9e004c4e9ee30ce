"""What charts are made of: plain values, drawn by templates/charts.html."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shared.app.reports.charts.axis import Scale, Tick, plain
from shared.core.intake.readings import Doubles

Role = Literal["truth", "model", "baseline", "other"]
WIDTH, HEIGHT = 4000, 2000
ROWS = 24


@dataclass(frozen=True, slots=True)
class Series:
    """Values with a name; the role chooses colour and shape.

    Args:
        name: What the legend says.
        values: Shape (n,), NaN where there is none.
        role: truth, model, baseline (what the model has to beat) or other.
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


@dataclass(frozen=True, slots=True)
class Shape:
    """An SVG path with its CSS classes, tooltip and opacity."""

    path: str
    kind: str
    tip: str = ""
    opacity: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A stretch of the x axis and its tooltip."""

    x: int
    width: int
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing on two axes.

    Args:
        label: What a screen reader says.
        shapes: Later ones lie on top.
        y: Ticks of the value axis.
        x: Ticks along the lower edge.
        columns: Invisible columns that show their values under the pointer.
        ground: Shaded part.
        names: Names of the x and the y axis; with them the drawing is square.
    """

    label: str
    shapes: Sequence[Shape]
    y: Sequence[Tick]
    x: Sequence[Tick]
    columns: Sequence[Column] = ()
    ground: Column | None = None
    names: tuple[str, str] | None = None

    @property
    def height(self) -> int:
        """Height of the drawing, its width being `WIDTH`."""
        return WIDTH if self.names else HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A name with its drawing, a bar or dots (place in thousandths and role), and its value."""

    label: str
    value: str
    meaning: str = ""
    tip: str = ""
    bar: int = 0
    role: Role = "model"
    dots: Sequence[tuple[float, Role]] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a divided bar: its place in thousandths, its size and what share of the whole it is."""

    name: str
    colour: int
    left: float
    width: float
    size: str
    share: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its frame; one without plot, rows and parts has nothing to show.

    Args:
        title: What is shown.
        unit: Unit of the values.
        note: A sentence below the title.
        keys: The legend: CSS classes of the swatch, and name.
        plot: A drawing on two axes.
        rows: Or a row for each name.
        ticks: Ticks of the rows' axis, for dots; bars have none.
        mark: Place of a line through all rows, in thousandths.
        parts: Or one bar that is divided.
    """

    title: str
    unit: str = ""
    note: str = ""
    keys: Sequence[tuple[str, str]] = ()
    plot: Plot | None = None
    rows: Sequence[Row] = ()
    ticks: Sequence[Tick] = ()
    mark: int | None = None
    parts: Sequence[Part] = ()


def grid(axis: Scale, height: int = HEIGHT) -> Shape:
    """Lines at the ticks of the value axis."""
    ticks = axis.ticks(4 if height == WIDTH else 5)
    return Shape("".join(f"M0 {round(height * (1 - tick.at))}H{WIDTH}" for tick in ticks), "grid")


def legend(series: Sequence[Series], band: Band | None = None, shape: str = "stroke") -> list[tuple[str, str]]:
    """Entries of a legend; none for a single series."""
    keys = [(f"{shape} {one.role}", one.name) for one in series] + ([("band", band.name)] if band else [])
    return keys if len(keys) > 1 else []


def number(value: float) -> str:
    """A value for people."""
    return plain(float(value))


def capped(note: str, rows: int) -> str:
    """The note, with a word about rows that are not drawn."""
    return f"{note} The first {ROWS} of {rows:,} are shown.".strip() if rows > ROWS else note
