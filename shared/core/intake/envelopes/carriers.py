"""Objects that hold a reading under a key and say the rest of it beside: {"device": "a", "payload": {"level": 21.5}}.

So is a record of SenML that stands alone: it is a pack of one. None of the keys of either is a channel's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from shared.core.intake.columns import DEVICE, TIME, Columns
from shared.core.intake.envelopes.envelope import Envelope, opener_of, unquoted
from shared.core.intake.envelopes.senml import is_record
from shared.core.intake.envelopes.sources import plain
from shared.errors import BadEvent

_CARRIERS = frozenset({"payload", "data", "values", "telemetry", "result", "message"})


class Carrier:
    """Opens such objects; device and time of the reading itself are stronger than those beside it.

    Args:
        columns: Knows the names of device and time.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    @staticmethod
    def knows(names: Iterable[str]) -> bool:
        """Whether an object with these keys, none of them a channel's, may hold a reading."""
        return sum(plain(name) in _CARRIERS for name in names) == 1 or is_record(dict.fromkeys(names))

    def is_pack(self, values: Sequence[object]) -> bool:
        """Whether a list is a pack of SenML, by its first record."""
        first = values[0] if values else None
        if not is_record(first):
            return False
        try:
            return not self._columns.layout(tuple(first)).channels
        except BadEvent:
            return False

    def __call__(self, value: Mapping[str, object]) -> Envelope:
        """What it holds; the object itself where that is no reading.

        Raises:
            BadEvent: `duplicate_header` or `unit`.
        """
        if is_record(value):
            return Envelope([value])
        beside = {name: entry for name, entry in value.items() if plain(name) not in _CARRIERS}
        (held,) = (entry for name, entry in value.items() if name not in beside)
        if isinstance(held, dict):
            return Envelope(self._whole(beside, held))
        if isinstance(held, list) and held and all(isinstance(each, dict) for each in held):
            return Envelope(held if self.is_pack(held) else [self._whole(beside, each) for each in held])
        if isinstance(held, str) and max(self._columns.layout(tuple(beside)).picks, default=-1) < 0:
            body = unquoted(held)
            return Envelope(body if body.lstrip()[:1] in (b"{", b"[") else value)
        return Envelope(value)

    def _whole(self, beside: dict[str, object], held: dict[str, object]) -> dict[str, object]:
        """A reading with what stands beside it."""
        if not beside or is_record(held) or opener_of(held) is not None:
            return held
        names = tuple(beside)
        own, around = self._columns.layout(tuple(held)).picks, self._columns.layout(names).picks
        stronger = {names[around[slot]] for slot in (DEVICE, TIME) if own[slot] >= 0 and around[slot] >= 0}
        return {**{name: entry for name, entry in beside.items() if name not in stronger}, **held}
