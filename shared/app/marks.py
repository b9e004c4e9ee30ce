"""Telling the registry what the ledger says of versions; a registry that is away is told later and stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.app.ledger import Ledger
from shared.core.ledger import find
from shared.errors import PipelineError

log = logging.getLogger(__name__)
ROLLOUT, MARKED = "rollout", "registered"
CLIMBING = ("shadow", "canary")


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
        steps = [entry for entry in entries if entry.kind == ROLLOUT]
        for before, entry in zip([None, *steps], steps, strict=False):
            key = f"{ROLLOUT}/{entry.position}"
            if find(entries, MARKED, key) is not None:
                continue
            try:
                for version, status in _said(before.data if before else {}, entry.data):
                    self.mark(version, status)
            except PipelineError as error:
                log.warning("the registry is not told of %s yet: %s", key, error)
                return
            told = {"about": entry.data["about"], "as": entry.data["step"], "champion": entry.data["champion"]}
            self.ledger.append(MARKED, key, told)


def _said(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a step says of versions: of the one that it is about, the champion, and a challenger that it pushes out."""
    about, champion, climbing = now["about"], now["champion"], before.get("challenger")
    if about:
        yield str(about), str(now["step"])
    if champion and champion != about:
        yield str(champion), "champion"
    if before.get("stage") in CLIMBING and climbing not in {about, champion, now["challenger"]}:
        yield str(climbing), "superseded"
