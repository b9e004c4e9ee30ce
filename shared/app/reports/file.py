"""The report of a dropped file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import numpy as np

from shared.app.reports.charts.axis import UNKNOWN, percent
from shared.app.reports.charts.lines import line_chart
from shared.app.reports.charts.parts import Chart, Series
from shared.app.reports.charts.rows import bar_chart, split_bar
from shared.app.reports.page import number, pretty_unit, render
from shared.core.intake.readings import Doubles, Longs
from shared.core.intake.reasons import REASONS
from shared.core.task.calendar import noon

LONGEST_TABLE = 400
_DAYS_AXIS = 4000
_YEARS = range(1971, 9990)
_TEXTS = ("status", "reason", "detail", "file", "model_version", "etag", "first", "last")
_LISTS = ("devices", "new_devices", "ignored", "warnings")
_NUMBERS = (
    "rows_in", "rows_accepted", "rows_rejected", "rows_with_target", "forecasts", "first_forecasts", "matured",
    "devices", "seconds", "rmse", "rmse_persistence", "mae", "mae_persistence",
)  # fmt: skip
_DAILY = ("rows", "forecasts", "mean_forecast", "mean_truth", "mae", "mae_persistence")
_FATES = (
    ("used in forecasts", "applied"),
    ("stored, too late to forecast from", "stored_late"),
    ("already known", "duplicates"),
    ("contradict a known value", "conflicts"),
    ("of a device too many", "refused"),
    ("delivered twice", "redelivered"),
    ("rejected", "rows_rejected"),
)


def file_report(summary: Mapping[str, object], *, title: str = "", unit: str = "", resolution_s: int = 60) -> str:
    """Report of one dropped file, from its summary; any key may be missing or None.

    Args:
        summary: The file's summary as in its JSON.
        title: What is forecast, from the scenario.
        unit: Unit of the forecast, from the scenario.
        resolution_s: Seconds within which two readings of a device are one, from the scenario.
    """
    unit = pretty_unit(unit)
    found = {key: number(summary, key) for key in _NUMBERS}
    days = [day for day in _list(summary.get("daily")) if isinstance(day, Mapping)]
    rows = [{"day": str(day.get("day") or UNKNOWN), **{key: number(day, key) for key in _DAILY}} for day in days]
    return render(
        "file.html",
        title=title,
        unit=unit,
        reasons=REASONS,
        text={key: str(summary.get(key) or "") for key in _TEXTS},
        found=found,
        listed={key: _list(summary.get(key)) for key in _LISTS},
        examples=[(str(code), str(example)) for code, example in _mapping(summary.get("examples")).items()],
        converted=[f"{channel} from {unit}" for channel, unit in _mapping(summary.get("converted")).items()],
        assumed=[f"{column} as {what}" for column, what in _mapping(summary.get("assumed")).items()],
        share=_share(found["rows_accepted"], found["rows_in"]),
        fates=list(_fates(summary, resolution_s)),
        daily=list(_daily_charts(days, unit)),
        days=rows[:LONGEST_TABLE],
        left=len(rows) - LONGEST_TABLE,
    )


def _fates(summary: Mapping[str, object], resolution_s: int) -> Iterator[Chart]:
    """What became of the rows, and why some were rejected."""
    fates = [(name, float(np.nan_to_num(number(summary, key)))) for name, key in _FATES if key in summary]
    if sum(size for _, size in fates) > 0:
        same = f"Of a device's readings within the same resolution_s = {resolution_s} seconds the first counts."
        note = same if number(summary, "conflicts") > 0 else ""
        yield split_bar("What became of each row", fates, note=note)
    rejected = _mapping(summary.get("rejected"))
    if rejected:
        ordered = sorted(((str(code), number(rejected, code)) for code in rejected), key=lambda item: -item[1])
        codes = [code for code, _ in ordered]
        yield bar_chart(
            "Why rows were rejected", codes, [size for _, size in ordered], unit="rows",
            note=_letters(summary),
            meanings=[REASONS.get(code, "") for code in codes],
        )  # fmt: skip
    dropped = {f"{name}: {code}": (number(_mapping(counts), code), REASONS.get(code, ""))
               for name, counts in _mapping(summary.get("dropped")).items() for code in _mapping(counts)}  # fmt: skip
    if dropped:
        sizes, meanings = zip(*dropped.values(), strict=True)
        note = "These values are missing; the rest of their rows was used."
        yield bar_chart(
            "Values that were dropped", list(dropped), list(sizes), unit="values", note=note, meanings=list(meanings)
        )


def _letters(summary: Mapping[str, object]) -> str:
    left_out = number(summary, "letters_left_out")
    if left_out > 0:
        return f"{left_out:,.0f} of them are more than a file may leave as dead letters: the file itself holds them."
    return "Rejected rows are kept as dead letters with their reason and can be sent again after a fix."


def _daily_charts(days: Sequence[Mapping[str, object]], unit: str) -> Iterator[Chart]:
    hours, (forecast, truth, mae, persistence) = _daily(days)
    if len(hours):
        lines = [Series("measured", truth, "truth"), Series("forecast", forecast)]
        note = "Mean over all devices of each day."
        above = not any((values < 0).any() for values in (truth, forecast))  # a frost must not become a flat line
        yield line_chart("Forecast and truth", hours, lines, unit=unit, note=note, clock=False, zero=above)
    if np.isfinite(mae).any():
        lines = [Series("persistence: as now", persistence, "baseline"), Series("forecast", mae)]
        yield line_chart("Mean absolute error", hours, lines, unit=unit, note="Lower is better.", clock=False)


def _daily(days: Sequence[Mapping[str, object]]) -> tuple[Longs, list[Doubles]]:
    """Noon of each day (hours since 1970) and the columns; days that are missing in between become gaps."""
    known = {ordinal: day for day in days if (ordinal := _ordinal(day.get("day"))) is not None}
    first, last = min(known, default=0), max(known, default=-1)
    order = range(first, last + 1) if last - first < _DAYS_AXIS else sorted(known)
    columns = [np.array([number(known.get(day, {}), key) for day in order]) for key in _DAILY[2:]]
    return noon(np.array(order, np.int64)), columns


def _ordinal(day: object) -> int | None:
    try:
        known = date.fromisoformat(str(day))
    except ValueError:
        return None
    return known.toordinal() - date(1970, 1, 1).toordinal() if known.year in _YEARS else None


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _share(part: float, whole: float) -> str:
    if not whole > 0:
        return UNKNOWN
    return "all" if part == whole else percent(min(part / whole, 0.9999), 0.01 if part > 0.99 * whole else 0.1)
