"""Blobs of a container, also where the store cannot list all of them."""

import asyncio
import contextlib
import logging
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

CHARACTERS = [chr(code) for code in range(0x20, 0x7F)]
AT_ONCE = 8
NO_RETRY = {"retry_total": 0}
Found = list[tuple[str, str]]
log = logging.getLogger("host.blobs")


class Listing:
    """Lists a container's blobs; what cannot be listed is told once.

    Azurite answers 500 to a listing with a name that XML cannot hold, one with a control character. The names around
    it are then asked for by the characters that may follow what they begin with. A name that goes on with a character
    beyond ASCII just where the bad one has its first one is missed.

    Args:
        container: The container.
    """

    def __init__(self, container: ContainerClient) -> None:
        self._container = container
        self._told: set[str] = set()
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def below(self, prefix: str) -> Found:
        """Name and ETag of all blobs whose name begins with a text.

        Raises:
            HttpResponseError: The store does not answer, whatever it is asked for.
        """
        try:
            return await self._listed(prefix)
        except HttpResponseError as error:
            if error.status_code != 500:
                raise
            return await self._around(prefix, error)

    async def _around(self, prefix: str, error: HttpResponseError) -> Found:
        """What can be listed below a prefix that cannot be listed as a whole."""
        parts = await asyncio.gather(*(self._part(prefix + character) for character in CHARACTERS))
        if all(isinstance(part, HttpResponseError) for part in parts):
            raise error  # no name's fault
        found = await self._exactly(prefix)
        for character, part in zip(CHARACTERS, parts, strict=True):
            found += await self._around(prefix + character, part) if isinstance(part, HttpResponseError) else part
        if not any(isinstance(part, HttpResponseError) for part in parts) and prefix not in self._told:
            self._told.add(prefix)
            log.error("a blob is left alone: its name begins with %r, and what follows no store can list", prefix)
        return found

    async def _part(self, prefix: str) -> Found | HttpResponseError:
        try:
            async with self._turns:
                return await self._listed(prefix, **NO_RETRY)
        except HttpResponseError as error:
            return error

    async def _listed(self, prefix: str, **options: Any) -> Found:
        blobs = self._container.list_blobs(name_starts_with=prefix or None, **options)
        return [(each.name, each.etag) async for each in blobs]

    async def _exactly(self, name: str) -> Found:
        """The blob of just this name, if there is one."""
        if name:
            with contextlib.suppress(ResourceNotFoundError):
                return [(name, (await self._container.get_blob_client(name).get_blob_properties()).etag)]
        return []
