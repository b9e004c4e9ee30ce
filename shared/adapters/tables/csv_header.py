"""The first line of a CSV file: its delimiter, its names and where they keep what."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from shared.adapters.tables.lines import split
from shared.core.intake.columns import Columns, Layout
from shared.errors import BadEvent

DELIMITERS = ",;\t"
MOST_COLUMNS = 2000
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Header:
    """First line of a CSV file: as it stands, its delimiter, its names and where they keep what."""

    line: bytes
    delimiter: str
    names: tuple[str, ...]
    layout: Layout

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
            unsplit = BadEvent("header", f"cannot be split into columns: {error}")
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


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace")
