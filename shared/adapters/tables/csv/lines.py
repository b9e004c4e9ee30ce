"""Lines of a CSV block made safe for a fast parser: each parses alone as one row, or is refused."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from shared.adapters.tables.source import LONGEST_LINE
from shared.core.intake.readings import Longs, Mask, shown

_KEPT_OF_LONG = 16 * 1024
_NEWLINE, _RETURN, _QUOTE, _SPACE = b'\n\r" '
_WRONG = "\ufffd"
SAY_ENCODING = 'say encoding = "windows-1252" in its [[layouts]], or save it as UTF-8'


class Lines:
    """Lines of one block.

    Args:
        data: Whole lines; the last may lack its line end.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(self.bytes == _NEWLINE)
        if not data.endswith(b"\n"):
            ends = np.append(ends, len(data))
        self.ends: Longs = ends
        self.starts: Longs = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> bytes:
        """One line without its line end."""
        return self.data[self.starts[i] : self.ends[i]].removesuffix(b"\r")

    def part(self, first: int, last: int) -> Lines:
        """Lines from `first` up to but not including `last`."""
        if (first, last) == (0, len(self)):
            return self
        return Lines(self.data[self.starts[first] : self.ends[last - 1] + 1])


@dataclass(slots=True)
class Rows:
    """A block as the parser gets it.

    Args:
        data: Lines that each parse as one row, perhaps with another number of cells than the header's.
        lines: Index of the line behind each row.
        refused: Line index -> reason code and detail.
        blank: How many lines hold nothing; they are no rows.
    """

    data: bytes
    lines: Longs
    refused: dict[int, tuple[str, str]] = field(default_factory=dict)
    blank: int = 0


class Dialect(NamedTuple):
    """How the cells of lines are told apart: what stands between them, and around a cell, "" = nothing does."""

    delimiter: str
    quote: str = '"'

    def split(self, line: str) -> list[str]:
        """Cells of one line.

        Raises:
            csv.Error: A quote does not end, or stands where none can.
        """
        quotes: dict[str, Any] = {"quotechar": self.quote} if self.quote else {"quoting": csv.QUOTE_NONE}
        return next(csv.reader([line], delimiter=self.delimiter, strict=True, **quotes), [])


def split(line: str, delimiter: str) -> list[str]:
    """Cells of one line in double quotes; see `Dialect.split`."""
    return Dialect(delimiter).split(line)


def told(error: csv.Error) -> str:
    """What is wrong, a tab as its sign: details are printable."""
    return str(error).replace("\t", "\\t")


def rows_of(lines: Lines, dialect: Dialect, header: bytes, device: int, *, cut: bool) -> Rows:
    """Drop blank lines, refuse lines no parser can read, and rewrite those that only a careful one reads.

    A line of delimiters, blanks and empty quotes alone is blank, as spreadsheets leave them behind the last row. In a
    line that is not UTF-8 each wrong byte becomes U+FFFD, which is no number and no time and costs nothing where nobody
    reads it; only in the device's id it would stand for something else.

    Args:
        lines: Of one block.
        dialect: Of the file; what is rewritten is in double quotes.
        header: The header's line, which is refused where it stands again.
        device: Index of the cell that must be UTF-8, -1 = none.
        cut: The last line is incomplete, because the file is damaged there.
    """
    lengths = lines.ends - lines.starts
    returns = np.flatnonzero(lines.bytes == _RETURN)
    blank = _blank(lines, lengths, dialect)
    refused: dict[int, tuple[str, str]] = {}
    for i in np.flatnonzero(lengths > LONGEST_LINE).tolist():
        refused[i] = ("too_large", f"the line is longer than {LONGEST_LINE} bytes")
    if cut:
        refused[len(lines) - 1] = ("truncated", "the file is damaged in this row")
    _check_header(lines, header, refused)
    rewritten: dict[int, bytes] = {}
    for i in _wrongly_encoded(lines):
        if i not in refused:
            _repair(lines, i, dialect, device, rewritten, refused)
    for i in np.union1d(_unclear_quotes(lines, dialect), _lone_returns(lines, returns)).tolist():
        if i not in refused and not blank[i]:
            _rewrite(lines, i, dialect, rewritten, refused)
    return _assemble(lines, blank, rewritten, refused)


def original(lines: Lines, i: int) -> bytes:
    """A line's own bytes for its dead letter, the beginning of one that is too long."""
    line = lines[i]
    return line if len(line) <= LONGEST_LINE else line[:_KEPT_OF_LONG]


