"""Which layout a text file has, and where its header stands."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from shared.adapters.tables.csv.header import DELIMITERS, MOST_COLUMNS
from shared.adapters.tables.csv.lines import Dialect
from shared.core.intake.columns import plain
from shared.core.intake.layouts.builtin import BUILTIN
from shared.core.intake.layouts.objects import is_for_objects
from shared.core.intake.layouts.plans import Plan, device_in, fits, plan
from shared.core.intake.readings import shown
from shared.core.scenario import FileLayout, Scenario
from shared.errors import BadEvent

MOST_LINES = 200
_BOM = b"\xef\xbb\xbf"
AS_IT_STANDS = FileLayout(name="a plain table")


@dataclass(frozen=True, slots=True)
class Line:
    """A line that may be a header: its number from 0, its bytes, where the next one begins, and one way to split it."""

    number: int
    text: bytes
    end: int
    delimiter: str
    names: tuple[str, ...]
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class Found:
    """A layout in a file: how its cells become readings, its header, and how many bytes stand before the first row."""

    plan: Plan
    header: bytes
    delimiter: str
    begin: int


@dataclass(frozen=True)
class Beginning:
    """A file's first bytes.

    Args:
        name: Of the file, without folders.
        head: Its first bytes.
        device: Told for the whole file.
        quote: What stands around cells.
    """

    name: str
    head: bytes
    device: str | None
    quote: str = '"'

    @cached_property
    def lines(self) -> list[Line]:
        """The first lines, split by each delimiter in them; those with too many columns are left out."""
        return list(self._lines())

    def _lines(self) -> Iterator[Line]:
        begin = len(self.head) - len(self.head.removeprefix(_BOM))
        for number in range(MOST_LINES):
            end = self.head.find(b"\n", begin) + 1 or len(self.head)
            text = self.head[begin:end].rstrip(b"\r\n")
            for delimiter in DELIMITERS:
                if 0 < text.count(delimiter.encode()) < MOST_COLUMNS and (names := self._names(text, delimiter)):
                    yield Line(number, text, end, delimiter, names, frozenset(map(plain, names)))
            begin = end
            if begin >= len(self.head):
                return

    def _names(self, text: bytes, delimiter: str) -> tuple[str, ...]:
        try:
            return tuple(Dialect(delimiter, self.quote).split(text.decode(errors="replace")))
        except csv.Error:
            return ()

    def under(self, layout: FileLayout) -> Beginning:
        """The same in UTF-8, its lines split as the layout says."""
        if (layout.encoding, layout.quote) == ("utf-8", self.quote):
            return self
        head = self.head if layout.encoding == "utf-8" else self.head.decode(layout.encoding, "replace").encode()
        return Beginning(self.name, head, self.device, layout.quote)

    def after(self, lines: int) -> int:
        """Where the line behind some lines begins."""
        place = 0
        for _ in range(lines):
            place = self.head.find(b"\n", place) + 1 or len(self.head)
        return place


def declared(scenario: Scenario, file: Beginning, only: str | None = None) -> Found | None:
    """The first of the scenario's layouts that the file has.

    Args:
        scenario: Lists them.
        file: Its beginning.
        only: Name of the layout, where it is known; then it may be a built-in one.

    Raises:
        BadEvent: It has the layout's name or header, but something is missing.
    """
    found = _first(scenario, scenario.layouts, file, only)
    if found is None and only is not None and (found := built_in(scenario, file, only)) is None:
        raise BadEvent("header", f"there is no layout {shown(only)} that the rows have")
    return found


def built_in(scenario: Scenario, file: Beginning, only: str | None = None) -> Found | None:
    """The first of the well-known sources' layouts that the file has, else a plain table's with its header anywhere.

    Raises:
        BadEvent: Something is missing.
    """
    return _first(scenario, BUILTIN, file, only) or _plain(scenario, file)


def elsewhere(scenario: Scenario, file: Beginning) -> str:
    """What a file may be told, whose first line is no header: another one is, but for the device, or none is.

    A line under one with as many cells is a part of a header only: names that stand in two lines are none in one.
    """
    cells = {(line.number, line.delimiter): len(line.names) for line in file.lines if any(map(str.strip, line.names))}
    for line in file.lines:
        try:
            found = plan(scenario, AS_IT_STANDS, line.names, "?", "")
        except BadEvent:
            continue
        if line.number == 0:
            return ""
        if cells.get((line.number - 1, line.delimiter)) == len(line.names):
            break
        used = ", ".join(shown(name) for name in list(found.meaning(scenario.channel_names))[:12])
        return f"; line {line.number + 1} has {used}, and only the device is missing there"
    return "; where no line names the columns, preamble and columns in a layout do"


def by_names(
    scenario: Scenario, name: str, names: Sequence[str], device: str | None, only: str | None = None
) -> Plan | None:
    """The first of the scenario's layouts that a table with these columns has.

    Raises:
        BadEvent: Something is missing.
    """
    known = frozenset(map(plain, names))
    for layout, fitting in _candidates(scenario.layouts, name, only):
        if known.issuperset(map(plain, layout.needed)):
            return plan(scenario, layout, names, _device(layout, name, device), _why(layout, fitting, "the file"))
    return None


def of_objects(
    scenario: Scenario, name: str, names: Sequence[str], device: str | None, only: str | None = None
) -> Plan | None:
    """The first layout that objects with these keys have and only a table can have; see `layouts.objects`.

    Args:
        scenario: Lists layouts.
        name: Of the file.
        names: Of the first object's entries, those of nested ones as paths.
        device: Told for the whole file.
        only: Name of the layout that they were read with before, perhaps a built-in one; they have what was read then.

    Raises:
        BadEvent: Something is missing.
    """
    known = frozenset(map(plain, names))
    for layout, fitting in _candidates((*scenario.layouts, *(BUILTIN if only else ())), name, only):
        wanted = replace(layout, header=()) if only else layout
        if not is_for_objects(layout) and known.issuperset(map(plain, wanted.needed)):
            return plan(
                scenario, wanted, names, _device(layout, name, device), _why(layout, fitting, "the first object")
            )
    return None


def known_names(scenario: Scenario, names: Sequence[str], device: str | None, only: str | None = None) -> Plan | None:
    """The first of the well-known sources' layouts that a table with these columns has, else a plain one's.

    Raises:
        BadEvent: Something is missing.
    """
    known = frozenset(map(plain, names))
    for layout, _ in _candidates(BUILTIN, "", only):
        if known.issuperset(map(plain, layout.needed)):
            return plan(scenario, layout, names, device, _why(layout, None, "the file"))
    return None if device is None else plan(scenario, AS_IT_STANDS, names, device, "its device is told")


def _candidates(layouts: Sequence[FileLayout], name: str, only: str | None) -> Iterator[tuple[FileLayout, str | None]]:
    """Layouts that a file of this name may have, and the pattern that it fits."""
    for layout in layouts:
        fitting = next((pattern for pattern in layout.files if fits(pattern, name)), None)
        if only == layout.name or (only is None and (fitting is not None or not layout.files)):
            yield layout, fitting


def _first(scenario: Scenario, layouts: Sequence[FileLayout], file: Beginning, only: str | None) -> Found | None:
    for layout, fitting in _candidates(layouts, file.name, only):
        found = _in(scenario, layout, file.under(layout), fitting)
        if found is not None:
            return found
        if fitting and layout in scenario.layouts:
            wanted = ", ".join(layout.needed)
            raise BadEvent("header", f"layout {shown(layout.name)}: no line of the first {MOST_LINES} has {wanted}")
    return None


def _device(layout: FileLayout, name: str, told: str | None) -> str | None:
    """The device that is told for a file, else what its name says."""
    return told or next((device for pattern in layout.files if (device := device_in(pattern, name))), None)


def _why(layout: FileLayout, fitting: str | None, where: str) -> str:
    by_name = [f"its name fits {shown(fitting)}"] if fitting else []
    return "; ".join([*by_name, f"{where} has {', '.join(layout.needed)}"] if layout.needed else by_name)


def _in(scenario: Scenario, layout: FileLayout, file: Beginning, fitting: str | None) -> Found | None:
    """A layout as a file has it.

    Raises:
        BadEvent: It has a header with all that is needed, but something is missing.
    """
    device = _device(layout, file.name, file.device)
    if layout.columns:
        return _without_header(scenario, layout, file, device, _why(layout, fitting, "it has no header; the layout"))
    wanted, problem = frozenset(map(plain, layout.needed)), None
    for line in file.lines:
        if layout.delimiter not in (None, line.delimiter) or not wanted <= line.known:
            continue
        if line.number == layout.preamble or (layout.preamble is None and (wanted or line.number == 0)):
            try:
                made = plan(scenario, layout, line.names, device, _why(layout, fitting, f"line {line.number + 1}"))
            except BadEvent as error:
                problem = problem or error
                continue
            begin = file.after(line.number + 1 + layout.below) if layout.below else line.end
            return Found(made, line.text, line.delimiter, begin)
    if problem is not None:
        raise problem
    return None


def _without_header(scenario: Scenario, layout: FileLayout, file: Beginning, device: str | None, why: str) -> Found:
    delimiter: str = layout.delimiter or max(list(DELIMITERS), key=lambda each: file.head[:4096].count(each.encode()))
    header = delimiter.join(layout.columns).encode()
    begin = file.after(layout.preamble or 0)
    if file.head.startswith(header):  # rows that are read again under the header they were given
        begin = file.after(1)
    return Found(plan(scenario, layout, layout.columns, device, why), header, delimiter, begin)


def _plain(scenario: Scenario, file: Beginning) -> Found | None:
    """A plain table behind lines that are none of it, or without a column for the device that is told."""
    for line in file.lines:
        if line.number == 0 and file.device is None:
            continue  # it was refused as it stands
        try:
            made = plan(scenario, AS_IT_STANDS, line.names, file.device, f"line {line.number + 1} is a header")
        except BadEvent:
            continue
        if not made.layout.unfit:
            return Found(made, line.text, line.delimiter, line.end)
    return None
