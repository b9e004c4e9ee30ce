"""Delta tables at an address: appends with application transactions, versions, reading, merging of small files."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from shared.adapters import lake_schema
from shared.adapters.azure_blobs import DEVELOPMENT, SHORTHAND
from shared.errors import ConfigError, ContractBroken, StateConflict, TransientFailure
from shared.ports import Advance

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

Options = Callable[[], Mapping[str, str]]
SCOPE = "https://storage.azure.com/.default"
QUERY = re.compile(r"\?\S*")  # an address may carry a signature
# old versions stay readable as long as their files do: the log itself is hardly ever cut
CONFIGURATION = {"delta.logRetentionDuration": "interval 3650 days"}
READ_ROWS = 65_536


def storage_options(connection: str | None, account_url: str | None) -> Options:
    """What deltalake needs to reach a storage account; asked again whenever a table is opened, for tokens end.

    Args:
        connection: Connection string (local).
        account_url: Otherwise the address of the blob service, reached with the app's own identity.

    Raises:
        ConfigError: The connection string lacks the account's name, or a key or signature.
    """
    if not connection:
        return _Token(str(account_url))
    full = DEVELOPMENT if connection.strip("; ") == SHORTHAND else connection
    parts = {name.strip().lower(): value for name, _, value in (part.partition("=") for part in full.split(";"))}
    account = parts.get("accountname", "")
    suffix = parts.get("endpointsuffix", "core.windows.net")
    protocol = parts.get("defaultendpointsprotocol", "https")
    endpoint = parts.get("blobendpoint", f"{protocol}://{account}.blob.{suffix}").rstrip("/")
    account = account or urlsplit(endpoint).netloc.partition(".")[0]
    secrets = {"azure_storage_account_key": "accountkey", "azure_storage_sas_key": "sharedaccesssignature"}
    secret = {option: parts[part] for option, part in secrets.items() if parts.get(part)}
    if not account or not secret:
        raise ConfigError("STORAGE: needs AccountName and AccountKey, or BlobEndpoint and SharedAccessSignature")
    found = {"azure_storage_account_name": account, **secret, **_endpoint(endpoint)}
    return lambda: found


def _endpoint(address: str) -> dict[str, str]:
    plain = {"allow_http": "true"} if address.startswith("http://") else {}
    return {"azure_storage_endpoint": address.rstrip("/"), **plain}


@dataclass
class _Token:
    """A token of the app's own identity, whichever azure-identity finds: managed identity, environment, Azure CLI."""

    account_url: str
    _credential: Any = None

    def __call__(self) -> Mapping[str, str]:
        from azure.core.exceptions import AzureError
        from azure.identity import DefaultAzureCredential

        self._credential = self._credential or DefaultAzureCredential()
        try:
            token = self._credential.get_token(SCOPE).token
        except AzureError as error:
            raise TransientFailure(f"lake: no token for {self.account_url}: {type(error).__name__}") from error
        account = urlsplit(self.account_url).netloc.partition(".")[0]
        return {"azure_storage_account_name": account, "azure_storage_token": token, **_endpoint(self.account_url)}


