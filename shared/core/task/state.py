"""What a task keeps of a partition, and what a batch changes in it, as far as the loop may know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shared.core.intake.readings import Codes, Longs
from shared.core.model.answers import Labels, Predictions
from shared.core.stream.events import Batch


class Tally(Protocol):
    """What one source brought; sums are named by `Losses.totals` and, by day, `Losses.daily`."""

    totals: Longs
    daily: dict[int, Longs]
    first_hour: int
    last_hour: int


class State(Protocol):
    """What a partition knows: rebuilt by folding its commits. Models are counted by their index in `models`.

    Attributes:
        partition: Number of the partition.
        epoch: How often the hub was created anew.
        next: Sequence number of the first event not yet folded.
        enqueued_ms: Enqueued time of the newest folded event, milliseconds since 1970.
        expired: Events that neither a commit nor the hub could give back.
        version: Version of its scenario that its numbers are of.
        devices: Ids in the order of their first reading.
        models: Versions that gave answers here.
        sources: What each source brought.
        errors: Sums over labelled answers by (as-of day, role, model), named by `Losses.errors`.
        pairs: Sums over answers of both roles by (as-of day, champion, challenger), named by `Losses.pairs`.
        histograms: Bins of the watched features behind labelled answers by as-of day, shape (W, CELLS).
        forecasts: Bins of labelled answers by (as-of day, role, model), shape (CELLS,).
    """

    partition: int
    epoch: int
    next: int
    enqueued_ms: int
    expired: int
    version: int
    devices: list[str]
    models: list[str]
    errors: dict[tuple[int, int, int], Longs]
    pairs: dict[tuple[int, int, int], Longs]
    histograms: dict[int, Longs]
    forecasts: dict[tuple[int, int, int], Longs]

    @property
    def sources(self) -> Mapping[str, Tally]:
        """What each source brought."""


class Outcome(Protocol):
    """What a batch changes, as a value; `disposition` is the index into `DISPOSITIONS` of each of its rows."""

    @property
    def batch(self) -> Batch: ...  # noqa: D102
    @property
    def disposition(self) -> Codes: ...  # noqa: D102
    @property
    def predictions(self) -> Predictions: ...  # noqa: D102
    @property
    def matured(self) -> Labels: ...  # noqa: D102

    def counts(self) -> dict[str, int]:
        """Rows by what became of them; `arrived` leaves redelivered ones out."""

    def put(self, state: State) -> None:
        """Write the change into the state it was made from; the batch has been committed."""
