"""Commits and predictions, fetched once for commands that look at the same ones several times."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from shared.ports import BlobReader

THREADS = 8
CONTAINERS = ("commits", "predictions")


class ReadOnce:
    """Another store's blobs, of which commits and predictions are fetched when this is made, several at a time."""

    def __init__(self, blobs: BlobReader) -> None:
        self._blobs = blobs
        self._names = {container: blobs.names(container) for container in CONTAINERS}
        wanted = [(container, name) for container, names in self._names.items() for name in names]
        with ThreadPoolExecutor(THREADS) as pool:
            self._kept = dict(zip(wanted, pool.map(lambda place: blobs.read(*place), wanted), strict=True))

    def names(self, container: str, prefix: str = "") -> list[str]:
        """Names that begin with `prefix`, sorted."""
        if container not in self._names:
            return self._blobs.names(container, prefix)
        return [name for name in self._names[container] if name.startswith(prefix)]

    def read(self, container: str, name: str) -> bytes | None:
        """A blob's content, None when there is none."""
        if container in self._names:
            return self._kept.get((container, name))
        return self._blobs.read(container, name)