def _assemble(lines: Lines, blank: Mask, rewritten: dict[int, bytes], refused: dict[int, tuple[str, str]]) -> Rows:
    keep = ~blank
    keep[list(refused)] = False
    kept = np.flatnonzero(keep)
    if len(kept) == len(lines) and not rewritten:
        return Rows(lines.data, kept)
    parts = [rewritten[i] if i in rewritten else lines[i] for i in kept.tolist()]
    return Rows(b"".join(part + b"\n" for part in parts), kept, refused, int(blank.sum()))


def _blank(lines: Lines, lengths: Longs, dialect: Dialect) -> Mask:
    """Lines that hold nothing."""
    if not lines.data:
        return np.ones(len(lengths), np.bool_)
    first = lines.bytes[np.minimum(lines.starts, len(lines.bytes) - 1)]
    blank: Mask = (lengths == 0) | ((lengths == 1) & (first == _RETURN))
    mark, quote = dialect.delimiter.encode(), dialect.quote.encode()
    for i in np.flatnonzero(np.isin(first, [*mark, *quote, _SPACE])).tolist():
        blank[i] |= mark in (line := lines[i]) and not line.strip(mark + quote + b" ")
    return blank


def _wrongly_encoded(lines: Lines) -> list[int]:
    """Lines that are not UTF-8."""
    if lines.data.isascii() or _decodes(lines.data):
        return []
    high = np.flatnonzero(lines.bytes >= 0x80)
    return [i for i in np.unique(np.searchsorted(lines.ends, high)).tolist() if not _decodes(lines[i])]


def _repair(
    lines: Lines,
    i: int,
    dialect: Dialect,
    device: int,
    rewritten: dict[int, bytes],
    refused: dict[int, tuple[str, str]],
) -> None:
    text = lines[i].decode(errors="replace")
    try:
        cells = dialect.split(text)
    except csv.Error:
        cells = text.split(dialect.delimiter)
    if 0 <= device < len(cells) and _WRONG in cells[device]:
        refused[i] = ("encoding", f"the device id {shown(cells[device])} is not UTF-8; {SAY_ENCODING}")
    else:
        rewritten[i] = text.encode()


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_header(lines: Lines, header: bytes, refused: dict[int, tuple[str, str]]) -> None:
    place = lines.data.find(header)
    while place >= 0:
        i = int(np.searchsorted(lines.ends, place))
        if lines[i] == header:
            refused[i] = ("duplicate_header", "the header stands again among the rows")
        place = lines.data.find(header, place + len(header))


def _lone_returns(lines: Lines, returns: Longs) -> Longs:
    """Lines with a carriage return that ends no line: fast parsers take it for a line end."""
    if not len(returns):
        return returns
    i = np.searchsorted(lines.ends, returns)
    return np.unique(i[lines.ends[i] != returns + 1])


def _unclear_quotes(lines: Lines, dialect: Dialect) -> Longs:
    """Lines whose quotes do not simply stand around whole cells: fast parsers may run over the line's end.

    Of another dialect than theirs, all with any quote in them.
    """
    if dialect.quote != '"':
        marks = np.isin(lines.bytes, [_QUOTE, *dialect.quote.encode()])
        return np.unique(np.searchsorted(lines.ends, np.flatnonzero(marks)))
    quotes = np.flatnonzero(lines.bytes == _QUOTE)
    if not len(quotes):
        return quotes
    line = np.searchsorted(lines.ends, quotes)
    first = np.searchsorted(line, line)  # index of the line's first quote
    opening = (np.arange(len(quotes)) - first) % 2 == 0
    padded = np.concatenate(([_NEWLINE], lines.bytes, [_NEWLINE]))
    outside = np.where(opening, padded[quotes], padded[quotes + 2])
    clear = (outside == ord(dialect.delimiter)) | (outside == _NEWLINE) | (~opening & (outside == _RETURN))
    odd = np.bincount(line, minlength=len(lines)) % 2 == 1
    return np.union1d(line[~clear], np.flatnonzero(odd))


def _rewrite(
    lines: Lines, i: int, dialect: Dialect, rewritten: dict[int, bytes], refused: dict[int, tuple[str, str]]
) -> None:
    try:
        cells = dialect.split(rewritten.get(i, lines[i]).decode())
    except csv.Error as error:
        refused[i] = ("columns", f"cannot be split into cells: {told(error)}")
        rewritten.pop(i, None)
        return
    if not cells:
        refused[i] = ("columns", "0 cells")
        return
    text = io.StringIO()
    csv.writer(text, delimiter=dialect.delimiter).writerow(cells)
    rewritten[i] = text.getvalue().removesuffix("\r\n").encode()
