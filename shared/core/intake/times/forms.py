"""How times are written: the order of day, month and year, and what a number says.

What can be read in one way only is read without being told: ISO 8601, a day in front with points (04.05.2026), a
12-hour clock by its AM or PM, 24:00 as 00:00 of the next day. 04/05/2026 and spreadsheets' numbers have to be told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from shared.core.intake.readings import Doubles
from shared.core.intake.times.timestamps import ABSENT, BAD, OK, UNZONED, Stamps, from_number

DateOrder: TypeAlias = Literal["ymd", "dmy", "mdy"]
Numbers: TypeAlias = Literal["epoch", "excel"]

_DATES = {
    "iso": r"(?P<year>\d{4})(?P<between>[-/]?)(?P<month>\d\d)(?P=between)(?P<day>\d\d)",
    "ymd": r"(?P<year>\d{4})(?P<between>[-/.])(?P<month>\d\d?)(?P=between)(?P<day>\d\d?)",
    "points": r"(?P<day>\d\d?)(?P<between>\.)(?P<month>\d\d?)\.(?P<year>\d{4})",
    "dmy": r"(?P<day>\d\d?)(?P<between>[-/.])(?P<month>\d\d?)(?P=between)(?P<year>\d{4}|\d\d)",
    "mdy": r"(?P<month>\d\d?)(?P<between>[-/.])(?P<day>\d\d?)(?P=between)(?P<year>\d{4}|\d\d)",
}
_CLOCK = r"""
    (?:[Tt]|,?[ ]+)
    (?P<hour>\d\d|\d(?!\d)) (?: [:.]?(?P<minute>\d\d) (?: [:.]?(?P<second>\d\d) (?:[.,]\d{1,9})? )? )?
    (?: \s*(?P<half>[AaPp])\.?[Mm]\.? )?
    \s*(?P<zone> [Zz]|UTC|GMT|(?P<sign>[+-])(?P<zone_hour>\d\d):?(?P<zone_minute>\d\d)? )?
"""
_PATTERNS = {name: re.compile(rf"\s*{date}{_CLOCK}\s*", re.ASCII | re.VERBOSE) for name, date in _DATES.items()}
_UNTOLD = ("iso", "ymd", "points")
_SERIAL_ZERO = -25_569  # days from 1970 to 1899-12-30, the day zero of spreadsheets
_DAY_S = 86_400
_LONGEST = 48
_DATE = re.compile(r"\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4}", re.ASCII)
_HOUR = re.compile(r"\d\d?[:.]\d\d([:.]\d\d)?(\s*[AaPp][Mm])?", re.ASCII)
_SERIAL = re.compile(r"[3-6]\d{4}(\.\d+)?", re.ASCII)  # of the years 1982 to 2091


@dataclass(frozen=True, slots=True)
class TimeForm:
    """How the times of a source are written.

    Args:
        order: Of day, month and year where the year does not come first and no points stand between them.
        numbers: What a plain number is: an epoch or a compact date, or the serial days of a spreadsheet.
    """

    order: DateOrder = "ymd"
    numbers: Numbers = "epoch"

    def match(self, text: str) -> re.Match[str] | None:
        """The parts of a text that is a time, None when it is none."""
        names = (*_UNTOLD, self.order)
        return next((match for name in names if (match := _PATTERNS[name].fullmatch(text))), None)

    def from_numbers(self, values: Doubles) -> Stamps:
        """Times that were written as plain numbers, n of them."""
        return from_number(values) if self.numbers == "epoch" else _from_serials(values)


ISO = TimeForm()


def advice(cell: object) -> str:
    """What has to be told of a file for a cell of it to be a time, empty where nothing would help.

    >>> advice("21/1/2026 7:00 PM")
    '; in a file, date_order = "dmy" or "mdy" in its [[layouts]] says what stands first'
    """
    text = str(cell).strip()[:_LONGEST]
    if any(_PATTERNS[order].fullmatch(text) for order in ("dmy", "mdy")):
        return '; in a file, date_order = "dmy" or "mdy" in its [[layouts]] says what stands first'
    if _DATE.fullmatch(text) or _HOUR.fullmatch(text):
        return '; in a file, time = ["Date", "Time"] in its [[layouts]] names the columns that make a time together'
    if _SERIAL.fullmatch(text):
        return '; if it is a day of a spreadsheet, say time_numbers = "excel" in the [[layouts]] of the file'
    return ""


def _from_serials(values: Doubles) -> Stamps:
    """Local times from days since 1899-12-30, to the nearest second, as far as a spreadsheet can show them."""
    fine = (values >= 1) & (values < 2_958_466)  # up to the year 9999
    seconds = np.round(np.where(fine, values, 0.0) * _DAY_S).astype(np.int64)
    fault = np.where(np.isnan(values), ABSENT, np.where(fine, OK, BAD)).astype(np.uint8)
    local = np.where(fine, seconds // 60 + _SERIAL_ZERO * 1440, 0)
    return Stamps(local, np.full(len(values), UNZONED, np.int64), fault, seconds % 60)
