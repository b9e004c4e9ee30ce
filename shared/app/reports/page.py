"""HTML pages: a template of reports/templates filled with plain values, everything escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from shared.app.reports.charts.axis import count, duration, moment, percent, plain

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(str(files("shared.app.reports"))) / "templates"
# control characters, lone surrogates and marks that turn the direction of the text around them
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
_UNITS = {"ug/m3": "µg/m³", "mg/m3": "mg/m³", "degC": "°C", "deg": "°"}


def render(template: str, folder: Path = TEMPLATES, /, **context: object) -> str:
    """A whole page; what could break it or turn its reading direction becomes a replacement mark.

    Args:
        template: Name of the template.
        folder: Where it lies; it may use the shared templates besides those there.
        context: Values that it shows; those that are not markup of a template are escaped.
    """
    return _UNSAFE.sub("\ufffd", environment(folder).get_template(template).render(context))


@cache
def environment(folder: Path = TEMPLATES) -> Environment:
    """Templates of a folder and the shared ones, compiled once; Jinja2 is imported by the first page, not at start."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "against": against,
        "duration": duration,
        "moment": moment,
        "opening": lambda text: f"{text[:1].upper()}{text[1:]}",
        "percent": percent,
        "plain": plain,
        "short": shorten,
        "significant": significant,
        "time": lambda text: text.replace("T", " ").removesuffix("Z")[:16] or text,
        "unit": pretty_unit,
        "whole": count,
    }
    made.tests["known"] = math.isfinite
    return made


def shorten(value: object, longest: int = 80) -> str:
    """At most `longest` characters of a text, the middle left out."""
    text = str(value)
    keep = longest - 1
    return text if len(text) <= longest else f"{text[: keep - keep // 3]}…{text[-(keep // 3) :]}"


def significant(value: float | None) -> str:
    """A number of any size with four digits that count.

    >>> significant(1e-05), significant(0.54421), significant(2880.0)
    ('1e-05', '0.5442', '2,880')
    """
    return plain(value) if value is None or abs(value) >= 1000 else f"{value:.4g}"


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


def against(value: float | None, baseline: float | None) -> str:
    """How much smaller an error is than the baseline's, in words; empty where either is unknown.

    >>> against(15.0, 20.0), against(22.0, 20.0)
    ('25.0 % below', '10.0 % above')
    """
    if value is None or baseline is None or not (math.isfinite(value) and baseline > 0):
        return ""
    change = 100 * (value / baseline - 1)
    return f"{abs(change):.1f} % {'below' if change < 0 else 'above'}"
