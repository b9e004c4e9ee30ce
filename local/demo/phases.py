"""The steps of the demo as they are shown, and the notes of each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console

from local.demo.report.page import Phase


@dataclass
class Story:
    """What happened so far."""

    console: Console
    phases: list[Phase] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """One step; what is noted meanwhile belongs to it."""
        self.console.rule(f"[bold]{len(self.phases) + 1}. {name}", align="left")
        self.notes, start = [], time.monotonic()
        yield
        seconds = time.monotonic() - start
        self.phases.append(Phase(name, self.notes, seconds))
        self.console.print(f"  {seconds:.1f} s", style="dim")

    def note(self, text: str) -> None:
        """A line of what happens."""
        self.notes.append(text)
        self.console.print(f"  {text}", markup=False, soft_wrap=True)
