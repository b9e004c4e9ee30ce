"""What the columns of a file mean under a layout: which cells make a device, a time and values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.core.intake.columns import DEVICE, FIRST_CHANNEL, TIME, Columns, Layout, plain
from shared.core.intake.readings import shown
from shared.core.intake.times.forms import TimeForm
from shared.core.intake.values.units import unit_of
from shared.core.scenario import FileLayout, Scenario, Unit
from shared.core.scenario.layouts import DEVICE_MARK
from shared.errors import BadEvent

_GREENWICH = ("_gmt", "_utc")
_NOTE = re.compile(r"\s*\([^()]*\)\s*$")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file's cells become readings; numbers are indices of its columns, -1 = none.

    Args:
        source: The layout that it follows.
        why: Why this one, in words.
        names: Of the columns.
        layout: Where the channels stand, in which units, and how texts are written.
        device: Columns that make the device's id, none where it is told.
        told: The device's id, where no column says it.
        time: Columns that make the time.
        parameter: What a row measures, in files of one value a row.
        value: Its value.
        unit: Its unit.
        stations: Columns that are a device each.
    """

    source: FileLayout
    why: str
    names: tuple[str, ...]
    layout: Layout
    device: tuple[int, ...]
    told: str | None
    time: tuple[int, ...]
    parameter: int = -1
    value: int = -1
    unit: int = -1
    stations: tuple[int, ...] = ()

    @property
    def reads(self) -> tuple[int, ...]:
        """Columns that are read, rising."""
        cells = (*self.device, *self.time, self.parameter, self.value, self.unit, *self.stations)
        return tuple(sorted({pick for pick in (*cells, *self.layout.picks[FIRST_CHANNEL:]) if pick >= 0}))

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of the columns that are not read."""
        used = set(self.reads)
        return tuple(name for i, name in enumerate(self.names) if i not in used and name.strip())

    def meaning(self, channels: Sequence[str]) -> dict[str, str]:
        """Columns that are used, and what they are; `channels` names the scenario's."""
        said = {
            "device": self.device,
            "time": self.time,
            "parameter": (self.parameter,),
            "value": (self.value,),
            "unit": (self.unit,),
            f"{self.source.stations} of the device of this name": self.stations,
        }
        own = {self.names[pick]: slot for slot, picks in said.items() for pick in picks if pick >= 0}
        return {**own, **self.layout.meaning(self.names, channels)}

    def untold(self, scenario: Scenario) -> dict[str, str]:
        """Columns of channels of which nothing says the unit, and the channel of each."""
        c = None if self.source.stations is None else channel_of(scenario, self.source.stations)
        melted = () if c is None or self.layout.units[c] is not None else self.stations
        channels = scenario.channel_names
        return {**{self.names[i]: channels[c or 0] for i in melted}, **self.layout.untold(self.names, channels)}

    @property
    def per_row(self) -> int:
        """Positions that each row has room for."""
        return max(1, len(self.stations))


def plan(scenario: Scenario, source: FileLayout, names: Sequence[str], told: str | None, why: str) -> Plan:
    """How a file with these columns is read under a layout; see `planned`.

    Raises:
        BadEvent: `header`, nothing says the device, the time or a channel, `duplicate_header` or `unit`.
    """
    found = planned(scenario, source, names, told, why)
    _require(scenario, found)
    return found


def planned(scenario: Scenario, source: FileLayout, names: Sequence[str], told: str | None, why: str) -> Plan:
    """How what has these names is read under a layout, whatever they lack beside those that the layout needs.

    Args:
        scenario: Names the channels.
        source: The layout.
        names: Of the columns.
        told: The device, where no column says it.
        why: Why this layout.

    Raises:
        BadEvent: `duplicate_header` or `unit`.
    """
    place = {plain(name): i for i, name in reversed(list(enumerate(names)))}

    def at(*wanted: str | None) -> tuple[int, ...]:
        return tuple(place[plain(name)] if name else -1 for name in wanted)

    cells = at(source.parameter, source.value, source.unit)
    said, when = at(*source.device), at(*(source.time or source.time_parts))
    base = _base(scenario, source, names, {*said, *when, *cells})
    device = said or tuple(pick for pick in base.picks[DEVICE:TIME] if pick >= 0)
    time = when or tuple(pick for pick in base.picks[TIME:FIRST_CHANNEL] if pick >= 0)
    melted = source.stations is not None
    stations = tuple(i for i, name in enumerate(names) if i not in time and name.strip()) if melted else ()
    alone = source.value is None and not melted
    layout = _layout(scenario, source, base, names, time, alone=alone)
    device = () if melted else device
    parameter, value, unit = cells
    if device or melted:
        told = None
    return Plan(source, why, tuple(names), layout, device, told, time, parameter, value, unit, stations)


