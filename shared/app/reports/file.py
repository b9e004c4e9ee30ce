"""The report of a dropped file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from shared.app.reports.charts.axis import UNKNOWN, count, duration, plain
from shared.app.reports.charts.lines import line_chart
from shared.app.reports.charts.parts import Series
from shared.app.reports.charts.rows import bar_chart, split_bar
from shared.app.reports.markup import Html, foreign, join, shorten, tag
from shared.app.reports.page import (
    Tile,
    against,
    callout,
    facts,
    names,
    number,
    page,
    pretty_unit,
    section,
    table,
    tiles,
)
from shared.core.intake.readings import REASONS, Doubles, Longs

_DAYS_AXIS = 4000
_YEARS = range(1971, 9990)


def file_report(summary: Mapping[str, object], *, title: str = "", unit: str = "") -> str:
    """Report of one dropped file, from its summary; any key may be missing or None.

    Args:
        summary: The file's summary as it stands in its JSON.
        title: What is forecast, from the scenario.
        unit: Unit of the forecast, from the scenario.
    """
    status, unit = str(summary.get("status") or ""), pretty_unit(unit)
    parts = [_trouble(summary, status), _file_tiles(summary, unit)]
    if not math.isnan(number(summary, "rows_in")):
        parts.append(_rows_section(summary))
    days = [day for day in _list(summary.get("daily")) if isinstance(day, Mapping)]
    if days:
        parts.append(_daily_section(days, unit))
    parts.append(section("The file", _file_facts(summary)))
    name = str(summary.get("file") or "File without a name")
    return page(
        name,
        *parts,
        lead=_file_lead(summary, status),
        status=status,
        kind=f"File report{f' · {title}' if title else ''}",
    )


def _file_lead(summary: Mapping[str, object], status: str) -> str:
    if status == "refused":
        return "The file could not be used. Nothing of it was stored."
    rows, accepted, made = (number(summary, key) for key in ("rows_in", "rows_accepted", "forecasts"))
    parts = [f"{count(rows)} rows were read" + (f", {_share(accepted, rows)} of them accepted" if rows > 0 else "")]
    if made > 0:
        parts.append(f"{count(made)} forecasts were made")
    matured = number(summary, "matured")
    if matured > 0:
        parts.append(f"{count(matured)} of the forecasts could be compared with what came later")
    return "; ".join(parts) + "."


def _trouble(summary: Mapping[str, object], status: str) -> Html:
    reason, detail = str(summary.get("reason") or ""), summary.get("detail")
    if status == "done" or not (reason or detail):
        return Html("")
    kind = "bad" if status == "refused" else "warn"
    meaning = REASONS.get(reason, "")
    return callout(f"{meaning[:1].upper()}{meaning[1:]}" if meaning else reason, foreign(detail or ""), kind=kind)


def _file_tiles(summary: Mapping[str, object], unit: str) -> Html:
    rows, rejected, seconds = (number(summary, key) for key in ("rows_in", "rows_rejected", "seconds"))
    shown = []
    if not math.isnan(rows):
        accepted = number(summary, "rows_accepted")
        shown.append(Tile("Rows read", count(rows), more=f"{count(accepted)} accepted, {count(rejected)} rejected"))
    if not math.isnan(number(summary, "forecasts")):
        matured = number(summary, "matured")
        checked = f"{count(matured)} compared with the truth" if matured > 0 else "none compared with the truth yet"
        shown.append(Tile("Forecasts", count(number(summary, "forecasts")), more=checked))
    for key, name in (("rmse", "Error (RMSE)"), ("mae", "Mean absolute error")):
        value, floor = number(summary, key), number(summary, f"{key}_persistence")
        if not math.isnan(value):
            beaten = against(value, floor)
            more = f"{beaten} persistence ({plain(floor)})" if beaten else ""
            shown.append(Tile(name, plain(value), unit, more))
    if seconds > 0:
        pace = f"{count(rows / seconds)} rows a second" if rows > 0 else ""
        shown.append(Tile("Time taken", duration(seconds), more=pace))
    return tiles(shown) if len(shown) > 1 else Html("")


def _rows_section(summary: Mapping[str, object]) -> Html:
    fates = [
        ("used in forecasts", number(summary, "applied")),
        ("stored, too late to forecast from", number(summary, "stored_late")),
        ("already known", number(summary, "duplicates")),
        ("contradict a known value", number(summary, "conflicts")),
        ("delivered twice", number(summary, "redelivered")),
        ("rejected", number(summary, "rows_rejected")),
    ]
    known = [(name, 0.0 if math.isnan(value) else value) for name, value in fates]
    parts = [split_bar("What became of each row", known)] if sum(value for _, value in known) > 0 else []
    rejected = summary.get("rejected")
    if isinstance(rejected, Mapping) and rejected:
        ordered = sorted(((str(k), number(rejected, k)) for k in rejected), key=lambda item: -item[1])
        codes, sizes = [code for code, _ in ordered], [size for _, size in ordered]
        meanings = [REASONS.get(code, "") for code in codes]
        note = "Rejected rows are kept with their reason and can be sent again after a fix."
        parts.append(bar_chart("Why rows were rejected", codes, sizes, unit="rows", note=note, meanings=meanings))
    return section("Where the rows went", *parts)


def _daily_section(days: Sequence[Mapping[str, object]], unit: str) -> Html:
    hours, columns = _daily(days, ("mean_forecast", "mean_truth", "mae", "mae_persistence"))
    shown = []
    if len(hours):
        forecast, truth, mae, floor = columns
        lines = [Series("measured", truth, "truth"), Series("forecast 24 h before", forecast)]
        note = "Mean over all devices of each day."
        shown.append(line_chart("Forecast and truth", hours, lines, unit=unit, note=note, clock=False))
        if np.isfinite(mae).any():
            lines = [Series("persistence: as now", floor, "floor"), Series("forecast", mae)]
            shown.append(
                line_chart("Mean absolute error", hours, lines, unit=unit, note="Lower is better.", clock=False)
            )
    head = ("Day", "Rows", "Forecasts", "Mean forecast", "Mean truth", "Error (MAE)", "Persistence")
    keys = ("rows", "forecasts", "mean_forecast", "mean_truth", "mae", "mae_persistence")
    rows = [[str(day.get("day") or UNKNOWN), *(_cell(day, key) for key in keys)] for day in days]
    numbers = tag("details", tag("summary", "The numbers day by day"), table(head, rows))
    return section("Day by day", *shown, numbers)


def _daily(days: Sequence[Mapping[str, object]], keys: Sequence[str]) -> tuple[Longs, list[Doubles]]:
    """Noon of each day (hours since 1970) and the columns; days that are missing in between become gaps."""
    known = {ordinal: day for day in days if (ordinal := _ordinal(day.get("day"))) is not None}
    if not known:
        return np.empty(0, dtype=np.int64), [np.empty(0) for _ in keys]
    first, last = min(known), max(known)
    order = range(first, last + 1) if last - first < _DAYS_AXIS else sorted(known)
    columns = [np.array([number(known.get(day, {}), key) for day in order]) for key in keys]
    return np.array([day * 24 + 12 for day in order], dtype=np.int64), columns


def _ordinal(day: object) -> int | None:
    try:
        known = date.fromisoformat(str(day))
    except ValueError:
        return None
    return known.toordinal() - date(1970, 1, 1).toordinal() if known.year in _YEARS else None


def _file_facts(summary: Mapping[str, object]) -> Html:
    converted = summary.get("converted")
    units = [f"{channel} from {unit}" for channel, unit in converted.items()] if isinstance(converted, Mapping) else []
    first, last = (_moment(str(summary.get(key) or "")) for key in ("first", "last"))
    devices = summary.get("devices")
    known = _list(devices)
    many = f"{len(known):,}: " if known else ""
    return facts(
        [
            ("First and last reading", f"{first} to {last}" if first and last else ""),
            ("Devices", join((many, names(known))) if known else _whole(number(summary, "devices"))),
            ("New devices", names(_list(summary.get("new_devices")))),
            ("Columns not used", names(_list(summary.get("ignored")))),
            ("Converted to the scenario's units", names(units)),
            ("Model", foreign(summary["model_version"]) if summary.get("model_version") else ""),
            ("ETag", tag("code", shorten(str(summary["etag"]))) if summary.get("etag") else ""),
        ]
    )


def _moment(text: str) -> str:
    """A time for people; what is none stays what it is."""
    return text.replace("T", " ").removesuffix("Z")[:16] or text


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _whole(value: float) -> str:
    return "" if math.isnan(value) else count(value)


def _cell(day: Mapping[str, object], key: str) -> str:
    value = number(day, key)
    return count(value) if key in ("rows", "forecasts") else plain(value)


def _share(part: float, whole: float) -> str:
    share = 100 * part / whole
    if math.isnan(share):
        return UNKNOWN
    return "all" if part == whole else f"{min(share, 99.99):.2f} %" if share > 99 else f"{share:.1f} %"
