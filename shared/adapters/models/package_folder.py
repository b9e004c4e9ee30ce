"""Model packages as directories."""

from __future__ import annotations

from pathlib import Path

from shared.core.model.manifest import FILES
from shared.errors import ContractBroken

NAMES = (*FILES, "manifest.json")


def read(directory: Path) -> dict[str, bytes]:
    """Content of a package's files by name; other files of the directory are left alone.

    Raises:
        ContractBroken: The directory or one of its files is missing or cannot be read.
    """
    try:
        return {name: (directory / name).read_bytes() for name in NAMES}
    except OSError as error:
        raise ContractBroken(f"package {directory.name}: {error.strerror} ({error.filename})") from error
