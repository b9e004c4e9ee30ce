"""The lake: everything committed, in Delta tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from shared.adapters.lake import rows as lake_rows
from shared.adapters.lake import schema
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.lake.commit_rows import rows_of
from shared.adapters.lake.delta.files import View
from shared.adapters.lake.delta.storage_options import Options
from shared.adapters.lake.delta.tables import DeltaTables
from shared.adapters.lake.schema import COMMITS, PREDICTIONS, READINGS, TABLES
from shared.core.stream.commit import Commit
from shared.core.stream.events import Batch
from shared.core.task.task import Task
from shared.errors import ContractBroken
from shared.ports import Advance, LakeRows

if TYPE_CHECKING:
    import pyarrow as pa

CONTAINER_URI = "az://lake"
MANY = 2**62
NamedCommit = tuple[str, Commit]
Dispositions = npt.NDArray[np.uint8]


class DeltaLake:
    """The tables of one task.

    Args:
        task: Says what rows, answers and labels hold.
        uri: `az://container`, or a folder.
        options: From `delta/storage_options.py`; not needed for a folder.
        group_rows: About how many rows `stored` holds at once.
    """

    tables = TABLES

    def __init__(
        self, task: Task, uri: str = CONTAINER_URI, options: Options = dict, *, group_rows: int = 100_000
    ) -> None:
        self.delta, self.group_rows, self.files = DeltaTables(uri, options), group_rows, ParquetFiles(task)

    @cached_property
    def _schemas(self) -> dict[str, pa.Schema]:
        return schema.schemas(self.files.task)

    def rows(self, name: str, raw: bytes, predictions: Callable[[str], bytes]) -> LakeRows:
        """A commit's rows."""
        return rows_of(self.files, name, raw, predictions)

    def reached(self, table: str, apps: Sequence[str]) -> dict[str, int]:
        """Where application transactions stand, looked at anew; those that do not exist are left out."""
        found = self.delta.refresh(table, self._schemas[table])
        return {app: place for app in apps if (place := found.transaction_version(app)) is not None}

    def append(self, table: str, rows: Sequence[LakeRows], advances: Sequence[Advance]) -> bool:
        """Append commits' rows to a table and move transactions on, all or nothing; False when there are no rows."""
        import pyarrow as pa

        joined = pa.concat_tables([item.tables[table] for item in rows]) if rows else ()
        if len(joined):
            self.delta.append(table, joined, advances)
        return len(joined) > 0

    def version(self) -> int | None:
        """Version of the readings, which names a dataset; None without a lake."""
        found = self.delta.opened(READINGS)
        return None if found is None else found.version

    def dataset(self) -> tuple[int, int] | None:
        """Version of the readings and how many there are, from the table's log alone; None without a lake."""
        found = self.delta.opened(READINGS)
        return None if found is None else (found.version, sum(file.rows for file in found.files))

    def commits(self, partition: int, start: tuple[int, int] = (0, 0)) -> list[NamedCommit]:
        """A partition's commits that are in the lake, from an epoch and sequence number on, with names, in order."""
        view = self.delta.opened(COMMITS)
        if view is None:
            return []
        bounds = {"partition": (partition, partition), "epoch": (start[0], MANY)}
        found = [pair for rows in view.read(bounds) for pair in _decoded(rows)]
        found = [pair for pair in found if (pair[1].epoch, pair[1].first) >= start]
        return sorted(found, key=lambda pair: (pair[1].epoch, pair[1].first))

    def stored(self, commits: Sequence[NamedCommit]) -> Iterator[tuple[Commit, Batch, dict[str, Any] | None]]:
        """Commits with batch and predictions, a bounded number of rows at a time."""
        for commit, batch, _, predictions in self._rows(commits):
            yield commit, batch, predictions

    def recounted(self, commits: Sequence[NamedCommit]) -> Iterator[tuple[Commit, Batch, Dispositions]]:
        """Commits with batch and what became of each reading; their predictions are counted too."""
        for commit, batch, readings, _ in self._rows(commits):
            yield commit, batch, lake_rows.dispositions_of(readings)

    def _rows(self, commits: Sequence[NamedCommit]) -> Iterator[tuple[Commit, Batch, pa.Table, dict[str, Any] | None]]:
        views = {table: self.delta.opened(table) for table in (READINGS, PREDICTIONS)}
        for group in _groups([commit for _, commit in commits], self.group_rows):
            readings, predictions = (self._ranged(table, view, group) for table, view in views.items())
            for commit in group:
                rows = lake_rows.within(readings, commit)
                batch = lake_rows.batch_of(self.files, commit, rows)
                made = lake_rows.within(predictions, commit)
                yield commit, batch, rows, lake_rows.predictions_of(self.files, commit, made)

    def merge(self, before_day: int) -> int:
        """Merge small files of the days before one; returns how many files went."""
        return sum(self.delta.merge(table, before_day) for table in TABLES)

    def vacuum(self, retain_h: int, keep: Sequence[int]) -> int:
        """Delete files that no version of the last hours needs, nor a version of the readings to keep."""
        return sum(self.delta.vacuum(table, retain_h, keep if table == READINGS else ()) for table in TABLES)

    def _ranged(self, table: str, view: View | None, group: Sequence[Commit]) -> pa.Table:
        """Rows of commits that follow each other, sorted by sequence number and, if they have one, by position."""
        import pyarrow as pa
        import pyarrow.compute as pc

        head = group[0]
        bounds = {
            "partition": (head.partition, head.partition),
            "epoch": (head.epoch, head.epoch),
            "sequence_number": (head.first, group[-1].next - 1),
        }
        pieces = [] if view is None else list(view.read(bounds))
        found = pa.concat_tables([self._schemas[table].empty_table(), *pieces], promote_options="default")
        order = [("sequence_number", "ascending"), ("position", "ascending")]
        keys = [key for key in order if key[0] in found.column_names]
        return found.take(pc.sort_indices(found, sort_keys=keys)) if keys else found


def _decoded(rows: pa.Table) -> list[NamedCommit]:
    try:
        return lake_rows.commits_of(rows)
    except msgspec.DecodeError as error:
        raise ContractBroken(f"lake {COMMITS}: not a commit's metadata: {error}") from error


def _groups(commits: Iterable[Commit], limit: int) -> Iterator[list[Commit]]:
    """Commits of the same partition and epoch that together hold about as many rows as memory may."""
    group: list[Commit] = []
    held = 0
    for commit in commits:
        rows = lake_rows.readings_in(commit) + commit.counts["predictions"]
        other = bool(group) and (group[0].partition, group[0].epoch) != (commit.partition, commit.epoch)
        if group and (other or held + rows > limit):
            yield group
            group, held = [], 0
        group.append(commit)
        held += rows
    if group:
        yield group