@dataclass
class DeltaTables:
    """Delta tables beside each other.

    Args:
        uri: Where they are: `az://container` or a folder.
        options: How to reach it; not needed for a folder.
    """

    uri: str
    options: Options = dict
    _held: dict[str, DeltaTable] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def opened(self, table: str, version: int | None = None) -> DeltaTable | None:
        """A table as it is now or was at a version, None when there is none.

        Raises:
            ContractBroken: The version does not exist, or the table's log is damaged.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        with self._translated(table, version):
            try:
                return DeltaTable(self._at(table), version=version, storage_options=dict(self.options()))
            except TableNotFoundError:
                if version is not None:
                    raise
                return None

    def refresh(self, table: str, schema: pa.Schema) -> DeltaTable:
        """Look again at a table, which is made if it is not there; appends build on what is seen here."""
        from deltalake import DeltaTable

        with self._lock:
            found = self.opened(table)
            if found is None:
                with self._translated(table, None):
                    found = DeltaTable.create(
                        self._at(table),
                        schema=schema,
                        mode="ignore",
                        partition_by=["date"],
                        configuration=CONFIGURATION,
                        storage_options=dict(self.options()),
                    )
            self._held[table] = found
            return found

    def append(self, table: str, rows: pa.Table, advances: Sequence[Advance]) -> int:
        """Append rows and move application transactions on, all or nothing; returns the new version.

        Raises:
            StateConflict: A transaction is not where its advance begins: somebody else appended these rows.
        """
        from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake

        with self._lock, self._translated(table, None):
            held = self._held[table]
            for advance in advances:
                found = held.transaction_version(advance.app)
                if found != advance.before:
                    raise StateConflict(f"lake {table}: {advance.app} is at {found}, not at {advance.before}")
            write_deltalake(
                held,
                rows,
                mode="append",
                schema_mode="merge",  # a channel added to the scenario becomes a new column
                writer_properties=WriterProperties(compression="ZSTD"),
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(advance.app, advance.after) for advance in advances]
                ),
            )
            return int(held.version())

    def read(self, opened: DeltaTable, table: str, where: Any = None) -> Iterator[pa.Table]:
        """Rows of an opened table in pieces, each row checked.

        Args:
            opened: The table.
            table: Its name, for messages.
            where: A pyarrow expression.

        Raises:
            ContractBroken: A file is gone or damaged; the message names it.
        """
        import pyarrow as pa

        version = opened.version()
        with self._translated(table, version):
            dataset = opened.to_pyarrow_dataset()
            columns = [*dataset.schema.names, "__filename"]
            for batch in dataset.to_batches(filter=where, columns=columns, batch_size=READ_ROWS):
                rows = pa.table(batch)
                wrong = lake_schema.broken(rows.drop_columns(["__filename"]))
                if len(wrong):
                    name = rows["__filename"][int(wrong[0])].as_py()
                    raise ContractBroken(
                        f"lake {table}@{version}: {len(wrong)} rows of {name} are not what was written"
                    )
                yield rows.drop_columns(["__filename"])

    def rows_by_day(self, opened: DeltaTable, table: str) -> dict[int, int]:
        """Rows that the log says there are, by day since 1970."""
        import pyarrow as pa

        with self._translated(table, opened.version()):
            files = pa.table(opened.get_add_actions(flatten=True))
            days = files["partition.date"].cast(pa.date32()).cast(pa.int32()).to_numpy()
            found, place = np.unique(days, return_inverse=True)
            rows = np.bincount(place, files["num_records"].to_numpy(), minlength=len(found)).astype(np.int64)
            return dict(zip(found.tolist(), rows.tolist(), strict=True))

    def merge(self, table: str, before_day: int) -> int:
        """Merge the small files of days before `before_day`; returns how many files went."""
        import pyarrow as pa
        from deltalake import WriterProperties

        found = self.opened(table)
        if found is None:
            return 0
        with self._translated(table, found.version()):
            dates = pa.table(found.get_add_actions(flatten=True))["partition.date"].to_pylist()
            limit = pa.scalar(before_day, pa.int32()).cast(pa.date32()).as_py()
            small = [date.isoformat() for date in sorted(set(dates)) if dates.count(date) > 1 and date < limit]
            if not small:
                return 0
            done = found.optimize.compact(
                partition_filters=[("date", "in", small)], writer_properties=WriterProperties(compression="ZSTD")
            )
            return int(done["numFilesRemoved"])

    def vacuum(self, table: str, retain_h: int, keep: Sequence[int] = ()) -> int:
        """Delete files that no version of the last hours needs, nor any version to keep; returns how many."""
        found = self.opened(table)
        if found is None:
            return 0
        with self._translated(table, found.version()):
            there = [version for version in keep if version <= found.version()]
            gone = found.vacuum(retain_h, dry_run=False, enforce_retention_duration=False, keep_versions=there or None)
            return len(gone)

    def _at(self, table: str) -> str:
        return f"{self.uri.rstrip('/')}/{table}"

    @contextmanager
    def _translated(self, table: str, version: int | None) -> Iterator[None]:
        import pyarrow as pa
        from deltalake.exceptions import CommitFailedError, DeltaError

        where = f"lake {table}" if version is None else f"lake {table}@{version}"
        try:
            yield
        except CommitFailedError as error:
            raise StateConflict(f"{where}: {_said(error)}") from error
        except (FileNotFoundError, pa.ArrowInvalid, DeltaError) as error:
            raise ContractBroken(f"{where}: {_said(error)}") from error
        except (OSError, pa.ArrowException) as error:
            raise TransientFailure(f"{where}: {_said(error)}") from error


def _said(error: Exception) -> str:
    """The first lines of a message, in one, without colours and query strings."""
    text = re.sub(r"\x1b\[\d+m|\s+", " ", QUERY.sub("", str(error)))
    return f"{type(error).__name__}: {text[:300]}"
