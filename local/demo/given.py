"""The files that `--data` means."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob
from pathlib import Path

from local.stack.process import StackError


def files(words: Sequence[str]) -> list[Path]:
    """Files, the files of folders, and those that fit patterns such as `PRSA_*.csv`, in the order of their names.

    A word that means none may be several of these with blanks between, as they come from `make`.

    Raises:
        StackError: There is no such file.
    """
    return [path for word in words for path in _meant(word) or _all_of(word)]


def _all_of(words: str) -> list[Path]:
    return [path for word in words.split() or [words] for path in _meant(word) or _none(word)]


def _meant(word: str) -> list[Path]:
    path = Path(word)
    if word and path.is_dir():
        return sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    found = glob(word)  # noqa: PTH207 - a pattern may begin at the root
    return [path] if path.is_file() else sorted(each for each in map(Path, found) if each.is_file())


def _none(word: str) -> list[Path]:
    raise StackError(f"--data {word}: there is no such file")
