"""The value of a blob trigger: a real `InputStream` whose bytes are fetched when they are read.

The real host sends the whole blob to the worker; a function that opens large blobs with the SDK would pay for them
twice.
"""

import io
import urllib.parse
from typing import Any

from azure.core import MatchConditions
from azure.functions.blob import InputStream
from azure.storage.blob import BlobClient, BlobProperties

from local.host.retry import STORAGE

CHUNK = 4 << 20  # bytes held in memory


class _Remote(io.RawIOBase):
    """A blob's bytes of one version, read from front to back."""

    def __init__(self, client: BlobClient, etag: str) -> None:
        super().__init__()
        self._client = client
        self._etag = etag
        self._download: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._download is None:
            self._download = self._client.download_blob(
                decompress=False, etag=self._etag, match_condition=MatchConditions.IfNotModified
            )
        data = self._download.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class LazyInputStream(InputStream):
    """What a blob-triggered function receives.

    Args:
        storage: Connection string of the account.
        blob: "container/name".
        found: The blob's properties; reading fails once the blob has another ETag.
    """

    def __init__(self, storage: str, blob: str, found: BlobProperties) -> None:
        container, _, name = blob.partition("/")
        client = BlobClient.from_connection_string(
            storage, container, name, max_single_get_size=CHUNK, max_chunk_get_size=CHUNK, **STORAGE
        )
        super().__init__(
            data=b"",
            name=blob,
            length=found.size or None,  # the converter makes 0 None too
            uri=client.url,
            blob_properties=_properties(found),
            metadata=dict(found.metadata or {}),
        )
        self._io = io.BufferedReader(_Remote(client, found.etag), CHUNK)  # type: ignore[assignment]


def _properties(found: BlobProperties) -> dict[str, Any]:
    """Names as in the Functions host's metadata."""
    content = found.content_settings
    return {
        "LastModified": found.last_modified.isoformat(),
        "CreatedOn": found.creation_time.isoformat() if found.creation_time else None,
        "ETag": found.etag,
        "ContentLength": found.size,
        "ContentType": content.content_type,
        "ContentEncoding": content.content_encoding,
        "Metadata": dict(found.metadata or {}),
    }


def blob_of_url(url: str) -> str:
    """Container and name (container/name) of a blob's address, also of an emulator with the account in the path.

    >>> blob_of_url("https://account.blob.core.windows.net/incoming/a%20b/c.csv")
    'incoming/a b/c.csv'
    >>> blob_of_url("http://127.0.0.1:10000/devstoreaccount1/incoming/x.csv")
    'incoming/x.csv'
    """
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.unquote(parts.path.lstrip("/"))
    if (parts.hostname or "") in ("127.0.0.1", "localhost"):
        path = path.partition("/")[2]
    return path
