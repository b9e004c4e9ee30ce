"""Local times that never were: where clocks are set forward, an hour of the local day is skipped.

Such a time is read as of a clock that was not set. Its reading is whole, so it is accepted; and most often it shows
that the source's zone was told wrongly, for its clock is never set. Then half a year of its times is an hour off, of
which a rejected row each spring would say nothing: hence a warning, which names the zone to declare.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Skipped:
    """Accepted readings at local times that never were: how many, and of the first what was written and its offset.

    The offset is that of a clock that is not set forward, in minutes ahead of UTC.
    """

    count: int = 0
    written: str = ""
    offset: int = 0

    @property
    def warnings(self) -> list[str]:
        """What a person should know; nothing where there are none."""
        if not self.count:
            return []
        sign, (hours, minutes) = "-" if self.offset < 0 else "+", divmod(abs(self.offset), 60)
        return [
            f"local times that never were: {self.count:,}, such as {self.written}, which clocks that are set forward "
            f"skip; they are read as of one that is not: if the source's own never is, its zone to declare is "
            f"{sign}{hours:02}:{minutes:02}"
        ]


NONE = Skipped()


def together(parts: Iterable[Skipped]) -> Skipped:
    """Stretches of one source as one."""
    found = [part for part in parts if part.count]
    return replace(found[0], count=sum(part.count for part in found)) if found else NONE
