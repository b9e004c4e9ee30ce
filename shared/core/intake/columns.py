"""Names of columns and keys: which cell of a record carries the device, the time, and each channel in which unit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.core.intake.readings import shown
from shared.core.intake.times.forms import ISO, TimeForm
from shared.core.intake.times.zones import zone
from shared.core.intake.values.units import CANONICAL, is_like, unit_of
from shared.core.scenario import Channel, Scenario, Unit
from shared.errors import BadEvent

DEVICE, TIME, FIRST_CHANNEL = range(3)
_BRACKETS = re.compile(r"(.*?)\s*[(\[]([^()\[\]]*)[)\]]", re.DOTALL)
_BLANKS = re.compile(r"[\s\-]+")
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a record keeps what.

    Args:
        picks: Index of the cell that holds the device, the time and each channel in the scenario's order; -1 = none.
        units: Unit declared for each channel, None where none is.
        converted: Channels declared in another unit than their own, and its name.
        zone: Time zone that the time's own name declares (`utc`, `time (UTC)`, `time_utc`).
        row: Index of the row id, -1 = none.
        ignored: Names that carry nothing the scenario knows, as written.
        unfit: Channels that nothing carries but a name with a unit that is none of theirs: (channel, name, unit).
        decimal: The sign between a number's whole and its fraction, a point or a comma.
        times: How times are written.
        lag: Minutes by which a time is behind the beginning of what was measured.
    """

    picks: tuple[int, ...]
    units: tuple[Unit | None, ...]
    converted: dict[str, str]
    zone: str | None
    row: int
    ignored: tuple[str, ...]
    unfit: tuple[tuple[Channel, str, str], ...] = ()
    decimal: str = "."
    times: TimeForm = ISO
    lag: int = 0

    def meaning(self, names: Sequence[str], channels: Sequence[str]) -> dict[str, str]:
        """Columns that are used, and what they are; `channels` names the scenario's."""
        slots = zip(("device", "time", *channels), self.picks, strict=True)
        return {names[pick]: slot for slot, pick in slots if pick >= 0}

    def untold(self, names: Sequence[str], channels: Sequence[str]) -> dict[str, str]:
        """Columns of channels of which nothing says the unit, and the channel of each."""
        slots = zip(channels, self.picks[FIRST_CHANNEL:], self.units, strict=True)
        return {names[pick]: channel for channel, pick, unit in slots if pick >= 0 and unit is None}

    @property
    def channels(self) -> tuple[int, ...]:
        """Indices of the scenario's channels that the record has."""
        return tuple(c for c, pick in enumerate(self.picks[FIRST_CHANNEL:]) if pick >= 0)


def plain(name: str) -> str:
    """A column name without case, blanks and byte order mark at its ends; inner blanks and hyphens as underscores.

    >>> plain(" Flow-Rate "), plain("NO2.5")
    ('flow_rate', 'no2.5')
    """
    return _BLANKS.sub("_", name.strip(" \t\r\n\ufeff\"'").casefold())


