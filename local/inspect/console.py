"""Where the commands write, and how hostile texts are shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

OFF_TERMINAL = 120  # columns, where nobody's window says how wide lines may be


def new_console() -> Console:
    """Where the commands write: as wide as the terminal, and without colours of its own for numbers."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=OFF_TERMINAL)


def table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table with columns of names, then of numbers."""
    left = [Column(name, no_wrap=True) for name in names]
    return Table(*left, *(Column(name, justify="right") for name in numbers), box=None, pad_edge=False)


def facts() -> Table:
    """A table of names with what there is to say of each, without a head."""
    return Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))


def printable(text: str) -> str:
    """A hostile text as one line."""
    return "".join(c if c.isprintable() else "?" for c in text)


def cell(text: str, longest: int | None = None) -> Text:
    """A hostile text for a table: cut to a length, or folded where none is given."""
    kept = printable(text)
    if longest is None:
        return Text(kept, overflow="fold")
    return Text(kept if len(kept) <= longest else f"{kept[: longest - 3]}...")


def write_line(console: Console, line: str, style: str | None = None) -> None:
    """A line as it is, however long."""
    console.print(printable(line), markup=False, soft_wrap=True, style=style)
