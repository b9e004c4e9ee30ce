"""A blob's content as a stream."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shared.adapters.stores.azure_errors import failure

if TYPE_CHECKING:
    from azure.storage.blob import StorageStreamDownloader


class Download(io.RawIOBase):
    """A download as a raw stream, so that readers pull it piece by piece."""

    def __init__(self, loader: StorageStreamDownloader[bytes], container: str, name: str) -> None:
        self._chunks = iter(loader.chunks())
        self._rest = memoryview(b"")
        self._where = container, name

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the piece at hand reaches; 0 at the end."""
        while not len(self._rest):
            with translated(*self._where):
                piece = next(self._chunks, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


@contextmanager
def translated(container: str, name: str) -> Iterator[None]:
    """Errors of the blob client as ours, naming the blob.

    Raises:
        TransientFailure: The store does not answer, or not now.
        ConfigError: It refuses for good: identity, rights, account, a container that is missing.
    """
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        raise failure(f"blob store: {container}/{name}", error) from error
