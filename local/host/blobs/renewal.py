"""A claim on a blob, kept while its function runs."""

import asyncio
import logging

from azure.core.exceptions import AzureError

from local.host.blobs.receipts import Receipt, Receipts
from local.host.waiting import happened
from shared.adapters.stores.azure_errors import brief

log = logging.getLogger("host.blobs")


class Renewal:
    """Renews a claim while its function runs."""

    def __init__(self, receipts: Receipts, claim: Receipt) -> None:
        self._receipts = receipts
        self._claim = claim
        self._ended = asyncio.Event()
        self._task = asyncio.create_task(self._renew())

    async def release(self) -> Receipt:
        """End the renewing; the claim as last written."""
        self._ended.set()
        await self._task
        return self._claim

    async def _renew(self) -> None:
        while not await happened(self._ended, self._receipts.expiry_s / 3):
            try:
                self._claim = await self._receipts.renew(self._claim)
            except (AzureError, OSError) as error:
                log.warning("%s: claim not renewed: %s", self._claim.blob, brief(error))
