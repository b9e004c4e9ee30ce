"""How to read an object with a certain combination of keys, learned once per combination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

from shared.core.intake.columns import Columns, Layout
from shared.core.intake.envelopes.envelope import ANALYTICS, Opener, adds_keys, opener_of
from shared.core.intake.messages.records import Kind, Row
from shared.core.scenario import Scenario
from shared.errors import BadEvent

MOST_KEYS = 1000
_NO_KIND: Kind = ((), None)
_COMBINATIONS = 1000
_CHARACTERS = 4096
_IGNORED = 100


@dataclass(frozen=True, slots=True)
class Keys:
    """How to read an object with a certain combination of keys; records of one kind share units and declared zone."""

    row: Callable[[list[object]], Row]
    kind: Kind
    opener: Opener | None = None


class KnownKeys:
    """Combinations of keys that were met, as many as memory allows.

    Attributes:
        ignored: Keys that carry nothing the scenario knows, the first hundred seen, as written.
        converted: Channels whose key names another unit, and its name.
    """

    def __init__(self, scenario: Scenario, converted: dict[str, str]) -> None:
        self._columns = Columns(scenario)
        self._known: dict[tuple[str, ...], Keys] = {}
        self.ignored: dict[str, None] = {}
        self.converted = converted

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
            known = self._learn(names)
            if len(self._known) >= _COMBINATIONS:
                self._known.clear()
            if sum(map(len, names)) <= _CHARACTERS:
                self._known[names] = known
        return known

    def _learn(self, names: tuple[str, ...]) -> Keys:
        if len(names) > MOST_KEYS:
            raise BadEvent("too_large", f"{len(names)} keys are more than {MOST_KEYS}")
        opener = opener_of(names)
        if opener is not None and not adds_keys(opener):
            return Keys(tuple, _NO_KIND, opener)
        layout: Layout = self._columns.layout(names)
        ignored = [name for name in layout.ignored if opener is None or name.casefold() not in ANALYTICS]
        self.ignored.update(dict.fromkeys(ignored[: max(0, _IGNORED - len(self.ignored))]))
        self.converted.update(layout.converted)
        return Keys(itemgetter(*layout.picks), (layout.units, layout.zone), opener)
