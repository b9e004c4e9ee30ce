"""The seam between the loop and a task: all that the loop may know of what is asked, answered and learned.

The loop moves rows of devices (any named entities) in batches, asks models for answers, waits for labels, and counts
both by as-of day. What a row holds, when an answer is due, when its label is final and what an error costs is the
task's. An as-of hour is the hour, since 1970, that an answer speaks from; together with its device it names the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from shared.core.intake.readings import Array, Floats, Ints, Longs, Mask, Readings
from shared.core.model.feature import Feature
from shared.core.model.manifest import Manifest
from shared.core.model.scoring import Control, Scorer
from shared.core.profile.bins import Edges, Watched
from shared.core.profile.device_table import DeviceTable
from shared.core.scenario import Scenario
from shared.core.stream.events import Batch
from shared.core.task.losses import Losses
from shared.core.task.state import Outcome, State


class Column(NamedTuple):
    """A column of rows, answers or labels: hours since 1970 (int64), numbers (float32) or texts."""

    name: str
    kind: Literal["hour", "number", "text"]


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

    # -- versions of the scenario, see `shared.core.task.versions` ------------------------------------------------

    @property
    def version(self) -> int:
        """How often a store's scenario was edited so that its numbers mean something else."""

    @property
    def before(self) -> Task | None:
        """The task under the version before, None for the first."""

    def under(self, scenario: Scenario, before: Task | None) -> Task:
        """The same task under a version of its scenario, with the version before that."""

    def carry(self, state: State, before: Task) -> None:
        """Make a state of the version before one of this version, in place; what cannot be kept is missing."""

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