def _base(scenario: Scenario, source: FileLayout, names: Sequence[str], taken: set[int]) -> Layout:
    """What the scenario's own names say of the columns, those apart that the layout says something of."""
    columns = Columns(scenario)
    said: dict[int, int] = {}
    for pattern, word in source.channels.items():
        c = channel_of(scenario, word)
        if c is not None and c not in said.values():
            said.update((i, c) for i, name in enumerate(names) if matches(plain(pattern), plain(name)))

    def as_read(i: int, name: str) -> str:
        if i in said:
            return scenario.channels[said[i]].name
        if i in taken or (source.stations is not None and columns.layout([name]).picks[TIME] < 0):
            return ""
        clash = bool(said) and set(columns.layout([name]).channels) & set(said.values())
        return "" if clash else name

    return columns.layout([as_read(i, name) for i, name in enumerate(names)])


def _layout(
    scenario: Scenario, source: FileLayout, base: Layout, names: Sequence[str], time: Sequence[int], *, alone: bool
) -> Layout:
    """Where channels stand, if each is `alone` in a column, and how texts are written."""
    told = units(scenario, source)
    spelled = {
        c: name
        for c, (_, name) in told.items()
        if alone and base.units[c] is None and base.picks[FIRST_CHANNEL + c] >= 0
    }
    nowhere = (-1,) * len(scenario.channels)
    greenwich = any(plain(names[i]).endswith(_GREENWICH) for i in time)
    return replace(
        base,
        picks=(-1, -1, *(base.picks[FIRST_CHANNEL:] if alone else nowhere)),
        units=tuple(unit or told.get(c, (None, ""))[0] for c, unit in enumerate(base.units)),
        converted={
            **(base.converted if alone else {}),
            **{scenario.channels[c].name: name for c, name in spelled.items()},
        },
        zone="UTC" if greenwich else base.zone if tuple(time) == base.picks[TIME : TIME + 1] else None,
        decimal=source.decimal,
        times=TimeForm(source.date_order, source.time_numbers),
        lag=60 if source.hour == "ending" else 0,
    )


def units(scenario: Scenario, source: FileLayout) -> dict[int, tuple[Unit, str]]:
    """Units that a layout declares and how it spells them, by the channel's index."""
    found = ((channel_of(scenario, word), name) for word, name in source.units.items())
    known = ((c, unit_of(scenario.channels[c], name), name) for c, name in found if c is not None)
    return {c: (unit, name) for c, unit, name in known if unit is not None}


def _require(scenario: Scenario, found: Plan) -> None:
    channels = found.value >= 0 or found.stations or found.layout.channels
    wanted = {
        "the device (give --device, or {device} in files)": found.device or found.told or found.stations,
        "the time": found.time,
        f"any channel ({', '.join(scenario.channel_names)})": channels,
    }
    absent = [what for what, there in wanted.items() if not there]
    if absent:
        raise BadEvent("header", f"layout {shown(found.source.name)}: no column for {'; none for '.join(absent)}")


def channel_of(scenario: Scenario, word: str) -> int | None:
    """The channel that a word of a layout means: by its name or an alias, else by its role."""
    name = plain(word)
    for c, channel in enumerate(scenario.channels):
        if name in map(plain, (channel.name, *channel.aliases)):
            return c
    return next((c for c, channel in enumerate(scenario.channels) if channel.role == name), None)


def parameter_of(scenario: Scenario, source: FileLayout, name: str, unit: str) -> tuple[int, Unit | None] | None:
    """Channel and unit of a value that stands under a parameter's name and unit, None where it is not used."""
    said = next((word for known, word in source.parameters.items() if plain(known) == plain(name)), name)
    c = channel_of(scenario, said)
    if c is None:
        return None
    if not unit.strip():
        return c, units(scenario, source).get(c, (None, ""))[0]
    found = unit_of(scenario.channels[c], unit) or unit_of(scenario.channels[c], _NOTE.sub("", unit))
    return None if found is None else (c, found)


def matches(pattern: str, text: str) -> bool:
    """Whether a text fits a pattern of `*`, `?` and plain characters."""
    return _pattern(pattern).fullmatch(text) is not None


def fits(pattern: str, name: str) -> bool:
    """Whether a file's name fits a pattern of `files`."""
    return device_in(pattern, name) is not None if DEVICE_MARK in pattern else matches(pattern, name)


def device_in(pattern: str, name: str) -> str | None:
    """What `{device}` stands for in a file's name, None where the name does not fit or nothing stands for it."""
    match = _pattern(pattern).fullmatch(name)
    return match["device"] if match and DEVICE_MARK in pattern else None


def _pattern(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(text.replace(re.escape(DEVICE_MARK), "(?P<device>.+?)"), re.DOTALL | re.IGNORECASE)
