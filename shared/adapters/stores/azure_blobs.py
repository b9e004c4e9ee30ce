"""Blobs in Azure Storage, or in Azurite."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from shared.errors import ConfigError, StateConflict, TransientFailure
from shared.ports import BlobInfo

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties, BlobServiceClient, StorageStreamDownloader

CHUNK_BYTES = 4 * 1024 * 1024
# seconds; the client's own first pause of 15 s would stall a partition for every hiccup
PATIENCE = {"initial_backoff": 1, "increment_base": 2, "random_jitter_range": 1}
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SHORTHAND = "UseDevelopmentStorage=true"
# what every other Azure SDK makes of the shorthand; not a secret: the account and key that every Azurite has
DEVELOPMENT = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
)


class AzureBlobs:
    """Blobs of one storage account; its containers are there already.

    Args:
        service: The account's client.
    """

    def __init__(self, service: BlobServiceClient) -> None:
        self._service = service

    @classmethod
    def connect(cls, connection: str | None, account_url: str | None) -> AzureBlobs:
        """Blobs behind a connection string (local), or behind an account's address and the app's own identity.

        Raises:
            ConfigError: The connection string is not one.
        """
        from azure.storage.blob import BlobServiceClient

        sizes: dict[str, Any] = {"max_single_put_size": 8 * CHUNK_BYTES, "max_chunk_get_size": CHUNK_BYTES}
        # without proxies there is nothing to look for in the environment, which would cost a tenth of each request
        sizes |= {"max_single_get_size": CHUNK_BYTES, "use_env_settings": _has_network_settings(), **PATIENCE}
        if connection:
            full = DEVELOPMENT if connection.strip("; ") == SHORTHAND else connection
            try:
                return cls(BlobServiceClient.from_connection_string(full, **sizes))
            except ValueError as error:
                raise ConfigError(f"STORAGE: {error}") from error
        from azure.identity import DefaultAzureCredential

        return cls(BlobServiceClient(str(account_url), credential=DefaultAzureCredential(), **sizes))

    def read(self, container: str, name: str) -> bytes | None:
        """A blob's content, None when there is none."""
        found = self.read_changed(container, name, None)
        return None if found is None else found[0]

    def read_changed(self, container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:
        """Content and ETag, None when the blob is missing or still has `etag`."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        condition: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfModified} if etag else {}
        with _translated(container, name):
            try:
                loader = self._blob(container, name).download_blob(**condition)
                return loader.readall(), str(loader.properties.etag)
            except ResourceNotFoundError:
                return None
            except HttpResponseError as error:
                if error.status_code == 304:
                    return None
                raise

    def write(self, container: str, name: str, data: bytes) -> None:
        """Write a blob, replacing what was there."""
        with _translated(container, name):
            self._blob(container, name).upload_blob(data, overwrite=True)

    def create(self, container: str, name: str, data: bytes) -> bool:
        """Write a blob that must not exist yet; False when it does."""
        from azure.core.exceptions import ResourceExistsError

        with _translated(container, name):
            try:
                self._blob(container, name).upload_blob(data, overwrite=False)
            except ResourceExistsError:
                return False
            return True

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        """Write a blob only if it still has `etag` (None: only if there is none); returns the new ETag."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

        condition: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
        with _translated(container, name):
            try:
                done = self._blob(container, name).upload_blob(data, overwrite=etag is not None, **condition)
            except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError) as error:
                raise StateConflict(f"{container}/{name} was changed by somebody else") from error
            return str(done["etag"])

    def names(self, container: str, prefix: str = "") -> list[str]:
        """Names that begin with `prefix`, sorted."""
        with _translated(container, prefix):
            return sorted(
                self._service.get_container_client(container).list_blob_names(name_starts_with=prefix or None)
            )

    def delete(self, container: str, name: str) -> None:
        """Remove a blob; nothing happens when there is none."""
        from azure.core.exceptions import ResourceNotFoundError

        with _translated(container, name):
            try:
                self._blob(container, name).delete_blob()
            except ResourceNotFoundError:
                return

    def info(self, container: str, name: str) -> BlobInfo | None:
        """A blob's properties, None when there is none."""
        from azure.core.exceptions import ResourceNotFoundError

        with _translated(container, name):
            try:
                found = self._blob(container, name).get_blob_properties()
            except ResourceNotFoundError:
                return None
        return _info(found)

    def listed(self, container: str, prefix: str = "") -> list[tuple[str, BlobInfo]]:
        """Names that begin with `prefix`, and these blobs' properties, sorted by name."""
        with _translated(container, prefix):
            client = self._service.get_container_client(container)
            found = client.list_blobs(name_starts_with=prefix or None, include=["metadata"])
            return sorted(((str(each.name), _info(each)) for each in found), key=lambda one: one[0])

    @contextmanager
    def open(self, container: str, name: str, etag: str) -> Iterator[BinaryIO]:
        """A blob's content as a stream, a few megabytes at a time."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        with _translated(container, name):
            try:
                loader = self._blob(container, name).download_blob(
                    etag=etag, match_condition=MatchConditions.IfNotModified
                )
            except (ResourceModifiedError, ResourceNotFoundError) as error:
                raise StateConflict(f"{container}/{name} no longer has ETag {etag}") from error
        yield io.BufferedReader(_Download(loader, container, name), CHUNK_BYTES)

    def _blob(self, container: str, name: str) -> Any:
        return self._service.get_blob_client(container, name)


class _Download(io.RawIOBase):
    """A download as a raw stream, so that readers pull it piece by piece."""

    def __init__(self, loader: StorageStreamDownloader[bytes], container: str, name: str) -> None:
        self._chunks = iter(loader.chunks())
        self._rest = memoryview(b"")
        self._where = container, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not len(self._rest):
            with _translated(*self._where):
                piece = next(self._chunks, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _info(found: BlobProperties) -> BlobInfo:
    modified = int(found.last_modified.timestamp() * 1000)
    return BlobInfo(_quoted(str(found.etag)), int(found.size), modified, dict(found.metadata or {}))


def _quoted(etag: str) -> str:
    """A listing gives ETags without the quotes that they have everywhere else."""
    return etag if etag.startswith('"') else f'"{etag}"'


def _has_network_settings() -> bool:
    """Whether the environment names a proxy or certificates of its own."""
    from urllib.request import getproxies

    return bool(getproxies() or any(os.environ.get(name) for name in CERTIFICATES))


@contextmanager
def _translated(container: str, name: str) -> Iterator[None]:
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        raise TransientFailure(f"blob store: {container}/{name}: {type(error).__name__}") from error
