"""`python -m local letters`: records that could not be used, with their reason, place and content, page by page."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

from rich.console import Console

from local.inspect.console import cell, new_console, table, write_line
from local.stack.workspace import Workspace
from shared.core.intake import dead_letters
from shared.core.intake.dead_letters import DeadLetter
from shared.core.intake.readings import shown
from shared.errors import ConfigError, ContractBroken
from shared.ports import BlobReader

CONTAINER, PAGE = "dead-letter", 20
LONGEST = 160  # of a detail


def run(space: Workspace, given: argparse.Namespace) -> int:
    """Show a page; 1 when there is no letter on it.

    Raises:
        ConfigError: There is no such page.
    """
    return show(new_console(), space.blobs, given)


def show(console: Console, blobs: BlobReader, given: argparse.Namespace) -> int:
    """Show a page of the letters that are wanted, and how many there are by reason."""
    if given.page < 1:
        raise ConfigError(f"--page {given.page} is below 1")
    counts, page, first = Counter[str](), [], (given.page - 1) * PAGE
    for letter in _letters(console, blobs, given.prefix):
        if not given.reason or letter.reason in given.reason:
            if first <= counts.total() < first + PAGE:
                page.append(letter)
            counts[letter.reason] += 1
    lines = table(("reason", "source", "position"), ())
    for name in ("what was found", "record"):
        lines.add_column(name, overflow="fold")
    for letter in page:
        texts = cell(letter.reason), cell(letter.source, 40), cell(str(letter.position))
        lines.add_row(*texts, cell(letter.detail, LONGEST), cell(record(letter)))
    if page:
        console.print(lines)
    by_reason = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    pages = -(-counts.total() // PAGE)
    write_line(console, f"{counts.total():,} dead letters, page {given.page} of {pages}: {by_reason or 'none'}")
    return 0 if page else 1


def record(letter: DeadLetter) -> str:
    """The record as one short line."""
    try:
        return shown(letter.original().decode("utf-8", "backslashreplace"))
    except ValueError:
        return "not readable"


def _letters(console: Console, blobs: BlobReader, prefix: str) -> Iterator[DeadLetter]:
    """All letters, blob by blob; what cannot be read is told."""
    for name in blobs.names(CONTAINER, prefix):
        try:
            yield from dead_letters.decode(blobs.read(CONTAINER, name) or b"")
        except ContractBroken as error:
            write_line(console, f"{shown(name)}: {error}", "red")
