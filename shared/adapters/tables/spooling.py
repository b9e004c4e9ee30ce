"""Files that have to lie on temporary disk as a whole before another process can read them."""

from __future__ import annotations

from typing import IO

from shared.adapters.tables.limits import MB, FileLimits
from shared.adapters.tables.source import BLOCK, Source
from shared.errors import BadEvent


def store(source: Source, file: IO[bytes], limits: FileLimits, what: str) -> int:
    """Write a file's bytes to temporary disk; how many they are.

    Raises:
        BadEvent: `too_large`, they are too many; `truncated`, they end early.
    """
    size = 0
    while part := source.read(BLOCK):
        size += len(part)
        if size > limits.disk_mb * MB:
            raise BadEvent("too_large", f"{what} of more than FILE_DISK_MB = {limits.disk_mb} MB")
        file.write(part)
    file.flush()
    if source.problem is not None:
        raise BadEvent(source.reason, f"{source.problem}; {what} is of no use without its end")
    return size
