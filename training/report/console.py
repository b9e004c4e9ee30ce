"""What a person sees of a run: bars on a terminal, plain lines elsewhere, and the seconds of each phase."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table


@dataclass(slots=True)
class Step:
    """One phase under way; `note` becomes the words of its closing line."""

    bar: Progress
    note: str = "done"

    def advance(self, done: float, total: float) -> None:
        """Move the bar."""
        self.bar.update(self.bar.task_ids[0], completed=done, total=total)

    def say(self, text: str) -> None:
        """Show a line while the phase goes on."""
        self.bar.console.print(f"  {escape(text)}", highlight=False, soft_wrap=True)


@dataclass(slots=True)
class Screen:
    """Where a run reports to.

    Args:
        console: The terminal, or a file.
        seconds: Wall time of each finished phase by its title.
    """

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show one phase while it runs and measure it."""
        started = time.perf_counter()
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            bar.add_task(title, total=None)
            step = Step(bar)
            yield step
        self.seconds[title] = round(time.perf_counter() - started, 3)
        self.line(f"{title}: {step.note} ({self.seconds[title]:.1f} s)")

    def line(self, text: str, style: str = "") -> None:
        """Show one line; its content is never read as markup."""
        self.console.print(escape(text), style=style or None, highlight=False, soft_wrap=True)

    def table(self, title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Show a table: the first column left, numbers right."""
        self.line(title, style="bold")
        table = Table()
        for index, name in enumerate(head):
            table.add_column(name, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self.console.print(table)
