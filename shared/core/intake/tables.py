"""What a dropped file is read into: stretches of readings, or windows of a wide file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from shared.core.intake.readings import Floats, Longs, Parsed, Rejection
from shared.core.intake.values.dropped import Values
from shared.core.scenario import Scenario


@dataclass(slots=True)
class Progress:
    """What was seen so far; complete when the iteration has ended.

    Attributes:
        rows: Data rows; each was accepted or rejected exactly once.
        ignored: Columns that carry nothing the scenario knows.
        converted: Channels that came in another unit, and its name.
        problem: What cut the file short (reason code, then words), None when it was read to its end.
        bytes_read: Of the file as it is stored.
        header: Header line under which a CSV file's rows stand, None for other forms.
        ahead: Lines in front of a text file's first row, its header among them.
        layout: Name of the layout that it has, None for a plain table.
        why: Why this layout.
        device: The device of all rows, where no column says it.
        per_row: Positions that each row has room for: row r's are from r * per_row on.
        meaning: Columns that are used, and what they are.
        untold: Columns, or parameters, of channels of which nothing says the unit, and the channel of each.
    """

    rows: int = 0
    ignored: tuple[str, ...] = ()
    converted: dict[str, str] = field(default_factory=dict)
    problem: str | None = None
    bytes_read: int = 0
    header: str | None = None
    ahead: int = 0
    layout: str | None = None
    why: str = ""
    device: str | None = None
    per_row: int = 1
    meaning: dict[str, str] = field(default_factory=dict)
    untold: dict[str, str] = field(default_factory=dict)


class _TableFacts:
    """What a table says of itself while it is read, and when it has been."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @property
    def rows(self) -> int:
        """Data rows seen."""
        return self._progress.rows

    @property
    def ignored(self) -> tuple[str, ...]:
        """Columns that carry nothing the scenario knows."""
        return self._progress.ignored

    @property
    def converted(self) -> dict[str, str]:
        """Channels that came in another unit, and its name."""
        return self._progress.converted

    @property
    def problem(self) -> str | None:
        """What cut the file short, None when it was read to its end."""
        return self._progress.problem

    @property
    def bytes_read(self) -> int:
        """Bytes of the file as it is stored."""
        return self._progress.bytes_read

    @property
    def header(self) -> str | None:
        """Header line under which a CSV file's rows stand, None for other forms."""
        return self._progress.header

    @property
    def ahead(self) -> int:
        """Lines in front of a text file's first row, its header among them."""
        return self._progress.ahead

    @property
    def layout(self) -> str | None:
        """Name of the layout that it has, None for a plain table."""
        return self._progress.layout

    @property
    def why(self) -> str:
        """Why it is read with this layout."""
        return self._progress.why

    @property
    def device(self) -> str | None:
        """The device of all rows, where no column says it."""
        return self._progress.device

    @property
    def per_row(self) -> int:
        """Positions that each row has room for."""
        return self._progress.per_row

    @property
    def meaning(self) -> dict[str, str]:
        """Columns that are used, and what they are."""
        return self._progress.meaning

    def assumed(self, scenario: Scenario) -> dict[str, str]:
        """Columns of which nothing says the unit, and as what they were taken: channel and the scenario's unit.

        A channel of which values showed that they are in another unit is among the converted ones instead.
        """
        units = {channel.name: channel.unit for channel in scenario.channels}
        untold = self._progress.untold.items()
        return {column: f"{name} in {units[name]}" for column, name in untold if name not in self.converted}


class LongTable(_TableFacts):
    """A file with one reading a row, as an iterable of checked stretches; it is read once, while iterating."""

    def __init__(self, parts: Callable[[Progress], Iterator[Parsed]], progress: Progress) -> None:
        super().__init__(progress)
        self._parts = parts(progress)

    def __iter__(self) -> Iterator[Parsed]:
        return self._parts


@dataclass(frozen=True, slots=True)
class WideChunk:
    """Windows of a wide file, in its order.

    Args:
        ids: Of each row.
        position: Row number from 1, int64, shape (n,).
        window: Hours (oldest first) by columns of the ring by rows, NaN where missing, float32, (history, columns, n).
        target: Value to forecast, NaN where absent, float32, shape (n,).
        group: Location of each row, "" where the file has none.
        rejected: The other rows.
        values: What became of the values of sound rows, by channel; a truth counts among those of the target.
    """

    ids: tuple[str, ...]
    position: Longs
    window: Floats
    target: Floats
    group: tuple[str, ...]
    rejected: Sequence[Rejection]
    values: Values = field(default_factory=dict)


class WideTable(_TableFacts):
    """A file whose rows carry a whole window each, as an iterable of chunks; it is read once, while iterating."""

    def __init__(
        self,
        parts: Callable[[Progress], Iterator[WideChunk]],
        progress: Progress,
        *,
        has_target: bool,
        has_groups: bool,
    ) -> None:
        super().__init__(progress)
        self._parts = parts(progress)
        self.has_target = has_target
        self.has_groups = has_groups

    def __iter__(self) -> Iterator[WideChunk]:
        return self._parts
