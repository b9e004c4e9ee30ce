"""Blobs in Azure Storage, or in Azurite."""

from __future__ import annotations

import io
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from shared.adapters.stores.azure_account import CHUNK_BYTES, client_of
from shared.adapters.stores.azure_download import Download, translated, unbroken
from shared.adapters.stores.azure_errors import failure, if_there, is_conflict
from shared.adapters.stores.identity import ANY, Identity
from shared.errors import StateConflict
from shared.ports import BlobInfo

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties, BlobServiceClient, StorageStreamDownloader


class AzureBlobs:
    """Blobs of one storage account.

    Args:
        service: The account's client.
        containers: Those that are made with the first use where they are missing.
    """

    def __init__(self, service: BlobServiceClient, containers: Collection[str] = ()) -> None:
        self._service, self._unseen, self._lock = service, containers, threading.Lock()

    @classmethod
    def connect(
        cls,
        connection: str | None,
        account_url: str | None,
        identity: Identity = ANY,
        containers: Collection[str] = (),
    ) -> AzureBlobs:
        """Blobs behind a connection string (local), or behind an account's address and the app's own identity.

        Raises:
            ConfigError: The connection string is not one.
        """
        return cls(client_of(connection, account_url, identity), containers)

    def furnish(self, containers: Collection[str]) -> None:
        """Make the containers that are not there yet.

        Raises:
            ConfigError: It may not make them; names those that are missing.
            TransientFailure: The store does not answer.
        """
        from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError

        try:
            missing = sorted(set(containers) - {str(each.name) for each in self._service.list_containers()})
        except HttpResponseError as error:
            if error.status_code == 403:  # rights to its containers alone: a missing one is told when it is asked for
                return
            raise failure("blob store", error) from error
        except AzureError as error:
            raise failure("blob store", error) from error
        try:
            for name in missing:
                with suppress(ResourceExistsError):
                    self._service.create_container(name)
        except AzureError as error:
            raise failure(f"blob store: containers {', '.join(missing)} are missing and not made", error) from error

    def read(self, container: str, name: str) -> bytes | None:
        """A blob's content, None when there is none."""
        found = self.read_changed(container, name, None)
        return None if found is None else found[0]

    def read_changed(self, container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:
        """Content and ETag, None when the blob is missing or still has `etag`."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        condition: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfModified} if etag else {}
        with translated(container, name):
            blob = self._blob(container, name)

            def fetch() -> tuple[bytes, str] | None:
                loader = if_there(lambda: blob.download_blob(decompress=False, **condition))
                return None if loader is None else (loader.readall(), str(loader.properties.etag))

            try:
                return unbroken(fetch)
            except HttpResponseError as error:
                if error.status_code == 304:
                    return None
                raise

    def write(self, container: str, name: str, data: bytes) -> None:
        """Write a blob, replacing what was there."""
        with translated(container, name):
            self._blob(container, name).upload_blob(data, overwrite=True)

    def create(self, container: str, name: str, data: bytes) -> bool:
        """Write a blob that must not exist yet; False when it does."""
        from azure.core.exceptions import ResourceExistsError

        with translated(container, name):
            try:
                self._blob(container, name).upload_blob(data, overwrite=False)
            except ResourceExistsError as error:
                if not is_conflict(error):
                    raise
                return False
            return True

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        """Write a blob only if it still has `etag` (None: only if there is none); returns the new ETag."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        condition: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
        with translated(container, name):
            try:
                done = self._blob(container, name).upload_blob(data, overwrite=etag is not None, **condition)
            except HttpResponseError as error:
                if not is_conflict(error):
                    raise
                raise StateConflict(f"{container}/{name} was changed by somebody else") from error
            return str(done["etag"])

    def names(self, container: str, prefix: str = "") -> list[str]:
        """Names that begin with `prefix`, sorted."""
        with translated(container, prefix):
            return sorted(
                self._account().get_container_client(container).list_blob_names(name_starts_with=prefix or None)
            )

    def delete(self, container: str, name: str) -> None:
        """Remove a blob; nothing happens when there is none."""
        with translated(container, name):
            if_there(self._blob(container, name).delete_blob)

    def info(self, container: str, name: str) -> BlobInfo | None:
        """A blob's properties, None when there is none."""
        with translated(container, name):
            found = if_there(self._blob(container, name).get_blob_properties)
        return None if found is None else _info(found)

    def listed(self, container: str, prefix: str = "") -> list[tuple[str, BlobInfo]]:
        """Names that begin with `prefix`, and these blobs' properties, sorted by name."""
        with translated(container, prefix):
            client = self._account().get_container_client(container)
            found = client.list_blobs(name_starts_with=prefix or None, include=["metadata"])
            return sorted(((str(each.name), _info(each)) for each in found), key=lambda one: one[0])

    @contextmanager
    def open(self, container: str, name: str, etag: str) -> Iterator[BinaryIO]:
        """A blob's content as a stream, a few megabytes at a time.

        Bytes come as they are stored, whatever Content-Encoding the blob is labelled with: the client would gunzip
        every piece by itself, so that all but the first are cut or refused.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        version = {"decompress": False, "etag": etag, "match_condition": MatchConditions.IfNotModified}

        def begin(at: int) -> StorageStreamDownloader[bytes]:
            with translated(container, name):
                blob = self._blob(container, name)
                try:
                    return unbroken(lambda: blob.download_blob(offset=at or None, **version))
                except HttpResponseError as error:
                    if not is_conflict(error):
                        raise
                    raise StateConflict(f"{container}/{name} no longer has ETag {etag}") from error

        yield io.BufferedReader(Download(begin), CHUNK_BYTES)

    def _blob(self, container: str, name: str) -> Any:
        return self._account().get_blob_client(container, name)

    def _account(self) -> BlobServiceClient:
        with self._lock:
            if self._unseen:
                self.furnish(self._unseen)
                self._unseen = ()
        return self._service


def _info(found: BlobProperties) -> BlobInfo:
    modified = int(found.last_modified.timestamp() * 1000)
    return BlobInfo(_quoted(str(found.etag)), int(found.size), modified, dict(found.metadata or {}))


def _quoted(etag: str) -> str:
    """A listing gives ETags without the quotes that they have everywhere else."""
    return etag if etag.startswith('"') else f'"{etag}"'
