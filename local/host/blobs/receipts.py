"""Which version of which blob was handled, is being handled and by whom: one small blob per watched blob.

Conditional writes make a claim exclusive between hosts; a claim that its owner no longer renews is free again, so a
crash before the end runs the blob again, and tries are counted across crashes.
"""

import contextlib
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, ContainerClient

HOSTS_CONTAINER = "azure-webjobs-hosts"
DONE, POISON, FAILED, RUNNING = "done", "poison", "failed", "running"
OVER = (DONE, POISON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One watched blob as its receipt tells it.

    Args:
        blob: "container/name".
        etag: Version of the blob that the receipt is about.
        state: DONE, POISON, FAILED (a try failed) or RUNNING.
        tries: Executions begun for this version.
        owner: Who runs it.
        until: Epoch seconds at which the owner's claim ends unless renewed.
        written: ETag of the receipt itself.
    """

    blob: str
    etag: str
    state: str
    tries: int
    owner: str
    until: float
    written: str


class Receipts:
    """The receipts of one function.

    Args:
        container: `HOSTS_CONTAINER`.
        function: Name of the function.
        expiry_s: Seconds after which a claim that is not renewed is free.
    """

    def __init__(self, container: ContainerClient, function: str, *, expiry_s: float) -> None:
        self.expiry_s = expiry_s
        self._container = container
        self._prefix = f"blobreceipts/local/Host.Functions.{function}/"
        self._owner = uuid.uuid4().hex

    async def over(self) -> AsyncIterator[tuple[str, str]]:
        """Key and version of every blob that was handled; see `key`."""
        async for found in self._container.list_blobs(name_starts_with=self._prefix, include=["metadata"]):
            metadata = found.metadata or {}
            if metadata.get("state") in OVER:
                yield found.name[len(self._prefix) :], metadata["etag"]

    @staticmethod
    def key(blob: str) -> str:
        """Name of a blob's receipt: any blob name must fit, also one of 1,024 emoji."""
        return hashlib.sha256(blob.encode()).hexdigest()

    async def claim(self, blob: str, etag: str) -> Receipt | None:
        """Take a version of a blob for one try.

        Returns:
            The claim (state RUNNING), or the receipt as it is when that version is over, or None while somebody else
            has it.
        """
        found = await self._read(blob)
        now = time.time()
        same = found is not None and found.etag == etag
        if found is not None and same and found.state in OVER:
            return found
        if found is not None and found.state == RUNNING and found.until > now and found.owner != self._owner:
            return None
        claim = Receipt(
            blob=blob,
            etag=etag,
            state=RUNNING,
            tries=found.tries + 1 if found is not None and same else 1,
            owner=self._owner,
            until=now + self.expiry_s,
            written=found.written if found is not None else "",
        )
        with contextlib.suppress(ResourceModifiedError, ResourceExistsError):
            return await self._write(claim)
        return None

    async def renew(self, claim: Receipt) -> Receipt:
        """Prolong a claim.

        Raises:
            ResourceModifiedError: Somebody else took it meanwhile.
        """
        return await self._write(replace(claim, until=time.time() + self.expiry_s))

    async def finish(self, claim: Receipt, state: str) -> Receipt:
        """Write how the try ended; a claim that was lost stays with its new owner and is returned as it was."""
        with contextlib.suppress(ResourceModifiedError):
            return await self._write(replace(claim, state=state, until=0.0))
        return claim

    def _client(self, blob: str) -> BlobClient:
        return self._container.get_blob_client(self._prefix + self.key(blob))

    async def _read(self, blob: str) -> Receipt | None:
        try:
            found = await self._client(blob).get_blob_properties()
        except ResourceNotFoundError:
            return None
        metadata = found.metadata or {}
        return Receipt(
            blob=blob,
            etag=metadata.get("etag", ""),
            state=metadata.get("state", FAILED),
            tries=int(metadata.get("tries", "0")),
            owner=metadata.get("owner", ""),
            until=float(metadata.get("until", "0")),
            written=str(found.etag),
        )

    async def _write(self, receipt: Receipt) -> Receipt:
        metadata = {
            "etag": receipt.etag,
            "state": receipt.state,
            "tries": str(receipt.tries),
            "owner": receipt.owner,
            "until": f"{receipt.until:.3f}",
        }
        condition: dict[str, Any] = {"overwrite": False}
        if receipt.written:
            condition = {"overwrite": True, "etag": receipt.written, "match_condition": MatchConditions.IfNotModified}
        uploaded = await self._client(receipt.blob).upload_blob(receipt.blob.encode(), metadata=metadata, **condition)
        return replace(receipt, written=str(uploaded["etag"]))