class Columns:
    """Finds the layout of a header or of a message's keys.

    Of several names for the device or the time, the one that the scenario lists first is used.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._channels = scenario.channels
        self._known = {
            plain(n): c for c, channel in enumerate(scenario.channels) for n in (channel.name, *channel.aliases)
        }
        self._device = {plain(name): rank for rank, name in enumerate(scenario.device_names)}
        self._time = {plain(name): rank for rank, name in enumerate(scenario.names.time)}
        self._row = {plain(name): rank for rank, name in enumerate(scenario.names.row)}

    def layout(self, names: Sequence[str]) -> Layout:
        """Where a record with these names keeps what.

        Raises:
            BadEvent: `duplicate_header`, two names stand for one channel, or one name of the device or the time stands
                twice; `unit`, a bracket after a channel's name holds no unit of its.
        """
        written = [plain(name) for name in names]
        times = [self._time_and_zone(name) for name in written]
        device = self._first(names, [self._device.get(name) for name in written])
        time = self._first(names, [rank for rank, _ in times])
        row = self._first(names, [self._row.get(name) for name in written])
        found, units, converted = self._find(names, written)
        picks = (device, time, *(found.get(c, -1) for c in range(len(self._channels))))
        used = {*picks, row}
        return Layout(
            picks=picks,
            units=tuple(units.get(c) for c in range(len(self._channels))),
            converted=converted,
            zone=times[time][1] if time >= 0 else None,
            row=row,
            ignored=tuple(name for i, name in enumerate(names) if i not in used),
            unfit=tuple(self._unfit(names, written, found)),
        )

    def _find(self, names: Sequence[str], written: list[str]) -> tuple[dict[int, int], dict[int, Unit], dict[str, str]]:
        found: dict[int, int] = {}
        units: dict[int, Unit] = {}
        converted: dict[str, str] = {}
        for i, name in enumerate(written):
            c, unit, spelled = self._channel(name, names[i])
            if c is None:
                continue
            if c in found:
                both = f"{shown(names[found[c]])} and {shown(names[i])}"
                raise BadEvent("duplicate_header", f"{both} both stand for {self._channels[c].name}")
            found[c] = i
            if unit is not None:
                units[c] = unit
                if unit is not CANONICAL:
                    converted[self._channels[c].name] = spelled
        return found, units, converted

    def _channel(self, name: str, written: str) -> tuple[int | None, Unit | None, str]:
        if name in self._known or len(name) > _LONGEST:
            c = self._known.get(name)
            return (None, None, "") if c is None else (c, *self._in_alias(c, name))
        if match := _BRACKETS.fullmatch(written.strip(" \t\r\n\ufeff\"'")):
            c = self._known.get(plain(match[1]))
            return (
                (None, None, "") if c is None else (c, self._bracketed(self._channels[c], match[2]), match[2].strip())
            )
        for c, suffix in self._suffixed(name):
            unit = unit_of(self._channels[c], suffix)
            if unit is not None:
                return c, unit, suffix
        return None, None, ""

    def _in_alias(self, c: int, name: str) -> tuple[Unit | None, str]:
        """The unit that one of a channel's aliases ends with, and how it is spelled there."""
        channel = self._channels[c]
        if name == plain(channel.name):
            return None, ""
        match = _BRACKETS.fullmatch(name)
        ends = [match[2]] if match else [name[cut + 1 :] for cut in _cuts(name)]
        found = [(unit, end) for end in ends if (unit := unit_of(channel, end)) is not None]
        return found[0] if found else (None, "")

    def _suffixed(self, name: str) -> Iterator[tuple[int, str]]:
        """Channels whose name a longer one begins with, and what follows behind an underscore."""
        if len(name) <= _LONGEST:
            yield from ((self._known[name[:cut]], name[cut + 1 :]) for cut in _cuts(name) if name[:cut] in self._known)

    def _unfit(
        self, names: Sequence[str], written: list[str], found: dict[int, int]
    ) -> Iterator[tuple[Channel, str, str]]:
        for i, name in enumerate(written):
            for c, suffix in self._suffixed(name) if i not in found.values() else ():
                if c not in found and is_like(self._channels[c], suffix):
                    yield self._channels[c], names[i], suffix

    def _bracketed(self, channel: Channel, name: str) -> Unit:
        unit = unit_of(channel, name)
        if unit is None:
            raise BadEvent("unit", unknown_unit(channel, name.strip()))
        return unit

    def _time_and_zone(self, name: str) -> tuple[int | None, str | None]:
        if name in self._time:
            return self._time[name], "UTC" if name == "utc" else None
        base, suffix = name, ""
        if len(name) <= _LONGEST and (match := _BRACKETS.fullmatch(name)):
            base, suffix = match[1].rstrip("_"), match[2]
            return self._time.get(base), suffix.upper() if _is_zone(suffix) else None
        if name.endswith("_utc"):
            return self._time.get(name[: -len("_utc")]), "UTC"
        return None, None

    @staticmethod
    def _first(names: Sequence[str], ranks: list[int | None]) -> int:
        """Index of the best-ranked name, -1 when there is none."""
        best = min((rank for rank in ranks if rank is not None), default=None)
        if best is None:
            return -1
        if Counter(ranks)[best] > 1:
            raise BadEvent("duplicate_header", f"{shown(names[ranks.index(best)])} stands twice")
        return ranks.index(best)


def unknown_unit(channel: Channel, name: str) -> str:
    """That a unit is none of the channel's, and how it becomes one."""
    known = ", ".join([channel.unit, *channel.units])
    units = f'units = {{ "{shown(name[:20])[1:-1]}" = {{ factor = ..., offset = 0.0 }} }}'
    return (
        f"{channel.name}: the unit {shown(name)} is not one of {known}; the channel's {units} in the scenario says how "
        f"it becomes {channel.unit}"
    )


def _cuts(name: str) -> list[int]:
    return [i for i, character in enumerate(name) if character == "_"]


def _is_zone(name: str) -> bool:
    if name.strip().upper() not in ("UTC", "GMT", "Z") and name.strip()[:1] not in ("+", "-"):
        return False
    try:
        zone(name.strip().upper())
    except BadEvent:
        return False
    return True
