"""HTML pages: the shell that all reports share, and its parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.app.reports.markup import Html, foreign, join, shorten, tag
from shared.app.reports.style import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STATUS = {
    "done": ("Done", "good", "✓"),
    "promoted": ("Promoted", "good", "✓"),
    "refused": ("Refused", "bad", "✕"),
    "incomplete": ("Incomplete", "warn", "!"),
    "not enough data": ("Not enough data", "muted", "…"),
    "none": ("No drift", "good", "✓"),
    "device": ("Device at fault", "warn", "!"),
    "pipeline": ("Pipeline at fault", "bad", "✕"),
    "population": ("Drift", "warn", "!"),
}
LONGEST_TABLE = 400
_UNITS = {"ug/m3": "µg/m³", "mg/m3": "mg/m³", "degC": "°C", "deg": "°"}
_MARK = Html(
    '<svg viewBox="0 0 32 32" aria-hidden="true" stroke-linecap="round" stroke-linejoin="round" stroke-width="2.6">'
    '<path style="stroke:var(--model)" d="M25.5 8.5A12 12 0 1 0 28 16M26 2.5v6h-6"/>'
    '<path style="stroke:var(--floor)" d="M9 17.5c2.3-5 4.7-5 7-1.5s4.7 3.5 7-1.5"/></svg>'
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One number that matters: its name, the number, a small word beside it, a line below it."""

    name: str
    value: str
    unit: str = ""
    more: object = ""


def page(title: str, *sections: Html, lead: object = "", status: str = "", kind: str = "", foot: str = "") -> str:
    """A whole page; everything that is not `Html` is escaped.

    Args:
        title: Heading and title; may come from outside.
        sections: What follows, from `section`, `tiles` and the charts.
        lead: One or two sentences below the heading.
        status: A key of `STATUS`, shown beside the heading.
        kind: What kind of page this is, shown beside the product's name.
        foot: Last line.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
        tag("title", f"{shorten(title)} · AirLoop"),
        tag("style", STYLE),
    )
    heading = tag("h1", foreign(shorten(title, 160)), *([Html(" "), _status(status)] if status else []))
    brand = tag("div", _MARK, "AirLoop", tag("span", kind) if kind else "", class_="brand")
    top = tag("header", brand, heading, tag("p", lead, class_="lead") if lead else "", class_="top")
    footer = tag(
        "footer", tag("p", foot or "Made by AirLoop. This page needs nothing from the network. Times are UTC.")
    )
    return f'<!DOCTYPE html>\n<html lang="en">{head}{tag("body", top, tag("main", *sections), footer)}</html>\n'


def section(title: str, *parts: object, note: object = "") -> Html:
    """A headed part of a page."""
    return tag("section", tag("h2", title), tag("p", note) if note else "", *parts)


def tiles(items: Sequence[Tile]) -> Html:
    """A row of numbers that matter."""
    cells = []
    for item in items:
        number = tag("dd", item.value, tag("small", item.unit) if item.unit else "", class_="big")
        more = tag("dd", item.more, class_="more") if item.more else ""
        cells.append(tag("div", tag("dt", item.name), number, more, class_="tile"))
    return tag("dl", *cells, class_="tiles")


def table(
    head: Sequence[str], rows: Sequence[Sequence[object]], *, words: int = 1, caption: str = "", best: int = -1
) -> Html:
    """A table; the first `words` columns are words, the others numbers; row `best` stands out."""
    kinds = [None if i < words else "n" for i in range(len(head))]
    top = tag("tr", *(tag("th", name, scope="col", class_=kind) for name, kind in zip(head, kinds, strict=True)))
    body = []
    for index, row in enumerate(rows[:LONGEST_TABLE]):
        cells = [
            tag("th", cell, scope="row") if i == 0 else tag("td", cell, class_=kinds[i]) for i, cell in enumerate(row)
        ]
        body.append(tag("tr", *cells, class_="best" if index == best else None))
    left = len(rows) - LONGEST_TABLE
    told = f"{caption} {left:,} more rows are not shown.".strip() if left > 0 else caption
    shown = tag("table", tag("caption", told) if told else "", tag("thead", top), tag("tbody", *body))
    return tag("div", shown, class_="wide", tabindex="0", role="group", aria_label=told or "table")


def facts(pairs: Sequence[tuple[str, object]]) -> Html:
    """Names and values below each other; pairs without a value are left out."""
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in pairs if value not in ("", None)
    ]
    return tag("div", tag("table", tag("tbody", *rows), class_="facts"), class_="wide")


def callout(title: str, *paragraphs: object, kind: str = "warn") -> Html:
    """A message that must not be missed; kind is good, warn, bad or muted."""
    return tag("div", tag("strong", title), *(tag("p", p) for p in paragraphs if p), class_=f"callout {kind}")


def names(found: Sequence[object], most: int = 30) -> Html:
    """Names that came from outside, one after the other."""
    shown = [foreign(shorten(str(name))) for name in found[:most]]
    joined = [part for name in shown for part in (Html(", "), name)][1:]
    return join([*joined, f" and {len(found) - most:,} more" if len(found) > most else ""])


def pretty_unit(unit: str) -> str:
    """A unit as people write it.

    >>> pretty_unit("ug/m3")
    'µg/m³'
    """
    return _UNITS.get(unit, unit)


def number(source: Mapping[str, object], key: str) -> float:
    """A number of a summary, NaN where it is missing or not a number."""
    value = source.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def against(value: float, floor: float) -> str:
    """How much smaller an error is than the floor's, in words; empty where either is unknown.

    >>> against(15.0, 20.0), against(22.0, 20.0)
    ('25.0 % below', '10.0 % above')
    """
    if not (math.isfinite(value) and floor > 0):
        return ""
    change = 100 * (value / floor - 1)
    return f"{abs(change):.1f} % {'below' if change < 0 else 'above'}"


def _status(status: str) -> Html:
    word, kind, sign = STATUS.get(status, (status, "warn", "!"))
    return tag("span", tag("span", sign, aria_hidden="true"), word, class_=f"status {kind}")
