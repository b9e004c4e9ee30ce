"""Status tags of the registry follow the ledger; a registry that is away gets them later and stops nothing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.app.backoff import Backoff
from shared.app.ledger_store import Ledger
from shared.core.ledger import Entry
from shared.core.retrain.history import ENTERED, GATE, ROLLOUT
from shared.errors import PipelineError
from shared.ports import Registry

log = logging.getLogger(__name__)
MARKED = "registered"
VERDICTS = {"promote": "passed", "refuse": "refused"}
ROUNDS = 8


@dataclass(frozen=True, slots=True)
class RegistryTags:
    """Brings the registry's mark of every version to what the newest step about it says.

    The ledger remembers which marks were made, so that the registry is asked only when one is missing. But a worker may
    die between the mark and its entry, or make an old mark long after a newer one: so what the registry has is read
    before anything is made, once more behind it, and from time to time.

    Args:
        ledger: Holds the steps, and which marks were made.
        registry: Has the marks.
        backoff: When to try again what it refused.
    """

    ledger: Ledger
    registry: Registry
    backoff: Backoff

    def sync(self, *, look: bool = False) -> None:
        """Mark every version whose mark is not the newest.

        Args:
            look: Whether to read the registry even if the ledger says that nothing is missing.
        """
        for _ in range(ROUNDS):
            entries = self.ledger.entries()
            wanted, tags = wanted_tags(entries), [entry for entry in entries if entry.kind == MARKED]
            noted = {str(entry.data["about"]): str(entry.data["as"]) for entry in tags}
            due = {version: status for version, status in wanted.items() if self.backoff.due(_named(version, status))}
            if not look and due.items() <= noted.items():
                return
            try:
                marks = self.registry.marks()
            except PipelineError as error:
                log.warning("the registry does not tell its marks: %s", error)
                return
            look = False
            counts = Counter(str(entry.data["about"]) for entry in tags)
            for version, status in due.items():
                wrong = marks.get(version, status) != status
                look |= wrong  # what others did meanwhile shows only behind it
                if (not wrong or self._mark(version, status)) and noted.get(version) != status:
                    self.ledger.append(MARKED, f"{version}/{counts[version]}", {"about": version, "as": status})

    def _mark(self, version: str, status: str) -> bool:
        """Whether the registry takes a mark; one that it refuses holds no other up."""
        try:
            self.registry.tag(version, status)
        except PipelineError as error:
            log.warning("the registry does not know yet that %s is %s: %s", version, status, error)
            self.backoff.failed(_named(version, status), error)
            return False
        return True


def _named(version: str, status: str) -> str:
    return f"mark of {version} as {status}"


def wanted_tags(entries: Sequence[Entry]) -> dict[str, str]:
    """What the ledger says of every version that was judged or took part in a rollout, by its newest step."""
    found: dict[str, str] = {}
    verdicts: dict[str, str] = {}
    before: Mapping[str, Any] = {}
    for entry in entries:
        if entry.kind == GATE and entry.data["version"]:
            verdict = VERDICTS.get(str(entry.data["kind"]), "undecided")
            older = "registered" in entry.data  # an older version of the application entered before it judged
            (found if older else verdicts)[str(entry.data["version"])] = verdict
        if entry.kind == ENTERED and entry.data["about"] in verdicts:
            found.setdefault(entry.data["about"], verdicts[entry.data["about"]])
        if entry.kind == ROLLOUT:
            found.update(_statuses(before, entry.data))
            before = entry.data
    return found


def _statuses(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a step says: of those that it leaves behind, of the two that stand now, and of the one it is about."""
    here = {now["champion"], now["challenger"]}
    yield from ((str(each), "superseded") for each in (before.get("champion"), before.get("challenger"))
                if each and each not in here)  # fmt: skip
    if now["champion"]:
        yield str(now["champion"]), "champion"
    if now["challenger"]:
        yield str(now["challenger"]), str(now["stage"])
    if now["about"]:
        yield str(now["about"]), str(now["step"])
