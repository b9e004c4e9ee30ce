"""How large a dropped file may be, and what reading it may take."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """Beyond these a file is refused, or ends where it reached them.

    Args:
        unpacked_mb: Most that it may hold once unpacked.
        ratio: Most times that it may be larger than stored, once it has unpacked to `FREE_BYTES`.
        disk_mb: Most temporary disk that a Parquet file may take, unpacked.
        reader_mb: Most address space of the process that decodes a Parquet file; it takes about 300 itself.
        reader_s: Most processor seconds of that process.
    """

    unpacked_mb: int = 10_000
    ratio: int = 200
    disk_mb: int = 1_000
    reader_mb: int = 1_000
    reader_s: int = 900


FREE_BYTES = 64 * MB
DEFAULTS = FileLimits()
