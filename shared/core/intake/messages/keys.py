"""How to read an object with a certain combination of keys, learned once per combination."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from shared.core.intake.columns import DEVICE, FIRST_CHANNEL, TIME, Columns, Layout
from shared.core.intake.envelopes.carriers import Carrier
from shared.core.intake.envelopes.envelope import ANALYTICS, Opener, adds_keys, opener_of
from shared.core.intake.layouts.objects import Objects, flat
from shared.core.intake.layouts.plans import Plan
from shared.core.intake.messages.identities import LONGEST_INTEGER
from shared.core.intake.messages.records import Form, Keyed, Kind, Row
from shared.core.scenario import Scenario
from shared.errors import BadEvent

MOST_KEYS = 1000
_NO_KIND, _NO_NAMES = Kind((), None), Keyed()
_COMBINATIONS = 1000
_CHARACTERS = 4096
_IGNORED = 100
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Keys:
    """How to read an object with a certain combination of keys.

    Args:
        row: Device, time and channels from its entries and a None behind them.
        kind: Of its record.
        opener: What opens it, where it is an envelope.
        device: Told for it, where it does not name one.
        keyed: For what is said of it; keys of nested objects are those of the first such object that was met.
        whole: Whether it may be a reading of its own.
    """

    row: Callable[[list[object]], Row]
    kind: Kind
    opener: Opener | None = None
    device: str | None = None
    keyed: Keyed = _NO_NAMES
    whole: bool = True


class KnownKeys:
    """Combinations of keys that were met, as many as memory allows.

    Attributes:
        ignored: Keys that carry nothing the scenario knows, the first hundred seen, as written.
        converted: Channels whose key names another unit, and its name.
        reaching: Whether a layout may reach into nested objects.
        layouts: Layouts that were met, and what is what under each.
        carrier: Opens what holds a reading.
    """

    def __init__(self, scenario: Scenario, objects: Objects, converted: dict[str, str]) -> None:
        self._scenario = scenario
        self._objects = objects
        self._columns = Columns(scenario)
        self.carrier = Carrier(self._columns)
        self._known: dict[tuple[str, ...], Keys] = {}
        self._deep: dict[tuple[str, ...], Keys | None] = {}
        self.ignored: dict[str, None] = {}
        self.converted = converted
        self.reaching = objects.reaching
        self.layouts: dict[str, dict[str, str]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, value: dict[str, object]) -> Keys:
        """How to read this object.

        Raises:
            BadEvent: `too_large`, `duplicate_header` or `unit`.
        """
        names = tuple(value)
        known = self._known.get(names)
        if known is None:
            known = self._learn(names, value)
            _keep(self._known, names, known)
        return known

    def deeper(self, value: dict[str, object], keys: Keys) -> tuple[dict[str, object], Keys]:
        """An object's entries and how to read them, those of nested objects as well where a layout reaches there.

        Raises:
            BadEvent: `too_large`, `duplicate_header` or `unit`.
        """
        if not (keys.whole and any(type(entry) is dict for entry in value.values())):
            return value, keys
        entries = flat(value)
        names = tuple(entries)
        found = self._deep.get(names)
        if names not in self._deep:
            plan = self._objects.plan(names, value)
            found = None if plan is None else self._planned(plan, names, keys.opener)
            _keep(self._deep, names, found)
            for name in value if plan is not None else ():
                self.ignored.pop(name, None)  # what it holds is told instead
        return (value, keys) if found is None else (entries, found)

    def _learn(self, names: tuple[str, ...], value: dict[str, object]) -> Keys:
        if len(names) > MOST_KEYS:
            raise BadEvent("too_large", f"{len(names)} keys are more than {MOST_KEYS}")
        opener = opener_of(names)
        if opener is not None and not adds_keys(opener):
            return Keys(tuple, _NO_KIND, opener, whole=False)
        plan = None if self._objects.live else self._objects.plan(names, names)
        if plan is not None:
            return self._planned(plan, names, opener)
        layout: Layout = self._columns.layout(names)
        if opener is None and not layout.channels and self.carrier.knows(names):
            opener = self.carrier
        else:
            self._tell(layout.ignored, layout, opener)
        kind = Kind(layout.units, layout.zone)
        keyed = Keyed(_paths(value), _lacking(layout.picks[DEVICE], layout.picks[TIME], len(layout.channels) - 1))
        return Keys(itemgetter(*layout.picks), kind, opener, self._objects.device, keyed)

    def _planned(self, plan: Plan, names: tuple[str, ...], opener: Opener | None) -> Keys:
        """How to read an object under a layout; one that may hold a reading as well is one itself."""
        layout, source = plan.layout, plan.source
        self._tell(plan.ignored, layout, opener)
        self.layouts.setdefault(source.name, plan.meaning(self._scenario.channel_names))
        zone = layout.zone or (source.zone if self._objects.zone is None else None)
        form = Form(layout.times, layout.lag, layout.decimal, source.missing_values)
        opener = None if opener is self.carrier else opener
        kind, device = Kind(layout.units, zone, form), plan.told or self._objects.device
        keyed = Keyed(names[:_SHOWN], _lacking(len(plan.device) - 1, len(plan.time) - 1, len(layout.channels) - 1))
        return Keys(row_of(plan), kind, opener, device, keyed)

    def _tell(self, names: Sequence[str], layout: Layout, opener: Opener | None) -> None:
        ignored = [name for name in names if opener is None or name.casefold() not in ANALYTICS]
        self.ignored.update(dict.fromkeys(ignored[: max(0, _IGNORED - len(self.ignored))]))
        self.converted.update(layout.converted)


def _lacking(device: int, time: int, channels: int) -> frozenset[str]:
    """Reasons of which no key can be the cause; negative = there is no key."""
    places = zip(("missing_device", "missing_time", "no_values"), (device, time, channels), strict=True)
    return frozenset(reason for reason, place in places if place < 0)


def _paths(value: dict[str, object]) -> tuple[str, ...]:
    try:
        return tuple(flat(value))[:_SHOWN]
    except BadEvent:  # too many
        return tuple(value)[:_SHOWN]


def _keep(known: dict[tuple[str, ...], Any], names: tuple[str, ...], found: Any) -> None:
    if len(known) >= _COMBINATIONS:
        known.clear()
    if sum(map(len, names)) <= _CHARACTERS:
        known[names] = found


def row_of(plan: Plan) -> Callable[[list[object]], Row]:
    """What takes device, time and channels from an object's entries."""
    channels = itemgetter(-1, -1, *plan.layout.picks[FIRST_CHANNEL:])

    def row(cells: list[object]) -> Row:
        device = _together([cells[pick] for pick in plan.device], "-")
        found = [cells[pick] for pick in plan.time]
        time = _clock(found) if plan.source.time_parts else _together(found, " ")
        return (device, time, *channels(cells)[FIRST_CHANNEL:])

    return row


def _together(cells: list[object], between: str) -> object:
    """One cell as it stands, several as one text; None where one is missing."""
    if len(cells) == 1:
        return cells[0]
    texts = [_text(cell) for cell in cells]
    return between.join(text for text in texts if text is not None) if texts and None not in texts else None


def _clock(cells: list[object]) -> str | None:
    """Year, month, day, and perhaps hour and minute, as one time."""
    texts = [_text(cell) for cell in cells]
    if None in texts:
        return None
    year, *rest = (str(text).zfill(2) for text in texts)
    month, day, hour, minute = [*rest, "00", "00"][:4]
    return f"{year}-{month}-{day} {hour}:{minute}"


def _text(cell: object) -> str | None:
    """A cell that is a text or a whole number, stripped."""
    if type(cell) is int and cell.bit_length() < LONGEST_INTEGER:
        return str(cell)
    return cell.strip() if isinstance(cell, str) else None
