"""The seam between the loop and a task: all that the loop may know of what is asked, answered and learned.

The loop moves rows of devices (any named entities) in batches, asks models for answers, waits for labels, and counts
both by as-of day. What a row holds, when an answer is due, when its label is final and what an error costs is the
task's. An as-of hour is the hour, since 1970, that an answer speaks from; together with its device it names the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from shared.core.intake.readings import Array, Codes, Floats, Ints, Longs, Mask, Readings
from shared.core.model.answers import Labels, Predictions
from shared.core.model.feature import Feature
from shared.core.model.manifest import Manifest
from shared.core.model.scoring import Control, Scorer
from shared.core.profile.bins import Edges, Watched
from shared.core.profile.device_table import DeviceTable
from shared.core.scenario import Scenario
from shared.core.stream.events import Batch


class Column(NamedTuple):
    """A column of rows, answers or labels: hours since 1970 (int64), numbers (float32) or texts."""

    name: str
    kind: Literal["hour", "number", "text"]


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


class Losses(Protocol):
    """Sums of losses as whole numbers, so that no order of adding changes them: their names, and what they say."""

    @property
    def unit(self) -> float:
        """What 1 stands for in a sum of losses."""

    @property
    def totals(self) -> tuple[str, ...]:
        """Names of a source's sums: the dispositions, `forecasts` and `matured` among them."""

    @property
    def daily(self) -> tuple[str, ...]:
        """Names of a file's sums by day, `rows` and `forecasts` among them."""

    @property
    def errors(self) -> tuple[str, ...]:
        """Names of the sums over labelled answers; the first counts them."""

    @property
    def pairs(self) -> tuple[str, ...]:
        """Names of the sums over paired answers: their count, then the losses a rollout compares, champion's first."""

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the scores that a person asks for first."""

    def scores(self, sums: Longs, unit: float) -> dict[str, float]:
        """What sums of `errors`, counted in a unit, say; NaN where nothing is known."""

    def file_scores(self, totals: Mapping[str, int]) -> dict[str, float | None]:
        """What a file's totals say, for its summary; None where nothing is known."""

    def day_scores(self, daily: Mapping[str, int]) -> dict[str, float | None]:
        """Likewise of a file's sums of one day."""


@dataclass(frozen=True, slots=True)
class Words:
    """How pages speak of a task.

    Args:
        title: What is answered, such as "River level a day ahead".
        unit: Unit of the answers.
    """

    title: str
    unit: str


class Task(Protocol):
    """One use case. Methods change nothing but what `Outcome.put` is given; equal inputs give equal bytes."""

    @property
    def scenario(self) -> Scenario:
        """What a person declared of it."""

    # -- rows -----------------------------------------------------------------------------------------------------

    @property
    def row(self) -> tuple[Column, ...]:
        """What a reading holds beside device and time, in the order in which events and commits carry it."""

    # -- the fold of a batch --------------------------------------------------------------------------------------

    @property
    def rules(self) -> list[str]:
        """What the numbers in a state rest on: under other rules they would mean something else."""

    def empty(self, partition: int) -> State:
        """The state before the first event."""

    def step(self, state: State, batch: Batch, control: Control, scorer: Scorer) -> Outcome:
        """Fold one batch and answer what becomes due.

        Args:
            state: The partition before the batch; left as it is.
            batch: Events from `state.next` on.
            control: Who answers, and which devices are in quarantine.
            scorer: Gives the answers.
        """

    def snapshot(self, state: State) -> Callable[[], bytes]:
        """A copy of a state, made now; called, it gives the bytes, which takes a while."""

    def restore(self, raw: bytes) -> State:
        """The state that a snapshot holds.

        Raises:
            ContractBroken: Not a snapshot, damaged, of another format, or of a task with other rules.
        """

    def newest_hour(self, state: State) -> int:
        """Newest hour of any device, `NO_HOUR` before the first."""

    # -- features -------------------------------------------------------------------------------------------------

    @property
    def features(self) -> tuple[Feature, ...]:
        """All features, in the order of the matrix's columns."""

    def matrix(self, window: Floats, as_of: Longs) -> Floats:
        """Features of rows that bring their own inputs, float32, shape (n, features).

        Args:
            window: Inputs of each, shape (rows, columns, n) as in `scoring.Inputs`.
            as_of: Their as-of hours, negative where unknown, shape (n,).
        """

    def behind(self, minute: Longs, as_of: int) -> Mask:
        """Which of a device's readings an answer may rest on, or was made due by, shape (n,)."""

    # -- answers --------------------------------------------------------------------------------------------------

    @property
    def answer(self) -> tuple[Column, ...]:
        """Columns of an answer, `as_of` first: hours, then numbers (what is answered first), then texts."""

    def answers(self, manifest: Manifest, raw: Floats) -> dict[str, Floats]:
        """Number columns of answers from a model's outputs, as its package says to read them.

        Raises:
            ContractBroken: An output is not a finite number.
        """

    def answered(self, as_of: Longs, numbers: Mapping[str, Floats]) -> dict[str, Array | list[str]]:
        """All columns of answers, in the order of `answer`."""

    # -- labels ---------------------------------------------------------------------------------------------------

    @property
    def label(self) -> tuple[Column, ...]:
        """Number columns that stand beside the answer's once its label is final."""

    @property
    def delay_h(self) -> int:
        """Hours behind the newest one from which on every label is final."""

    def target_hour(self, as_of: Longs) -> Longs:
        """Hours whose readings hold the truth."""

    def truths(self, readings: Readings, devices: Sequence[str], device: Ints, as_of: Longs) -> Floats:
        """The truth of answers from applied readings, NaN where there is none, float32, shape (n,).

        Args:
            readings: All readings of the target hours, in the order in which the first of a minute is told.
            devices: Device ids.
            device: Index into `devices`, shape (n,).
            as_of: As-of hours, shape (n,).
        """

    # -- losses, watching, pages ----------------------------------------------------------------------------------

    @property
    def losses(self) -> Losses:
        """What errors cost."""

    @property
    def watched(self) -> Watched:
        """Features whose distribution is followed."""

    @property
    def answer_edges(self) -> Edges:
        """Edges of the bins in which answers are counted, shape (CELLS,)."""

    @property
    def device_columns(self) -> tuple[str, ...]:
        """Columns of the device table."""

    def device_table(self, state: State) -> Callable[[], DeviceTable]:
        """A copy of what the devices were like lately, made now; called, it gives the table."""

    @property
    def words(self) -> Words:
        """How pages speak of it."""


def names_of(columns: Sequence[Column], *kinds: str) -> tuple[str, ...]:
    """Names of columns, of all or of those of some kinds."""
    return tuple(column.name for column in columns if not kinds or column.kind in kinds)
