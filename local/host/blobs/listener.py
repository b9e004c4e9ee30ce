"""Blob triggers: by listing, or told by an Event Grid webhook; five tries, then a poison note."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import json
import logging
import time
from collections.abc import Mapping

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

from local.host.blobs.listing import Listing
from local.host.blobs.options import BlobOptions, path_pattern
from local.host.blobs.receipts import DONE, FAILED, HOSTS_CONTAINER, OVER, POISON, Receipt, Receipts
from local.host.blobs.renewal import Renewal
from local.host.blobs.sent import sent
from local.host.functions import Declared, connection, resolve
from local.host.invoke import Invoker
from local.host.retry import STORAGE
from local.host.waiting import ended, happened
from local.host.worker.worker import InvocationFailed
from shared.adapters.stores.azure_errors import brief

POISON_CONTAINER = "webjobs-blobtrigger-poison"
log = logging.getLogger("host.blobs")


class BlobListener:
    """Finds new and changed blobs for one function and runs it on each.

    Args:
        function: What to run, with a blob trigger.
        invoker: Runs it.
        options: Tries, pace and parallelism.
        settings: Where connections and `%NAMES%` are looked up.
    """

    def __init__(self, function: Declared, invoker: Invoker, options: BlobOptions, settings: Mapping[str, str]) -> None:
        self.function = function
        self.listing = str(function.binding.get("source", "")).lower() != "eventgrid"
        self._invoke = invoker
        self._options = options
        self._container, self._prefix, self._pattern = path_pattern(resolve(function.binding["path"], settings))
        self._service = BlobServiceClient.from_connection_string(
            connection(function.binding["connection"], settings), **STORAGE
        )
        self._blobs = Listing(self._service.get_container_client(self._container))
        self._hosts = BlobServiceClient.from_connection_string(connection("AzureWebJobsStorage", settings), **STORAGE)
        self._receipts = Receipts(
            self._hosts.get_container_client(HOSTS_CONTAINER), function.name, expiry_s=options.expiry_s
        )
        self._over: dict[str, str] = {}  # receipt key -> version that needs no further try
        self._running: dict[str, asyncio.Task[None]] = {}
        self._announced: dict[str, None] = {}  # blobs that the webhook named and that are not over
        self._slots = asyncio.Semaphore(options.parallel)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look for blobs until `stop`."""
        await _ensure_container(self._hosts, HOSTS_CONTAINER)
        self._over.update({key: etag async for key, etag in self._receipts.over()})
        while not self._stopping.is_set():
            begun = time.monotonic()
            try:
                await self._scan()
            except (AzureError, OSError) as error:
                log.warning("%s: %s cannot be listed: %s", self.function.name, self._container, brief(error))
            # listing ten thousand blobs must not keep the store busy
            pause_s = max(self._options.poll_s, 3 * (time.monotonic() - begun))
            await happened(self._stopping, pause_s)

    def announce(self, blob: str) -> bool:
        """An event names a blob ("container/name"); whether this function's path means it."""
        container, _, name = blob.partition("/")
        if container != self._container or not self._pattern.fullmatch(name):
            return False
        self._announced[name] = None
        return True

    async def invoke_once(self, blob: str) -> None:
        """Run the function on a blob now, without receipt (admin endpoint).

        Raises:
            InvocationFailed: The function failed, or there is no such blob.
        """
        try:
            await self._execute(blob)
        except ResourceNotFoundError as error:
            raise InvocationFailed(f"there is no blob {blob}") from error

    async def stop(self, grace_s: float) -> bool:
        """Take nothing new and let executions end; whether all did in time."""
        self._stopping.set()
        in_time = await ended(set(self._running.values()), grace_s)
        await self._service.close()
        await self._hosts.close()
        return in_time

    async def _scan(self) -> None:
        for name, etag in await self._candidates():
            blob = f"{self._container}/{name}"
            if self._over.get(Receipts.key(blob)) == etag:
                self._announced.pop(name, None)
            elif blob not in self._running:
                self._running[blob] = asyncio.create_task(self._handle(blob, etag))

    async def _candidates(self) -> list[tuple[str, str]]:
        """Name and version of blobs that may have to be handled."""
        container = self._service.get_container_client(self._container)
        found: list[tuple[str, str]] = []
        with contextlib.suppress(ResourceNotFoundError):  # the container may come later
            if self.listing:
                blobs = await self._blobs.below(self._prefix)
                return [(name, _bare(etag)) for name, etag in blobs if self._pattern.fullmatch(name)]
        for name in list(self._announced):
            try:
                properties = await container.get_blob_client(name).get_blob_properties()
                found.append((name, _bare(properties.etag)))
            except ResourceNotFoundError:
                self._announced.pop(name, None)
        return found

    async def _handle(self, blob: str, etag: str) -> None:
        """One try of one version; whatever does not end it is tried again at a later scan."""
        try:
            async with self._slots:
                if not self._stopping.is_set():
                    await self._claim_and_try(blob, etag)
        except ResourceNotFoundError:
            log.info("%s: %s was deleted before it was handled", self.function.name, blob)
        except (AzureError, OSError) as error:
            log.warning("%s: %s: %s, will be tried again", self.function.name, blob, brief(error))
        finally:
            del self._running[blob]

    async def _claim_and_try(self, blob: str, etag: str) -> None:
        claim = await self._receipts.claim(blob, etag)
        if claim is not None and claim.state not in OVER:
            claim = await self._try(claim)
        if claim is not None and claim.state in OVER:
            self._over[Receipts.key(blob)] = etag

    async def _try(self, claim: Receipt) -> Receipt:
        """Run the function; the receipt with which the try ended."""
        renewal = Renewal(self._receipts, claim)
        try:
            await self._execute(claim.blob)
            state = DONE
        except InvocationFailed as failed:
            state = await self._failed(claim, failed)
        finally:
            claim = await renewal.release()
        return await self._receipts.finish(claim, state)

    async def _execute(self, blob: str) -> None:
        container, _, name = blob.partition("/")
        client = self._service.get_blob_client(container, name)
        # as it stands, whatever its Content-Encoding says; all of it, as the host sends it to a worker
        download = await client.download_blob(decompress=False)
        body, uri, found = await download.readall(), client.url, download.properties
        await self._invoke(self.function, lambda: sent(body, blob, uri, found))

    async def _failed(self, claim: Receipt, failed: InvocationFailed) -> str:
        log.warning(
            "%s: %s try %d of %d failed: %s", self.function.name, claim.blob, claim.tries, self._options.tries, failed
        )
        if claim.tries < self._options.tries:
            return FAILED
        await self._poison(claim, failed)
        return POISON

    async def _poison(self, claim: Receipt, failed: InvocationFailed) -> None:
        """A note in the shape of the host's poison queue message; the name is the same after a crash in between."""
        container, _, name = claim.blob.partition("/")
        note = {
            "Type": "BlobTrigger",
            "FunctionId": f"Host.Functions.{self.function.name}",
            "BlobType": "BlockBlob",
            "ContainerName": container,
            "BlobName": name,
            "ETag": claim.etag,
            "Error": str(failed),
            "At": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        }
        key = hashlib.sha256(f"{claim.blob}\n{claim.etag}".encode()).hexdigest()
        await _ensure_container(self._hosts, POISON_CONTAINER)
        target = self._hosts.get_blob_client(POISON_CONTAINER, f"{self.function.name}/{key}.json")
        await target.upload_blob(json.dumps(note, ensure_ascii=False).encode(), overwrite=True)
        log.error("%s: %s is poison after %d tries", self.function.name, claim.blob, claim.tries)


def _bare(etag: str) -> str:
    """Listings give ETags without quotes, responses with."""
    return etag.strip('"')


async def _ensure_container(service: BlobServiceClient, name: str) -> None:
    with contextlib.suppress(ResourceExistsError):
        await service.create_container(name)
