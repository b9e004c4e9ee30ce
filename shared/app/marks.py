"""Telling the registry what the ledger says of versions; a registry that is away is told later and stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from shared.app.ledger import Ledger
from shared.core.ledger import find
from shared.errors import PipelineError

log = logging.getLogger(__name__)
ROLLOUT, MARKED = "rollout", "registered"


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks of rollout steps, each made until it succeeded once.

    Args:
        ledger: Holds the steps, and which are marked.
        mark: Tells the registry what became of a version.
    """

    ledger: Ledger
    mark: Callable[[str, str], None]

    def tell(self) -> None:
        """Mark every step that is not marked yet, oldest first."""
        entries = self.ledger.entries()
        for entry in entries:
            key = f"{ROLLOUT}/{entry.position}"
            if entry.kind != ROLLOUT or find(entries, MARKED, key) is not None:
                continue
            about, step, champion = str(entry.data["about"]), str(entry.data["step"]), entry.data["champion"]
            try:
                if about:
                    self.mark(about, step)
                if champion and champion != about:
                    self.mark(str(champion), "champion")
            except PipelineError as error:
                log.warning("the registry is not told of %s, %s yet: %s", about, step, error)
                return
            self.ledger.append(MARKED, key, {"about": about, "as": step, "champion": champion})
