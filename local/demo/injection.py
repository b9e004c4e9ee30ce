"""What happens to readings on their way in the demo: a stuck sensor, a new source of pollution, a recalibration."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from local.fleet.__main__ import Row
from local.send.sources import Source

HOUR = 60
CALM = 1.5  # m/s taken where the wind is not known
Change = Callable[[Row], Row]


def stuck(device: str, channel: int, hours: range, value: float) -> Change:
    """A device whose sensor shows one value for some time, hours since 1970."""
    return lambda row: _with(row, channel, value) if row.device == device and row.minute // HOUR in hours else row


def pollution(target: int, wind: int, first_hour: int, calm: float, maximum: float) -> Change:
    """A new source beside the stations: somewhat less of it in wind than in calm air.

    Args:
        target: Index of the particles among a row's values.
        wind: Index of the wind speed.
        first_hour: From this hour on.
        calm: Added in calm air, in the unit of the particles.
        maximum: What the sensor shows at most.
    """

    def added(row: Row) -> float:
        speed = row.values[wind]
        return calm / (1 + (CALM if math.isnan(speed) else speed) / 20)

    return _raised(target, first_hour, added, maximum)


def recalibrated(channel: int, first_hour: int, offset: float, maximum: float) -> Change:
    """All sensors of one type show more than before."""
    return _raised(channel, first_hour, lambda _: offset, maximum)


def _raised(channel: int, first_hour: int, added: Callable[[Row], float], maximum: float) -> Change:
    def change(row: Row) -> Row:
        value = row.values[channel]
        if row.minute // HOUR < first_hour or math.isnan(value):
            return row
        return _with(row, channel, round(min(value + added(row), maximum), 1))

    return change


@dataclass(slots=True)
class Remaining:
    """Readings that are still to come, handed out day by day, changed by what was injected.

    Args:
        rows: All of them, by time.
        channels: Names of a row's values.
        at: Place of the next one.
        hour: The hour up to which they were handed out.
        changes: What happens to them.
    """

    rows: Sequence[Row]
    channels: tuple[str, ...]
    at: int
    hour: int
    changes: list[Change]

    @classmethod
    def of(cls, source: Source) -> Remaining:
        """All readings of a source."""
        rows = list(source.rows())
        return cls(rows, source.channels, 0, int(rows[0].minute // HOUR), [])

    @property
    def days_left(self) -> int:
        """Whole days that are still to come."""
        return (int(self.rows[-1].minute // HOUR) + 1 - self.hour) // 24

    def mean(self, channel: int) -> float:
        """Mean of a channel in all that was handed out so far."""
        values = [row.values[channel] for row in self.rows[: self.at]]
        known = [value for value in values if not math.isnan(value)]
        return sum(known) / max(len(known), 1)

    def take(self, hours: int) -> Source:
        """The next hours as a source to be streamed."""
        self.hour += hours
        end = float(self.hour * HOUR)
        first, self.at = self.at, bisect_left(self.rows, end, self.at, key=lambda row: row.minute)
        part, changes = self.rows[first : self.at], tuple(self.changes)

        def rows() -> Iterator[Row]:
            for row in part:
                for change in changes:
                    row = change(row)
                yield row

        return Source(f"{hours} hours", self.channels, len(part), rows)


def _with(row: Row, place: int, value: float) -> Row:
    return row._replace(values=(*row.values[:place], value, *row.values[place + 1 :]))
