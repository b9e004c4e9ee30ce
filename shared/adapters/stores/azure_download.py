"""A blob's content as a stream."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from shared.adapters.stores.azure_errors import failure
from shared.errors import TransientFailure

if TYPE_CHECKING:
    from azure.storage.blob import StorageStreamDownloader


T = TypeVar("T")
TRIES = 4


class Download(io.RawIOBase):
    """A download as a raw stream, so that readers pull it piece by piece; it goes on where a line broke.

    Args:
        begin: Begins a download at a byte.
    """

    def __init__(self, begin: Callable[[int], StorageStreamDownloader[bytes]]) -> None:
        self._begin = begin
        self._at = 0
        self._chunks = iter(begin(0).chunks())
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the piece at hand reaches; 0 at the end."""
        from azure.core.exceptions import AzureError

        while not len(self._rest):
            try:
                piece = next(self._chunks, None)
            except AzureError:
                self._chunks = iter(self._begin(self._at).chunks())
                continue
            if piece is None:
                return 0
            self._at += len(piece)
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def unbroken(read: Callable[[], T]) -> T:
    """What a read gives; the client itself does not ask again where a line breaks in the middle of an answer."""
    from azure.core.exceptions import ServiceResponseError, ServiceResponseTimeoutError

    for _ in range(TRIES - 1):
        try:
            return read()
        except ServiceResponseTimeoutError:
            raise
        except ServiceResponseError:
            continue
    return read()


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
    except TypeError as error:  # azure-storage-blob 12.27.1 fails so over an error in XML without a message: a proxy's
        raise TransientFailure(f"blob store: {container}/{name}: an answer that is not the store's") from error
