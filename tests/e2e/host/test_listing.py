"""Listing a container of Azurite, whatever the names in it are."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobServiceClient

from local.host.blobs.listing import Listing
from local.host.retry import STORAGE

GOOD = ["a.csv", "b", "b.csv", "ba.csv", "folder/b/deep.csv", "zz.csv", "\N{THERMOMETER}.csv"]


@pytest.mark.emulator
@pytest.mark.parametrize(
    "bad",
    [[], ["b\x01.csv"], ["\x1f"], ["f\x02", "a\x03sv", "b\uffff"]],
    ids=["none", "one", "first", "three"],
)
def test_names_that_the_store_cannot_list_hide_no_other(
    azurite: str, bad: Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def listed() -> None:
        async with BlobServiceClient.from_connection_string(azurite, **STORAGE) as service:
            container = await service.create_container(f"c{uuid.uuid4().hex[:20]}")
            for name in [*GOOD, *bad]:
                await container.upload_blob(name, b"x")
            listing = Listing(container)
            expected = sorted(name for name in GOOD if name.isascii() or not bad)
            assert sorted(name for name, _ in await listing.below("")) == expected
            assert sorted(name for name, _ in await listing.below("b")) == ["b", "b.csv", "ba.csv"]

    asyncio.run(listed())
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == len(bad)


@pytest.mark.emulator
def test_a_container_that_is_missing_is_not_searched(azurite: str) -> None:
    async def listed() -> None:
        async with BlobServiceClient.from_connection_string(azurite, **STORAGE) as service:
            await Listing(service.get_container_client("missing")).below("")

    with pytest.raises(HttpResponseError):
        asyncio.run(listed())
