"""Delta tables at an address: appends with application transactions, versions, reading, merging of small files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.adapters.lake.delta import writes as delta_writes
from shared.adapters.lake.delta.errors import translated
from shared.adapters.lake.delta.files import View
from shared.adapters.lake.delta.storage_options import Options
from shared.errors import StateConflict
from shared.ports import Advance

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

# old versions stay readable as long as their files do: the log itself is hardly ever cut
CONFIGURATION = {"delta.logRetentionDuration": "interval 3650 days"}
MERGE = "merge"
DAY_H = 24


@dataclass
class DeltaTables:
    """Delta tables beside each other, made of files whose names are their checksums.

    Args:
        uri: Where they are: `az://container` or a folder.
        options: How to reach it; not needed for a folder.
    """

    uri: str
    options: Options = dict
    _held: dict[str, DeltaTable] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def opened(self, table: str, version: int | None = None) -> View | None:
        """A table as it is now or was at a version, None when there is none.

        Raises:
            ContractBroken: The version does not exist, or the table's log is damaged.
        """
        with translated(table, version):
            found = self._open(table, version)
            return None if found is None else View.of(table, found)

    def transactions(self, table: str, apps: Sequence[str]) -> dict[str, int]:
        """Where application transactions of a table stand now; those that do not exist are left out."""
        with translated(table, None):
            found = self._open(table, None)
            places = {} if found is None else {app: found.transaction_version(app) for app in apps}
            return {app: place for app, place in places.items() if place is not None}

    def refresh(self, table: str, schema: pa.Schema) -> DeltaTable:
        """Look again at a table, which is made if it is not there; appends build on what is seen here."""
        import pyarrow as pa
        from deltalake import DeltaTable, Schema

        with self._lock, translated(table, None):
            found = self._open(table, None)
            if found is None:
                found = DeltaTable.create(
                    self._at(table),
                    schema=schema,
                    mode="ignore",
                    partition_by=["date"],
                    configuration=CONFIGURATION,
                    storage_options=dict(self.options()),
                )
            known = {column.name for column in found.schema().fields}
            missing = [field for field in schema if field.name not in known]
            if missing:  # a channel was added to the scenario
                found.alter.add_columns(list(Schema.from_arrow(pa.schema(missing)).fields))
                found.update_incremental()
            self._held[table] = found
            return found

    def append(self, table: str, rows: pa.Table, advances: Sequence[Advance]) -> None:
        """Append rows and move application transactions on, all or nothing.

        Raises:
            StateConflict: A transaction is not where its advance begins: somebody else appended these rows.
        """
        with self._lock, translated(table, None):
            held = self._held[table]
            actions = delta_writes.write(held, rows)
            self._commit(table, held, actions, rows.schema, advances)
            held.update_incremental()

    def merge(self, table: str, before_day: int) -> int:
        """Merge the small files of days before `before_day`; returns how many files went.

        Raises:
            StateConflict: Somebody else merges at the same time.
        """
        import pyarrow as pa

        with translated(table, None):
            found = self._open(table, None)
            if found is None:
                return 0
            view, gone = View.of(table, found), 0
            for small in delta_writes.together(delta_writes.small(view.files, before_day)):
                rows = pa.concat_tables(list(view.contents(small)), promote_options="default")  # a channel may be new
                before = found.transaction_version(MERGE)
                advance = Advance(MERGE, before, (before or 0) + 1)  # two that merge the same files at once: one wins
                actions = [*delta_writes.removed(small), *delta_writes.write(found, rows, data_change=False)]
                self._commit(table, found, actions, rows.schema, [advance])
                found.update_incremental()
                gone += len(small)
            return gone

    def vacuum(self, table: str, retain_h: int, keep: Sequence[int] = ()) -> int:
        """Delete files that no version of the last hours needs, nor any version to keep; returns how many."""
        with translated(table, None):
            found = self._open(table, None)
            if found is None:
                return 0
            there = [version for version in keep if version <= found.version()]
            gone = found.vacuum(
                retain_h,
                dry_run=False,
                enforce_retention_duration=False,
                full=retain_h >= DAY_H,  # files of runs that died too, but none that a run is about to name
                keep_versions=there or None,
            )
            return len(gone)

    def _commit(
        self, table: str, held: DeltaTable, actions: list[Any], schema: pa.Schema, advances: Sequence[Advance]
    ) -> None:
        """One entry of the log, refused when it does not build on the transactions as `held` shows them."""
        from deltalake import CommitProperties, Transaction

        for advance in advances:
            found = held.transaction_version(advance.app)
            if found != advance.before:
                raise StateConflict(f"lake {table}: {advance.app} is at {found}, not at {advance.before}")
        moved = [Transaction(advance.app, advance.after) for advance in advances]
        held.create_write_transaction(
            actions, "append", schema, partition_by=["date"], commit_properties=CommitProperties(app_transactions=moved)
        )

    def _open(self, table: str, version: int | None) -> DeltaTable | None:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(self._at(table), version=version, storage_options=dict(self.options()))
        except TableNotFoundError:
            if version is not None:
                raise
            return None

    def _at(self, table: str) -> str:
        return f"{self.uri.rstrip('/')}/{table}"
