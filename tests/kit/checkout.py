"""What stands in the checkout, so that a run can say what its tests left or took there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

OURS = {".git", ".venv", "node_modules", "__pycache__", ".coverage", ".hypothesis"}
OURS |= {".import_linter_cache", ".mypy_cache", ".pytest_cache", ".ruff_cache"}  # tools keep these, no test does


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file below a folder, by path; a folder has (0, 0)."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in OURS]
        at = Path(folder)
        found.update({f"{(at / name).relative_to(root)}/": (0, 0) for name in folders})
        for name in set(files) - OURS:
            told = (at / name).lstat()
            found[str((at / name).relative_to(root))] = told.st_size, told.st_mtime_ns
    return found


def changes(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> list[str]:
    """Which paths came, went or changed, one line each."""
    words = {
        **{path: "changed" for path in before if before[path] != after.get(path)},
        **dict.fromkeys(before.keys() - after.keys(), "removed"),
        **dict.fromkeys(after.keys() - before.keys(), "made"),
    }
    return [f"{words[path]} {path}" for path in sorted(words)]
