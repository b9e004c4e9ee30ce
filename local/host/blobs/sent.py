"""What a blob trigger sends: the whole blob, and what the store says of it."""

import json
import urllib.parse
from typing import Any

from azure.functions.meta import Datum
from azure.storage.blob import BlobProperties

from local.host.worker.worker import Sent


def sent(body: bytes, blob: str, uri: str, found: BlobProperties) -> Sent:
    """A blob as the host sends it to a worker.

    Args:
        body: All its bytes.
        blob: "container/name".
        uri: Its address.
        found: What the store says of it.
    """
    metadata = {
        "BlobTrigger": Datum(blob, "string"),
        "Uri": Datum(json.dumps(uri), "json"),
        "Properties": Datum(json.dumps(_properties(found)), "json"),
        "Metadata": Datum(json.dumps(found.metadata or {}), "json"),
    }
    return Sent(Datum(body, "bytes"), metadata)


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
