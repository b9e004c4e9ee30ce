"""The first line of a CSV file: its delimiter, its names and where they keep what."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace

from shared.adapters.tables.csv.lines import Dialect, split, told
from shared.core.intake.columns import FIRST_CHANNEL, Columns, Layout
from shared.errors import BadEvent

DELIMITERS = ",;\t|"
MOST_COLUMNS = 2000
_BOM = b"\xef\xbb\xbf"
_LOOKED_AT = 1000  # rows
_COMMA = re.compile(r"[+-]?(0,\d+|\d+,(\d{1,2}|\d{4,}))", re.ASCII)
_POINT = re.compile(r"[+-]?(0?\.\d+|\d+\.(\d{1,2}|\d{4,}))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Header:
    """First line of a CSV file: as it stands, its delimiter, its names and where they keep what; what quotes cells."""

    line: bytes
    delimiter: str
    names: tuple[str, ...]
    layout: Layout
    quote: str = '"'

    @property
    def dialect(self) -> Dialect:
        """How its rows are split."""
        return Dialect(self.delimiter, self.quote)

    @property
    def text(self) -> str:
        """The line as text."""
        return _text(self.line)


def read_header(line: bytes, columns: Columns) -> Header:
    """Recognise a header: the delimiter is the one that gives the most known columns, then the most columns.

    One that is not UTF-8 is read as Windows-1252, as older spreadsheets write it: a name read wrongly is not known.

    Raises:
        BadEvent: `duplicate_header`, `unit`, or `header` when it cannot be split.
    """
    text = _text(line.removeprefix(_BOM))
    best: tuple[tuple[int, int], Header] | None = None
    problem: BadEvent | None = None
    unsplit = BadEvent("header", "cannot be split into columns")
    for delimiter in DELIMITERS:
        try:
            names = tuple(split(text, delimiter))
            layout = columns.layout(names[:MOST_COLUMNS])
        except csv.Error as error:
            unsplit = BadEvent("header", f"cannot be split into columns: {told(error)}")
            continue
        except BadEvent as error:
            problem = error
            continue
        known = sum(pick >= 0 for pick in (*layout.picks, layout.row))
        if best is None or (known, len(names)) > best[0]:
            best = (known, len(names)), Header(line.removeprefix(_BOM), delimiter, names, layout)
    if best is None or (problem is not None and best[0][0] <= 1):
        raise problem or unsplit
    if len(best[1].names) > MOST_COLUMNS:
        raise BadEvent("header", f"{len(best[1].names)} columns are more than {MOST_COLUMNS}")
    return best[1]


def with_decimal_sign(header: Header, head: bytes) -> Header:
    """The header, its layout with a decimal comma where the first rows leave no other reading.

    Commas between cells leave none for numbers. Else a channel's cell has to hold one that cannot stand for thousands
    (18,5 but not 1,013), and none may hold a point that cannot.

    Args:
        header: As it was read.
        head: Rows behind it, as far as they were read ahead; the last one may be cut.
    """
    if header.delimiter == "," or b"," not in head:
        return header
    picks = [header.layout.picks[FIRST_CHANNEL + c] for c in header.layout.channels]
    rows = (_cells(line, header.delimiter) for line in head.splitlines()[:_LOOKED_AT])
    cells = [row[pick].strip() for row in rows for pick in picks if pick < len(row)]
    if any(_POINT.fullmatch(cell) for cell in cells) or not any(_COMMA.fullmatch(cell) for cell in cells):
        return header
    return replace(header, layout=replace(header.layout, decimal=","))


def _cells(line: bytes, delimiter: str) -> list[str]:
    try:
        return split(line.decode(errors="replace"), delimiter)
    except csv.Error:
        return []


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace")
