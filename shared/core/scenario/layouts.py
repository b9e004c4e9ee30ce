"""How files that are no plain tables say what a reading says: where the header stands, and what its columns mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta

from shared.core.scenario.channels import Channel, Sentinel

Lines = Annotated[int, Meta(ge=0, le=1000)]
DEVICE_MARK = "{device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayout:
    """One kind of file. Names of columns are compared as those of plain tables are, without case and blanks.

    It is chosen for a file whose name fits one of `files` and that has all names of `header`; see docs/layouts.md.

    Args:
        name: For people, and for dead letters that are read again.
        files: Patterns of the file's name, `*` and `?` for any characters, `{device}` for the device's id.
        header: Names that its header has to have.
        preamble: Lines in front of the header; None looks for the first line that has all names.
        below: Lines between the header and the first row.
        comment: How lines begin that are no rows; empty: none are.
        columns: Names of the columns of a file without a header.
        delimiter: Between cells; None takes the one that gives the names.
        quote: What stands around cells that hold a delimiter; empty: nothing does.
        decimal: The sign of fractions.
        encoding: Of the text.
        time: Columns whose texts make the time, one behind the other.
        time_parts: Columns of year, month, day, and perhaps hour and minute, instead of `time`.
        date_order: Of day, month and year where the year does not come first.
        time_numbers: What a plain number says.
        hour: Whether a time is the beginning of the measured hour, where a reading stands, or its end.
        zone: Of times without one; a zone declared for the file is stronger.
        device: Columns whose texts, with hyphens between, make the device's id.
        parameter: Column that names what a row measures, in files of one value a row.
        value: Column of that value.
        unit: Column of its unit.
        parameters: What the column `parameter` says -> channel; all names of a channel are known anyway.
        stations: Channel of all columns but the time's, in files with a column for each device.
        channels: Pattern of a column's name -> channel, stronger than aliases.
        units: Channel -> its unit in these files where no column says otherwise.
        missing_values: What stands where there is no value, in any channel.
    """

    name: Annotated[str, Meta(pattern=r"\A\S.{0,62}\Z", description="a text of at most 63 characters")]
    files: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    preamble: Lines | None = None
    below: Lines = 0
    comment: str = ""
    columns: tuple[str, ...] = ()
    delimiter: Literal[",", ";", "\t", "|"] | None = None
    quote: Literal['"', "'", ""] = '"'
    decimal: Literal[".", ","] = "."
    encoding: Literal["utf-8", "windows-1252"] = "utf-8"
    time: tuple[str, ...] = ()
    time_parts: tuple[str, ...] = ()
    date_order: Literal["ymd", "dmy", "mdy"] = "ymd"
    time_numbers: Literal["epoch", "excel"] = "epoch"
    hour: Literal["beginning", "ending"] = "beginning"
    zone: str | None = None
    device: tuple[str, ...] = ()
    parameter: str | None = None
    value: str | None = None
    unit: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    stations: str | None = None
    channels: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    missing_values: tuple[Sentinel, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of columns without which a file is not of this kind."""
        cells = (self.parameter, self.value, self.unit)
        named = (*self.header, *self.time, *self.time_parts, *self.device, *(cell for cell in cells if cell))
        return tuple(dict.fromkeys(named))


def problems(layouts: Sequence[FileLayout], channels: Sequence[Channel]) -> Iterator[str]:
    """What is wrong between a scenario's layouts and its channels, a line each."""
    names = [layout.name for layout in layouts]
    yield from (f"layouts: the name {name!r} stands twice" for name in dict.fromkeys(names) if names.count(name) > 1)
    for layout in layouts:
        yield from (
            f"layouts.{layout.name}.{line}" for line in (*_form(layout), *_pairs(layout), *_meaning(layout, channels))
        )


def _form(layout: FileLayout) -> Iterator[str]:
    if not layout.files and not layout.needed:
        yield "files: is empty, and so is header: nothing says which files it is for"
    if wrong := [pattern for pattern in layout.files if pattern.count(DEVICE_MARK) > 1]:
        yield f"files: {wrong[0]!r} has {DEVICE_MARK} more than once"
    if layout.time_parts and not 3 <= len(layout.time_parts) <= 5:
        yield f"time_parts: {len(layout.time_parts)} columns are not 3 to 5: year, month, day, hour, minute"
    if layout.columns and (absent := [name for name in layout.needed if name not in layout.columns]):
        yield f"columns: lacks {', '.join(absent)}"
    if layout.zone is not None and not _is_zone(layout.zone):
        yield f"zone: {layout.zone!r} is neither a known time zone nor an offset such as +08:00"


def _pairs(layout: FileLayout) -> Iterator[str]:
    if layout.time and layout.time_parts:
        yield "time_parts: stands beside time; only one of the two says where the time is"
    if (layout.parameter is None) != (layout.value is None):
        yield "parameter: stands without value, or value without it"
    if layout.stations is not None and layout.parameter is not None:
        yield "stations: stands beside parameter; a file has a column a station or one value a row"


def _meaning(layout: FileLayout, channels: Sequence[Channel]) -> Iterator[str]:
    known = {channel.name: channel for channel in channels}
    none = f"is not a channel; they are {', '.join(known)}"
    named = {"channels": layout.channels, "parameters": layout.parameters}
    for key, mapping in named.items():
        yield from (f"{key}.{name}: {c!r} {none}" for name, c in mapping.items() if c not in known)
    if layout.stations is not None and layout.stations not in known:
        yield f"stations: {layout.stations!r} {none}"
    for name, unit in layout.units.items():
        if name not in known:
            yield f"units.{name}: {none}"
        elif unit not in (units := [known[name].unit, *known[name].units]):
            yield f"units.{name}: {unit!r} is not one of {', '.join(units)}; the channel's units say what it is"


def _is_zone(name: str) -> bool:
    if name[:1] in ("+", "-"):
        hours, _, minutes = name[1:].partition(":")
        return hours.isdigit() and len(hours) <= 2 and (not minutes or minutes.isdigit()) and int(hours) < 24
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
